"""The files of a listing: each real file once, and only those with rows of a corpus."""

from __future__ import annotations

import os

from pyarrow import fs

from smotext_ray.errors import UserError

MANIFEST = "manifest.json"  # of a run
SAVED = ("state.json", "dataset_info.json")  # by Dataset.save_to_disk
# Table formats over parquet: some of their files are old versions, or have deleted rows.
TABLE_FORMATS = {"_delta_log": "Delta", ".hoodie": "Hudi"}


def check_listing(
    filesystem: fs.FileSystem, root: str, infos: list[fs.FileInfo]
) -> list[fs.FileInfo]:
    """Refuse runs and tables of other formats, and leave out links to files that are listed.

    Parameters
    ----------
    filesystem : pyarrow.fs.FileSystem
    root : str
        Where the listing started.
    infos : list of pyarrow.fs.FileInfo
        Sorted by path.

    Returns
    -------
    list of pyarrow.fs.FileInfo

    Raises
    ------
    UserError
    """
    if [info.path for info in infos] != [root]:  # a file named explicitly is intended
        directories = _directories(root, infos)
        if filesystem.type_name == "local":
            directories = sorted({os.path.realpath(directory) for directory in directories})
        for directory in directories:
            # A partition is not a table itself, and there may be thousands.
            if "=" not in os.path.basename(directory):
                _check_directory(filesystem, directory)
    if filesystem.type_name != "local":
        return infos
    for info in infos:
        if info.type == fs.FileType.File and not os.access(info.path, os.R_OK):
            raise UserError(f"{info.path} is not readable by this user; change its permissions.")
    real: dict[str, fs.FileInfo] = {}
    for info in sorted(infos, key=lambda info: _detour(info.path)):
        real.setdefault(os.path.realpath(info.path), info)
    return sorted(real.values(), key=lambda info: str(info.path))


def _detour(path: str) -> tuple[bool, int]:
    """Sort key: a file before the links to it, and short paths before long ones."""
    return os.path.realpath(path) != path, len(path)


def _directories(root: str, infos: list[fs.FileInfo]) -> list[str]:
    """The root, and all directories between it and the files."""
    found = {root}
    for info in infos:
        directory = os.path.dirname(info.path)
        while len(directory) > len(root):
            found.add(directory)
            directory = os.path.dirname(directory)
    return sorted(found)


def _check_directory(filesystem: fs.FileSystem, directory: str) -> None:
    if filesystem.type_name == "local":
        for entry in os.scandir(directory):
            # pyarrow does not list these.
            if not entry.name.startswith((".", "_")) and not os.path.exists(entry.path):
                raise UserError(f"{entry.path} is a link to nothing; remove or fix the link.")
    names = [*TABLE_FORMATS, *SAVED, MANIFEST, "metadata", "corpus"]
    found = filesystem.get_file_info([f"{directory.rstrip('/')}/{name}" for name in names])
    there = {
        name: info
        for name, info in zip(names, found, strict=True)
        if info.type != fs.FileType.NotFound
    }
    for name, kind in TABLE_FORMATS.items():
        if name in there:
            raise UserError(_other_table(directory, kind))
    if all(name in there for name in SAVED):
        raise UserError(
            f"{directory} was written by save_to_disk of datasets; write it as parquet with "
            f"datasets.load_from_disk({directory!r}).to_parquet('corpus.parquet')."
        )
    if MANIFEST in there and "corpus" in there:
        raise UserError(
            f"{directory} is a run of smotext; name its result, {directory}/augmented.parquet, or "
            "move it out of the input."
        )
    if "metadata" in there and there["metadata"].type == fs.FileType.Directory:
        inside = filesystem.get_file_info(fs.FileSelector(there["metadata"].path))
        if any(info.base_name.endswith(".metadata.json") for info in inside):
            raise UserError(_other_table(directory, "Iceberg"))


def _other_table(directory: str, kind: str) -> str:
    return (
        f"{directory} is a table of {kind}, some of whose files hold rows that are no longer in "
        f"it; export its current rows as parquet."
    )
