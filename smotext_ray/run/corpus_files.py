"""The valid rows of ``corpus/``, in order."""

from __future__ import annotations

import pyarrow.dataset as ds

from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.utils.plain_types import check_plain_types


def corpus_files(run: Run, manifest: Manifest) -> list[str]:
    """The files of ``corpus/`` in the order of their rows, without leftovers of a kill."""
    return sorted(run.table("corpus").files)[: manifest.input.files]


def corpus_table(run: Run, manifest: Manifest) -> ds.Dataset:
    """The rows of those files."""
    return rows_of(run, corpus_files(run, manifest))


def rows_of(run: Run, files: list[str]) -> ds.Dataset:
    """The rows of some files of ``corpus/``."""
    table = ds.dataset(files, format="parquet", filesystem=run.fs)
    check_plain_types(table.schema, run.at("corpus"))
    return table
