"""The exceptions whose message the command line shows as it is."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend; the message is one sentence that says how. Exit code 2."""


class Stopped(Exception):
    """A job that would not come to an end by itself; one sentence says why. Exit code 1."""
