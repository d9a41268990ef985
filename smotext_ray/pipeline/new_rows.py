"""Stage rows of an input that are new to a run, after its existing rows.

A row is identified by its id or, if the run numbers its rows, by label and text, so that duplicates
count once.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.column_types import is_string
from smotext_ray.corpus.schema_metadata import SchemaMetadata
from smotext_ray.corpus.staging import regrouped, staged_rows
from smotext_ray.corpus.survey import check_fitting, survey_corpus
from smotext_ray.errors import UserError
from smotext_ray.run.directory import Run
from smotext_ray.run.result import read_input_schema
from smotext_ray.tables import count_labels
from smotext_ray.utils.text import distinct_part


@dataclass
class NewRows:
    """New rows of an input for a run.

    Attributes
    ----------
    read : int
        Number of valid rows of the input.
    changed : int
        Rows whose id exists in the run with another text or label; the run keeps its own.
    files : int
        Number of corpus files written.
    class_counts : Counter
        Number of new rows per class, or with each label.
    new : int
        Number of new rows.
    """

    read: int = 0
    changed: int = 0
    files: int = 0
    class_counts: Counter[Any] = field(default_factory=Counter)
    new: int = 0


def stage_unseen(
    config: InputConfig, run: Run, files: Sequence[str], rows_per_file: int
) -> NewRows:
    """Write rows that are not in ``files`` to additional files of ``corpus/``.

    They count only once the manifest includes them; leftovers of a killed call are overwritten.
    Takes 16 bytes of memory per row of the corpus.

    Parameters
    ----------
    config : InputConfig
        The run's input settings, with the path of the new input.
    run : Run
    files : sequence of str
        The run's current corpus files.
    rows_per_file : int

    Returns
    -------
    NewRows

    Raises
    ------
    UserError
        As in `survey_corpus`, except for missing rows or classes; also if a column of the run is
        missing or has another type.
    """
    schema, _ = read_input_schema(run)
    survey = survey_corpus(config, least_classes=0)
    found = NewRows(read=survey.rows)
    if not survey.rows:
        return found
    _check_schema(survey.schema, schema, config)
    if survey.schema.types != schema.types:
        check_fitting(schema, config)
    labels = run.table("corpus").schema.field("label").type
    seen = _Seen(run, files, numbered=config.id_column is None)
    rows = (
        seen.keep_unseen(table, found)
        for table in staged_rows(config, replace(survey, schema=schema), labels)
    )
    for table in regrouped(rows, rows_per_file):
        if not table.num_rows:
            continue
        name = f"part-{len(files) + found.files:05d}.parquet"
        pq.write_table(table, run.at("corpus", name), filesystem=run.fs)
        found.files += 1
    return found


class _Seen:
    """Hashes of a corpus: row identities and contents.

    64 bits each: among ten million rows, the probability of a collision, which would lose a new
    row, is three in a million.
    """

    def __init__(self, run: Run, files: Sequence[str], numbered: bool) -> None:
        self.numbered = numbered
        self.next_id = 0
        names, says = [], []
        for table in _tables(run, files):
            said = _said(table)
            names.append(said if numbered else _names(table["id"]))
            says.append(said)
            if numbered:
                self.next_id = max(self.next_id, table["id"].to_numpy().max() + 1)
        every = np.concatenate(names)
        order = np.argsort(every)
        self.names, self.says = every[order], np.concatenate(says)[order]
        self.added: set[int] = set()

    def keep_unseen(self, table: pa.Table, found: NewRows) -> pa.Table:
        """The new rows, with new ids if the run numbers its rows; counts them in ``found``."""
        said = _said(table)
        names = said if self.numbered else _names(table["id"])
        place = np.minimum(np.searchsorted(self.names, names), len(self.names) - 1)
        is_known = self.names[place] == names
        found.changed += int((self.says[place][is_known] != said[is_known]).sum())
        keep = ~is_known
        if self.numbered:
            for row in np.flatnonzero(keep):
                keep[row] = names[row] not in self.added
                self.added.add(int(names[row]))
        table = table.filter(pa.array(keep))
        found.class_counts.update(count_labels(table["label"]))
        found.new += len(table)
        if self.numbered:
            first = self.next_id
            self.next_id += table.num_rows
            table = table.set_column(0, "id", pa.array(np.arange(first, self.next_id)))
        return table


def _tables(run: Run, files: Sequence[str]) -> Iterator[pa.Table]:
    for file in files:
        yield run.read_table(file, ["id", "label", "text"])


def _said(table: pa.Table) -> np.ndarray:
    pairs = zip(table["label"].to_pylist(), table["text"].to_pylist(), strict=True)
    return _hashes([json.dumps([label, distinct_part(text)]) for label, text in pairs])


def _names(ids: pa.ChunkedArray) -> np.ndarray:
    return _hashes(ids.to_pylist()) if is_string(ids.type) else ids.to_numpy()


def _hashes(strings: Sequence[str]) -> np.ndarray:
    digests = (hashlib.blake2b(s.encode(), digest_size=8).digest() for s in strings)
    return np.frombuffer(b"".join(digests), np.int64)


def _is_from_text(kind: pa.DataType) -> bool:
    """Whether csv cells may be read as this type; whether they fit is checked later."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _check_schema(given: pa.Schema, own: pa.Schema, config: InputConfig) -> None:
    """Reject an input whose rows do not match the existing ones."""
    metadata = SchemaMetadata()
    metadata.add(own, "the run")
    metadata.add(given, config.shown)
    for name, kind in zip(own.names, own.types, strict=True):
        if name not in given.names:
            raise UserError(f"{config.shown} lacks the column {name!r}, which the run has; add it.")
        other = given.field(name).type
        fits = (
            other == kind
            or pa.types.is_null(other)
            or (is_string(other) and is_string(kind))
            or (pa.types.is_integer(other) and pa.types.is_floating(kind))
            or (is_string(other) and _is_from_text(kind))
        )
        if not fits:
            raise UserError(
                f"The column {name!r} of {config.shown} has {other} values, but the run has "
                f"{kind}; give it that type."
            )
