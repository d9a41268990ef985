"""Random models of the published shapes, with tokenizers of made-up words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

WORDS = {"encoder": 30_522, "llm": 49_152, "mistral": 32_000}  # vocabularies of the real ones
TOY_WORDS = 512
SPECIAL = ("[UNK]", "[PAD]", "<s>", "</s>")


def words_of(kind: str, toy: bool) -> int:
    """Size of the vocabulary of "encoder", "llm" or "mistral"."""
    return TOY_WORDS if toy else WORDS[kind]


def made_texts(number: int, words: int, toy: bool, seed: int = 0) -> list[str]:
    """Texts of ``words`` words in the middle and 2.5 times as many at most.

    Words are of a topic of 16, so that there is something to learn.
    """
    rng = np.random.default_rng(seed)
    topics = (TOY_WORDS if toy else 8192) // 32
    texts = []
    for length in np.clip(rng.lognormal(np.log(words), 0.5, number), 2, 2.5 * words).astype(int):
        first = 16 * rng.integers(topics)
        texts.append(" ".join(f"w{first + i}" for i in rng.integers(16, size=length)))
    return texts


def made_encoder(directory: Path, toy: bool) -> str:
    """all-MiniLM-L6-v2's shape."""
    import torch
    from transformers import BertConfig, BertModel

    tokenizer = _tokenizer(words_of("encoder", toy), 128)
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}
    if toy:
        sizes = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
    torch.manual_seed(0)
    config = BertConfig(
        **sizes,
        num_attention_heads=4 if toy else 12,
        vocab_size=len(tokenizer),
        initializer_range=0.1,
        pad_token_id=tokenizer.pad_token_id,
    )
    return _save(BertModel(config, add_pooling_layer=False), tokenizer, directory)


def made_llm(directory: Path, toy: bool) -> str:
    """SmolLM2-135M's shape, in bfloat16."""
    import torch
    from transformers import LlamaForCausalLM

    tokenizer = _tokenizer(words_of("llm", toy), 2048)
    torch.manual_seed(0)
    return _save(LlamaForCausalLM(llm_config(toy)).to(torch.bfloat16), tokenizer, directory)


def llm_config(toy: bool) -> Any:
    """The config of `made_llm`."""
    from transformers import LlamaConfig

    sizes = {"hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536}
    if toy:
        sizes = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
    return LlamaConfig(
        **sizes,
        num_attention_heads=4 if toy else 9,
        num_key_value_heads=2 if toy else 3,
        vocab_size=words_of("llm", toy),
        tie_word_embeddings=True,
        initializer_range=0.1,
        max_position_embeddings=2048,
        bos_token_id=SPECIAL.index("<s>"),
        eos_token_id=SPECIAL.index("</s>"),
    )


def mistral_config(toy: bool) -> Any:
    """Mistral-7B's shape, which transformers has as its default."""
    from transformers import MistralConfig

    if not toy:
        return MistralConfig()
    return MistralConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        vocab_size=TOY_WORDS,
    )


def mistral_tokenizer(directory: Path, toy: bool) -> str:
    """A tokenizer for `mistral_config`, without weights."""
    _tokenizer(words_of("mistral", toy), 4096).save_pretrained(directory)
    return str(directory)


def _tokenizer(words: int, longest: int) -> Any:
    """One token per word, ``<s>`` before a text and ``</s>`` after it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = [*SPECIAL, *(f"w{i}" for i in range(words - len(SPECIAL)))]
    ids = {word: number for number, word in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(name, ids[name]) for name in ("<s>", "</s>")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=longest,
    )


def _save(model: Any, tokenizer: Any, directory: Path) -> str:
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return str(directory)
