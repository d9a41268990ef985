"""Rewrite an LLM's checkpoint with changed weights, with few of them in memory at a time."""

from __future__ import annotations

import errno
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from smotext_ray.errors import UserError

SHARD_BYTES = 1024**3  # size of the files written
CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
# Index or weights, in transformers' order of preference.
WEIGHTS = (INDEX, "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin")
# Config, generation config, tokenizer and chat template.
SMALL_FILES = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")

Tensors = Mapping[str, torch.Tensor]


def rewrite(
    llm: str, output: Path, change: Callable[[str, torch.Tensor], Tensors], **settings: Any
) -> None:
    """Write an LLM's checkpoint with changed weights, in safetensors.

    Parameters
    ----------
    llm : str
        Directory or hub name of the LLM.
    output : Path
        An empty directory.
    change : callable
        Maps the name of a weight and the weight to its replacement.
    **settings
        Added to the checkpoint's config.json.

    Raises
    ------
    UserError
        If the LLM has no weights, has quantized weights, or is not available.
    """
    source = _directory(llm)
    config = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    if "quantization_config" in config:
        raise UserError(
            f"The weights of {llm} are quantized and cannot be changed; use the original LLM "
            "in bfloat16, float16 or float32."
        )
    for pattern in SMALL_FILES:
        for file in source.glob(pattern):
            if not file.name.endswith(".index.json"):
                shutil.copyfile(file, output / file.name)
    _write_shards(output, (change(name, weight) for name, weight in _weights(source, llm)))
    config.pop("torch_dtype", None)  # the older name of "dtype"
    config |= {"dtype": "bfloat16"} | settings
    (output / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _directory(llm: str) -> Path:
    """The LLM's directory on this machine, downloaded if it is a hub name."""
    if Path(llm).is_dir():
        return Path(llm)
    from huggingface_hub import snapshot_download

    try:
        # Some repositories have the same weights in several formats.
        found = Path(snapshot_download(llm, allow_patterns=[*SMALL_FILES, "model*.safetensors"]))
        if _listed(found) is None:
            found = Path(snapshot_download(llm, allow_patterns=["pytorch_model*.bin*"]))
    # Offline, no such name, broken connection: the libraries raise many different classes.
    except Exception as error:
        raise UserError(
            f"{llm} is not a directory here and cannot be downloaded from the model hub "
            f"({type(error).__name__}); give the directory of the LLM, or connect to the hub."
        ) from error
    return found


def _listed(directory: Path) -> str | None:
    """The file with the weights, or the index of such files."""
    return next((name for name in WEIGHTS if (directory / name).is_file()), None)


def _weights(directory: Path, llm: str) -> Iterator[tuple[str, torch.Tensor]]:
    first = _listed(directory)
    if first is None:
        raise UserError(f"{llm} has no weights ({WEIGHTS[1]} or {INDEX}); download it again.")
    files = [first]
    if first.endswith(".index.json"):
        listed = json.loads((directory / first).read_text())["weight_map"].values()
        files = sorted({Path(name).name for name in listed})  # nothing outside the directory
    for name in files:
        file = directory / name
        if not file.is_file():
            raise UserError(
                f"{llm} lacks {name}, which is listed in its {first}; download it again."
            )
        yield from _weights_of_file(file)


def _weights_of_file(file: Path) -> Iterator[tuple[str, torch.Tensor]]:
    if file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - not a mapping
                yield name, weights.get_tensor(name)
        return
    mmap = zipfile.is_zipfile(file)  # torch's older format must be read completely
    yield from torch.load(file, map_location="cpu", weights_only=True, mmap=mmap).items()


def _write_shards(output: Path, changed: Iterator[Tensors]) -> None:
    """Write tensors into files of about `SHARD_BYTES`, named as transformers and vLLM expect."""
    written: list[list[str]] = []  # names of the tensors in each file
    waiting: dict[str, torch.Tensor] = {}
    size = total = 0

    def flush() -> None:
        nonlocal waiting, size
        if shutil.disk_usage(output).free < size:  # safetensors has no error for this
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save_file(waiting, output / f"{len(written)}.partial", {"format": "pt"})
        written.append(list(waiting))
        waiting, size = {}, 0

    for tensors in changed:
        # Pickled weights may share memory, which safetensors does not write.
        waiting |= {k: t.clone(memory_format=torch.contiguous_format) for k, t in tensors.items()}
        added = sum(tensor.nbytes for tensor in tensors.values())
        size, total = size + added, total + added
        if size >= SHARD_BYTES:
            flush()
    if waiting:
        flush()
    _name_shards(output, written, total)


def _name_shards(output: Path, written: list[list[str]], total: int) -> None:
    if len(written) == 1:
        (output / "0.partial").rename(output / "model.safetensors")
        return
    index: dict[str, str] = {}
    for number, names in enumerate(written):
        file = f"model-{number + 1:05}-of-{len(written):05}.safetensors"
        (output / f"{number}.partial").rename(output / file)
        index |= dict.fromkeys(names, file)
    content = {"metadata": {"total_size": total}, "weight_map": index}
    (output / INDEX).write_text(json.dumps(content, indent=2) + "\n")
