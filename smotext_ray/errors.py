"""The one exception that the command line turns into a sentence and exit code 2."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend; the message is one sentence that says how."""
