"""Read embeddings from a parquet file, and decode them to texts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from smotext_ray.api.interpolate import Targets, decoded
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.models.bridge_config import read_bridge_config
from smotext_ray.models.files import bridge_directory
from smotext_ray.models.load import check_models
from smotext_ray.plan.vectors import unit
from smotext_ray.tables import matrix
from smotext_ray.utils.filesystems import open_filesystem
from smotext_ray.utils.plain_types import check_plain_types

BLOCK = 1024  # rows decoded at once


def decode_vectors(
    path: str, column: str, config: RunConfig, random_state: int = 0
) -> Iterator[pa.Table]:
    """Decode a column of embeddings, block by block.

    Parameters
    ----------
    path : str
        A parquet file, or its URI.
    column : str
        Lists of numbers, all of the dimension of the bridge's encoder.
    config : RunConfig
    random_state : int, default=0
        At least 0; row ``i`` has the seed ``random_state + i``.

    Yields
    ------
    pyarrow.Table
        ``row, text, cosine_to_vector``, in the order of the file.

    Raises
    ------
    UserError
        If the file or the column cannot be read, or a row is not an embedding.
    """
    check_models(config)
    width = read_bridge_config(bridge_directory(config.bridge.path)).encoder_dim
    start = 0
    for vectors in _read(path, column):
        points = _checked(vectors, width, start)
        if config.encoder.normalize:
            points = unit(points)
        seeds = range(random_state + start, random_state + start + len(points))
        made: pd.DataFrame = decoded(Targets(points), config, seeds)
        yield pa.table(
            {
                "row": np.arange(start, start + len(points)),
                "text": pa.array(made["text"], pa.string()),
                "cosine_to_vector": pa.array(made["cosine_to_point"], from_pandas=True),
            }
        )
        start += len(points)


def _read(path: str, column: str) -> Iterator[pa.ChunkedArray]:
    fs, place = open_filesystem(path)
    try:
        with fs.open_input_file(place) as stream:
            file = pq.ParquetFile(stream)
            check_plain_types(file.schema_arrow, path)
            if column not in file.schema_arrow.names:
                there = ", ".join(file.schema_arrow.names)
                raise UserError(
                    f"{path} has no column {column!r}; name one of {there} with --column."
                )
            if not file.metadata.num_rows:
                raise UserError(f"{path} has no rows; name a file with embeddings.")
            for batch in file.iter_batches(BLOCK, columns=[column]):
                yield pa.chunked_array([batch.column(0)])
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} cannot be read as parquet; name a parquet file.") from error


def _checked(vectors: pa.ChunkedArray, width: int, start: int) -> NDArray[np.float32]:
    kind = vectors.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not (is_list or pa.types.is_fixed_size_list(kind)) or not _is_number(kind.value_type):
        raise UserError(f"The column is of type {kind}; name a column of lists of numbers.")
    try:
        points = matrix(vectors)
    except ValueError:
        raise UserError(
            "Some embeddings are missing, or differ in length; write the file again without them."
        ) from None
    if points.shape[1] != width:
        raise UserError(
            f"The embeddings have {points.shape[1]} numbers, but the bridge reads {width}; name "
            "the bridge for their encoder with bridge.path=."
        )
    lengths = np.linalg.norm(points, axis=1)
    wrong = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(wrong):
        raise UserError(
            f"Row {start + int(wrong[0])} is no embedding (zero, NaN or infinite); remove it."
        )
    return points


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
