"""A random BERT encoder and a random Llama LLM, two layers each, over one small vocabulary."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

WORDS = [f"{topic}{number}" for topic in ("corn", "ship", "bank", "gold") for number in range(8)]
HIDDEN = 32


def tiny_encoder(directory: Path, seed: int = 0) -> Path:
    """Save an encoder that puts ``[CLS]`` and ``[SEP]`` around a text."""
    tokenizer = word_tokenizer(
        ("[CLS] $A [SEP]", ["[CLS]", "[SEP]"]),
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=16,
    )
    torch.manual_seed(seed)
    model = BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=16,
            initializer_range=0.3,
            pad_token_id=tokenizer.pad_token_id,
        ),
        add_pooling_layer=False,
    )
    return _save(directory, model, tokenizer)


def tiny_llm(directory: Path, seed: int = 0, start_token: bool = False) -> Path:
    """Save an LLM; with ``start_token`` its tokenizer puts ``<s>`` before a text."""
    tokenizer = word_tokenizer(
        ("<s> $A", ["<s>"]) if start_token else None, bos_token="<s>", eos_token="</s>"
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.3,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    return _save(directory, model, tokenizer)


def tiny_bridge(directory: Path, encoder: str, llm: str, lora_rank: int = 0) -> Path:
    """Save a random bridge between the two, with the LoRA layers that training starts with."""
    from smotext_ray.models.bridge import Bridge
    from smotext_ray.models.bridge_config import BridgeConfig
    from smotext_ray.models.lora import Adapter

    settings = {"soft_tokens": 2, "projector_hidden_size": 16, "lora_rank": lora_rank}
    use = ("mean", True, 128)
    Bridge(BridgeConfig(encoder, "", HIDDEN, *use, llm, "", HIDDEN, **settings)).save_pretrained(
        directory
    )
    model = LlamaForCausalLM.from_pretrained(llm).requires_grad_(False)
    Adapter(model, llm, lora_rank).save(directory)
    return directory


def word_tokenizer(
    frame: tuple[str, list[str]] | None, model_max_length: int = 64, **special: str
) -> PreTrainedTokenizerFast:
    """A tokenizer of one token a word; ``frame`` is its post-processing template."""
    names = ["[UNK]", *special.values()]
    ids = {word: number for number, word in enumerate([*names, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if frame is not None:
        template, used = frame
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[(name, ids[name]) for name in used]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        model_max_length=model_max_length,
        **special,
    )


def _save(directory: Path, model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast) -> Path:
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
