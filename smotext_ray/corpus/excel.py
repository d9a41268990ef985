"""Read the only sheet of an Excel file, if openpyxl is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pandas as pd
import pyarrow as pa
from pyarrow import fs

from smotext_ray.config.schema import InputConfig
from smotext_ray.corpus import blocks
from smotext_ray.corpus.blocks import Block, require_columns
from smotext_ray.corpus.json_lines import block_of_rows
from smotext_ray.errors import UserError


def read_excel(
    filesystem: fs.FileSystem, path: str, config: InputConfig, types: pa.Schema | None
) -> Iterator[Block]:
    """Read one file; its cells have the types that Excel shows.

    Parameters
    ----------
    filesystem : pyarrow.fs.FileSystem
    path : str
    config : InputConfig
    types : pyarrow.Schema or None
        The columns' types; without it they are inferred per block.

    Yields
    ------
    Block

    Raises
    ------
    UserError
        Without openpyxl, or if the file has several sheets.
    """
    if importlib.util.find_spec("openpyxl") is None:
        raise UserError(f"{path} is an Excel file; install openpyxl, or save it as csv in UTF-8.")
    with filesystem.open_input_file(path) as handle:
        sheets = pd.read_excel(
            handle,
            sheet_name=None,
            engine="openpyxl",
            dtype=object,
            # Only an empty cell is null: "NA" may be a class.
            keep_default_na=False,
            na_values=[""],
        )
    if len(sheets) > 1:
        raise UserError(
            f"{path} has the sheets {', '.join(map(repr, sheets))}; save the one with the corpus "
            "as a file of its own."
        )
    (frame,) = sheets.values()
    frame.columns = [str(name) for name in frame.columns]
    require_columns(list(frame.columns), config, path)
    cells = frame.astype(object).where(frame.notna(), None)
    for start in range(0, len(cells), blocks.BLOCK_ROWS):
        rows = cells.iloc[start : start + blocks.BLOCK_ROWS].to_dict("records")
        yield block_of_rows(rows, path, config, types)
