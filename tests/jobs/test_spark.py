"""Spark jobs: what `spark-submit` is told, and a real one where PySpark can be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.create import create
from jobs.files import read_job
from jobs.files.command import CommandJob
from jobs.files.environment import Environment
from jobs.files.spark import SparkJob
from jobs.folders import outputs_of
from jobs.needs import Needs
from jobs.spark import command_of, environment_of
from jobs.submit import stream, wait
from workspace.home import Workspace

GIB = 2**30
JOB = """
type: spark
name: count
code: src
entry: {file: count.py}
py_files: [helper.py]
conf:
  spark.driver.cores: 1
  spark.driver.memory: 1g
  spark.executor.cores: 2
  spark.executor.memory: 2g
  spark.executor.instances: 3
  spark.sql.shuffle.partitions: 3
  spark.sql.adaptive.enabled: true
inputs:
  rows: {type: uri_file, path: rows.csv, mode: direct}
outputs:
  sums: {type: uri_folder, mode: direct}
args: --rows ${{inputs.rows}} --sums ${{outputs.sums}}
resources: {instance_type: standard_e4s_v3, runtime_version: "3.5"}
environment:
  image: ubuntu
  conda_file: {dependencies: [python=3.11, {pip: [pyspark==3.5.*, setuptools]}]}
"""
COUNT = """
import argparse
from pyspark.sql import SparkSession
from pyspark.sql.functions import udf
import helper
parser = argparse.ArgumentParser()
parser.add_argument("--rows")
parser.add_argument("--sums")
given = parser.parse_args()
spark = SparkSession.builder.getOrCreate()
print("cores", spark.sparkContext.defaultParallelism, spark.conf.get("spark.sql.shuffle.partitions"))
rows = spark.read.csv(given.rows, header=True, inferSchema=True)
twice = udf(helper.twice, "int")
sums = rows.groupBy("store").sum("sales").withColumn("twice", twice("sum(sales)"))
sums.coalesce(1).write.csv(given.sums, mode="overwrite")
spark.stop()
"""


def spark_job(folder: Path, text: str = JOB) -> SparkJob:
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src" / "count.py").write_text(COUNT)
    (folder / "src" / "helper.py").write_text("def twice(number):\n    return int(number) * 2\n")
    (folder / "rows.csv").write_text("store,sales\n1,2\n1,3\n2,4\n")
    (folder / "job.yml").write_text(text)
    job = read_job(folder / "job.yml")
    assert isinstance(job, SparkJob)
    return job


def test_spark_is_told_cores_memory_files_and_configuration(tmp_path: Path) -> None:
    command = command_of(spark_job(tmp_path), cores=2, memory=16 * GIB)
    assert isinstance(command, CommandJob)
    line = command.command
    assert line.startswith("exec spark-submit --master 'local[2]' --driver-memory 2048m ")
    assert "--py-files helper.py count.py --rows ${{inputs.rows}} --sums ${{outputs.sums}}" in line
    assert "--conf spark.sql.shuffle.partitions=3 --conf spark.sql.adaptive.enabled=true" in line
    assert "spark.executor" not in line
    assert "--conf spark.driver.bindAddress=127.0.0.1" in line


def test_the_driver_takes_no_more_memory_than_there_is(tmp_path: Path) -> None:
    assert "--driver-memory 819m " in command_of(spark_job(tmp_path), cores=1, memory=GIB).command


def test_an_environment_without_spark_gets_the_one_of_the_runtime(tmp_path: Path) -> None:
    text = JOB.partition("environment:")[0].replace('"3.5"', '"3.4"')
    found = environment_of(spark_job(tmp_path, text))
    assert isinstance(found, Environment)
    assert found.conda is not None
    assert found.conda["dependencies"][0] == "python=3.10"
    assert found.conda["dependencies"][1]["pip"][0] == "pyspark==3.4.*"
    conda = "environment:\n  image: ubuntu\n  conda_file: {dependencies: [python=3.9, {pip: [numpy==1.26.*]}]}\n"
    found = environment_of(spark_job(tmp_path, text + conda))
    assert isinstance(found, Environment)
    assert found.conda is not None
    assert found.conda["dependencies"][0] == "python=3.9"
    assert found.conda["dependencies"][1]["pip"][:2] == ["numpy==1.26.*", "pyspark==3.4.*"]
    assert not [line for line in found.conda["dependencies"][1]["pip"] if line.startswith("numpy<")]


def test_an_environment_that_names_spark_is_left_as_it_is(tmp_path: Path) -> None:
    job = spark_job(tmp_path)
    assert environment_of(job) is job.environment


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_spark_job_runs_on_this_machine(workspace: Workspace, tmp_path: Path) -> None:
    job = create(workspace, spark_job(tmp_path))
    assert job.needs == Needs(cpus=2)
    ended = wait(workspace, "count", seconds=1000)
    said = b"".join(stream(workspace, "count")).decode()
    assert ended.status == "Completed", said[-5000:]
    assert "cores 2 3" in said
    parts = (outputs_of(workspace.home, "count") / "sums").glob("part-*.csv")
    assert sorted("".join(path.read_text() for path in parts).split()) == ["1,5,10", "2,4,8"]
