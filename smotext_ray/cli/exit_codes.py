"""Exit codes of the commands."""

from __future__ import annotations

DONE, INTERNAL_ERROR, USER_ERROR, SHORT = 0, 1, 2, 3
INTERRUPTED = 130
