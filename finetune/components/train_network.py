"""Train a torch network for tables."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from finetune.components import door, tables_training
from finetune.tabular import keeping, network, scores, tables, training
from finetune.tabular.problems import Looked, Problem, look


def main(given: argparse.Namespace) -> None:
    """Train, tell each epoch, and keep the network that was best."""
    problem = tables_training.problem_of(given)
    recipe = network.Recipe(width=given.width, blocks=given.blocks, epochs=given.epochs, dropout=given.dropout,
                            learning_rate=given.learning_rate)  # fmt: skip
    looked = look(tables.read(given.train), problem)
    for event in network.fit(looked, problem, recipe):
        if isinstance(event, network.Epoch):
            door.log({"loss": event.loss, "held_out_loss": event.held_out}, step=event.number)
        else:
            _keep(event, looked, problem, given)


def _keep(trained: network.TableNetwork, looked: Looked, problem: Problem, given: argparse.Namespace) -> None:
    seen = tables.read(given.validation) if given.validation else looked.rows
    inputs = training.inputs(looked, seen)
    chances = trained.predict_proba(inputs) if problem.task == "classification" else None
    measured = scores.measure(problem, seen, trained.predict(inputs), chances)
    made = training.Trained(model=trained, problem=problem, looked=looked, metrics=measured)
    tables_training.tell(made, {"width": given.width, "blocks": given.blocks}, seen=not given.validation)
    example = training.inputs(looked, looked.rows.head(200))
    with tempfile.TemporaryDirectory() as folder:
        trained.save(Path(folder) / "network")
        keeping.keep_own(given.model, Path(folder) / "network", loader="finetune.tabular.network", example=example,
                         said=trained.predict(example))  # fmt: skip
    keeping.write_about(given.model, problem, numbers=looked.numbers, categories=looked.categories, metrics=measured)


if __name__ == "__main__":
    parser = door.options(__doc__)
    door.problem_options(parser)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--dropout", type=float, default=0.1)
    door.start(main, parser)
