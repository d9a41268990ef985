"""Exit codes of the commands."""

from __future__ import annotations

DONE, FAULT, USER_ERROR, SHORT = 0, 1, 2, 3
INTERRUPTED = 130
