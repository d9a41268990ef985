"""A run over a table in memory, on Ray or in this process, that returns its accepted samples."""

from __future__ import annotations

import logging
import os
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from smotext_ray.config.load import load_config
from smotext_ray.config.schema import RunConfig
from smotext_ray.corpus.digest import RowDigest
from smotext_ray.errors import UserError
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.actors import Actors
from smotext_ray.pipeline.local import Local
from smotext_ray.run.directory import MANIFEST, Run
from smotext_ray.run.log import log_to_no_run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.result import delivered_samples
from smotext_ray.tables import label_pairs

log = logging.getLogger("smotext_ray")


@dataclass(frozen=True)
class Made:
    """The outcome of a run over a table.

    Attributes
    ----------
    accepted : pyarrow.Table or None
        Samples with their lineage, sorted by sample id, at most as many as requested and without
        duplicates in a class; None if nothing was planned.
    warnings : list of str
        About classes with too few texts to interpolate.
    short : dict of label to int
        Number of requested texts that are missing.
    """

    accepted: pa.Table | None
    warnings: list[str]
    short: dict[Any, int]


def run_on_ray(
    corpus: pa.Table, wanted: Mapping[Any, int], config: RunConfig, output: str | None
) -> Made:
    """Generate texts on Ray; the parameters are those of `run_here`."""
    import ray

    if not (ray.is_initialized() or os.environ.get("RAY_ADDRESS")):
        log.warning(
            "Starting Ray on this machine; use on_ray=False to stay in this process, or set "
            "RAY_ADDRESS to use a cluster."
        )
    with tempfile.TemporaryDirectory() as here:
        return _run(corpus, wanted, config, output or f"{here}/run")


def run_here(
    corpus: pa.Table,
    wanted: Mapping[Any, int],
    config: RunConfig,
    output: str | None,
    actors: Actors,
) -> Made:
    """Generate texts in this process.

    Parameters
    ----------
    corpus : pyarrow.Table
        ``id, text, label``.
    wanted : mapping of label to int
        Requested texts per class.
    config : RunConfig
    output : str or None
        The run directory; None: in memory, until the samples are read.
    actors : Actors

    Raises
    ------
    UserError
        For a class with one distinct text (unless skipped), more rows than the SMOTE variant
        supports, or an output directory with a run of another table.
    """
    if output is not None:
        return _run(corpus, wanted, config, output, executor=Local(actors))
    with _in_memory() as home:
        return _run(corpus, wanted, config, f"{home}/run", executor=Local(actors))


@contextmanager
def _in_memory() -> Iterator[str]:
    home = f"memory://smotext-{uuid.uuid4()}"
    try:
        yield home
    finally:
        Run(home).clear()


def _run(
    corpus: pa.Table,
    wanted: Mapping[Any, int],
    config: RunConfig,
    home: str,
    **stages: Any,
) -> Made:
    counts = Counter(label_pairs(corpus["label"])[1].to_pylist())
    options = {
        "input.path": _written(corpus, home),
        "input.id_column": "id",
        "plan.sampling_strategy": {str(c): counts[c] + n for c, n in wanted.items()},
    }
    try:
        run = rounds.augment(load_config(options=options, base=config), home, **stages)
    finally:
        log_to_no_run()
    manifest = Manifest.read(run)
    parts = list(delivered_samples(run, manifest.round_numbers, wanted))
    return Made(
        pa.concat_tables(parts) if parts else None,
        manifest.warnings or [],
        manifest.shortfall or {},
    )


def _written(corpus: pa.Table, home: str) -> str:
    """The corpus as a file next to the run, accessible wherever the run is.

    Its name has a digest of its content, so that a run of other texts is not mistaken for this one.
    """
    digest = RowDigest()
    digest.add(0, corpus["text"], corpus["label"])
    folder, name = Run(f"{home.rstrip('/')}-input"), f"corpus-{digest.of_labels()}.parquet"
    path, run = f"{folder.uri}/{name}", Run(home)
    if run.has(MANIFEST):
        if Manifest.read(run).config.input.path != path:
            raise UserError(
                f"The run in {run.shown} is of other texts or labels; name another output."
            )
        if folder.has(name):
            return path
    folder.make()
    with folder.fs.open_output_stream(folder.at(name)) as stream:
        pq.write_table(corpus, stream)
    return path
