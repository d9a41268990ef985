"""Texts between two texts, and texts from embeddings: decoding without a corpus or a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

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
    targets = target_points(a, b, lams, config)
    made = decoded(targets, config, range(random_state, random_state + len(targets.points)))
    made.insert(0, "lam", np.asarray(lams, float))
    return made


class Targets(NamedTuple):
    """Points to decode, and what their texts should look like.

    Attributes
    ----------
    points : ndarray of float32, shape (n, d)
        Embeddings from the encoder that the bridge was trained for; of length 1 if
        ``encoder.normalize`` is set.
    lengths : ndarray of shape (n,), or None
        In tokens.
    examples : list of str, length n, or None
        Texts with the case and punctuation of each point's text.
    """

    points: NDArray[np.float32]
    lengths: NDArray[np.float32] | None = None
    examples: list[str] | None = None


def target_points(a: str, b: str, lams: Sequence[float], config: RunConfig) -> Targets:
    """The points between two texts, whose texts should look like them.

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
    own, other = decoder_of(config).count_tokens([a, b])
    lengths = np.maximum(own + lam * (other - own), 0)
    return Targets(points, lengths, [b if each > 0.5 else a for each in lam])


def decoded(targets: Targets, config: RunConfig, seeds: Iterable[int]) -> pd.DataFrame:
    """Decode each embedding to the candidate text closest to it.

    Parameters
    ----------
    targets : Targets
    config : RunConfig
    seeds : iterable of int, length n

    Returns
    -------
    DataFrame
        ``text`` and ``cosine_to_point``; None and NaN for a point that could not be decoded.
    """
    candidates = candidates_of(targets, config, seeds)
    flat = [text for each in candidates for text in each.texts]
    embeddings = unit(encoder_of(config).encode(flat, config.encoder.batch_size))
    texts, cosines, start = [], [], 0
    for point, each in zip(unit(targets.points), candidates, strict=True):
        made = embeddings[start : start + len(each.texts)]
        start += len(each.texts)
        cosine = made @ point
        best = int(cosine.argmax()) if len(cosine) else None
        texts.append(None if best is None else each.texts[best].strip())
        cosines.append(np.nan if best is None else float(cosine[best]))
    return pd.DataFrame({"text": pd.Series(texts, dtype=object), "cosine_to_point": cosines})


def candidates_of(targets: Targets, config: RunConfig, seeds: Iterable[int]) -> list[Candidates]:
    """All candidate texts of each point; the parameters are those of `decoded`."""
    points, *looks = targets
    candidates: list[Candidates] = decoder_of(config).decode(points, list(seeds), *looks)
    return candidates
