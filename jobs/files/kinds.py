"""The kinds of files, and the shapes of their roots."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.files.component import Kept
from jobs.files.record import Late
from jobs.files.shapes import ByKind, Shape

JOB = ByKind(
    {
        "command": Late("jobs.files.command:CommandJob"),
        "sweep": Late("jobs.files.sweep:SweepJob"),
        "pipeline": Late("jobs.files.pipeline:PipelineJob"),
        "spark": Late("jobs.files.spark:SparkJob"),
        "automl": Late("jobs.files.pipeline:AUTOML"),
        "finetuning": Late("jobs.files.finetuning:FINE_TUNING"),
        "tuning": Late("finetune.language.spec:TuneJob"),  # ours; Azure ML knows no such job
        "distillation": Late("jobs.files.finetuning:DistillationJob"),
        "import": Late("jobs.files.transfer_nodes:ImportJob"),
    },
    case="exact",
    otherwise="command",
)
COMPONENT = ByKind(
    {
        "command": Kept(Late("jobs.files.components:CommandComponent", open=True)),
        "parallel": Kept(Late("jobs.files.components:ParallelComponent", open=True)),
        "spark": Kept(Late("jobs.files.components:SparkComponent", open=True)),
        "pipeline": Kept(Late("jobs.files.pipeline:PipelineComponent", open=True)),
        "import": Kept(Late("jobs.files.transfer:ImportComponent", open=True)),
        "data_transfer": Kept(Late("jobs.files.transfer:TRANSFERS", open=True)),
    },
    otherwise="command",
)
KINDS: Mapping[str, Shape] = {
    "job": JOB,
    "component": COMPONENT,
    "data": Late("jobs.files.data:Data"),
    "data_import": Late("jobs.files.data:DataImport"),
    "mltable": Late("jobs.files.data:MLTable"),
    "environment": Late("jobs.files.environment_file:EnvironmentFile"),
    "model": Late("jobs.files.model:Model"),
    "model_package": Late("jobs.files.model:ModelPackage"),
    "datastore": Late("jobs.files.datastore:DATASTORE"),
    "connection": Late("jobs.files.connection:CONNECTION"),
    "compute": Late("jobs.files.compute:COMPUTE"),
    "registry": Late("jobs.files.registry:Registry"),
    "schedule": Late("jobs.files.schedule:Schedule"),
    "workspace": Late("jobs.files.workspace_file:WorkspaceFile"),
}
