"""Our tasks beside lm-evaluation-harness's own, on the same rows, prompts and weights: do the scores agree?

    python benchmarks/eval_peers.py --lm-eval VENV [--only gsm8k,mmlu,truthfulqa,humaneval] [--keep FOLDER]

runs the tasks of `examples/evals` with SmolLM2 through the gateway, and lm-evaluation-harness's implementations of the
same names with its `hf` model on the same weights, in float32. Its task files are included as they are; replaced is
where the rows come from, the prompt of GSM8K (ours is asked as a chat), and the lengths of answers. HumanEval's metric,
which it would fetch from the Hub, is a function beside its task: the same program, run in our sandbox. Printed are both
scores with intervals, and each row that scored otherwise, with both answers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog.embedded import SMOLLM2, prepare
from evals import equivalence, samples
from evals.adapters import lm_eval
from evals.samples import Sample
from evals.tasks.rows import LETTERS
from workspace import Workspace

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "evals"
DATA = ROOT.parent / "shared" / "data" / "eval"

# Its environment may have no torch: it runs by this Python, whose packages come first.
THEIRS = """
import sys
sys.path[:0] = [{root!r}]
sys.path.append({site!r})
from lm_eval.__main__ import cli_evaluate
cli_evaluate()
"""

METRIC = '''"""HumanEval's metric without the Hub: code_eval's program, run in a sandbox."""

from evals.sandbox import Limits, run


def passed(references, predictions, k=None):
    ran = run(predictions[0][0] + "\\n" + references[0], limits=Limits(seconds=5.0))
    return {"pass@1": float(ran.passed)}


def build_predictions(resps, docs):
    return [[doc["prompt"] + each for each in resp] for resp, doc in zip(resps, docs)]
'''

Rows = list[dict[str, Any]]


def rows_of(name: str, wanted: int) -> Rows:
    """Return the rows of a task: of MMLU the first of every subject, else the first of all."""
    files = {
        "gsm8k": "gsm8k_test_300", "mmlu": "mmlu_57x15", "truthfulqa": "truthfulqa_817", "humaneval": "humaneval_164",
    }  # fmt: skip
    with (DATA / f"{files[name]}.jsonl").open(encoding="utf-8") as file:
        found: Rows = [json.loads(line) for line in file]
    if name != "mmlu":
        return found[:wanted]
    subjects = list(dict.fromkeys(row["subject"] for row in found))
    each = {subject: [row for row in found if row["subject"] == subject] for subject in subjects}
    return [row for subject in subjects for row in each[subject][: max(1, wanted // len(subjects))]]


def theirs(name: str, folder: Path, tasks: Path) -> dict[str, Any]:
    """Return the task of lm-evaluation-harness, told where the rows are."""
    own: dict[str, Any] = {
        "task": f"{name}_here", "dataset_path": "json", "dataset_name": None, "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(folder / f"{name}.jsonl")}}, "num_fewshot": 0,
    }  # fmt: skip
    if name == "gsm8k":
        return own | {
            "include": str(tasks / "gsm8k" / "gsm8k.yaml"), "training_split": None, "fewshot_split": None, "tag": None,
            "doc_to_text": "{{question}}\nThink step by step, and end with the number alone.",
            "generation_kwargs": {"until": ["<|im_end|>"], "do_sample": False, "max_gen_toks": 200},
        }  # fmt: skip
    if name == "mmlu":
        return own | {"include": str(tasks / "mmlu" / "default" / "_default_template_yaml"), "fewshot_split": None}
    if name == "truthfulqa":
        included = str(tasks / "truthfulqa" / "truthfulqa_mc1.yaml")
        return own | {"include": included, "validation_split": None, "tag": None}
    return own | {
        "output_type": "generate_until", "unsafe_code": True, "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{test}}\ncheck({{entry_point}})",
        "metric_list": [
            {"metric": "!function metric.passed", "aggregation": "mean", "higher_is_better": True, "k": [1]},
        ],
        "generation_kwargs": {
            "until": ["\nclass", "\ndef", "\nif", "\nprint"], "max_gen_toks": 200, "do_sample": False,
        },
        "filter_list": [
            {"name": "create_test",
             "filter": [{"function": "custom", "filter_fn": "!function metric.build_predictions"}]},
        ],
    }  # fmt: skip


def write(name: str, folder: Path, rows: Rows, tasks: Path) -> None:
    """Write the rows and its task file; JSON is YAML, but for the functions that its tasks name by a tag."""
    if name == "truthfulqa":
        told = [
            {"id": row["id"], "question": row["question"],
             "mc1_targets": {"choices": [row["best_answer"], *row["incorrect_answers"]]}}
            for row in rows
        ]  # fmt: skip
    else:
        told = [{"id": row.get("id", row.get("task_id")), **row} for row in rows]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    (folder / "metric.py").write_text(METRIC)
    text = json.dumps(theirs(name, folder, tasks), indent=1)
    for function in ("passed", "build_predictions"):
        text = text.replace(f'"!function metric.{function}"', f"!function metric.{function}")
    (folder / f"{name}.yaml").write_text(text)


def ask_theirs(name: str, folder: Path, site: Path, model: Path) -> tuple[Sample, ...]:
    """Run its task by its own package."""
    out = folder / f"lm-eval-{name}"
    command = [
        sys.executable, "-c", THEIRS.format(root=str(ROOT), site=str(site)), "--model", "hf", "--model_args",
        f"pretrained={model},dtype=float32", "--tasks", f"{name}_here", "--include_path", str(folder), "--device",
        "cpu", "--batch_size", "1", "--log_samples", "--output_path", str(out), "--confirm_run_unsafe_code",
        *(["--apply_chat_template"] if name == "gsm8k" else []),
    ]  # fmt: skip
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_ALLOW_CODE_EVAL": "1"}
    done = subprocess.run(command, env=os.environ | offline, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise SystemExit(f"lm_eval ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    (found,) = lm_eval.read(out).values()
    return found


def ask_ours(name: str, folder: Path, home: Path, rows: Rows) -> tuple[Sample, ...]:
    """Run our task by the command line, through the gateway."""
    given = folder / f"ours-{name}.jsonl"
    given.write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = [f"rows={len(rows)}"] if name == "truthfulqa" else [f"data={given}"]
    file = EXAMPLES / (f"{name}.py" if name == "truthfulqa" else f"{name}.yaml")
    command = [
        str(Path(sys.executable).with_name("studiolo")), "eval", "run", str(file), "--model", SMOLLM2.name, "--name",
        name, "--no-cache", *(part for change in changes for part in ("--set", change)),
    ]  # fmt: skip
    done = subprocess.run(command, env=os.environ | {"STUDIOLO_HOME": str(home)}, capture_output=True, text=True)
    print(done.stdout, done.stderr[-2000:], flush=True)
    with Workspace.open(home) as workspace:
        return samples.read(workspace.runs.get(name).directory)


def alike(name: str, ours: Sequence[Sample], other: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Return both runs with rows of one content and one metric, their answers told the same way."""
    metric = {"gsm8k": "exact_match.flexible-extract", "humaneval": "pass@1.create_test"}.get(name, "acc")
    by_id: Mapping[str, Sample] = {str(each.name): each for each in other}
    one, two = [], []
    for sample in ours:
        mate = by_id[str(sample.name)]
        if metric not in mate.scores:
            raise SystemExit(f"{name}: lm_eval has no {metric!r}, but {', '.join(mate.scores)}")
        score = next(iter(sample.scores.values()))
        answer = sample.answer
        if name == "truthfulqa" and answer is not None:
            answer = str(sample.metadata["choices"][LETTERS.index(answer)])
        said = mate.outputs.get("said", mate.answer)  # the text, of which a filter has read the answer
        one.append(replace(sample, answer=answer, scores={"score": score}))
        two.append(
            replace(mate, number=sample.number, row=sample.row, answer=said, scores={"score": mate.scores[metric]})
        )
    return one, two


def compared(name: str, ours: Sequence[Sample], other: Sequence[Sample], answers: Path) -> None:
    """Print both scores and the rows that scored otherwise; all answers go into a file."""
    one, two = alike(name, ours, other)
    found = equivalence.equivalence(two, one, "score")
    before, after = found.comparison.measured.before, found.comparison.measured.after
    print(f"{name}, {len(one)} rows: lm-eval {before.estimate:.3f} ({before.low:.3f} to {before.high:.3f}), "
          f"ours {after.estimate:.3f} ({after.low:.3f} to {after.high:.3f})")  # fmt: skip
    print(f"  {found.sentence}")
    for pair in found.flips:
        print(f"  {pair.before.label}: lm-eval {pair.old:g} {(pair.before.answer or '')[-160:]!r}; "
              f"ours {pair.new:g} {(pair.after.answer or pair.after.error or '')[-160:]!r}")  # fmt: skip
    with answers.open("w", encoding="utf-8") as file:
        for mine, yours in zip(one, two, strict=True):
            told: dict[str, Any] = {"id": mine.label, "expected": mine.expected}
            told |= {"ours": mine.answer, "lm_eval": yours.answer}
            told |= {"score": mine.scores["score"].value, "lm_eval_score": yours.scores["score"].value}
            file.write(json.dumps(told, ensure_ascii=False) + "\n")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--lm-eval", type=Path, help="a virtual environment with lm-eval")
    options.add_argument("--only", default="mmlu,truthfulqa,humaneval,gsm8k")
    options.add_argument("--rows", default="114,60,40,40", help="of each of them")
    options.add_argument("--keep", type=Path, help="a folder for tasks, logs and answers")
    given = options.parse_args()
    if given.lm_eval is None:
        print("nothing to compare with: --lm-eval VENV names a virtual environment with lm-eval")
        return
    (site,) = (given.lm_eval / "lib").glob("python*/site-packages")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        home = folder / "home"
        with Workspace.open(home) as workspace:
            for _ in prepare(workspace, [SMOLLM2]):
                pass
            model = workspace.assets.path(workspace.assets.get("model", SMOLLM2.name))
        for name, wanted in zip(given.only.split(","), map(int, given.rows.split(",")), strict=False):
            rows = rows_of(name, wanted)
            write(name, folder, rows, site / "lm_eval" / "tasks")
            ours = ask_ours(name, folder, home, rows)
            compared(name, ours, ask_theirs(name, folder, site, model), folder / f"answers-{name}.jsonl")


if __name__ == "__main__":
    main()
