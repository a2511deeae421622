"""A GGUF file of ours: llama.cpp itself reads its tokens, its template and its weights as transformers does."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from finetune.after import gguf_file
from finetune.after.parity import EXACT, ROUNDED, Listened, compare, listen, listen_to_gguf
from tests.finetune.tiny_models import tiny_chat
from workspace.errors import Invalid

pytest.importorskip("xllamacpp")
PYTHON = Path(sys.executable)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chat(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def before(base: Path) -> Listened:
    return listen(base, tokens=4)


@pytest.mark.parametrize(("numbers", "tie"), [("f32", EXACT), ("f16", ROUNDED), ("q8_0", None)])
def test_llama_cpp_answers_as_transformers_does(
    base: Path, before: Listened, tmp_path: Path, numbers: gguf_file.Numbers, tie: float | None
) -> None:
    written = gguf_file.write(base, tmp_path / "tiny.gguf", numbers=numbers)
    parity = compare(before, listen_to_gguf(written.file, base, PYTHON, tokens=4), tie=tie)
    assert (written.architecture, written.tensors, parity.conversations) == ("llama", 20, 20)
    assert parity.same_tokens == parity.tokens if numbers == "f32" else parity.same_tokens >= 0.6 * parity.tokens
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Qwen2ForCausalLM", "Qwen3ForCausalLM"])
def test_other_architectures_answer_alike(kind: str, base: Path, tmp_path: Path) -> None:
    import torch
    import transformers

    config = json.loads((base / "config.json").read_text())
    made = getattr(transformers, kind.replace("ForCausalLM", "Config"))(
        **{key: value for key, value in config.items() if key not in ("architectures", "model_type", "head_dim")},
        head_dim=16,
    )
    torch.manual_seed(3)
    getattr(transformers, kind)(made).save_pretrained(tmp_path / "m")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (base / name).is_file():
            shutil.copyfile(base / name, tmp_path / "m" / name)
    written = gguf_file.write(tmp_path / "m", tmp_path / "m.gguf", numbers="f32")
    compare(listen(tmp_path / "m", tokens=3), listen_to_gguf(written.file, tmp_path / "m", PYTHON, tokens=3))


def test_a_file_of_other_weights_is_found(base: Path, before: Listened, tmp_path: Path) -> None:
    other = gguf_file.write(tiny_chat(tmp_path / "other", seed=5), tmp_path / "other.gguf", numbers="f32")
    with pytest.raises(Invalid, match="the answers part at token 1"):
        compare(before, listen_to_gguf(other.file, base, PYTHON, tokens=4))
    other.file.write_bytes(other.file.read_bytes()[:1000])
    with pytest.raises(Invalid, match=r"llama\.cpp cannot answer from other\.gguf"):
        listen_to_gguf(other.file, base, PYTHON)


def test_what_cannot_be_written_says_why(base: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(base, tmp_path / "copy"))
    told = json.loads((copy / "tokenizer.json").read_text())
    told["pre_tokenizer"] = {"type": "Whitespace"}
    (copy / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(Invalid, match="a tokenizer that cuts texts by Whitespace is not written here"):
        gguf_file.write(copy, tmp_path / "x.gguf")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "architectures": ["GPT2LMHeadModel"]}))
    assert gguf_file.refusal(copy) == "a GPT2LMHeadModel is not written here"
    assert not (tmp_path / "x.gguf").exists()
