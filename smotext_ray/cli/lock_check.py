"""Whether what is installed is the set of versions that was tested together."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

from smotext_ray.cli.checks import Check

LOCKS = Path(__file__).parents[2] / "locks"  # in a checkout; a wheel has none
NAMED = 5  # of the packages that differ


def lock_checks(extra: str, locks: Path = LOCKS) -> list[Check]:
    """A row on the lock of this Python and ``extra``; none where there is no such lock.

    Parameters
    ----------
    extra : {"cpu", "gpu"}
    locks : Path
        Directory of ``cpu-py311.txt`` and the like.

    Notes
    -----
    What the lock names and is not installed is not counted: the lock holds the development
    tools too, and what the main job needs has rows of its own.
    """
    file = locks / f"{extra}-py{sys.version_info[0]}{sys.version_info[1]}.txt"
    if not file.exists():
        return []
    tested = locked_versions(file)
    of_torch = locks / f"torch-{extra}.txt"  # by itself: it comes from an index of its own
    if of_torch.exists():
        tested |= locked_versions(of_torch)
    others = [
        f"{name} {installed} (tested: {version})"
        for name, version in tested.items()
        if (installed := installed_version(name)) not in (None, version)
    ]
    if not others:
        return [Check("tested versions", f"as in locks/{file.name}", True)]
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    found = f"{', '.join(others[:NAMED])}{more}"
    fix = f"install those of locks/{file.name}: rm -rf .venv && make venv EXTRA={extra}"
    return [Check("tested versions", found, False, fix, needed=False)]


def locked_versions(file: Path) -> dict[str, str]:
    """Name to version, of each line ``name==version``; hashes and comments are passed over."""
    pinned = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)
    return dict(pinned.findall(file.read_text()))


def installed_version(distribution: str) -> str | None:
    """None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
