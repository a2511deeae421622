"""Models of some kilobytes that know nothing: an encoder and a chat model, each with a tokenizer of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

WORDS = (
    "good",
    "bad",
    "red",
    "blue",
    "film",
    "soup",
    "car",
    "house",
    "very",
    "not",
    "number",
    "the",
    "a",
    "in",
    "Paris",
)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_encoder(folder: Path, **settings: Any) -> Path:
    """Write a BERT of two layers and a tokenizer of a few words and all letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(33, 127)]
    known = [*dict.fromkeys([*special, *letters, *(f"##{letter}" for letter in letters), *WORDS])]
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(known)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="[MASK]", model_max_length=64, **names)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    model = BertModel(BertConfig(vocab_size=len(known), max_position_embeddings=64, **(sizes | settings)))
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def tiny_chat(folder: Path, *, seed: int = 0, **settings: Any) -> Path:
    """Write a Llama of two layers whose likeliest answers differ, with a byte-level tokenizer and a ChatML template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([" ".join(WORDS), "system user assistant the answer is"] * 3, trainer)
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in special])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>",
        unk_token="<|endoftext|>", model_max_length=4096, chat_template=TEMPLATE,
    )  # fmt: skip
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(fast), num_key_value_heads=2, max_position_embeddings=4096, bos_token_id=1, eos_token_id=2,
        pad_token_id=2, initializer_range=0.3, tie_word_embeddings=True, **(sizes | settings),
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=2)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def tiny_adapter(base: Path, folder: Path, *, seed: int = 1, **settings: Any) -> Path:
    """Write a LoRA adapter of a model that changes what it says."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    chosen = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]} | settings
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(task_type="CAUSAL_LM", **chosen))
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, weight in tuned.named_parameters():
            if "lora_" in key:
                weight.normal_(std=0.2)
    tuned.save_pretrained(str(folder))
    return folder
