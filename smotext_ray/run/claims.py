"""Claims on a run, as other processes see them: who made them, and whether they still count."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smotext_ray.run.directory import LEASE, Run

TTL_SECONDS = 60.0
VERSION = "manifest-"  # files of this name in the same directory are not claims


@dataclass(frozen=True)
class Claim:
    """A claim as seen by another process.

    Attributes
    ----------
    name : str
        Name of its file.
    renewed : float
        When it was last written, in seconds by the file system's clock.
    facts : dict
        ``host``, ``pid``, ``process``, ``what``, ``since``, ``held``, ``token`` and ``renewed``;
        empty if it could not be read. A claim that cannot be read counts as held, by an unknown
        process.
    """

    name: str
    renewed: float
    facts: dict[str, Any]

    @property
    def is_held(self) -> bool:
        """Whether its process holds the lease, rather than asking for it."""
        return bool(self.facts.get("held", True))

    @property
    def token(self) -> str:
        """The token of the lease; empty if it is not held."""
        return str(self.facts.get("token", ""))

    @property
    def is_here(self) -> bool:
        """Whether the process is alive on this machine."""
        process = self.facts.get("process", "")
        return bool(process) and identity(int(self.facts["pid"])) == process

    def is_over(self, now: float) -> bool:
        """Whether it has expired, or its process is known to have died on this machine."""
        return now - self.renewed > TTL_SECONDS or self.has_died

    @property
    def has_died(self) -> bool:
        """Whether its process is known to have died on this machine."""
        process = self.facts.get("process", "").split()
        own = identity(os.getpid()).split()
        if len(process) < 3 or process[:2] != own[:2]:
            return False  # on another machine or in another container
        now = identity(int(self.facts["pid"]))
        if now:
            return now.split() != process  # the pid belongs to another process
        # /proc may hide other users' processes (hidepid), so only the kernel can tell.
        try:
            os.kill(int(self.facts["pid"]), 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


def read_claims(run: Run) -> list[Claim]:
    """All claims on a run, including those that are over."""
    found = []
    for info in run.files(LEASE):
        if info.base_name.startswith(("_", VERSION)):
            continue
        try:
            facts = _read(run, info.base_name)
        except FileNotFoundError:  # withdrawn since it was listed
            continue
        # Some fsspec file systems have no modification times.
        renewed = info.mtime_ns / 1e9 if info.mtime_ns else facts.get("renewed", 0.0)
        found.append(Claim(info.base_name, renewed, facts))
    return found


def _read(run: Run, name: str) -> dict[str, Any]:
    """The facts of a claim; empty if the read fails, which says nothing about its process."""
    try:
        return dict(json.loads(run.read(LEASE, name)))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError):
        return {}


def identity(pid: int) -> str:
    """Identifies a process beyond its pid, which may be reused; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # The program name may contain spaces and brackets.
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino} {started}"
    except (OSError, IndexError):
        return ""
