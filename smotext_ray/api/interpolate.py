"""Texts between two texts, and texts from embeddings: decoding without a corpus or a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smotext_ray.api.loaded import decoder_of, encoder_of
from smotext_ray.config.load import load_config
from smotext_ray.config.schema import DecoderConfig, RunConfig
from smotext_ray.errors import UserError
from smotext_ray.models.engine import Candidates
from smotext_ray.models.load import check_models
from smotext_ray.plan.interpolation import interpolate as points_between
from smotext_ray.plan.vectors import unit

LAMS = (0.0, 0.25, 0.5, 0.75, 1.0)
# A run needs fewer: its gate accepts any text that is close enough.
WITHOUT_GATE = RunConfig(decoder=DecoderConfig(num_candidates=4))


def interpolate(
    a: str,
    b: str,
    lams: Sequence[float] = LAMS,
    *,
    preset: str = "offline",
    options: Mapping[str, Any] | None = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """Decode points between the embeddings of two texts, as SMOTExT does [1]_.

    The models are loaded once per process. Of the candidates per point, the one whose embedding is
    closest to the point is returned; there is no gate.

    Parameters
    ----------
    a, b : str
        Not empty.
    lams : sequence of float
        Positions of the points: 0 is at ``a``, 1 at ``b``.
    preset : str, default="offline"
    options : mapping, optional
        Settings such as ``{"decoder.temperature": 0.7, "bridge.path": "my-bridge"}``.
    random_state : int, default=0
        At least 0.

    Returns
    -------
    DataFrame
        One row per point: ``lam``, ``text`` and ``cosine_to_point``, in [-1, 1].

    Raises
    ------
    UserError
        If a text is empty, or the settings are invalid.

    References
    ----------
    .. [1] SMOTE meets Large Language Models, arXiv:2505.13434, 2025.

    Examples
    --------
    >>> import smotext_ray
    >>> smotext_ray.interpolate("Where is my card?", "I lost my phone.")  # doctest: +SKIP
    """
    config = load_config(preset, options=dict(options or {}), base=WITHOUT_GATE)
    return interpolated(a, b, lams, config, random_state)


def interpolated(
    a: str, b: str, lams: Sequence[float], config: RunConfig, random_state: int = 0
) -> pd.DataFrame:
    """Like `interpolate`, with the settings as a configuration."""
    points, lengths = target_points(a, b, lams, config)
    made = decoded(points, config, range(random_state, random_state + len(points)), lengths)
    made.insert(0, "lam", np.asarray(lams, float))
    return made


def target_points(
    a: str, b: str, lams: Sequence[float], config: RunConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """The points between two texts, and the lengths that their texts should have.

    Returns
    -------
    points : ndarray of float32, shape (n, d)
    lengths : ndarray of float32, shape (n,), or None
        In tokens, with ``decoder.min_length``.

    Raises
    ------
    UserError
        If a text is empty, or a position is not a finite number.
    """
    if not a.strip() or not b.strip():
        raise UserError("Both texts must have words; give two texts that are not empty.")
    check_models(config)
    encoder = encoder_of(config)
    ends = encoder.encode([a, b], config.encoder.batch_size)
    lam = np.asarray(lams, np.float32)
    if lam.ndim != 1 or not len(lam) or not np.isfinite(lam).all():
        raise UserError("Give at least one position between the texts, as a finite number.")
    first, second = (np.repeat(end[None], len(lam), axis=0) for end in ends)
    points = points_between(first, second, lam, config.encoder.normalize)
    lengths = None
    if config.decoder.min_length:
        own, other = decoder_of(config).count_tokens([a, b])
        lengths = own + lam * (other - own)
    return points, lengths


def decoded(
    points: NDArray[np.float32],
    config: RunConfig,
    seeds: Iterable[int],
    lengths: NDArray[np.float32] | None = None,
) -> pd.DataFrame:
    """Decode each embedding to the candidate text closest to it.

    Parameters
    ----------
    points : ndarray of float32, shape (n, d)
        Embeddings from the encoder that the bridge was trained for; of length 1 if
        ``encoder.normalize`` is set.
    config : RunConfig
    seeds : iterable of int, length n
    lengths : ndarray of shape (n,), optional
        In tokens, for ``decoder.min_length``.

    Returns
    -------
    DataFrame
        ``text`` and ``cosine_to_point``; None and NaN for a point that could not be decoded.
    """
    candidates = candidates_of(points, config, seeds, lengths)
    flat = [text for each in candidates for text in each.texts]
    embeddings = unit(encoder_of(config).encode(flat, config.encoder.batch_size))
    texts, cosines, start = [], [], 0
    for point, each in zip(unit(points), candidates, strict=True):
        made = embeddings[start : start + len(each.texts)]
        start += len(each.texts)
        cosine = made @ point
        best = int(cosine.argmax()) if len(cosine) else None
        texts.append(None if best is None else each.texts[best].strip())
        cosines.append(np.nan if best is None else float(cosine[best]))
    return pd.DataFrame({"text": pd.Series(texts, dtype=object), "cosine_to_point": cosines})


def candidates_of(
    points: NDArray[np.float32],
    config: RunConfig,
    seeds: Iterable[int],
    lengths: NDArray[np.float32] | None = None,
) -> list[Candidates]:
    """All candidate texts of each point; the parameters are those of `decoded`."""
    settings = [] if lengths is None else [np.maximum(lengths, 0)]
    candidates: list[Candidates] = decoder_of(config).decode(points, list(seeds), *settings)
    return candidates
