"""A random xRAG checkpoint in the published format, but small.

As in ``Hannibal046/xrag-7b``: the keys of its config.json, the names of its weights, two
pickle shards with an index, a Llama tokenizer of ``tokenizer.model`` alone, and ``<pad>``
and ``<xRAG>`` added at the end of the vocabulary.
"""

from __future__ import annotations

import io
import json
import tempfile
from functools import cache
from pathlib import Path

import sentencepiece
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken
from transformers import MistralConfig, MistralForCausalLM

TEMPLATE = "[INST] Background: <xRAG> means the same as [/INST]"
HIDDEN = 64
RETRIEVER = 48
PIECES = 360
BYTES = slice(3, 259)  # of the pieces
PAD, XRAG = PIECES, PIECES + 1
SHARDS = ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin")
INDEX = "pytorch_model.bin.index.json"
PROJECTOR = {
    "projector.projector.0.weight": (HIDDEN, RETRIEVER),
    "projector.projector.0.bias": (HIDDEN,),
    "projector.projector.2.weight": (HIDDEN, HIDDEN),
    "projector.projector.2.bias": (HIDDEN,),
}
CONFIG = {
    "_name_or_path": "mistralai/Mistral-7B-Instruct-v0.2",
    "architectures": ["XMistralForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "initializer_range": 0.02,
    "intermediate_size": 128,
    "max_position_embeddings": 32768,
    "model_type": "mistral",
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 1,
    "projector_type": "mlp2x_gelu",
    "retriever_hidden_size": RETRIEVER,
    "rms_norm_eps": 1e-05,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.38.0",
    "use_cache": False,
    "vocab_size": PIECES + 2,
}
TEXTS = [
    "Background: the corn means the same as the ship.",
    "[INST] These two expressions are equivalent in essence [/INST]",
    "Wheat exports rose by ten per cent this year.",
    "The central bank raised its interest rate.",
]


def tiny_xrag(directory: Path, dtype: torch.dtype = torch.bfloat16) -> Path:
    """Write a checkpoint in two pickle shards."""
    write_json(directory / "config.json", CONFIG)
    write_json(directory / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})
    llama_tokenizer(directory)
    first, second = halves(weights(dtype))
    for file, tensors in zip(SHARDS, (first, second), strict=True):
        torch.save(tensors, directory / file)
    index = dict.fromkeys(first, SHARDS[0]) | dict.fromkeys(second, SHARDS[1])
    write_json(directory / INDEX, {"metadata": {"total_size": 0}, "weight_map": index})
    return directory


def tiny_xrag_safetensors(directory: Path, files: int = 2) -> Path:
    """Write the same weights as safetensors: several files with an index, or one."""
    tiny_xrag(directory)
    for old in (*SHARDS, INDEX):
        (directory / old).unlink()
    tensors = weights()
    if files == 1:
        save_file(tensors, directory / "model.safetensors", {"format": "pt"})
        return directory
    index = {}
    for number, half in enumerate(halves(tensors), start=1):
        name = f"model-{number:05}-of-00002.safetensors"
        save_file(half, directory / name, {"format": "pt"})
        index |= dict.fromkeys(half, name)
    write_json(directory / "model.safetensors.index.json", {"weight_map": index})
    return directory


def weights(dtype: torch.dtype = torch.bfloat16) -> dict[str, torch.Tensor]:
    """Random weights of the LLM and the projector, the same each time."""
    generator = torch.Generator().manual_seed(0)
    shapes = {name: t.shape for name, t in original_llm().state_dict().items()} | PROJECTOR
    tensors = {
        # Norms are about 1; the rest is large enough for texts that vary.
        name: torch.randn(shape, generator=generator) * 0.15 + name.endswith("norm.weight")
        for name, shape in shapes.items()
    }
    # No single bytes in texts: detokenizers differ on pieces of characters.
    tensors["lm_head.weight"][BYTES] = 0.0
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def original_llm(dtype: torch.dtype | None = None) -> MistralForCausalLM:
    """The checkpoint's LLM as transformers makes it of the same weights, without an import."""
    model = MistralForCausalLM(MistralConfig.from_dict(CONFIG)).eval()
    if dtype is not None:
        model.load_state_dict({k: v for k, v in weights(dtype).items() if k not in PROJECTOR})
    return model


def halves(tensors: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], ...]:
    """All but the last layer, and the rest with the projector, as the shards are cut."""
    late = {n for n in tensors if "layers.1." in n or not n.startswith("model.layers")}
    late.discard("model.embed_tokens.weight")
    return (
        {n: t for n, t in tensors.items() if n not in late},
        {n: t for n, t in tensors.items() if n in late},
    )


def llama_tokenizer(directory: Path, add_eos_token: bool = False) -> None:
    """Write the tokenizer's files, as transformers 4 saved the slow Llama tokenizer."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer.model").write_bytes(sentencepiece_model())
    tokens = {0: "<unk>", 1: "<s>", 2: "</s>", PAD: "<pad>", XRAG: "<xRAG>"}
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    write_json(directory / "special_tokens_map.json", named)
    write_json(directory / "added_tokens.json", {"<pad>": PAD, "<xRAG>": XRAG})
    settings = {
        "add_bos_token": True,
        "add_eos_token": add_eos_token,
        "added_tokens_decoder": {
            str(number): {
                "content": content,
                "lstrip": False,
                "normalized": content == "<xRAG>",
                "rstrip": False,
                "single_word": False,
                "special": content != "<xRAG>",
            }
            for number, content in tokens.items()
        },
        "additional_special_tokens": [],
        "clean_up_tokenization_spaces": False,
        "legacy": True,
        "model_max_length": 1000000000000000019884624838656,
        "sp_model_kwargs": {},
        "spaces_between_special_tokens": False,
        "tokenizer_class": "LlamaTokenizer",
        "use_default_system_prompt": False,
    }
    write_json(directory / "tokenizer_config.json", settings | named)


def prompt_ids() -> list[int]:
    """The template as xRAG's slow Llama tokenizer reads it; transformers 5 keeps its base."""
    from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(sentencepiece_model())
        tokenizer = SentencePieceBackend(
            vocab_file=file.name, legacy=True, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
        )
        tokenizer.add_special_tokens({"pad_token": "<pad>"})
        tokenizer.add_tokens([AddedToken("<xRAG>", lstrip=False, rstrip=False)])
        return [1, *tokenizer(TEMPLATE, add_special_tokens=False)["input_ids"]]


@cache
def sentencepiece_model() -> bytes:
    """A byte-pair model trained with the settings of Llama's."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20),
        model_writer=written,
        vocab_size=PIECES,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        pad_id=-1,
        minloglevel=2,
    )
    return written.getvalue()


def write_json(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
