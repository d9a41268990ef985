"""Exceptions whose message the command line prints verbatim, and one-line error summaries."""

from __future__ import annotations

from smotext_ray.safe_text import safe


class UserError(Exception):
    """An error the user can fix; the message is one sentence that says how. Exit code 2.

    Credentials and control characters are removed from the message: file names, labels and
    addresses in it come from anywhere, and it goes to terminals, logs and notebooks.
    """

    def __init__(self, message: str) -> None:
        super().__init__(safe(message))


class Stopped(Exception):
    """A job stopped because it would never finish; one sentence says why. Exit code 1.

    The message is safe to show, like that of a UserError.
    """

    def __init__(self, message: str) -> None:
        super().__init__(safe(message))


def one_line(error: BaseException, most: int = 240) -> str:
    """An error's message on one line, shortened, without the trailing period.

    The exception's class name if the message is empty.

    Examples
    --------
    >>> one_line(ValueError("no such\\n   column.")), one_line(KeyError())
    ('no such column', 'KeyError')
    """
    line = (" ".join(str(error).split()) or type(error).__name__).rstrip(".")
    return line if len(line) <= most else f"{line[:most]} ..."
