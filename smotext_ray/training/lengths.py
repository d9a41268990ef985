"""Token counts of texts, cached on disk: counting half a million texts takes a minute."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smotext_ray.training.data import hash_texts
from smotext_ray.utils.files import whole_file

if TYPE_CHECKING:
    from smotext_ray.training.frozen import FrozenModels


TEXTS_AT_ONCE = 4096  # a tokenizer's output takes a hundred times the memory of the counts
WORTH_A_FILE = 10_000


def count_tokens(
    texts: Sequence[str], frozen: FrozenModels, cache: Path | None = None
) -> np.ndarray:
    """Count the LLM's tokens in each text.

    Parameters
    ----------
    texts : sequence of str, length n
    frozen : FrozenModels
    cache : Path, optional
        Directory where counts of large sets of texts are cached.

    Returns
    -------
    ndarray of shape (n,), int32
    """
    if cache is None or len(texts) < WORTH_A_FILE:
        return _count(texts, frozen)
    model = frozen.llm_files.sha256 or frozen.llm_files.name
    key = hashlib.sha256(f"{model} {hash_texts(texts)}".encode()).hexdigest()[:16]
    file = cache / f"lengths-{key}.npy"
    try:
        found: np.ndarray = np.load(file, allow_pickle=False)
        if found.shape == (len(texts),):
            return found
    except (OSError, ValueError, EOFError):
        pass
    counts = _count(texts, frozen)
    cache.mkdir(parents=True, exist_ok=True)
    own = cache / f".lengths-{uuid.uuid4().hex}.npy"  # several workers may write the cache at once
    with whole_file(own) as handle:
        np.save(handle, counts, allow_pickle=False)
    os.replace(own, file)
    return counts


def _count(texts: Sequence[str], frozen: FrozenModels) -> np.ndarray:
    counts = np.empty(len(texts), dtype=np.int32)
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        some = list(texts[start : start + TEXTS_AT_ONCE])
        ids = frozen.tokenizer(some, add_special_tokens=False, return_attention_mask=False)
        counts[start : start + len(some)] = [len(row) for row in ids["input_ids"]]
    return counts
