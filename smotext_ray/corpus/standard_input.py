"""Standard input as an input: kept in an unnamed temporary file, since it is read twice."""

from __future__ import annotations

import functools
import shutil
import sys
import tempfile
from typing import Any

from pyarrow import fs

from smotext_ray.config.choices import TextFormat
from smotext_ray.config.schema import STANDARD_INPUT
from smotext_ray.corpus.text_files import SAMPLE_BYTES, find_encoding, open_bytes
from smotext_ray.errors import UserError

HOW = "pipe a csv or JSON lines file into the command, and again to resume it before it is copied"


def spooled() -> str:
    """The path of a file with all of standard input, which is read once per process.

    The file has no name in any directory, so only this user can open it, and it disappears with the
    process, however that ends.

    Raises
    ------
    UserError
        If standard input is closed, a terminal, or empty.
    """
    return f"/proc/self/fd/{_file_of(sys.stdin).fileno()}"


@functools.lru_cache(maxsize=1)
def _file_of(stream: Any) -> Any:
    if stream is None or stream.closed or stream.isatty():
        raise UserError(f"Nothing is piped into {STANDARD_INPUT}; {HOW}.")
    file = tempfile.TemporaryFile(prefix="smotext-")  # noqa: SIM115 - kept open
    shutil.copyfileobj(stream.buffer, file)
    if not file.tell():
        raise UserError(f"The {STANDARD_INPUT} is empty; {HOW}.")
    file.flush()
    return file


def find_format(path: str, encoding: str | None) -> TextFormat:
    """The format of an unnamed file: JSON lines if it starts with an object or list, else csv.

    Parameters
    ----------
    path : str
    encoding : str or None
        The encoding from the settings, if any.
    """
    local = fs.LocalFileSystem()
    name = find_encoding(local, path, encoding)
    with open_bytes(local, path) as stream:
        start = bytes(stream.read(SAMPLE_BYTES)).decode(name, errors="ignore")
    is_json = start.lstrip("\ufeff \t\r\n").startswith(("{", "["))
    return "jsonl" if is_json else "csv"
