"""TruthfulQA with one right choice among the wrong ones: the likeliest text is the answer. A task written in Python.

`studiolo eval run examples/evals/truthfulqa.py --set rows=50`
"""

import json
from pathlib import Path

from studiolo import Task, task

DATA = Path(__file__).parents[3] / "shared" / "data" / "eval" / "truthfulqa_817.jsonl"


@task
def truthfulqa(rows: int = 817) -> Task:
    """Take the first rows; each has its best answer among the incorrect ones."""
    with DATA.open(encoding="utf-8") as file:
        given = [json.loads(line) for line in file][:rows]
    return Task(
        name="truthfulqa",
        data=[
            {
                "id": row["id"],
                "question": row["question"],
                "choices": [row["best_answer"], *row["incorrect_answers"]],
                "expected": 0,
                "category": row["category"],
            }
            for row in given
        ],
        mapping={"question": "${data.question}", "cluster": "${data.category}"},
        prompt="Q: {{question}}\nA:",
        choosing="loglikelihood",
        scorers=("exact",),
        concurrency=4,
    )
