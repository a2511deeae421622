"""Train on pictures in folders named for their classes."""

from __future__ import annotations

import argparse
import base64
import tempfile
from pathlib import Path

from finetune.components import door
from finetune.tabular import keeping, pictures


def main(given: argparse.Namespace) -> None:
    """Train, tell each epoch, and keep the network that was best."""
    recipe = pictures.Recipe(size=given.size, width=given.width, epochs=given.epochs, learning_rate=given.learning_rate)
    for event in pictures.fit(given.pictures, recipe):
        if isinstance(event, pictures.Epoch):
            door.log({"loss": event.loss, "accuracy": event.accuracy}, step=event.number)
        else:
            _keep(event, given)


def _keep(trained: pictures.PictureNetwork, given: argparse.Namespace) -> None:
    import pandas

    first = next(path for path in sorted(given.pictures.rglob("*")) if path.suffix.lower() in pictures.ENDINGS)
    example = pandas.DataFrame({pictures.COLUMN: [base64.b64encode(first.read_bytes()).decode()]})
    with tempfile.TemporaryDirectory() as folder:
        trained.save(Path(folder) / "pictures")
        keeping.keep_own(given.model, Path(folder) / "pictures", loader="finetune.tabular.pictures", example=example,
                         said=trained.predict(example))  # fmt: skip


if __name__ == "__main__":
    parser = door.options(__doc__)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    door.start(main, parser)
