"""Points between texts as training data for stage 3: two texts decoded from each of them.

A bridge is trained at embeddings of texts, but a run decodes points between them. Of several texts
that the bridge writes at such a point, the nearest to it is the chosen one and the farthest the
rejected one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike

from smotext_ray.errors import UserError
from smotext_ray.models.style import SIZE, style_of
from smotext_ray.plan.interpolation import interpolate
from smotext_ray.plan.neighbors import same_class_neighbors
from smotext_ray.plan.vectors import unit
from smotext_ray.tables import fixed_size_list, matrix
from smotext_ray.training.data import Preference
from smotext_ray.utils.files import whole_file
from smotext_ray.utils.plain_types import check_plain_types

NEIGHBORS = 5
POINTS_AT_ONCE = 128  # two minutes on a CPU core, between two lines of progress
LEAST_GAP = 0.05  # between the cosines of the two texts: otherwise neither is better
COLUMNS = ("text", "rejected", "embedding", "style")


def neighbor_pairs(
    texts: Sequence[str], owners: np.ndarray, x: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Pairs of each text and one of its nearest neighbors in the same class.

    Parameters
    ----------
    texts : sequence of str, length n
    owners : ndarray of shape (n,)
        Class of each text.
    x : ndarray of shape (n, d), float32
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (pairs, 2)
        Row numbers; none for a text that is alone in its class.
    """
    pairs = [np.empty((0, 2), np.int64)]
    for owner in np.unique(owners):
        rows = np.flatnonzero(owners == owner)
        near = same_class_neighbors(
            np.arange(len(rows)), x[rows], [texts[i] for i in rows], rows, NEIGHBORS, "cosine"
        )
        if near.shape[1]:
            chosen = near[np.arange(len(rows)), rng.integers(near.shape[1], size=len(rows))]
            pairs.append(np.stack([rows, rows[chosen]], axis=1))
    return np.concatenate(pairs)


def looks_between(
    texts: Sequence[str], lengths: ArrayLike, pairs: np.ndarray, lams: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """What texts between pairs of texts should look like, as in a run.

    Parameters
    ----------
    texts : sequence of str, length n
    lengths : array-like of shape (n,)
        Lengths of the texts.
    pairs : ndarray of shape (pairs, 2)
        Row numbers.
    lams : ndarray of shape (pairs,), in [0, 1]

    Returns
    -------
    lengths : ndarray of shape (pairs,)
        Between those of the two texts.
    examples : list of str, length pairs
        The nearer of the two texts, whose case and punctuation to use.
    """
    own, other = np.asarray(lengths)[pairs].T
    nearer = pairs[np.arange(len(pairs)), (lams > 0.5).astype(int)]
    return own + lams * (other - own), [texts[row] for row in nearer]


def make_points(
    texts: Sequence[str],
    encoder: Any,
    decoder: Any,
    seed: int,
    log: Callable[[str], Any] = print,
) -> Iterator[pa.Table]:
    """Decode one point between each text and a neighbor: the nearest and the farthest text.

    Parameters
    ----------
    texts : sequence of str
        Without labels: any two texts may be neighbors.
    encoder : Encoder
        The bridge's encoder; its embeddings have unit length.
    decoder : Decoder
        Decodes several candidates per point. As in a run, its texts have at least
        ``decoder.min_length`` of the length that the two texts suggest.
    seed : int
    log : callable
        Called with each line of progress.

    Yields
    ------
    pyarrow.Table
        ``text``, the nearest, ``rejected``, the farthest, ``embedding`` (the point), the ``style``
        that both should have, and the cosines of the two to the point. Empty and truncated texts
        are not considered, and points where the cosines differ by less than `LEAST_GAP` are left
        out.

    Raises
    ------
    UserError
        If no text has a neighbor.
    """
    rng = np.random.default_rng([seed, 6])
    x = unit(encoder.encode(texts))
    pairs = neighbor_pairs(texts, np.zeros(len(texts)), x, rng)
    if not len(pairs):
        raise UserError("No text has a neighbor to interpolate with; give more distinct texts.")
    lams = rng.random(len(pairs), dtype=np.float32)
    points = interpolate(x[pairs[:, 0]], x[pairs[:, 1]], lams, True)
    lengths, examples = looks_between(texts, decoder.count_tokens(texts), pairs, lams)
    styles = style_of(examples, lengths)
    kept = 0
    for start in range(0, len(points), POINTS_AT_ONCE):
        end = min(start + POINTS_AT_ONCE, len(points))
        rows = slice(start, end)
        made = decoder.decode(points[rows], range(start, end), lengths[rows], examples[rows])
        table = _extremes(points[rows], styles[rows], made, encoder)
        kept += len(table)
        log(f"{end} of {len(points)} points decoded, {kept} kept")
        yield table


def _extremes(
    points: np.ndarray, styles: np.ndarray, decoded: Sequence[Any], encoder: Any
) -> pa.Table:
    whole = [
        (row, text.strip())
        for row, made in enumerate(decoded)
        for text, reason in zip(made.texts, made.finish_reasons, strict=True)
        if reason == "stop" and text.strip()
    ]
    owners = np.array([row for row, _ in whole], np.int64)
    written = [text for _, text in whole]
    y = unit(encoder.encode(written)) if written else points[:0]
    cosines = (y * points[owners]).sum(1)
    # By point, farthest first.
    order = np.lexsort((cosines, owners))
    _, first, count = np.unique(owners[order], return_index=True, return_counts=True)
    far, near = order[first], order[first + count - 1]
    clear = cosines[near] - cosines[far] >= LEAST_GAP
    far, near = far[clear], near[clear]
    columns = {
        "text": pa.array([written[i] for i in near], pa.string()),
        "rejected": pa.array([written[i] for i in far], pa.string()),
        "embedding": fixed_size_list(points[owners[near]]),
        "style": fixed_size_list(styles[owners[near]]),
        "cosine": pa.array(cosines[near], pa.float32()),
        "rejected_cosine": pa.array(cosines[far], pa.float32()),
    }
    return pa.table(columns)


def write_points(tables: Iterator[pa.Table], file: Path) -> int:
    """Write tables of `make_points` as one parquet file; returns the number of rows."""
    rows = 0
    with whole_file(file) as handle:
        writer: pq.ParquetWriter | None = None
        for table in tables:
            writer = writer or pq.ParquetWriter(handle, table.schema)
            writer.write_table(table)
            rows += len(table)
        if writer is not None:
            writer.close()
    return rows


def read_preferences(path: str) -> list[Preference]:
    """Read preferences for stage 3 from a parquet file of `write_points`.

    Parameters
    ----------
    path : str
        With the columns ``text``, ``rejected``, ``embedding`` and ``style``.

    Raises
    ------
    UserError
        If the file cannot be read, has other columns or no rows, or a row is not valid.
    """
    try:
        with pq.ParquetFile(path) as file:
            check_plain_types(file.schema_arrow, path)
            if missing := [name for name in COLUMNS if name not in file.schema_arrow.names]:
                raise UserError(
                    f"{path} has no column {missing[0]!r}; stage 3 needs a file created with: "
                    "smotext bridge points"
                )
            table = file.read(columns=list(COLUMNS))
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} cannot be read as parquet; name a parquet file.") from error
    try:
        points, styles = matrix(table["embedding"]), matrix(table["style"])
    except (ValueError, TypeError, AttributeError, pa.ArrowException):
        points = styles = np.empty((0, 0), np.float32)
    rows = list(zip(table["text"].to_pylist(), table["rejected"].to_pylist(), strict=True))
    fits = len(points) == len(rows) and styles.shape == (len(rows), SIZE)
    fits = fits and bool(np.isfinite(points).all() and np.isfinite(styles).all())
    texts = [text for row in rows for text in row]
    if not rows or not fits or not all(isinstance(text, str) and text.strip() for text in texts):
        raise UserError(
            f"{path} needs rows with two texts, an embedding and a style each, all of one length "
            "and of finite numbers; create it again with: smotext bridge points"
        )
    return [Preference(*row, *given) for row, *given in zip(rows, points, styles, strict=True)]
