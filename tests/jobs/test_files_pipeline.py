"""Pipelines: steps of every form, what they are wired to, and what they are with their values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.files import read_component, read_job
from jobs.files.component import Component
from jobs.files.components import CommandComponent, ParallelComponent
from jobs.files.control_flow import DoWhile, IfElse, ParallelFor
from jobs.files.nodes import CommandNode, ParallelNode, SparkNode, SweepNode
from jobs.files.pipeline import PipelineComponent, PipelineJob, PipelineNode, settled
from jobs.files.ports import InputPort, Output
from jobs.files.references import Reference
from jobs.files.resources import Resources
from tests.jobs.verdicts import CORPUS
from workspace.errors import Invalid


def pipeline(name: str) -> PipelineJob:
    job = read_job(CORPUS / "job" / f"pipeline_{name}.yml")
    assert isinstance(job, PipelineJob)
    return job


def test_a_job_written_in_place_becomes_a_step_with_a_component_without_a_name() -> None:
    train = pipeline("inline").jobs["train"]
    assert isinstance(train, CommandNode)
    assert isinstance(train.component, CommandComponent)
    assert (train.key, train.inline, train.component.name) == ("train", True, None)
    assert train.compute == "azureml:gpu-cluster"
    assert train.component.command.startswith("python main.py --rows ${{inputs.rows}}")
    assert train.inputs["rows"] == "${{parent.jobs.prepare.outputs.rows}}"
    assert train.outputs["model"] == Output(path="${{parent.outputs.model}}")


def test_component_files_are_read_with_their_ports() -> None:
    train = pipeline("components").jobs["train"]
    assert isinstance(train, CommandNode)
    assert isinstance(train.component, CommandComponent)
    assert (train.inline, train.component.name) == (False, "train")
    assert train.component.inputs["rate"] == InputPort(type="number", default=0.1, min=0, max=1)
    assert train.component.code == CORPUS / "job" / "src"


def test_registered_components_are_references() -> None:
    jobs = pipeline("registered_components").jobs
    found = [step.component for step in jobs.values() if isinstance(step, CommandNode)]
    assert found == [
        Reference(name="train", version="1"), Reference(name="train", label="latest"), Reference(name="train"),
        Reference(name="c", version="1", registry="r"),
    ]  # fmt: skip
    assert isinstance(jobs["five"], PipelineNode)
    assert isinstance(jobs["six"], ParallelNode)


def test_a_pipeline_may_be_a_step() -> None:
    inner = pipeline("nested").jobs["inner"]
    assert isinstance(inner, PipelineNode)
    assert isinstance(inner.component, PipelineComponent)
    assert list(inner.component.jobs) == ["prepare", "train"]


def test_a_pipeline_may_be_a_component_alone() -> None:
    assert list(pipeline("component_alone").steps) == ["prepare", "train"]


def test_steps_of_every_type_are_read() -> None:
    search = pipeline("sweep_step").jobs["search"]
    assert isinstance(search, SweepNode)
    assert isinstance(search.trial, Component)
    score = pipeline("parallel_inline").jobs["score"]
    assert isinstance(score, ParallelNode)
    assert isinstance(score.component, ParallelComponent)
    assert score.component.task is not None
    assert score.component.task.entry_script == "score.py"
    assert isinstance(pipeline("spark_inline").jobs["clean"], SparkNode)
    assert type(pipeline("automl_step").jobs["learn"]).__name__ == "Classification"


def test_control_flow_is_read() -> None:
    choose = pipeline("if_else").jobs["choose"]
    again = pipeline("do_while").jobs["again"]
    every = pipeline("parallel_for_json").jobs["all"]
    assert isinstance(choose, IfElse)
    assert (choose.true_block, choose.false_block) == (("${{parent.jobs.good}}",), ("${{parent.jobs.bad}}",))
    assert isinstance(again, DoWhile)
    assert (again.condition, again.mapping, again.limits.max_iteration_count) == ("more", {"next": ("n",)}, 5)
    assert isinstance(every, ParallelFor)
    assert every.items == ({"n": 1}, {"n": 2})


def test_a_step_is_settled_with_the_values_that_its_expressions_stand_for() -> None:
    values = {"parent.inputs.nodes": 2, "parent.inputs.target": "azureml:c", "parent.inputs.minutes": 3}
    step = settled(pipeline("bindings_in_settings").jobs["a"], values.__getitem__)
    assert isinstance(step, CommandNode)
    assert (step.key, step.compute) == ("a", "azureml:c")
    assert step.resources == Resources(instance_count=2)
    assert step.limits.timeout == 3
    assert step.environment_variables == {"N": 2}


def test_settling_refuses_what_does_not_fit() -> None:
    step = pipeline("bindings_in_settings").jobs["a"]
    values: dict[str, Any] = {"parent.inputs.nodes": "many", "parent.inputs.target": "c", "parent.inputs.minutes": 3}
    with pytest.raises(Invalid, match=r"instance_count.*whole number"):
        settled(step, values.__getitem__)


def test_a_pipeline_component_is_read() -> None:
    component = read_component(CORPUS / "component" / "pipeline_whole.yml")
    assert isinstance(component, PipelineComponent)
    assert (component.name, component.version, list(component.jobs)) == ("both", "1", ["prepare", "look"])


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("refused_pipeline_unknown_step", "there is no step 'b'"),
        ("refused_pipeline_unknown_input", "did you mean 'rate'?"),
        ("refused_pipeline_node_name", "'Train-1' cannot name a step"),
        ("refused_pipeline_step_unknown_key", "did you mean 'limits'?"),
        ("refused_pipeline_component_missing", "no file at './parts/gone.yml'"),
        ("refused_pipeline_component_input_missing", "train needs the input 'rows'"),
        ("refused_pipeline_do_while_mapping", "no input 'm'"),
        ("missed_pipeline_circle", "the steps wait for each other: "),
        ("missed_pipeline_circle_alone", "a → a"),
        ("missed_pipeline_unknown_port", "did you mean 'rate'?"),
        ("missed_pipeline_unknown_output_of_step", "the step 'a' has no output 'table'"),
        ("missed_pipeline_port_type", "is of type uri_file, and uri_folder comes"),
        ("missed_pipeline_literal_out_of_range", "7.0 is above the most, 1.0"),
        ("missed_pipeline_literal_type", "is of type number, and 'fast' comes"),
    ],
)
def test_what_is_wrong_says_what_and_where(name: str, what: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_job(CORPUS / "job" / f"{name}.yml")
    assert what in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.at is not None
    assert (caught.value.at.path.name, caught.value.at.line is not None) == (f"{name}.yml", True)


def test_files_that_name_each_other_in_a_circle_are_refused(tmp_path: Path) -> None:
    text = "type: pipeline\nsettings: {default_compute: serverless}\njobs: {a: {type: pipeline, component: ./b.yml}}\n"
    (tmp_path / "a.yml").write_text(text)
    (tmp_path / "b.yml").write_text("name: b\ntype: pipeline\njobs: {b: {type: pipeline, component: ./b.yml}}\n")
    with pytest.raises(Invalid, match="leads back to itself"):
        read_job(tmp_path / "a.yml")


def test_a_mistake_in_a_component_file_is_told_with_that_file_s_line(tmp_path: Path) -> None:
    (tmp_path / "part.yml").write_text("name: part\ncommand: echo ${{inputs.x}}\nenvironment: azureml:e:1\n")
    (tmp_path / "job.yml").write_text("type: pipeline\ncompute: azureml:c\njobs: {a: {component: ./part.yml}}\n")
    with pytest.raises(Invalid) as caught:
        read_job(tmp_path / "job.yml")
    assert "part.yml:2:1" in str(caught.value)
