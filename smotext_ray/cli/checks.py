"""The checks of `smotext doctor`, and printing them as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smotext_ray.safe_text import safe

GIB = 1 << 30


@dataclass(frozen=True)
class Check:
    """The result of one check: a row of the table.

    Attributes
    ----------
    name : str
    found : str
        What was found.
    ok : bool
    fix : str
        What to do about it; empty if there is nothing to do.
    needed : bool
        Whether the main job cannot run without it.
    """

    name: str
    found: str
    ok: bool
    fix: str = ""
    needed: bool = True

    @property
    def stops(self) -> bool:
        """Whether the main job cannot run until this is fixed."""
        return self.needed and not self.ok


def print_checks(checks: Sequence[Check], where: str = "here") -> None:
    """Print the table, followed by one line for each thing to fix."""
    from rich.table import Table

    console = plain_console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("check", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("", no_wrap=True)
    for check in checks:
        table.add_row(check.name, safe(check.found), _verdict(check))
    console.print(table, soft_wrap=False)
    console.print()
    print_fixes(checks, where)


def print_fixes(checks: Sequence[Check], where: str = "here") -> None:
    """Print one line for each thing to fix, those needed by the main job first."""
    console = plain_console()
    missing = [check for check in checks if check.stops]
    if missing:
        console.print(f"`smotext augment` cannot run {where} yet. To fix:")
    else:
        console.print(f"Ready: `smotext augment` can run {where}.")
    for check in missing:
        console.print(safe(f"  {check.name}: {check.fix}"))
    hints = [check for check in checks if check.fix and check not in missing]
    if hints:
        console.print("Optional:")
    for check in hints:
        console.print(safe(f"  {check.name}: {check.fix}"))


def plain_console() -> Any:
    """A console that prints ray[data] literally, and commands on one line so they can be copied."""
    from rich.console import Console

    return Console(markup=False, highlight=False, soft_wrap=True)


def gib(size: float) -> str:
    """Bytes in GiB, human-readable."""
    return f"{size / GIB:.1f} GiB"


def _verdict(check: Check) -> str:
    if check.ok:
        return "ok"
    return "FIX" if check.needed else "note"
