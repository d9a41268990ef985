"""A lease on a run: only one process at a time writes to it, on any file system.

A process first writes a claim, ``RUN/lease/<random>.json``, and then looks for other claims. Of two
processes, the one that looks last sees the other's claim, so both can never hold the lease. This
only requires that a directory listing shows files written before it (true for S3, GCS and disks).
The holder rewrites its claim every ten seconds; a claim that is a minute old by the file system's
clock has expired.
"""

from __future__ import annotations

import _thread
import json
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyarrow import fs as pafs

from smotext_ray.errors import UserError
from smotext_ray.run.directory import LEASE, Run, no_lease

TTL_SECONDS = 60.0
RENEW_SECONDS = 10.0
POLL_SECONDS = 1.0


class LeaseLost(RuntimeError):
    """Another process has taken over the run because this one was silent for too long."""


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
        ``host``, ``pid``, ``process``, ``what``, ``since``, ``held`` and ``renewed``; empty if the
        claim has been withdrawn.
    """

    name: str
    renewed: float
    facts: dict[str, Any]

    def is_over(self, now: float) -> bool:
        """Whether it was withdrawn, has expired, or its process on this machine has died."""
        return not self.facts or now - self.renewed > TTL_SECONDS or _has_died(self.facts)


@contextmanager
def hold(run: Run, what: str) -> Iterator[None]:
    """Hold the lease of a run inside the block.

    Parameters
    ----------
    run : Run
        Created if missing. Its manifest can only be saved while the lease is held.
    what : str
        Name of the command, for the error message of other processes: "augment", "expand".

    Raises
    ------
    UserError
        If another process holds it. Waits for up to a minute if that process may be dead: one that
        died on another machine leaves its claim behind.
    LeaseLost
        If the lease was lost in the meantime.
    """
    lease = Lease(run, what)
    lease.take()
    run.check_lease = lease.check
    thread = threading.Thread(target=lease.keep, daemon=True)
    thread.start()
    try:
        yield
        lease.check()
    except KeyboardInterrupt:
        lease.check()  # interrupted by `keep`, not by the user
        raise
    finally:
        lease.release()
        thread.join()
        run.check_lease = no_lease


class Lease:
    """One claim of this process; use it through `hold`."""

    def __init__(self, run: Run, what: str) -> None:
        self.run = run
        self.facts = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process": _process(os.getpid()),
            "what": what,
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.name = ""
        self._is_held = False
        self._renewed = 0.0  # by this process's clock
        self._stop = threading.Event()

    def take(self) -> None:
        """Acquire the lease, or raise UserError."""
        until = time.monotonic() + 2 * TTL_SECONDS
        while time.monotonic() < until:
            self.name = f"{uuid.uuid4().hex}.json"
            try:
                # After sleeping longer than a claim lives, another process may have it.
                if self._ask() and time.monotonic() - self._renewed < TTL_SECONDS / 2:
                    self._is_held = True
                    self._write()
                    return
            except BaseException:
                self._delete(self.name)
                raise
            self._delete(self.name)
            # Two processes that ask at the same time both back off and retry.
            time.sleep(random.uniform(0, 2 * POLL_SECONDS))
        raise UserError(
            f"Several processes are requesting {self.run.uri} at once; start only one of them."
        )

    def _ask(self) -> bool:
        """Whether no other process has a claim; False on a tie."""
        first_seen: dict[str, float] = {}
        while True:
            self._write()
            claims = read_claims(self.run)
            own = [claim for claim in claims if claim.name == self.name]
            if not own:  # presumed dead by another process, or a delayed listing
                return False
            now = own[0].renewed
            others = [claim for claim in claims if claim.name != self.name]
            for claim in [claim for claim in others if claim.is_over(now)]:
                self._delete(claim.name)
                others.remove(claim)
            if not others:
                return True
            for claim in others:
                is_renewed = claim.renewed > first_seen.setdefault(claim.name, claim.renewed)
                if claim.facts["held"] and (is_renewed or _is_here(claim.facts)):
                    raise UserError(_refusal(self.run.uri, claim.facts))
            if not any(claim.facts["held"] for claim in others):
                return False
            time.sleep(POLL_SECONDS)

    def keep(self) -> None:
        """Renew until released; interrupt the main thread if the lease is lost."""
        while not self._stop.wait(RENEW_SECONDS):
            try:
                if not self.run.has(LEASE, self.name):
                    break
                self._write()
            except OSError:  # on a remote file system: retried until the lease expires
                if time.monotonic() - self._renewed > TTL_SECONDS:
                    break
        else:
            return
        self._is_held = False
        _thread.interrupt_main()

    def check(self) -> None:
        """Raise LeaseLost if the lease is lost."""
        if self._is_held and time.monotonic() - self._renewed > TTL_SECONDS:
            self._is_held = self.run.has(LEASE, self.name)  # slept, but no other process came
        if not self._is_held:
            raise LeaseLost(f"another process has taken over {self.run.uri}; this one stops")

    def release(self) -> None:
        """Release the lease."""
        self._stop.set()
        self._delete(self.name)

    def _write(self) -> None:
        facts = self.facts | {"held": self._is_held, "renewed": time.time()}
        content = json.dumps(facts) + "\n"
        self.run.write(content.encode(), LEASE, self.name)
        self._renewed = time.monotonic()

    def _delete(self, name: str) -> None:
        try:
            self.run.fs.delete_file(self.run.at(LEASE, name))
        except OSError:  # already removed by another process, or it will expire
            return


def read_claims(run: Run) -> list[Claim]:
    """All claims on a run, including dead ones."""
    selector = pafs.FileSelector(run.at(LEASE), allow_not_found=True)
    found = []
    for info in run.fs.get_file_info(selector):
        if info.is_file and not info.base_name.startswith("_"):
            facts = _read_facts(run, info.base_name)
            # Some fsspec file systems have no modification times.
            renewed = info.mtime_ns / 1e9 if info.mtime_ns else facts.get("renewed", 0.0)
            found.append(Claim(info.base_name, renewed, facts))
    return found


def _read_facts(run: Run, name: str) -> dict[str, Any]:
    try:
        return dict(json.loads(run.read(LEASE, name)))
    except (OSError, ValueError):
        return {}


def _process(pid: int) -> str:
    """Identifies a process beyond its pid, which may be reused; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # The program name may contain spaces and brackets.
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino} {started}"
    except (OSError, IndexError):
        return ""


def _is_here(facts: dict[str, Any]) -> bool:
    """Whether the process runs on this machine, so that its pid is meaningful."""
    return bool(facts["process"]) and _process(int(facts["pid"])) == facts["process"]


def _has_died(facts: dict[str, Any]) -> bool:
    """Whether it ran on this machine and is gone; False if unknown."""
    own = _process(os.getpid()).split()[:2]
    return bool(own) and facts["process"].split()[:2] == own and not _is_here(facts)


def _refusal(uri: str, facts: dict[str, Any]) -> str:
    return (
        f"The run {uri} is locked by smotext {facts['what']} (process {facts['pid']} on "
        f"{facts['host']}, since {facts['since']}); wait until it is done, or stop it."
    )
