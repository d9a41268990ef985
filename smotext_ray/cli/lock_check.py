"""Check that the installed versions are the ones that were tested together."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

from smotext_ray.cli.checks import Check

LOCKS = Path(__file__).parents[2] / "locks"  # only in a checkout, not in a wheel
NAMED = 5  # at most this many differing packages are listed


def lock_checks(extra: str, locks: Path = LOCKS) -> list[Check]:
    """Compare with the lock of this Python and ``extra``; empty if there is no such lock.

    Parameters
    ----------
    extra : {"cpu", "gpu"}
    locks : Path
        Directory of ``cpu-py311.txt`` and the like.

    Notes
    -----
    Packages that are not installed are ignored: the lock includes development tools, and packages
    needed by the main job have their own checks.
    """
    file = locks / f"{extra}-py{sys.version_info[0]}{sys.version_info[1]}.txt"
    if not file.exists():
        return []
    tested = locked_versions(file)
    of_torch = locks / f"torch-{extra}.txt"  # separate: torch comes from its own index
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
    fix = f"install the versions in locks/{file.name}: rm -rf .venv && make venv EXTRA={extra}"
    return [Check("tested versions", found, False, fix, needed=False)]


def locked_versions(file: Path) -> dict[str, str]:
    """Map name to version for each line ``name==version``, ignoring hashes and comments."""
    pinned = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)
    return dict(pinned.findall(file.read_text()))


def installed_version(distribution: str) -> str | None:
    """The installed version, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
