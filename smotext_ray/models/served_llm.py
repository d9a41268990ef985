"""LLM checkpoints for serving: with a merged adapter, or with int8 weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

from smotext_ray.models.bridge_config import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE
from smotext_ray.models.files import weight_files
from smotext_ray.utils.cache import digest_of, made_once, sha256_of


def merged_llm(llm: str, bridge: Path) -> str:
    """A checkpoint of the LLM with the bridge's LoRA layers added to its weights.

    Created on first use and kept in the cache directory, keyed by the digests of both.
    """
    from smotext_ray.models.lora import merge

    of_lora = sha256_of([bridge / ADAPTER_CONFIG_FILE, bridge / ADAPTER_WEIGHTS_FILE])
    name = f"merged-{_source(llm)}-{of_lora[:12]}"
    return str(made_once(name, lambda output: merge(llm, bridge, output)))


def int8_llm(llm: str) -> str:
    """A checkpoint of the LLM in int8, created on first use and kept in the cache directory."""
    from smotext_ray.models.int8 import write_int8

    name = f"int8-{_source(llm)}"
    return str(made_once(name, lambda output: write_int8(llm, output)))


def _source(llm: str) -> str:
    """Identifies an LLM in the cache: by its weights, or by its hub name and revision."""
    if Path(llm).is_dir():
        return digest_of(weight_files(Path(llm)))[:40]
    from transformers.utils import cached_file, extract_commit_hash

    config = cached_file(llm, "config.json")  # the revision that transformers would load
    revision = extract_commit_hash(config, None) or ""
    digest = hashlib.sha256(f"{llm}@{revision}".encode()).hexdigest()
    return f"{llm.rpartition('/')[2][:40]}-{digest[:16]}"
