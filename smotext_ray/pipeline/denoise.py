"""The job between embed and plan: ``noised/`` becomes ``embeddings/``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smotext_ray.config.schema import RunConfig
from smotext_ray.privacy.denoise import ClassSums, fit_denoiser
from smotext_ray.privacy.directions import read_directions
from smotext_ray.privacy.mechanism import noise_scale
from smotext_ray.run.directory import NOISED, Run
from smotext_ray.tables import fixed_size_list, matrix


def denoise(config: RunConfig, run: Run, labels: list[Any], rows: int) -> list[str]:
    """Write ``embeddings/`` (``id, label, embedding``) from ``noised/``, in two passes.

    Parameters
    ----------
    config : RunConfig
    run : Run
    labels : list
        All class labels.
    rows : int
        Of the corpus, each of which was to be released once.

    Returns
    -------
    list of str
        Names of the files in ``embeddings/``.

    Raises
    ------
    RuntimeError
        If a row was released twice, or not at all.
    """
    code = {label: number for number, label in enumerate(labels)}
    _check_released_once(run, rows)
    privacy, directions = config.privacy, read_directions(config.privacy)
    blocks = (ClassSums.of(*_rows(table, code), len(labels)) for table in _tables(run))
    sums = sum(blocks, start=ClassSums(np.zeros(len(labels), int), np.zeros(1), 0.0))
    denoiser = fit_denoiser(
        sums, directions.variances.astype(float), privacy.clip_norm, noise_scale(privacy)
    )
    run.clear("embeddings")
    directory = run.make("embeddings")
    names = []
    for number, table in enumerate(_tables(run)):
        denoised = denoiser(*_rows(table, code))
        lifted = fixed_size_list(directions.lift(denoised))
        table = table.drop_columns(["embedding"]).append_column("embedding", lifted)
        names.append(f"part-{number:05d}.parquet")
        pq.write_table(table, f"{directory}/{names[-1]}", filesystem=run.fs)
    return names


def _check_released_once(run: Run, wanted: int) -> None:
    ids = run.table(NOISED).to_table(columns=["id"])["id"].to_numpy()
    if len(ids) != wanted or len(np.unique(ids)) != wanted:
        raise RuntimeError(
            f"{NOISED}/ has {len(ids)} releases of {len(np.unique(ids))} "
            f"rows, but each of {wanted} "
            "rows must be released once; delete this run and use a new --output"
        )


def _tables(run: Run) -> Iterator[pa.Table]:
    for file in sorted(run.table(NOISED).files):
        yield run.read_table(file)


def _rows(table: pa.Table, code: dict[Any, int]) -> tuple[np.ndarray, np.ndarray]:
    codes = [code[label] for label in table["label"].to_pylist()]
    return matrix(table["embedding"]).astype(np.float64), np.array(codes, np.int64)
