"""Pictures in folders named for their classes: a small convolutional network, kept as safetensors and JSON.

The module is also the loader of the MLflow model, which takes pictures as base64 in the column `image`.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import nn

from workspace.errors import Invalid, Location

if TYPE_CHECKING:
    from pandas import DataFrame

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
COLUMN = "image"
_SHAPE, _WEIGHTS = "pictures.json", "pictures.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How large pictures are made, and how the network is trained."""

    size: int = 64
    width: int = 32
    epochs: int = 15
    batch: int = 32
    learning_rate: float = 2e-3
    flips: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 8 or min(self.width, self.epochs, self.batch) < 1:
            raise Invalid("a picture has 8 dots a side at least; width, epochs and batch are at least 1")


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the pictures, and how many of those held out were told rightly."""

    number: int
    loss: float
    accuracy: float


class PictureNetwork:
    """A trained network with its classes."""

    def __init__(self, classes: tuple[str, ...], size: int, width: int, network: nn.Module) -> None:
        self.classes, self.size, self.width, self.network = classes, size, width, network.eval()

    def predict(self, rows: DataFrame, params: Any = None) -> Any:  # noqa: ARG002 - MLflow's signature
        """Return the class of each picture, which is base64 text or bytes."""
        given = [_opened(io.BytesIO(_bytes(each)), self.size) for each in rows[COLUMN]]
        return numpy.array(self.classes)[self.scores(numpy.stack(given)).argmax(axis=1)]

    def scores(self, pictures: Any) -> Any:
        """Return the score of each class for pictures of the right size."""
        with torch.inference_mode():
            return self.network(_tensor(pictures)).numpy()

    def save(self, folder: Path) -> None:
        """Write the network: numbers as safetensors, all else as JSON."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.network.state_dict(), folder / _WEIGHTS)
        told = {"classes": self.classes, "size": self.size, "width": self.width}
        (folder / _SHAPE).write_text(json.dumps(told) + "\n")


def fit(folder: Path, recipe: Recipe) -> Iterator[Epoch | PictureNetwork]:
    """Train on `folder/CLASS/*.png`, one event an epoch; the last event is the network at its best."""
    torch.manual_seed(recipe.seed)
    classes, pictures, labels = read(folder, recipe.size)
    order = torch.randperm(len(labels))
    held, kept = order[: max(1, len(order) // 5)], order[max(1, len(order) // 5) :]
    given, target = _tensor(pictures), torch.tensor(labels)
    network = _network(len(classes), recipe.width)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate)
    steps = recipe.epochs * -(-len(kept) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=max(2, steps))
    best, state = -1.0, network.state_dict()
    for number in range(1, recipe.epochs + 1):
        network.train()
        total = 0.0
        for batch in kept[torch.randperm(len(kept))].split(recipe.batch):
            shown = given[batch]
            if recipe.flips and torch.rand(()) < 0.5:
                shown = shown.flip(3)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(shown), target[batch], label_smoothing=0.05)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        network.eval()
        with torch.inference_mode():
            right = (network(given[held]).argmax(dim=1) == target[held]).float().mean().item()
        if right >= best:
            best, state = right, {name: value.clone() for name, value in network.state_dict().items()}
        yield Epoch(number, total / len(kept), right)
    network.load_state_dict(state)
    yield PictureNetwork(classes, recipe.size, recipe.width, network)


def read(folder: Path, size: int) -> tuple[tuple[str, ...], Any, list[int]]:
    """Return the classes, all pictures in one size, and the place of each one's class."""
    classes = tuple(sorted(each.name for each in folder.iterdir() if each.is_dir())) if folder.is_dir() else ()
    files = [(path, place) for place, name in enumerate(classes) for path in sorted((folder / name).rglob("*"))
             if path.suffix.lower() in ENDINGS]  # fmt: skip
    if len({place for _, place in files}) < 2:
        hint = "a folder for each class, with pictures in it"
        raise Invalid(
            f"{str(folder)!r} holds pictures of {len({p for _, p in files})} classes: it takes two", hint=hint
        )
    pictures = []
    for path, _ in files:
        try:
            pictures.append(_opened(path, size))
        except (OSError, ValueError) as error:
            raise Invalid(f"this is no picture: {error}", hint="mend or remove it", at=Location(path)) from None
    return classes, numpy.stack(pictures), [place for _, place in files]


def load(folder: Path) -> PictureNetwork:
    """Return the network that was written into a folder."""
    from safetensors.torch import load_file

    told = json.loads((folder / _SHAPE).read_text())
    network = _network(len(told["classes"]), told["width"])
    network.load_state_dict(load_file(folder / _WEIGHTS))
    return PictureNetwork(tuple(told["classes"]), told["size"], told["width"], network)


def _load_pyfunc(path: str) -> PictureNetwork:
    return load(Path(path))


def _network(classes: int, width: int) -> nn.Module:
    def block(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)
        )

    return nn.Sequential(
        block(3, width), block(width, 2 * width), block(2 * width, 4 * width), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(4 * width, classes),
    )  # fmt: skip


def _opened(source: Any, size: int) -> Any:
    from PIL import Image

    with Image.open(source) as picture:
        return numpy.asarray(picture.convert("RGB").resize((size, size)), dtype=numpy.uint8)


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray) else base64.b64decode(str(value).rpartition(",")[2])


def _tensor(pictures: Any) -> torch.Tensor:
    return torch.from_numpy(numpy.asarray(pictures, dtype=numpy.float32)).permute(0, 3, 1, 2) / 127.5 - 1
