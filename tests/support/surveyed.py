"""Inputs of a few rows: written, surveyed and staged."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.staging import stage_corpus
from smotext_ray.corpus.survey import survey_corpus
from smotext_ray.errors import UserError

LOCAL = fs.LocalFileSystem()


def write(path, table):
    """A table as the file that the path's ending asks for."""
    table = table if isinstance(table, pa.Table) else pa.table(table)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    else:
        lines = [",".join(table.column_names)]
        for row in table.to_pylist():
            lines.append(",".join("" if cell is None else str(cell) for cell in row.values()))
        path.write_text("\n".join(lines) + "\n")
    return InputConfig(path=str(path))


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return InputConfig(path=str(path))


def stage(config, directory, **options):
    survey = survey_corpus(config)
    stage_corpus(config, survey, LOCAL, str(directory), **options)
    return survey, pq.read_table(directory)


def refused(config):
    with pytest.raises(UserError) as caught:
        survey_corpus(config)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


GOOD = {"text": ["one", "two ", "three", "four"], "label": ["a", "b", "a", "a"]}
