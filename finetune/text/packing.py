"""A classifier or tagger as a model of MLflow: what serves it needs no code, and its weights stay safetensors."""

from __future__ import annotations

import logging
import shutil
import tempfile
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workspace.errors import Invalid

if TYPE_CHECKING:
    from finetune.text.classify import Reader

Kind = Literal["text-classification", "token-classification"]
KINDS = ("text-classification", "token-classification")
LOADER = "finetune.text.packing"
WEIGHTS = "data/model"  # where in MLflow's folder the model lies as transformers reads it
_PACKAGES = ("studiolo", "torch", "transformers", "mlflow", "pandas")


def pack(folder: Path, into: Path) -> Path:
    """Write the model in a folder as one of MLflow, with its signature; each row of the answers is one text's.

    A row has `label` and `score`; of a multi-label model `labels` and `scores`; of a tagger `entities`.
    """
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    TextModel(folder)  # what cannot be read is not packed
    made = Path(tempfile.mkdtemp(dir=into.parent, prefix=f".{into.name}-"))
    try:
        shutil.copytree(folder, made / "model")
        mlflow.pyfunc.save_model(
            str(made / "packed"),
            loader_module=LOADER,
            data_path=str(made / "model"),
            signature=ModelSignature(Schema([ColSpec("string", "text")])),
            pip_requirements=[f"{name}=={metadata.version(name).partition('+')[0]}" for name in _PACKAGES],
        )
        shutil.rmtree(into, ignore_errors=True)
        (made / "packed").rename(into)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return into


def weights_of(folder: Path) -> Path:
    """Return where transformers finds the model, whether MLflow's files are around it or not."""
    return folder / WEIGHTS if (folder / "MLmodel").is_file() else folder


class TextModel:
    """A loaded model as MLflow asks it: a table with the texts in, a table with a row for each text out."""

    def __init__(self, folder: Path) -> None:
        from finetune.text import classify, tag

        kind = kind_of(folder)
        self._classifier = classify.Reader(folder) if kind == KINDS[0] else None
        self._tagger = tag.Tagger(folder) if kind == KINDS[1] else None

    def predict(self, given: Any, params: Any = None) -> Any:  # noqa: ARG002  MLflow gives it
        """Answer the texts of a table's first column, or of a list."""
        import pandas

        texts = _texts(given)
        if self._tagger is not None:
            found = [{"entities": [asdict(each) for each in row]} for row in self._tagger.entities(texts)]
        else:
            assert self._classifier is not None  # noqa: S101 - one of the two
            found = [_answer(self._classifier, row) for row in self._classifier.probabilities(texts)]
        return pandas.DataFrame(found)


def kind_of(folder: Path) -> Kind:
    """Return what a model's configuration says that it does; Invalid where it is neither of KINDS."""
    from transformers import AutoConfig

    built = str((AutoConfig.from_pretrained(folder, local_files_only=True).architectures or [""])[0])
    if built.endswith("ForSequenceClassification"):
        return "text-classification"
    if built.endswith("ForTokenClassification"):
        return "token-classification"
    raise Invalid(f"{folder.name} is a {built or 'model of no kind'}, which neither classifies nor tags")


def _answer(classifier: Reader, row: Any) -> dict[str, Any]:
    if not classifier.many:
        place = int(row.argmax())
        return {"label": classifier.classes[place], "score": float(row[place])}
    scores = {name: float(score) for name, score in zip(classifier.classes, row, strict=True)}
    return {"labels": [name for name, score in scores.items() if score > 0.5], "scores": scores}


def _load_pyfunc(path: str) -> TextModel:
    """Load it as MLflow does."""
    return TextModel(Path(path))


def _texts(given: Any) -> list[str]:
    column = given.iloc[:, 0] if hasattr(given, "iloc") and getattr(given, "ndim", 1) == 2 else given
    return [str(text) for text in column]
