"""Shared code of the entry points in this directory: a ``smotext`` command as a Ray job."""

import sys

from smotext_ray.cli.exit_codes import DONE, SHORT
from smotext_ray.cli.main import main


def run(command: str) -> int:
    """Run ``smotext COMMAND`` with this process's arguments; returns the job's exit code.

    To Ray and to schedulers a job has succeeded (0) or failed (all else), and a failed one is
    tried again. A run that is finished, though a class fell short of its target (3), would
    only end the same way again: its job has succeeded, and its log says what is lacking.
    """
    code = main([command, *sys.argv[1:]])
    if code == SHORT:
        print("smotext: finished, though short of a target; the job counts as done.")
        return DONE
    return code
