"""Input locations: files, directories, globs, URIs, Hugging Face datasets, ``demo:``, ``-``.

Files are read in name order, so that the same input always gives the same rows in the same order.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

from smotext_ray.config.choices import TextFormat
from smotext_ray.config.schema import STANDARD_INPUT, InputConfig
from smotext_ray.corpus import blocks
from smotext_ray.corpus.blocks import Block, require_columns
from smotext_ray.corpus.demo import load_dataset
from smotext_ray.corpus.formats import (
    COMPRESSIONS,
    FORMATS,
    read_file,
    split_ending,
    with_struct_paths,
)
from smotext_ray.corpus.listing import check_listing
from smotext_ray.corpus.standard_input import find_format, spooled
from smotext_ray.errors import UserError, one_line
from smotext_ray.utils.filesystems import with_retry_limit
from smotext_ray.utils.plain_types import check_plain_types

DEMO = "demo:"
HUB_NAME = re.compile(r"(?P<name>[\w.-]+(/[\w.-]+)?)(:(?P<split>[\w.+-]+))?")


@dataclass(frozen=True)
class Files:
    """The files of an input, in reading order.

    Attributes
    ----------
    filesystem : pyarrow.fs.FileSystem
    paths : tuple of str
        All of one format; never empty.
    root : str or None
        The directory below which ``key=value`` directories are columns; None for a single file.
    """

    filesystem: fs.FileSystem
    paths: tuple[str, ...]
    root: str | None = None


def read_blocks(config: InputConfig, types: pa.Schema | None = None) -> Iterator[Block]:
    """Stream the whole input as blocks, always in the same order.

    Parameters
    ----------
    config : InputConfig
    types : pyarrow.Schema or None
        The types of csv and JSON columns, once known.

    Yields
    ------
    Block

    Raises
    ------
    UserError
        If the input does not exist, cannot be read, or lacks a column.
    """
    if not config.path:
        raise UserError("No input given; pass a file, directory or URI with --input.")
    if config.path.startswith(DEMO):
        yield from _read_demo(config)
        return
    if config.is_standard_input:
        yield from _read_standard_input(config, types)
        return
    files = find_files(config.path, config.format)
    if files is None:
        yield from _read_hub(config)
        return
    for path in files.paths:
        yield from read_file(files.filesystem, path, config, types, files.root)


def find_files(path: str, told: TextFormat | None = None) -> Files | None:
    """Find the files of a path, directory, glob or URI.

    Parameters
    ----------
    path : str
        In directories (searched recursively) and for wildcards, names starting with ``.`` or ``_``
        are ignored. ``?`` is a wildcard in local paths only.
    told : str, optional
        Format of files without a known extension.

    Returns
    -------
    Files or None
        None if there is no such file and the name could be a Hugging Face dataset.

    Raises
    ------
    UserError
        If nothing is found, a file is empty, or the formats are unknown or mixed.
    """
    is_uri = "://" in path or path.startswith("file:")
    try:
        filesystem, root, wildcards = _open_uri(path) if is_uri else _open_local(path)
        infos = _expand(filesystem, root, wildcards)
    except PermissionError as error:
        raise UserError(f"{path} is not readable by this user; change its permissions.") from error
    except UserError:
        raise
    except Exception as error:
        if not is_uri:
            raise
        # Each storage client raises its own exceptions.
        raise UserError(
            f"{path} cannot be reached ({one_line(error)}); check the URI, "
            "the credentials and the network."
        ) from error
    if infos is None:
        if not is_uri and _may_be_hub_name(path):
            return None
        raise UserError(f"{path} does not exist; check the path.")
    paths = _checked(path, check_listing(filesystem, root, infos), told)
    is_file = not wildcards and paths == (root,)
    return Files(filesystem, paths, None if is_file else root)


def last_written(config: InputConfig) -> datetime | None:
    """When a file of the input was last written; None for other inputs or without files."""
    if config.path.startswith(DEMO) or config.is_standard_input:
        return None
    try:
        files = find_files(config.path, config.format)
    except UserError:
        return None
    infos = files.filesystem.get_file_info(list(files.paths)) if files is not None else []
    times = [info.mtime for info in infos if info.mtime is not None]
    return max(times, default=None)


def _open_local(path: str) -> tuple[fs.FileSystem, str, list[str]]:
    full = os.path.abspath(os.path.expanduser(path))
    if os.path.lexists(full):  # a name may contain a bracket without being a pattern
        return fs.LocalFileSystem(), full, []
    root, wildcards = _split_pattern(full, "*?[")
    return fs.LocalFileSystem(), root, wildcards


def _open_uri(uri: str) -> tuple[fs.FileSystem, str, list[str]]:
    if uri.startswith("file:"):  # pyarrow rejects spaces in it
        return _open_local("/" + unquote(uri.removeprefix("file:")).lstrip("/"))
    # "?" is followed by options of the store, such as its region.
    location, mark, options = uri.partition("?")
    root, wildcards = _split_pattern(location, "*[")
    try:
        filesystem, path = fs.FileSystem.from_uri(with_retry_limit(root + mark + options))
    except pa.ArrowInvalid:  # not supported by pyarrow
        import fsspec.core

        remote, path = fsspec.core.url_to_fs(root + mark + options)
        filesystem = fs.PyFileSystem(fs.FSSpecHandler(remote))
    return filesystem, path, wildcards


def _split_pattern(path: str, wildcards: str) -> tuple[str, list[str]]:
    """The part before the first segment with a wildcard, and the remaining segments."""
    segments = path.split("/")
    for index, segment in enumerate(segments):
        if any(character in segment for character in wildcards):
            return "/".join(segments[:index]) or "/", segments[index:]
    return path, []


def _expand(filesystem: fs.FileSystem, root: str, wildcards: list[str]) -> list[fs.FileInfo] | None:
    """All matching files, sorted by path; None if there is nothing at the path."""
    found = [filesystem.get_file_info(root)]
    if not wildcards:
        if found[0].type == fs.FileType.NotFound:
            return None
        if found[0].type != fs.FileType.Directory:
            return found
        return _listed(filesystem, root, recursive=True)
    for after, pattern in enumerate(wildcards, start=1):
        directories = [info.path for info in found if info.type == fs.FileType.Directory]
        if pattern == "**":
            for directory in directories:
                found += _listed(filesystem, directory, recursive=True)
            continue
        found = [
            info
            for directory in directories
            for info in _listed(
                filesystem,
                directory,
                hidden=pattern.startswith((".", "_")),
                only_files=after == len(wildcards),
            )
            if fnmatch.fnmatchcase(info.base_name, pattern)
        ]
    # "**" can reach a directory more than once.
    files = {info.path: info for info in found if info.type == fs.FileType.File}
    return [files[path] for path in sorted(files)] or None


def _listed(
    filesystem: fs.FileSystem,
    directory: str,
    recursive: bool = False,
    hidden: bool = False,
    only_files: bool = False,
) -> list[fs.FileInfo]:
    # In Google buckets pyarrow only lists directories that exist as objects, which few tools
    # create; infer the others from their contents.
    is_told = filesystem.type_name != "gcs" or only_files
    selector = fs.FileSelector(directory, recursive=recursive or not is_told)
    infos = filesystem.get_file_info(selector)
    if not is_told:
        infos = _with_directories(infos, directory)
        infos = [i for i in infos if recursive or os.path.dirname(i.path) == directory]
    kept = []
    for info in infos:
        below = info.path.removeprefix(directory).strip("/").split("/")
        if hidden or not any(part.startswith((".", "_")) for part in below):
            kept.append(info)
    return sorted(kept, key=lambda info: cast(str, info.path))


def _with_directories(infos: list[fs.FileInfo], root: str) -> list[fs.FileInfo]:
    """The same entries plus all directories between them and the root."""
    found = {info.path: info for info in infos}
    for info in infos:
        above = os.path.dirname(info.path)
        while above != root and above not in found:
            found[above] = fs.FileInfo(above, fs.FileType.Directory)
            above = os.path.dirname(above)
    return list(found.values())


def _checked(path: str, infos: list[fs.FileInfo], told: TextFormat | None) -> tuple[str, ...]:
    files = [info for info in infos if info.type != fs.FileType.Directory]
    if not files:
        raise UserError(f"The directory {path} has no files; use one that does.")
    kinds: dict[str, str] = {}
    for info in files:
        if info.type != fs.FileType.File:
            raise UserError(f"{info.path} is not a regular file; write the corpus to one.")
        kind = split_ending(info.path)[0] or told
        if kind is None:
            raise UserError(
                f"{info.path} has an unknown extension; use {', '.join(FORMATS)}, text files "
                f"also with {', '.join(COMPRESSIONS)} (select files with a pattern "
                "such as 'DIR/*.csv'), or name the format with --input-format."
            )
        kinds.setdefault(kind, info.path)
        if info.size == 0:
            raise UserError(f"{info.path} is empty (0 bytes); write the corpus to it first.")
    if len(kinds) > 1:
        (one, first), (other, second) = list(kinds.items())[:2]
        raise UserError(
            f"{path} mixes formats ({first} is {one}, {second} is {other}); "
            "use files of one format, for example with a pattern such as 'DIR/*.csv'."
        )
    return tuple(info.path for info in files)


def _may_be_hub_name(path: str) -> bool:
    looks_local = path.startswith((".", "/", "~")) or split_ending(path)[0] is not None
    return not looks_local and HUB_NAME.fullmatch(path) is not None


def _read_hub(config: InputConfig) -> Iterator[Block]:
    match = HUB_NAME.fullmatch(config.path)
    assert match is not None  # guaranteed by find_files
    try:
        import datasets

        split = match["split"] or "train"
        rows = datasets.load_dataset(match["name"], split=split, streaming=True)
        # One conversion to Arrow per block; its tables may have any number of rows.
        stream: Any = rows.with_format("arrow").iter(batch_size=blocks.BLOCK_ROWS)
        for table in stream:
            check_plain_types(table.schema, config.path)
            block = with_struct_paths(Block(table, config.path), config)
            require_columns(block.table.column_names, config, config.path)
            yield block
    except UserError:
        raise
    except Exception as error:
        # The hub's client raises dozens of exceptions, from network, server and dataset.
        raise UserError(
            f"There is no file or directory {config.path}, and no Hugging Face dataset "
            f"of that name could be read ({one_line(error)}); check the spelling and the network."
        ) from error


def _read_standard_input(config: InputConfig, types: pa.Schema | None) -> Iterator[Block]:
    path = spooled()
    try:
        told = config.format or find_format(path, config.encoding)
        config = config.model_copy(update={"format": told})
        for block in read_file(fs.LocalFileSystem(), path, config, types):
            yield replace(block, where=STANDARD_INPUT)
    except UserError as error:
        raise UserError(str(error).replace(path, STANDARD_INPUT)) from error


def _read_demo(config: InputConfig) -> Iterator[Block]:
    name, _, split = config.path.removeprefix(DEMO).partition(":")
    table = load_dataset(name, cast(Any, split or "train"))
    require_columns(table.column_names, config, config.path)
    for start in range(0, table.num_rows, blocks.BLOCK_ROWS):
        yield Block(table.slice(start, blocks.BLOCK_ROWS), config.path)
