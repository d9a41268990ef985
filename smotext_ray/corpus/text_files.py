"""Open text files: detect their compression and character encoding."""

from __future__ import annotations

import codecs
import io
import lzma
from typing import Any

from pyarrow import fs

from smotext_ray.errors import UserError

SAMPLE_BYTES = 1 << 16
UTF8 = "utf-8"
# The first bytes of a file say what it is, whatever its name.
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ": "xz"}
OTHERS = {
    b"PAR1": "a parquet file; give it a name with the extension .parquet",
    b"PK\x03\x04": "a zip archive or an Excel file; unpack it, or save it as csv",
    b"ARROW1": "an Arrow file; write it as parquet",
    b"\xd0\xcf\x11\xe0": "an old Excel file; save it as csv",
    b"SQLite format 3": "a SQLite database; write its table as parquet or csv",
}
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def open_bytes(filesystem: fs.FileSystem, path: str) -> Any:
    """The uncompressed bytes of a file.

    Raises
    ------
    UserError
        If the file is not text at all.
    """
    with filesystem.open_input_stream(path, compression=None) as stream:
        start = stream.read(16)
    for begin, what in OTHERS.items():
        if start.startswith(begin):
            raise UserError(f"{path} is {what}.")
    packed = next((kind for begin, kind in PACKED.items() if start.startswith(begin)), None)
    if packed == "xz":  # not supported by pyarrow
        return lzma.LZMAFile(filesystem.open_input_stream(path, compression=None))
    return filesystem.open_input_stream(path, compression=packed)


def buffered(stream: Any) -> Any:
    """The stream with a buffer, for reading lines."""
    return stream if isinstance(stream, lzma.LZMAFile) else io.BufferedReader(stream, 1 << 20)


def find_encoding(filesystem: fs.FileSystem, path: str, told: str | None) -> str:
    """The encoding of a file: as set, as its byte order mark says, or UTF-8.

    Raises
    ------
    UserError
        For an unknown encoding, or a file that is clearly UTF-16 without a mark.
    """
    if told is not None:
        try:
            return codecs.lookup(told).name
        except LookupError:
            raise UserError(
                f"input.encoding {told!r} is unknown; use a name such as utf-8, utf-16 or cp1252."
            ) from None
    with open_bytes(filesystem, path) as stream:
        sample = bytes(stream.read(SAMPLE_BYTES))
    for mark, name in MARKS:
        if sample.startswith(mark):
            return name
    nulls = sample.count(0)
    if 0 < nulls < len(sample) // 8:
        raise UserError(f"{path} has null bytes in its text; remove them, such as with tr -d.")
    if nulls:
        order = "le" if sample[1::2].count(0) > sample[0::2].count(0) else "be"
        raise UserError(
            f"{path} has null bytes, as in UTF-16; if it is, add input.encoding=utf-16-{order}."
        )
    return UTF8


def not_in_encoding(filesystem: fs.FileSystem, path: str, encoding: str) -> str:
    """The error message for a file that is not in the expected encoding.

    Returns
    -------
    str
        A sentence with the line, and the most likely encoding.
    """
    line, sample = 1, b""
    with open_bytes(filesystem, path) as stream:
        decoder = codecs.getincrementaldecoder(encoding)()
        while chunk := bytes(stream.read(SAMPLE_BYTES)):
            try:
                line += decoder.decode(chunk).count("\n")
            except UnicodeDecodeError as error:
                line += chunk[: error.start].count(b"\n")
                sample = chunk
                break
    guess = _guess(sample)
    return (
        f"{path} is not {encoding.upper()} in line {line}; if it is {guess}, add "
        f"input.encoding={guess}, else convert the file."
    )


def _guess(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    # Others are rare, and hard to tell from these in short texts.
    found = from_bytes(sample, cp_isolation=["cp1251", "cp1250", "cp932", "gb18030", "euc_kr"])
    best = found.best()
    # In short texts, it mistakes cp1252 for the similar cp1250.
    return "cp1252" if best is None or best.encoding == "cp1250" else str(best.encoding)
