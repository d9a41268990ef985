"""Nearest neighbors: torch on the GPU as what proposes candidates, and what TF32 would do to it.

A plan must be the same everywhere, so `smotext_ray.plan.neighbors` computes the distances of the
candidates again, and a bound on the rounding of whatever proposed them tells whether there are
enough. Here that is float32 products on the device: the plan's bytes and the bound are checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from gpu_shapes.clock import device, seconds_of

DIM = 384
K = 5


def measure(toy: bool, home: Path) -> dict[str, Any]:
    """Queries per second; equal bytes; the largest error as a share of the bound, with TF32 too."""
    import torch

    base, queries = _made(2000 if toy else 500_000), slice(0, 100 if toy else 20_000)
    checked = base[: 2000 if toy else 50_000]
    same = {metric: _same_bytes(checked, metric) for metric in ("cosine", "euclidean")}
    errors = {}
    for precision in ("highest", "high"):  # the second is TF32, where there is a GPU
        torch.set_float32_matmul_precision(precision)
        errors[precision] = _error_by_bound(checked)
    torch.set_float32_matmul_precision("highest")
    held = torch.from_numpy(base).to(device())
    asked = torch.from_numpy(base[queries]).to(device())
    seconds = seconds_of(lambda: _topk(asked, held, K + 5))
    if not all(same.values()) or errors["highest"] > 1:
        raise AssertionError(f"same bytes: {same}; error by bound: {errors['highest']:.2f}")
    line = (
        f"{len(asked) / seconds:,.0f} queries/s among {len(base):,}; same bytes as on CPU; error "
        f"{errors['highest']:.3f} of the bound, {errors['high']:.3g} with TF32"
    )
    return {
        "line": line,
        "queries_per_second": len(asked) / seconds,
        "same_bytes": same,
        "error_by_bound": errors["highest"],
        "error_by_bound_with_tf32": errors["high"] if device() == "cuda" else None,
    }


def _made(rows: int) -> np.ndarray:
    """Unit vectors, of which each is near some others."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(64, DIM))
    x = centers[rng.integers(64, size=rows)] + 0.5 * rng.normal(size=(rows, DIM))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def _same_bytes(base: np.ndarray, metric: Any) -> bool:
    """`nearest_neighbors` with candidates of this device and with those of exact arithmetic."""
    from smotext_ray.plan import neighbors

    queries = base[:500]
    found = []
    for propose in (_proposed_here, _proposed_exactly):
        # No FAISS is asked: it need not be installed.
        with (
            patch.object(neighbors, "faiss_search", propose),
            patch.object(neighbors, "gpu_for", lambda k: None),
        ):
            found.append(neighbors.nearest_neighbors(queries, base, K, metric))
    return all(a.tobytes() == b.tobytes() for a, b in zip(*found, strict=True))


def _proposed_here(
    queries: np.ndarray, base: np.ndarray, k: int, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """What FAISS gives, from torch: scores and rows of the ``k`` nearest."""
    import torch

    q, b = (torch.from_numpy(np.ascontiguousarray(rows)).to(device()) for rows in (queries, base))
    if metric == "cosine":
        products, rows = _topk(q, b, k)
        return 1 - products.double().cpu().numpy(), rows.cpu().numpy()
    # |q|^2 + |b|^2 - 2 q b, as FAISS computes it for many queries.
    scores = (q * q).sum(1, keepdim=True) + (b * b).sum(1) - 2 * q @ b.T
    nearest, rows = scores.topk(k, largest=False)
    return nearest.double().cpu().numpy(), rows.cpu().numpy()


def _topk(queries: Any, base: Any, k: int) -> tuple[Any, Any]:
    """Some queries at a time: a matrix of all products would take 40 GB."""
    import torch

    parts = [(some @ base.T).topk(k) for some in queries.split(2000)]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _proposed_exactly(
    queries: np.ndarray, base: np.ndarray, k: int, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    q, b = queries.astype(np.float64), base.astype(np.float64)
    products = q @ b.T
    scores = 1 - products
    if metric == "euclidean":
        scores = (q * q).sum(1)[:, None] + (b * b).sum(1) - 2 * products
    rows = np.argpartition(scores, k - 1, axis=1)[:, :k]
    return np.take_along_axis(scores, rows, axis=1), rows


def _error_by_bound(base: np.ndarray) -> float:
    """The largest error of a product on this device, over what `neighbors` allows for."""
    import torch

    slack = (DIM + 16) * 2.0**-23
    here = torch.from_numpy(base).to(device())
    fast = (here[:500] @ here.T).double().cpu().numpy()
    exact = base[:500].astype(np.float64) @ base.astype(np.float64).T
    return float(np.abs(fast - exact).max() / slack)
