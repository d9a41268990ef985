"""Read and check the files of a published xRAG checkpoint."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from smotext_ray.errors import UserError

PROJECTOR_TYPE = "mlp2x_gelu"
PROJECTOR_PREFIX = "projector."
# Keys that are meaningless without xRAG's own code.
XRAG_KEYS = ("projector_type", "retriever_hidden_size", "auto_map", "_name_or_path")
TOKENIZER_FILES = (
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
GENERATION_FILE = "generation_config.json"
# In order of preference: an index or, for a single-file checkpoint, the weights themselves.
WEIGHT_FILES = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
INDEX_SUFFIX = ".index.json"


@dataclass(frozen=True)
class Checkpoint:
    """An xRAG checkpoint whose weights have not been read yet.

    Attributes
    ----------
    directory : Path
    name : str
        Hub name or directory name.
    config : dict
        Content of its config.json.
    shapes : dict of str to tuple of int
        The shape that the config implies for each weight.
    shards : dict of str to list of str
        File name to the names of the weights in it.
    """

    directory: Path
    name: str
    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    shards: dict[str, list[str]]


def _find(source: str) -> tuple[Path, str]:
    """The checkpoint's directory (downloaded if given a hub name) and its name."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path, path.resolve().name
    if path.exists() or source.startswith((".", "/", "~")):
        raise UserError(f"{source} is not a directory; give the directory of an xRAG checkpoint.")
    from huggingface_hub import snapshot_download

    wanted = ["config.json", GENERATION_FILE, *TOKENIZER_FILES, *WEIGHT_FILES]
    try:
        found = snapshot_download(
            source,
            allow_patterns=[*wanted, "model-*.safetensors", "pytorch_model-*.bin"],
        )
    # Offline, no such repository, invalid name, broken connection: the libraries raise different
    # classes, and all mean that the files are unavailable.
    except Exception as error:
        raise UserError(
            f"{source} is not a directory here and cannot be downloaded from the model hub "
            f"({type(error).__name__}); give the directory of an xRAG checkpoint, or a hub "
            "name while the hub is reachable."
        ) from error
    return Path(found), source


def _look_at(directory: Path, name: str) -> Checkpoint:
    """Check everything that can be checked without reading weights."""
    config = _read_json(directory / "config.json")
    _check_config(config, directory)
    shards = _shards(directory)
    shapes = _expected_shapes(config, directory)
    found = {tensor for tensors in shards.values() for tensor in tensors}
    if not any(map(_is_projector, found)):
        raise UserError(
            f"{directory} is not an xRAG checkpoint (its weights have no projector); "
            "give one such as Hannibal046/xrag-7b."
        )
    # Older checkpoints store these, although models compute them.
    needless = {tensor for tensor in found if tensor.endswith("rotary_emb.inv_freq")}
    if missing := set(shapes) - found:
        raise UserError(
            f"The checkpoint in {directory} lacks {len(missing)} weights of the model that its "
            f"config.json describes, such as {min(missing)}; download it again."
        )
    if unknown := found - set(shapes) - needless:
        raise UserError(
            f"The checkpoint in {directory} has {len(unknown)} weights unknown to xRAG on Mistral, "
            f"such as {min(unknown)}; only xRAG on Mistral can be imported."
        )
    return Checkpoint(directory, name, config, shapes, shards)


def _check_config(config: dict[str, Any], directory: Path) -> None:
    kind = config.get("model_type")
    if kind != "mistral":
        raise UserError(
            f"The checkpoint in {directory} is built on {kind}; only xRAG on Mistral can be "
            "imported (such as Hannibal046/xrag-7b, not xrag-moe on Mixtral)."
        )
    if not config.get("retriever_hidden_size") or "projector_type" not in config:
        raise UserError(
            f"{directory} is not an xRAG checkpoint (its config.json lacks projector_type "
            "and retriever_hidden_size); give one such as Hannibal046/xrag-7b."
        )
    if config["projector_type"] != PROJECTOR_TYPE:
        raise UserError(
            f"The projector in {directory} is of type {config['projector_type']}; only "
            f"{PROJECTOR_TYPE} can be imported."
        )


def _shards(directory: Path) -> dict[str, list[str]]:
    """Map file names to the names of their weights; every file exists."""
    first = next((name for name in WEIGHT_FILES if (directory / name).is_file()), None)
    if first is None:
        raise UserError(
            f"{directory} has no weights ({WEIGHT_FILES[0]}, {WEIGHT_FILES[2]} or a single "
            "file); download the checkpoint again."
        )
    if not first.endswith(INDEX_SUFFIX):
        return {first: list(_read_shard(directory / first))}
    index = _read_json(directory / first).get("weight_map")
    if not isinstance(index, dict) or not index:
        raise UserError(f"{directory / first} lists no weights; download the checkpoint again.")
    shards: dict[str, list[str]] = {}
    for tensor, file in sorted(index.items()):
        # A name with a directory in it could point outside the checkpoint.
        if Path(str(file)).name != file or not (directory / file).is_file():
            raise UserError(
                f"The shard {file} that {first} names is missing in {directory}; "
                "download the checkpoint again."
            )
        shards.setdefault(file, []).append(tensor)
    return dict(sorted(shards.items()))


def _expected_shapes(config: dict[str, Any], directory: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each weight from the config alone: ``meta`` allocates nothing."""
    from transformers import MistralConfig, MistralForCausalLM

    try:
        with torch.device("meta"):
            model = MistralForCausalLM(MistralConfig.from_dict(_plain_config(config)))
    except Exception as error:
        raise UserError(
            f"{directory / 'config.json'} does not describe a Mistral ({type(error).__name__}); "
            "download the checkpoint again."
        ) from error
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del shapes["lm_head.weight"]
    read, hidden = config["retriever_hidden_size"], model.config.hidden_size
    return shapes | {
        f"{PROJECTOR_PREFIX}projector.0.weight": (hidden, read),
        f"{PROJECTOR_PREFIX}projector.0.bias": (hidden,),
        f"{PROJECTOR_PREFIX}projector.2.weight": (hidden, hidden),
        f"{PROJECTOR_PREFIX}projector.2.bias": (hidden,),
    }


def _plain_config(config: dict[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in config.items() if key not in XRAG_KEYS}
    return plain | {"architectures": ["MistralForCausalLM"]}


def _checked_shard(checkpoint: Checkpoint, file: str) -> dict[str, torch.Tensor]:
    """The weights of a shard that are in the index, checked against the config's shapes."""
    loaded = _read_shard(checkpoint.directory / file)
    tensors = {}
    for name in checkpoint.shards[file]:
        if name not in checkpoint.shapes:
            continue  # not needed, or the checkpoint would have been rejected
        shape = tuple(loaded[name].shape) if name in loaded else None
        if shape != checkpoint.shapes[name]:
            raise UserError(
                f"{name} in {checkpoint.directory / file} has shape {shape}, not "
                f"{checkpoint.shapes[name]} as in config.json; download the checkpoint again."
            )
        tensors[name] = loaded[name]
    return tensors


def _is_projector(name: str) -> bool:
    return name.startswith(PROJECTOR_PREFIX)


def _read_shard(file: Path) -> dict[str, torch.Tensor]:
    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        loaded = torch.load(
            file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
        )
        # Pickled tensors may share storage, which safetensors does not write.
        return {
            name: tensor.clone(memory_format=torch.contiguous_format)
            for name, tensor in loaded.items()
        }
    except Exception as error:
        # torch's message advises unpickling anything, so it is not passed on.
        raise UserError(
            f"The shard {file} cannot be read ({type(error).__name__}): it is damaged, or contains "
            "more than tensors; download the checkpoint again."
        ) from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{file.parent} has no model ({file.name} is missing).") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as JSON; download it again.") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} is not a JSON object; download it again.")
    return content
