"""Where a new run may be written, checked before anything is."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pyarrow import fs as pafs

from smotext_ray.errors import UserError
from smotext_ray.run.directory import Run

# Readers take paths with these characters for patterns or parts of a URL.
_SPECIAL = re.compile(r"[?#%*\[\]\x00-\x1f\x7f]")
# Set by Ray for the command of `ray job submit`, whose working directory is a temporary copy.
_OF_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def check_output(path: str, run: Run) -> None:
    """Check the directory of a new run.

    Parameters
    ----------
    path : str
        ``input.path``.
    run : Run

    Raises
    ------
    UserError
        If the directory is inside the input, where its files would be read as rows in the second
        pass; or cannot be written, has a name that readers take for a pattern, or is relative in a
        job.
    """
    if isinstance(run.fs, pafs.LocalFileSystem):
        _check_local(run)
    if _is_inside(run, path):
        raise UserError(
            f"The output {run.uri} is inside the input {path}, so its files would be read as rows; "
            "name an output outside."
        )


def _check_local(run: Run) -> None:
    special = _SPECIAL.search(run.path)
    if special is not None:
        raise UserError(
            f"The output {run.uri!r} has the character {special[0]!r} in its path, which readers "
            "take for a pattern or a URL; name another one."
        )
    try:
        run.path.encode()
    except UnicodeEncodeError:
        raise UserError(f"The output {run.uri!r} is not UTF-8; name another one.") from None
    if _OF_A_JOB in os.environ and "://" not in run.uri and not run.uri.startswith(("/", "~")):
        raise UserError(
            f"The output {run.uri} is relative to the job's working directory, a temporary copy; "
            "name an absolute path or a URI that all nodes have access to."
        )
    place = Path(run.path)
    there = next(above for above in (place, *place.parents) if os.path.lexists(above))
    if not there.is_dir():
        raise UserError(f"The output {run.uri} cannot be made: {there} is not a directory.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            f"The output {run.uri} cannot be written: {there} is not writable for this user."
        )


def _is_inside(run: Run, path: str) -> bool:
    root = path.partition("**")[0]
    if root in ("", "-") or root.startswith("demo:"):
        return False
    if "://" in root:
        return run.uri.startswith(root.partition("?")[0].rstrip("/") + "/")
    home = os.path.realpath(os.path.expanduser(root))
    if not isinstance(run.fs, pafs.LocalFileSystem) or not os.path.isdir(home):
        return False
    place = os.path.realpath(run.path)
    return place == home or place.startswith(home.rstrip("/") + "/")
