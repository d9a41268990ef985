"""The encoder: texts per second by batch size and dtype, and whether the vectors are right."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpu_shapes.clock import device, seconds_of
from gpu_shapes.made_models import made_encoder, made_texts

BATCHES = (32, 128, 512)
DTYPES = ("float32", "bfloat16")
CHECKED = 64  # texts whose vectors are compared


def measure(toy: bool, home: Path) -> dict[str, Any]:
    """`smotext_ray.models.encoder.Encoder` with MiniLM's shape."""
    from smotext_ray.models.encoder import Encoder

    model = made_encoder(home / "encoder", toy)
    texts = made_texts(16 if toy else 8192, words=8 if toy else 50, toy=toy)
    rates: dict[str, dict[int, float]] = {}
    vectors = {}
    for dtype in DTYPES:
        encoder = Encoder(model, dtype=dtype)
        vectors[dtype] = encoder.encode(texts[:CHECKED])
        rates[dtype] = {
            batch: len(texts) / seconds_of(partial(encoder.encode, texts, batch))
            for batch in BATCHES
        }
    cosines = (vectors["float32"] * vectors["bfloat16"]).sum(axis=1)
    poolings = {
        pooling: _difference(model, texts[:CHECKED], pooling) for pooling in ("mean", "cls", "last")
    }
    if cosines.min() < 0.98 or max(poolings.values()) > 1e-3:
        raise AssertionError(f"cosine {cosines.min():.4f}, difference from CPU {poolings}")
    best = {dtype: max(of_batch.values()) for dtype, of_batch in rates.items()}
    line = (
        f"{best['float32']:,.0f} texts/s in float32, {best['bfloat16']:,.0f} in bfloat16 "
        f"(cosine {cosines.min():.4f} at least); {device()} differs from cpu by "
        f"{max(poolings.values()):.1e} at most"
    )
    return {
        "line": line,
        "texts_per_second": rates,
        "cosine": [float(cosines.min()), float(cosines.mean())],
        "differs_from_cpu": poolings,
    }


def _difference(model: str, texts: list[str], pooling: Any) -> float:
    """The largest, in float32, of a component of a normalized vector on this device and on CPU."""
    from smotext_ray.models.encoder import Encoder

    here, cpu = (Encoder(model, pooling=pooling, device=d).encode(texts) for d in (None, "cpu"))
    return float(np.abs(here - cpu).max())
