"""Find the original error inside Ray's, which wrap it several layers deep or as text only."""

from __future__ import annotations

import errno
import re

from smotext_ray.errors import Stopped, UserError

# Errors that only another path or other permissions can fix.
_OF_THE_PATH = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP),
}


def users_error(error: BaseException) -> str | None:
    """The message of a UserError raised by an actor, or None.

    Ray wraps it; if an actor fails in its constructor, only the text of the traceback is available.
    """
    for cause in _causes(error):
        if isinstance(cause, UserError):
            return str(cause)
        told = re.search(r"^smotext_ray\.errors\.UserError: (.+)$", str(cause), re.MULTILINE)
        if told:
            return told[1]
    if isinstance(error, OSError) and error.errno in _OF_THE_PATH and error.filename:
        return f"{error.filename} cannot be used ({error.strerror}); check the path."
    return None


def innermost(error: BaseException) -> str:
    """The innermost error with a message; for a traceback, its last line."""
    if isinstance(error, Stopped):
        return str(error).removesuffix(".")
    told = [cause for cause in _causes(error) if str(cause).strip()]
    if not told:
        return type(error).__name__
    for cause in told:
        # Ray Data raises its own error from the actor's, which comes first in the text.
        first, above, _ = str(cause).partition("The above exception was the direct cause")
        if above:
            return first.strip().splitlines()[-1][:300]
    lines = [line.strip() for line in str(told[-1]).splitlines() if line.strip()]
    return f"{type(told[-1]).__name__}: {lines[-1][:300]}"


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it was raised from, outermost first."""
    causes: list[BaseException] = []
    seen: BaseException | None = error
    while seen is not None and seen not in causes:
        causes.append(seen)
        inner = getattr(seen, "cause", None)
        seen = inner if isinstance(inner, BaseException) else seen.__cause__
    return causes
