"""The process of a training: it looks at the data, has a process of its own train, tells how it goes, keeps the model.

`python -m studiolo.tuning.conduct NAME`. What trains may be killed, and this process too: the next one goes on from
the last checkpoint.
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

from finetune.language.given import Given
from finetune.language.spec import TuneJob
from jobs import run_log
from jobs.folders import job_folder
from jobs.parents import Family, lead
from jobs.spec import BoundInput
from studiolo.tuning import contamination, trainer
from studiolo.tuning.following import Following

if TYPE_CHECKING:
    from workspace import Asset

TASKS = {"classify": "text-classification", "tag": "token-classification", "embed": "embedding", "rerank": "rerank"}
MODEL = "studiolo.model"  # the tag that says what came out


def work(family: Family) -> None:
    """Train, and keep what was learnt."""
    job = family.read()
    assert isinstance(job, TuneJob)  # noqa: S101  nothing else is submitted with this module
    if MODEL in family.workspace.runs.get(family.spec.run_id).tags:
        return  # killed when all was done
    given = _given(family, job)
    contamination.refuse(family.workspace, _inputs(family), job)
    run_log.log(family.workspace.light, family.spec.run_id, params=_params(job))
    following = Following(family, given)
    trainer.run(family, given, following)
    _keep(family, given, following)


def _given(family: Family, job: TuneJob) -> Given:
    """Settle what the process that trains is told; what one before it has left stays."""
    folder = job_folder(family.workspace.home, family.job.name) / "work"
    folder.mkdir(mode=0o700, exist_ok=True)
    source = job.checkpoints.resume_from
    if source and not (folder / "checkpoints").exists():
        before = job_folder(family.workspace.home, source) / "work" / "checkpoints"
        if before.is_dir():
            shutil.copytree(before, folder / "checkpoints")
    base = _asset(family, "base")
    return Given(
        job=job,
        base=family.given("base"),
        base_name=str(base.properties.get("base_model") or base.name),
        data=family.given("data"),
        validation=family.given("validation") if job.validation else None,
        work=folder,
        output=folder / "output",
        threads=max(1, int(family.job.needs.cpus) // job.distributed.processes),
        memory=family.job.needs.memory,
    )


def _keep(family: Family, given: Given, following: Following) -> None:
    """Make the model an asset with its card; the checkpoints have done their work."""
    from finetune.after.model_card import Result
    from studiolo.tuning.registration import Trained, register

    job = given.job
    measured = [
        Result(dataset="rows kept apart", metric=name, value=value) for name, value in following.measured.items()
    ]
    asset = register(
        family.workspace, family.spec.run_id,
        Trained(
            name=job.output or family.job.name, folder=given.output, task=TASKS.get(job.method, "chat"),
            method=job.method, base=_asset(family, "base"), data=[each for _, each in _inputs(family)],
            settings=_params(job) | following.summary(), job=family.job.name, code=job.folder,
            results=measured,
        ),
    )  # fmt: skip
    print(f"kept as {asset.ref}", flush=True)  # noqa: T201  the log of the job
    shutil.rmtree(given.checkpoints, ignore_errors=True)
    shutil.rmtree(given.output, ignore_errors=True)


def _asset(family: Family, name: str) -> Asset:
    bound = family.spec.inputs[name]
    assert isinstance(bound, BoundInput)  # noqa: S101  inputs of a training are no literals
    return family.workspace.assets.get(bound.asset.partition(":")[0], bound.asset)


def _inputs(family: Family) -> list[tuple[str, Asset]]:
    """Return the data that goes in, by name, as assets."""
    names = [name for name in ("data", "validation") if name in family.spec.inputs]
    return [(name, _asset(family, name)) for name in names if getattr(family.spec.inputs[name], "asset", "")]


def _params(job: TuneJob) -> dict[str, Any]:
    """Return what was chosen, for the run and for the card."""
    chosen = {
        "base": job.base.removeprefix("azureml:"), "method": job.method, "adapter": job.adapter.kind,
        "learning_rate": job.rate, "schedule": job.schedule,
        "epochs": f"{job.steps} steps" if job.steps else job.epochs,
        "batch_size": job.batch_size, "accumulation": job.accumulation, "max_length": job.max_length,
        "train_on": job.train_on, "seed": job.seed,
    }  # fmt: skip
    if not job.is_full:
        chosen |= {"rank": job.adapter.rank, "alpha": job.adapter.scale, "dropout": job.adapter.dropout}
    if job.is_preference:
        chosen |= {"beta": job.preference.beta}
    return {key: str(value) for key, value in chosen.items()}


if __name__ == "__main__":
    sys.exit(lead(sys.argv[1], work))
