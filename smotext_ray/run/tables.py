"""The tables of a run as a stage expects them: with the columns that the previous stage wrote.

A table written by another program or version is rejected here with an explanation, before the
stage computes anything. Only the schema of the first file is read. Columns that no stage writes
are not read.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.dataset as ds

from smotext_ray.errors import UserError
from smotext_ray.run.directory import Run
from smotext_ray.tables import embeddings_schema, plan_schema, samples_schema, weights_schema


def embeddings_table(run: Run) -> ds.Dataset:
    """``embeddings/``.

    Raises
    ------
    UserError
        If a column is missing or has another type; likewise for all tables here.
    """
    table = run.table("embeddings")
    found = table.schema
    has_texts = "text" in found.names
    wanted = embeddings_schema(*_types(found, "id"), _width(found, "embedding"), has_texts)
    return _checked(run, table, wanted)


def weights_table(run: Run, directory: str) -> ds.Dataset:
    """One of the directories in ``weights/``."""
    table = run.table(directory)
    wanted = weights_schema(*_types(table.schema, "id"))
    optional = {"cluster", "reach"} - {*table.schema.names}
    return _checked(run, table, pa.schema([f for f in wanted if f.name not in optional]))


def plan_table(run: Run, *parts: str) -> ds.Dataset:
    """The plan of a round, or of a control."""
    table = run.table(*parts)
    found = table.schema
    types, dim = _types(found, "source_id"), _width(found, "point")
    wanted = plan_schema(*types, dim, _neighbors(found), "labels" in found.names)
    return _checked(run, table, wanted)


def samples_table(run: Run, *parts: str) -> ds.Dataset:
    """The samples of a round, or of a control."""
    table = run.table(*parts)
    found = table.schema
    types = _types(found, "source_id")
    wanted = samples_schema(*types, _neighbors(found), "labels" in found.names)
    return _checked(run, table, wanted)


def _types(found: pa.Schema, id_name: str) -> tuple[pa.DataType, pa.DataType]:
    """The types of ids and labels, which are the same as in the corpus."""
    names = (id_name, "label")
    id_type, label_type = (
        found.field(name).type if name in found.names else pa.null() for name in names
    )
    return id_type, label_type


def _width(found: pa.Schema, name: str) -> int:
    return getattr(found.field(name).type, "list_size", 1) if name in found.names else 1


def _neighbors(found: pa.Schema) -> int:
    return 2 if "other_lams" in found.names else 1


def _checked(run: Run, table: ds.Dataset, wanted: pa.Schema) -> ds.Dataset:
    remedy = "put the run's own file back, or begin the run again in another directory"
    for field in wanted:
        where = f"{table.files[0] if table.files else 'A table'} of the run {run.uri}"
        if field.name not in table.schema.names:
            raise UserError(f"{where} has no column {field.name!r}; {remedy}.")
        found = table.schema.field(field.name).type
        if found != field.type:
            raise UserError(
                f"The column {field.name!r} in {where} holds {found}, not {field.type}; {remedy}."
            )
    return table.replace_schema(wanted)
