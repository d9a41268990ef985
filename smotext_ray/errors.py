"""The exceptions whose message the command line shows as it is, and what others say in a line."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend; the message is one sentence that says how. Exit code 2."""


class Stopped(Exception):
    """A job that would not come to an end by itself; one sentence says why. Exit code 1."""


def one_line(error: BaseException, most: int = 240) -> str:
    """An error's message, short enough for a sentence and without its final stop.

    Its kind, where it says nothing.

    Examples
    --------
    >>> one_line(ValueError("no such\\n   column.")), one_line(KeyError())
    ('no such column', 'KeyError')
    """
    line = (" ".join(str(error).split()) or type(error).__name__).rstrip(".")
    return line if len(line) <= most else f"{line[:most]} ..."
