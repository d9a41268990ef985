"""Import xRAG's original checkpoint as a plain LLM and a bridge from SFR to it.

Cheng et al. (2024, arXiv:2405.13792) publish a Mistral whose checkpoint also holds the projector
(``Hannibal046/xrag-7b``). vLLM rejects unknown weights, so the checkpoint is split: ``llm/`` is an
ordinary Mistral, ``bridge/`` is a bridge in this package's format. Weights are copied exactly,
without rounding.

Only tensors are unpickled, and no code of the checkpoint is run or copied.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from smotext_ray.errors import UserError
from smotext_ray.models.bridge_config import (
    CONFIG_FILE,
    SOFT_PLACEHOLDER,
    WEIGHTS_FILE,
    BridgeConfig,
)
from smotext_ray.models.files import ModelFiles, locate_model
from smotext_ray.training.xrag_checkpoint import (
    GENERATION_FILE,
    PROJECTOR_PREFIX,
    TOKENIZER_FILES,
    Checkpoint,
    _checked_shard,
    _find,
    _is_projector,
    _look_at,
    _plain_config,
    _read_json,
)

DEFAULT_ENCODER = "Salesforce/SFR-Embedding-Mistral"
MAX_LENGTH = 180  # tokens per text that xRAG's encoder reads
# The chat format and the first of the instructions that the projector was trained with.
TEMPLATE = f"[INST] Background: {SOFT_PLACEHOLDER} means the same as [/INST]"
EMBEDDING_TABLE = "model.embed_tokens.weight"


@dataclass(frozen=True)
class ImportedXrag:
    """The result of an import.

    Attributes
    ----------
    llm : Path
        Directory of the plain causal LLM, for ``decoder.model``.
    bridge : Path
        Directory of the bridge, for ``bridge.path``.
    config : BridgeConfig
        The bridge's configuration.
    """

    llm: Path
    bridge: Path
    config: BridgeConfig


def import_xrag(
    source: str,
    output: str | Path,
    *,
    encoder: str = DEFAULT_ENCODER,
    log: Callable[[str], Any] = print,
) -> ImportedXrag:
    """Split an xRAG checkpoint into ``output/llm`` and ``output/bridge``.

    The output appears only when complete: it is written next to its final name, one shard at a
    time, and renamed. A killed import leaves a directory ``.<output>-*``, which can be deleted.

    Parameters
    ----------
    source : str
        A directory, or a hub name such as ``Hannibal046/xrag-7b``.
    output : str or Path
        A directory that does not exist yet.
    encoder : str
        The encoder that the projector was trained for: a hub name, or a directory with its files,
        which is then identified by its weights.
    log : callable, default=print
        Takes one line of progress.

    Returns
    -------
    ImportedXrag

    Raises
    ------
    UserError
        If the source is missing, damaged, or not an xRAG checkpoint on Mistral with the two-layer
        projector; if the output exists or lacks space; if the encoder has another width.
    """
    output = Path(output).expanduser()
    if output.exists():
        raise UserError(f"{output} already exists; use another --output.")
    checkpoint = _look_at(*_find(source))
    encoder_files = _encoder_files(encoder, checkpoint)
    before, after = _template_ids(checkpoint)
    partial = _partial_directory(output, checkpoint)
    try:
        weights, rows = _write_llm(checkpoint, partial / "llm", before + after, log)
        weights |= {"before": rows[: len(before)].clone(), "after": rows[len(before) :].clone()}
        llm_sha256 = locate_model(str(partial / "llm")).sha256
        config = _bridge_config(checkpoint, encoder_files, llm_sha256)
        _write_bridge(partial / "bridge", config, weights)
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # already renamed on success
    return ImportedXrag(output / "llm", output / "bridge", config)


def _encoder_files(encoder: str, checkpoint: Checkpoint) -> ModelFiles:
    files = locate_model(encoder)
    file = Path(files.path) / "config.json"
    wanted = checkpoint.config["retriever_hidden_size"]
    if file.is_file() and (width := _read_json(file).get("hidden_size")) != wanted:
        raise UserError(
            f"The encoder {encoder} is {width}-dimensional, but the projector of {checkpoint.name} "
            f"expects {wanted} dimensions; give the encoder that it was trained for."
        )
    return files


def _template_ids(checkpoint: Checkpoint) -> tuple[list[int], list[int]]:
    """Token ids of the template before and after the soft token, exactly as in xRAG's code.

    xRAG uses the slow Llama tokenizer of transformers 4 on ``tokenizer.model``, which adds
    SentencePiece's leading space on both sides of an added token. transformers 5 no longer adds it
    after the token, but the projector was trained on prompts that have it.
    """
    directory = checkpoint.directory
    file = directory / "tokenizer_config.json"
    settings = _read_json(file) if file.is_file() else {}
    model, fast = directory / "tokenizer.model", directory / "tokenizer.json"
    try:
        if model.is_file() and settings.get("legacy", True) is not False:
            before, after = _sentencepiece_ids(model)
        else:
            before, after = _tokenizers_ids(fast)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{directory} has no xRAG tokenizer (tokenizer.model, or tokenizer.json with "
            f"{SOFT_PLACEHOLDER}): {type(error).__name__}; download the checkpoint again."
        ) from error
    start = [checkpoint.config.get("bos_token_id", 1)]
    before = start + before if settings.get("add_bos_token", True) else before
    rows = checkpoint.shapes[EMBEDDING_TABLE][0]
    if max(before + after) >= rows:
        raise UserError(
            f"The tokenizer in {directory} produces tokens past the {rows} that its model has; "
            "download the checkpoint again."
        )
    return before, after


def _sentencepiece_ids(file: Path) -> tuple[list[int], list[int]]:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise UserError(
            f"Reading {file} needs sentencepiece; run: pip install sentencepiece"
        ) from error

    processor = SentencePieceProcessor(model_file=str(file))
    before, after = (processor.encode(side) for side in TEMPLATE.split(SOFT_PLACEHOLDER))
    return before, after


def _tokenizers_ids(file: Path) -> tuple[list[int], list[int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    ids = tokenizer.encode(TEMPLATE, add_special_tokens=False).ids
    at = [tokenizer.id_to_token(token) for token in ids].index(SOFT_PLACEHOLDER)
    return ids[:at], ids[at + 1 :]


def _partial_directory(output: Path, checkpoint: Checkpoint) -> Path:
    """An empty directory next to ``output``, on a file system with space for the import."""
    needed = sum((checkpoint.directory / file).stat().st_size for file in checkpoint.shards)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(output.parent).free
        if free < needed:
            raise UserError(
                f"The import needs {needed / 1e9:.1f} GB, but {output.parent} "
                f"has {free / 1e9:.1f} GB "
                "left; free up space or use another --output."
            )
        partial = output.parent / f".{output.name}-{uuid.uuid4().hex}"
        partial.mkdir()  # unlike mkdtemp, with the user's umask
        return partial
    except OSError as error:
        raise UserError(
            f"{output} cannot be written ({error.strerror}); use another --output."
        ) from error


def _write_llm(
    checkpoint: Checkpoint, directory: Path, ids: list[int], log: Callable[[str], Any]
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Write the LLM's directory; return the projector and the embeddings of ``ids``."""
    directory.mkdir()
    kept: dict[str, torch.Tensor] = {}
    written: dict[str, list[str]] = {}
    for number, file in enumerate(checkpoint.shards, start=1):
        log(f"shard {number} of {len(checkpoint.shards)}: {file}")
        partial = f"{number}.safetensors"
        names, of_bridge = _split_shard(checkpoint, file, directory / partial, ids)
        kept |= of_bridge
        if names:
            written[partial] = names
    _name_shards(directory, written)
    _write_json(directory / "config.json", _plain_config(checkpoint.config))
    _copy_tokenizer(checkpoint.directory, directory)
    rows = kept.pop(EMBEDDING_TABLE)
    return {name.removeprefix(PROJECTOR_PREFIX): kept[name] for name in kept}, rows


def _split_shard(
    checkpoint: Checkpoint, file: str, target: Path, ids: list[int]
) -> tuple[list[str], dict[str, torch.Tensor]]:
    """Write the LLM's weights of a shard; return their names, and the bridge's weights.

    A separate function, so that a shard is freed before the next one is read.
    """
    tensors = _checked_shard(checkpoint, file)
    of_bridge = {name: tensors.pop(name) for name in [*tensors] if _is_projector(name)}
    if EMBEDDING_TABLE in tensors:
        of_bridge[EMBEDDING_TABLE] = tensors[EMBEDDING_TABLE][torch.tensor(ids)]
    if tensors:
        save_file(tensors, target, metadata={"format": "pt"})
    return sorted(tensors), of_bridge


def _name_shards(directory: Path, written: dict[str, list[str]]) -> None:
    """Rename shards as transformers and vLLM expect; several shards get an index."""
    if len(written) == 1:
        (directory / next(iter(written))).rename(directory / "model.safetensors")
        return
    index: dict[str, str] = {}
    size = 0
    for number, (partial, names) in enumerate(written.items(), start=1):
        name = f"model-{number:05}-of-{len(written):05}.safetensors"
        (directory / partial).rename(directory / name)
        size += (directory / name).stat().st_size
        index |= dict.fromkeys(names, name)
    _write_json(
        directory / "model.safetensors.index.json",
        {"metadata": {"total_size": size}, "weight_map": index},
    )


def _copy_tokenizer(source: Path, directory: Path) -> None:
    for name in (*TOKENIZER_FILES, GENERATION_FILE):
        if (source / name).is_file():
            shutil.copyfile(source / name, directory / name)
    file = directory / "tokenizer_config.json"
    settings = _read_json(file) if file.is_file() else {}
    # xRAG's code hard-codes these two, whatever the checkpoint's file says.
    _write_json(file, settings | {"padding_side": "left", "add_eos_token": False})


def _bridge_config(checkpoint: Checkpoint, encoder: ModelFiles, llm_sha256: str) -> BridgeConfig:
    hidden, read = checkpoint.shapes[f"{PROJECTOR_PREFIX}projector.0.weight"]
    return BridgeConfig(
        encoder=encoder.name,
        encoder_sha256=encoder.sha256,
        encoder_dim=read,
        pooling="last",
        normalize=False,
        max_length=MAX_LENGTH,
        llm=checkpoint.name,
        llm_sha256=llm_sha256,
        llm_hidden_size=hidden,
        soft_tokens=1,
        projector_hidden_size=hidden,
        input_scale=1.0,
        template=TEMPLATE,
    )


def _write_bridge(directory: Path, config: BridgeConfig, weights: dict[str, torch.Tensor]) -> None:
    directory.mkdir()
    weights["output_scale"] = torch.tensor(1.0)  # xRAG has none
    save_file(weights, directory / WEIGHTS_FILE)
    _write_json(directory / CONFIG_FILE, asdict(config))


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n")
