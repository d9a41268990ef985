"""Survey the corpus: validate every row and infer column types.

The input is streamed twice: first to check every row and infer the columns' types, without writing
anything, and then to write the valid rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus.blocks import asked_columns, require_columns
from smotext_ray.corpus.column_types import ColumnTypes
from smotext_ray.corpus.conversion import converted
from smotext_ray.corpus.label_sets import has_label_sets, staged_label_type
from smotext_ray.corpus.plain import plain_type, restored
from smotext_ray.corpus.schema_metadata import class_names
from smotext_ray.corpus.sources import read_blocks
from smotext_ray.corpus.tally import Tally, id_hashes
from smotext_ray.corpus.validation import REASONS, check_names, read_ids
from smotext_ray.errors import UserError
from smotext_ray.tables import label_value_type
from smotext_ray.utils.text import alike


@dataclass(frozen=True)
class BadRows:
    """Rows that are unusable for the same reason.

    Attributes
    ----------
    count : int
    examples : tuple
        The first five ids: values of the id column, or 0-based row numbers of the input.
    """

    count: int
    examples: tuple[Any, ...]


@dataclass(frozen=True)
class CorpusSummary:
    """The result of surveying the input.

    Attributes
    ----------
    rows : int
        Number of valid rows.
    class_counts : dict
        Label to number of valid rows with it, sorted by ``str(label)``.
    bad_rows : dict of str to BadRows
        Reason to rows; a row counts once, with its first reason.
    schema : pyarrow.Schema
        The input's columns, with its metadata.
    mean_characters : float
        Mean length of the valid texts.
    categories : dict of str to pyarrow.Array
        The values of each dictionary column, in order.
    digest : str
        Digest of the valid rows; see `RowDigest`.
    singletons : frozenset
        Labels of classes with several rows, but only one distinct text.
    warnings : tuple of str
        Sentences about what may be unintended.
    class_names : dict of int to str
        Names of the classes, if the labels are a ClassLabel of ``datasets``.
    is_multilabel : bool
        Whether rows have sets of labels.
    """

    rows: int
    class_counts: dict[Any, int]
    bad_rows: dict[str, BadRows]
    schema: pa.Schema
    mean_characters: float
    categories: dict[str, pa.Array] = field(default_factory=dict)
    digest: str = ""
    singletons: frozenset[Any] = frozenset()
    warnings: tuple[str, ...] = ()
    class_names: dict[int, str] = field(default_factory=dict)
    is_multilabel: bool = False


def survey_corpus(config: InputConfig, least_classes: int = 2) -> CorpusSummary:
    """Check every row of the input, without writing anything.

    Parameters
    ----------
    config : InputConfig
    least_classes : int, default=2
        0 also allows an input without rows.

    Returns
    -------
    CorpusSummary

    Raises
    ------
    UserError
        If the input is missing, damaged or empty, lacks a column, has a column reserved for the
        result, has bad rows (with ``on_bad_row="error"``), null or duplicate ids, or fewer than
        ``least_classes`` classes.
    """
    _check_roles(config)
    joined = None if config.label_delimiter is None else config.label_column
    types = ColumnTypes(config.text_column, config.label_column, config.id_column, joined)
    tally = Tally()
    for block in read_blocks(config):
        check_names(block)
        types.add(block)
        tally.add(block, config)
    schema = types.schema()
    if not tally.seen:
        if least_classes:
            raise UserError(f"{config.shown} has no rows; use a corpus that does.")
        return CorpusSummary(0, {}, {}, schema, 0.0)
    # JSON lines and directories can only be checked after the last row.
    require_columns(schema.names, config, config.shown)
    _check_storable(schema, config)
    if types.is_mixed:
        check_fitting(schema, config)
    if config.id_column is not None:
        _check_unique(tally, config)
    is_multilabel = has_label_sets(config, schema)
    kind = label_value_type(staged_label_type(config, schema))
    class_counts = _class_counts(tally.labels, kind)
    survey = CorpusSummary(
        rows=tally.good,
        class_counts=class_counts,
        bad_rows=_bad_rows(tally, schema, config),
        schema=schema,
        mean_characters=tally.characters / max(tally.good, 1),
        categories=types.categories,
        digest=tally.digest.of_labels(
            list if is_multilabel else lambda labels: _as_type(labels, kind)
        ),
        singletons=_singletons(tally.distinct, class_counts, kind),
        warnings=tuple(look_alikes(class_counts)),
        class_names=class_names(schema, config.label_column),
        is_multilabel=is_multilabel,
    )
    _check_rows(survey, tally.seen, config, least_classes)
    return survey


def roles(config: InputConfig, is_multilabel: bool = False) -> dict[str, str]:
    """The input's names of the staged columns ``id``, ``text`` and, for one label, ``label``."""
    staged = {config.text_column: "text"}
    if not is_multilabel:
        staged[config.label_column] = "label"
    return staged if config.id_column is None else {**staged, config.id_column: "id"}


def _singletons(
    distinct: dict[Any, set[int]], counts: dict[Any, int], kind: pa.DataType
) -> frozenset[Any]:
    found: dict[Any, set[int]] = {}
    for label, hashes in zip(_as_type(list(distinct), kind), distinct.values(), strict=True):
        found.setdefault(label, set()).update(hashes)
    return frozenset(label for label, hashes in found.items() if len(hashes) < 2 <= counts[label])


def look_alikes(labels: Iterable[Any]) -> Iterator[str]:
    """A sentence for each group of classes that a reader may take for the same one."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(alike(str(label)), []).append(str(label))
    for names in groups.values():
        if len(names) > 1:
            yield (
                f"The classes {', '.join(map(ascii, names))} differ only in case, white space or "
                "the form of their characters; if they are one class, write them alike."
            )


def _check_unique(tally: Tally, config: InputConfig) -> None:
    hashes = np.frombuffer(tally.hashes, np.int64)
    hashes.sort()
    suspects = hashes[1:][hashes[1:] == hashes[:-1]]
    if not suspects.size:
        return
    seen: set[Any] = set()
    for block in read_blocks(config):
        ids = read_ids(block, config, 0)
        for row in np.flatnonzero(np.isin(id_hashes(ids), suspects)):
            value = ids[int(row)].as_py()
            if value in seen:
                raise UserError(
                    f"The id column {config.id_column!r} has duplicates of {value!r}; make the ids "
                    "unique, or omit --id-column to number the rows."
                )
            seen.add(value)


def _check_storable(schema: pa.Schema, config: InputConfig) -> None:
    for field_ in schema:
        name, kind = field_.name, field_.type
        if "struct<>" in str(kind):  # not supported by parquet
            raise UserError(
                f"The column {name!r} of {config.shown} has only empty objects; drop it."
            )
        try:
            values = restored(pa.array([], plain_type(kind)), kind)
            pq.write_table(pa.table([values], pa.schema([field_])), pa.BufferOutputStream())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise UserError(
                f"The column {name!r} of {config.shown} has the type {kind}, which parquet cannot "
                "hold; drop it, or write it with another type."
            ) from error


def check_fitting(schema: pa.Schema, config: InputConfig) -> None:
    """Read the input again, to check that each value fits its column's common type.

    Raises
    ------
    UserError
        With the column and the types.
    """
    is_multilabel = has_label_sets(config, schema)
    converted_before = {config.text_column, *(() if is_multilabel else [config.label_column])}
    for block in read_blocks(config, schema):
        for field_ in schema:
            if field_.name not in converted_before:
                converted(block, field_.name, field_.type)


def _check_roles(config: InputConfig) -> None:
    asked = list(asked_columns(config).values())
    if len(set(asked)) < len(asked):
        named = ", ".join(map(repr, asked[:-1]))
        raise UserError(
            f"The text, label and id columns must be different; they are {named} and {asked[-1]!r}."
        )


def _check_rows(survey: CorpusSummary, seen: int, config: InputConfig, least_classes: int) -> None:
    listed = ", ".join(
        f"{reason} in {bad.count} (id {', '.join(map(str, bad.examples))}"
        f"{', ...' if bad.count > len(bad.examples) else ''})"
        for reason, bad in survey.bad_rows.items()
    )
    if listed and config.on_bad_row == "error":
        count = seen - survey.rows
        raise UserError(
            f"{count} of the {seen} rows of {config.shown} cannot be used: {listed}; fix them, "
            "or drop them with --on-bad-row skip."
        )
    if survey.rows == 0 and least_classes:
        raise UserError(
            f"{config.shown} has no usable row: {listed}; fix the rows, or choose other columns."
        )
    if survey.is_multilabel and len(survey.class_counts) < least_classes:
        found = (
            "only the label " + repr(*survey.class_counts) if survey.class_counts else "no label"
        )
        raise UserError(
            f"The rows of {config.shown} have {found}; use a corpus with at least two labels, or "
            "choose other columns."
        )
    if len(survey.class_counts) < least_classes:
        (label,) = survey.class_counts
        raise UserError(
            f"All rows of {config.shown} are of one class, {label!r}; use a corpus with at least "
            "two, or choose another column with --label-column."
        )


def _class_counts(labels: Counter[Any], kind: pa.DataType) -> dict[Any, int]:
    # For csv, strings were counted, and two of them can be the same value: "true" and "True".
    counts: Counter[Any] = Counter()
    for label, count in zip(_as_type(list(labels), kind), labels.values(), strict=True):
        counts[label] += count
    return dict(sorted(counts.items(), key=lambda item: str(item[0])))


def _bad_rows(tally: Tally, schema: pa.Schema, config: InputConfig) -> dict[str, BadRows]:
    kind = pa.int64()
    if config.id_column is not None:
        kind = plain_type(schema.field(config.id_column).type)
    return {
        reason: BadRows(tally.bad[reason], tuple(_as_type(tally.examples[reason], kind)))
        for reason in REASONS
        if tally.bad[reason]
    }


def _as_type(values: list[Any], kind: pa.DataType) -> list[Any]:
    """Values as they were counted, which for csv are strings, converted to a type."""
    if not values:
        return []
    if isinstance(values[0], str):
        return list(pa.array(values).cast(kind).to_pylist())
    try:
        return list(pa.array(values, kind).to_pylist())
    except (OverflowError, pa.ArrowInvalid):
        raise UserError(
            f"Some integers do not fit {kind}, the type that the column has in all of the input; "
            "write them as strings."
        ) from None
