"""Import the original checkpoint of xRAG: a plain LLM, and a bridge between it and SFR.

Cheng et al. (2024, arXiv:2405.13792) publish a Mistral whose checkpoint also holds the
projector (``Hannibal046/xrag-7b``). vLLM refuses weights that it does not know, so the
checkpoint is split: ``llm/`` is a Mistral like any other, ``bridge/`` is a bridge of ours.
The weights are copied as they are; no number is rounded.

Only tensors are ever unpickled, and no code of the checkpoint is run or copied.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from smotext_ray.bridge.config import CONFIG_FILE, SOFT_PLACEHOLDER, WEIGHTS_FILE, BridgeConfig
from smotext_ray.errors import UserError
from smotext_ray.models import ModelFiles, locate_model

DEFAULT_ENCODER = "Salesforce/SFR-Embedding-Mistral"
MAX_LENGTH = 180  # tokens of a text that xRAG's encoder reads
# The chat form and the first of the instructions that the projector was trained with.
TEMPLATE = f"[INST] Background: {SOFT_PLACEHOLDER} means the same as [/INST]"
PROJECTOR_TYPE = "mlp2x_gelu"
PROJECTOR_PREFIX = "projector."
EMBEDDING_TABLE = "model.embed_tokens.weight"
# What has no meaning without xRAG's own code.
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
# In order of preference: index or, for a checkpoint of one file, the weights themselves.
WEIGHT_FILES = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
INDEX_SUFFIX = ".index.json"


@dataclass(frozen=True)
class ImportedXrag:
    """What an import has written.

    Attributes
    ----------
    llm : Path
        Directory of the plain causal LLM, for ``decoder.model``.
    bridge : Path
        Directory of the bridge, for ``bridge.path``.
    config : BridgeConfig
        The bridge's config.
    """

    llm: Path
    bridge: Path
    config: BridgeConfig


@dataclass(frozen=True)
class Checkpoint:
    """An xRAG checkpoint that has been looked at, but not read.

    Attributes
    ----------
    directory : Path
    name : str
        Hub name, or the directory's own name.
    config : dict
        Its config.json.
    shapes : dict of str to tuple of int
        The shape that each weight must have by the config.
    shards : dict of str to list of str
        File name to the names of the weights in it.
    """

    directory: Path
    name: str
    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    shards: dict[str, list[str]]


def import_xrag(
    source: str,
    output: str | Path,
    *,
    encoder: str = DEFAULT_ENCODER,
    log: Callable[[str], Any] = print,
) -> ImportedXrag:
    """Split an xRAG checkpoint into ``output/llm`` and ``output/bridge``.

    The output appears when it is whole: it is written beside its final name, a shard at a
    time, and renamed. A killed import leaves a directory ``.<output>-*`` that can go.

    Parameters
    ----------
    source : str
        A directory, or a hub name such as ``Hannibal046/xrag-7b``.
    output : str or Path
        A directory that does not exist yet.
    encoder : str
        The encoder that the projector was trained for: a hub name, or a directory with its
        files, which is then known by its weights.
    log : callable, default=print
        Takes one line of progress.

    Returns
    -------
    ImportedXrag

    Raises
    ------
    UserError
        If the source is not there, is no xRAG checkpoint on Mistral with its two-layer
        projector, or is damaged; if the output is there already or has no room; if the
        encoder is of another width.
    """
    output = Path(output).expanduser()
    if output.exists():
        raise UserError(f"{output} exists already; name another --output.")
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
        partial.chmod(0o755)  # mkdtemp's own is for this user alone
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # renamed already where all went well
    return ImportedXrag(output / "llm", output / "bridge", config)


def _find(source: str) -> tuple[Path, str]:
    """The checkpoint's directory, downloaded where it is a hub name, and its name."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path, path.resolve().name
    if path.exists() or source.startswith((".", "/", "~")):
        raise UserError(f"{source} is no directory; give the directory of an xRAG checkpoint.")
    from huggingface_hub import snapshot_download

    wanted = ["config.json", GENERATION_FILE, *TOKENIZER_FILES, *WEIGHT_FILES]
    try:
        found = snapshot_download(
            source,
            allow_patterns=[*wanted, "model-*.safetensors", "pytorch_model-*.bin"],
        )
    # Offline, no such repository, no such name, a broken connection: each is a class of
    # its own, of several libraries, and all mean that the files are not to be had.
    except Exception as error:
        raise UserError(
            f"{source} is no directory here and cannot be had from the model hub "
            f"({type(error).__name__}); give the directory of an xRAG checkpoint, or a hub "
            "name while the hub is reachable."
        ) from error
    return Path(found), source


def _look_at(directory: Path, name: str) -> Checkpoint:
    """Check all that can be checked without reading weights."""
    config = _read_json(directory / "config.json")
    _check_config(config, directory)
    shards = _shards(directory)
    shapes = _expected_shapes(config, directory)
    found = {tensor for tensors in shards.values() for tensor in tensors}
    if not any(map(_is_projector, found)):
        raise UserError(
            f"{directory} is not an xRAG checkpoint (its weights hold no projector); "
            "give one such as Hannibal046/xrag-7b."
        )
    # Older checkpoints store these, though every model computes them itself.
    needless = {tensor for tensor in found if tensor.endswith("rotary_emb.inv_freq")}
    if missing := set(shapes) - found:
        raise UserError(
            f"The checkpoint in {directory} lacks {len(missing)} weights of the model that its "
            f"config.json describes, such as {min(missing)}; download it again."
        )
    if unknown := found - set(shapes) - needless:
        raise UserError(
            f"The checkpoint in {directory} has {len(unknown)} weights that an xRAG model on "
            f"Mistral has not, such as {min(unknown)}; only such a model can be imported."
        )
    return Checkpoint(directory, name, config, shapes, shards)


def _check_config(config: dict[str, Any], directory: Path) -> None:
    kind = config.get("model_type")
    if kind != "mistral":
        raise UserError(
            f"The checkpoint in {directory} is built on {kind}; only xRAG on Mistral can be "
            "imported (Hannibal046/xrag-7b and its kind, not xrag-moe on Mixtral)."
        )
    if not config.get("retriever_hidden_size") or "projector_type" not in config:
        raise UserError(
            f"{directory} is not an xRAG checkpoint (its config.json names no projector_type "
            "and retriever_hidden_size); give one such as Hannibal046/xrag-7b."
        )
    if config["projector_type"] != PROJECTOR_TYPE:
        raise UserError(
            f"The projector in {directory} is of type {config['projector_type']}; only "
            f"{PROJECTOR_TYPE} can be imported."
        )


def _shards(directory: Path) -> dict[str, list[str]]:
    """File name to the names of its weights; every file is there."""
    first = next((name for name in WEIGHT_FILES if (directory / name).is_file()), None)
    if first is None:
        raise UserError(
            f"{directory} holds no weights ({WEIGHT_FILES[0]}, {WEIGHT_FILES[2]} or a single "
            "file); download the checkpoint again."
        )
    if not first.endswith(INDEX_SUFFIX):
        return {first: list(_read_shard(directory / first))}
    index = _read_json(directory / first).get("weight_map")
    if not isinstance(index, dict) or not index:
        raise UserError(f"{directory / first} names no weights; download the checkpoint again.")
    shards: dict[str, list[str]] = {}
    for tensor, file in sorted(index.items()):
        # A name with a folder in it could lead out of the checkpoint.
        if Path(str(file)).name != file or not (directory / file).is_file():
            raise UserError(
                f"The shard {file} that {first} names is missing in {directory}; "
                "download the checkpoint again."
            )
        shards.setdefault(file, []).append(tensor)
    return dict(sorted(shards.items()))


def _expected_shapes(config: dict[str, Any], directory: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each weight, by the config alone: nothing is allocated on ``meta``."""
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


def _encoder_files(encoder: str, checkpoint: Checkpoint) -> ModelFiles:
    files = locate_model(encoder)
    file = Path(files.path) / "config.json"
    wanted = checkpoint.config["retriever_hidden_size"]
    if file.is_file() and (width := _read_json(file).get("hidden_size")) != wanted:
        raise UserError(
            f"The encoder {encoder} makes vectors of {width} numbers, but the projector of "
            f"{checkpoint.name} reads {wanted}; give the encoder that it was trained for."
        )
    return files


def _template_ids(checkpoint: Checkpoint) -> tuple[list[int], list[int]]:
    """Token ids of the template before and after the soft token, as xRAG's code makes them.

    It reads ``tokenizer.model`` with the slow Llama tokenizer of transformers 4, which puts
    SentencePiece's leading space before each side of an added token. transformers 5 no
    longer does after the token, and the projector was trained on prompts that have it.
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
            f"{directory} holds no tokenizer of xRAG (tokenizer.model, or tokenizer.json that "
            f"knows {SOFT_PLACEHOLDER}): {type(error).__name__}; download the checkpoint again."
        ) from error
    start = [checkpoint.config.get("bos_token_id", 1)]
    before = start + before if settings.get("add_bos_token", True) else before
    rows = checkpoint.shapes[EMBEDDING_TABLE][0]
    if max(before + after) >= rows:
        raise UserError(
            f"The tokenizer in {directory} makes tokens past the {rows} that its model has; "
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
    """An empty directory beside ``output``, on a file system with room for the import."""
    needed = sum((checkpoint.directory / file).stat().st_size for file in checkpoint.shards)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(output.parent).free
        if free < needed:
            raise UserError(
                f"The import needs {needed / 1e9:.1f} GB and {output.parent} has "
                f"{free / 1e9:.1f} GB left; make room or name another --output."
            )
        return Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    except OSError as error:
        raise UserError(
            f"{output} cannot be written ({error.strerror}); name another --output."
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
    """Write the LLM's weights of a shard; return their names, and what the bridge needs.

    A function of its own, so that a shard has left the memory when the next one comes.
    """
    tensors = _checked_shard(checkpoint, file)
    of_bridge = {name: tensors.pop(name) for name in [*tensors] if _is_projector(name)}
    if EMBEDDING_TABLE in tensors:
        of_bridge[EMBEDDING_TABLE] = tensors[EMBEDDING_TABLE][torch.tensor(ids)]
    if tensors:
        save_file(tensors, target, metadata={"format": "pt"})
    return sorted(tensors), of_bridge


def _checked_shard(checkpoint: Checkpoint, file: str) -> dict[str, torch.Tensor]:
    """The weights of a shard that are in the index and of the shapes in the config."""
    loaded = _read_shard(checkpoint.directory / file)
    tensors = {}
    for name in checkpoint.shards[file]:
        if name not in checkpoint.shapes:
            continue  # needless, or the checkpoint would have been refused
        shape = tuple(loaded[name].shape) if name in loaded else None
        if shape != checkpoint.shapes[name]:
            raise UserError(
                f"{name} in {checkpoint.directory / file} has shape {shape}, not "
                f"{checkpoint.shapes[name]} as by config.json; download the checkpoint again."
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
        # torch's own words advise to unpickle whatever is there: they are not passed on.
        raise UserError(
            f"The shard {file} cannot be read ({type(error).__name__}): it is damaged, or holds "
            "more than tensors; download the checkpoint again."
        ) from error


def _name_shards(directory: Path, written: dict[str, list[str]]) -> None:
    """Give shards the names that transformers and vLLM look for, and an index to several."""
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
    # xRAG's code gives these two by hand, whatever the checkpoint's file says.
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


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{file.parent} holds no model ({file.name} is missing).") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as JSON; download it again.") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} cannot be read as JSON of keys and values; download it again.")
    return content


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n")
