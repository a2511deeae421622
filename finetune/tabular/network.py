"""A torch network for tables: words as learnt vectors, numbers scaled, residual blocks; kept as safetensors and JSON.

The module is also the loader of the MLflow model: `_load_pyfunc` is what MLflow calls.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import nn

from finetune.tabular.problems import Looked, Problem
from workspace.errors import Invalid

if TYPE_CHECKING:
    from pandas import DataFrame

_SHAPE, _WEIGHTS = "network.json", "network.safetensors"
MISSING = "\x00missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the network is made and trained."""

    width: int = 128
    blocks: int = 2
    dropout: float = 0.1
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    epochs: int = 30
    batch: int = 256
    patience: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.width, self.blocks, self.epochs, self.batch) < 1:
            raise Invalid("width, blocks, epochs and batch must be at least 1")
        if not 0 <= self.dropout < 1 or self.learning_rate <= 0:
            raise Invalid("dropout is from 0 to below 1, learning_rate above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What the network was shown: words by column, means and spreads of numbers, and what it answers."""

    task: str
    numbers: Mapping[str, tuple[float, float]]
    words: Mapping[str, Sequence[str]]
    answers: Sequence[Any]  # classes, names of labels, or mean and spread of the target


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the rows: the loss of those trained on and of those held out."""

    number: int
    loss: float
    held_out: float


class Network(nn.Module):  # type: ignore[misc]
    """Vectors of words beside numbers, then blocks that add to what they are given."""

    def __init__(self, columns: Columns, width: int, blocks: int, dropout: float) -> None:
        super().__init__()
        sizes = [min(32, 1 + len(words) // 2) for words in columns.words.values()]
        # Word 0 is what was never seen.
        pairs = zip(columns.words.values(), sizes, strict=True)
        self.words = nn.ModuleList(nn.Embedding(len(words) + 1, size) for words, size in pairs)
        outputs = 1 if columns.task == "regression" else len(columns.answers)
        self.first = nn.Linear(2 * len(columns.numbers) + sum(sizes), width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout),
                          nn.Linear(width, width))
            for _ in range(blocks)
        )  # fmt: skip
        self.last = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, outputs))

    def forward(self, numbers: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        seen = [embed(words[:, place]) for place, embed in enumerate(self.words)]
        hidden = self.first(torch.cat([numbers, *seen], dim=1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        answer: torch.Tensor = self.last(hidden)
        return answer


class TableNetwork:
    """A trained network with what it needs to be asked."""

    def __init__(self, columns: Columns, recipe: Recipe, network: Network) -> None:
        self.columns, self.recipe, self.network = columns, recipe, network.eval()

    @property
    def classes_(self) -> Sequence[Any]:
        """The classes, as scikit-learn's models tell them."""
        return tuple(self.columns.answers) if self.columns.task == "classification" else ()

    def predict(self, rows: DataFrame, params: Any = None) -> Any:  # noqa: ARG002 - MLflow's signature
        """Return classes, numbers, or a column of 0 and 1 for each label."""
        scores = self._scores(rows)
        if self.columns.task == "regression":
            mean, spread = self.columns.answers
            return scores[:, 0] * spread + mean
        if self.columns.task == "multilabel":
            return (scores > 0).astype(int)
        return numpy.asarray(self.columns.answers)[scores.argmax(axis=1)]

    def predict_proba(self, rows: DataFrame) -> Any:
        """Return the probability of each class."""
        scores = torch.from_numpy(self._scores(rows))
        return (torch.sigmoid(scores) if self.columns.task == "multilabel" else torch.softmax(scores, dim=1)).numpy()

    def save(self, folder: Path) -> None:
        """Write the network: numbers as safetensors, all else as JSON."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.network.state_dict(), folder / _WEIGHTS)
        told = {"columns": asdict(self.columns), "recipe": asdict(self.recipe)}
        (folder / _SHAPE).write_text(json.dumps(told, indent=1) + "\n")

    def _scores(self, rows: DataFrame) -> Any:
        with torch.inference_mode():
            return self.network(*tensors(self.columns, rows)).numpy()


def load(folder: Path) -> TableNetwork:
    """Return the network that was written into a folder."""
    from safetensors.torch import load_file

    told = json.loads((folder / _SHAPE).read_text())
    columns, recipe = Columns(**told["columns"]), Recipe(**told["recipe"])
    network = Network(columns, recipe.width, recipe.blocks, 0.0)
    network.load_state_dict(load_file(folder / _WEIGHTS))
    return TableNetwork(columns, recipe, network)


def _load_pyfunc(path: str) -> TableNetwork:
    return load(Path(path))


def fit(looked: Looked, problem: Problem, recipe: Recipe) -> Iterator[Epoch | TableNetwork]:
    """Train, one event an epoch; the last event is the network as it was best on the tenth that it never saw."""
    torch.manual_seed(recipe.seed)
    columns = columns_of(looked, problem)
    given = tensors(columns, looked.rows)
    target = _target(columns, problem, looked.rows)
    order = torch.randperm(len(target))
    kept, held = order[max(1, len(order) // 10) :], order[: max(1, len(order) // 10)]
    network = Network(columns, recipe.width, recipe.blocks, recipe.dropout)
    loss_of = _losses(problem.task)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs)
    best, best_state, since = float("inf"), network.state_dict(), 0
    for number in range(1, recipe.epochs + 1):
        network.train()
        total = 0.0
        for batch in kept[torch.randperm(len(kept))].split(recipe.batch):
            optimizer.zero_grad()
            loss = loss_of(network(given[0][batch], given[1][batch]), target[batch])
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            total += loss.item() * len(batch)
        schedule.step()
        network.eval()
        with torch.inference_mode():
            now = loss_of(network(given[0][held], given[1][held]), target[held]).item()
        if not numpy.isfinite(total):
            hint = f"learning_rate {recipe.learning_rate:g} is too large: try {recipe.learning_rate / 10:g}"
            raise Invalid(f"the loss is no number any more in epoch {number}", hint=hint)
        yield Epoch(number, total / len(kept), now)
        since += 1
        if now < best:
            best, since = now, 0
            best_state = {name: value.clone() for name, value in network.state_dict().items()}
        if since >= recipe.patience:
            break
    network.load_state_dict(best_state)
    yield TableNetwork(columns, recipe, network)


def columns_of(looked: Looked, problem: Problem) -> Columns:
    """Return what a network needs to know of the rows that it learns from."""
    rows = looked.rows
    numbers = {}
    for name in looked.numbers:
        mean, spread = rows[name].mean(), rows[name].std()
        numbers[name] = (float(mean), float(spread) if spread > 0 else 1.0)
    words = {name: sorted(rows[name].fillna(MISSING).unique()) for name in looked.categories}
    answers: Sequence[Any]
    if problem.task == "classification":
        answers = sorted(each.item() if hasattr(each, "item") else each for each in rows[problem.target].unique())
    elif problem.task == "regression":
        answers = (float(rows[problem.target].mean()), float(rows[problem.target].std()) or 1.0)
    elif problem.task == "multilabel":
        answers = list(problem.targets)
    else:
        raise Invalid(f"the network learns no {problem.task}", hint="train_ranking, train_forecast")
    return Columns(task=problem.task, numbers=numbers, words=words, answers=answers)


def tensors(columns: Columns, rows: DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows as a network takes them: each number with a mark whether it is missing, words by their places."""
    import pandas

    parts = []
    for name, (mean, spread) in columns.numbers.items():
        value = (pandas.to_numeric(rows[name], errors="coerce").to_numpy(dtype=numpy.float32) - mean) / spread
        absent = numpy.isnan(value)
        parts += [numpy.where(absent, 0.0, value), absent.astype(numpy.float32)]
    found = numpy.stack(parts, axis=1) if parts else numpy.zeros((len(rows), 0))
    places = [_places(words, rows[name]) for name, words in columns.words.items()]
    words = numpy.stack(places, axis=1) if places else numpy.zeros((len(rows), 0))
    return torch.tensor(found, dtype=torch.float32), torch.tensor(words, dtype=torch.long)


def _places(words: Sequence[str], column: Any) -> Any:
    known = {word: place for place, word in enumerate(words, 1)}
    there = column.notna()
    return numpy.array([known.get(each, 0) for each in column.astype(str).where(there, MISSING)])


def _target(columns: Columns, problem: Problem, rows: DataFrame) -> torch.Tensor:
    if problem.task == "multilabel":
        return torch.tensor(rows[list(problem.targets)].to_numpy(dtype=numpy.float32))
    if problem.task == "regression":
        mean, spread = columns.answers
        return torch.tensor(((rows[problem.target] - mean) / spread).to_numpy(dtype=numpy.float32))
    known = {answer: place for place, answer in enumerate(columns.answers)}
    return torch.tensor([known[each] for each in rows[problem.target]])


def _losses(task: str) -> Any:
    if task == "classification":
        return nn.CrossEntropyLoss()
    if task == "multilabel":
        return nn.BCEWithLogitsLoss()
    return lambda said, target: nn.functional.mse_loss(said[:, 0], target)
