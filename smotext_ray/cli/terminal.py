"""Print content of files without letting the terminal interpret it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO

from smotext_ray.safe_text import safe, visible

if TYPE_CHECKING:
    from rich.text import Text


def say(sentence: str, file: TextIO | None = None) -> None:
    """Print a line, without credentials and with control characters spelled out."""
    print(safe(sentence), file=file or sys.stdout)


def literal(cell: Any, style: str = "") -> Text:
    """Any value for rich to print literally, without markup or control characters."""
    from rich.text import Text

    return Text(visible(str(cell)), style=style)


class SafeFormatter(logging.Formatter):
    """Formats log records for the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return safe(super().format(record))
