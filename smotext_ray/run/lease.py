"""A lease on a run: only one process at a time works on it, on any file system.

A process first writes a claim, ``RUN/lease/<random>.json``, and then looks for other claims. Of two
processes, the one that looks last sees the other's claim, so both can never take the lease. This
only requires that a directory listing shows files written before it (true for S3, GCS and disks).
The holder rewrites its claim every ten seconds; a claim that is a minute old by the file system's
clock has expired.

A holder that was stalled or suspended for longer may wake up when another one has the lease. So a
holder looks for other claims before and after every renewal and save, and everything it records
carries its token: manifest versions (`smotext_ray.run.versions`) and lists of a table's files
(`Run.seal`). Of two, the later holder's is read.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from smotext_ray.errors import UserError
from smotext_ray.run import claims as claims_module
from smotext_ray.run.claims import Claim, identity, read_claims
from smotext_ray.run.directory import LEASE, Run, no_lease
from smotext_ray.run.versions import newest_token, next_token, take_over

RENEW_SECONDS = 10.0
POLL_SECONDS = 1.0
# Interrupts the main thread. Not SIGINT, which a shell ignores in the jobs that it puts in the
# background.
LOST = signal.SIGUSR2


class LeaseLost(RuntimeError):
    """Another process has taken over the run because this one was silent for too long."""


@contextmanager
def hold(run: Run, what: str) -> Iterator[None]:
    """Hold the lease of a run during a ``with`` block.

    Parameters
    ----------
    run : Run
        Created if missing. During the block, what it saves carries the lease's token.
    what : str
        Name of the command, for the error message of other processes: "augment", "expand".

    Raises
    ------
    UserError
        If another process holds it. Waits up to a minute if that process may be dead, because one
        that died on another machine leaves its claim behind.
    LeaseLost
        If the lease was lost in the meantime. In the main thread, the block is interrupted.
    """
    lease = Lease(run, what)
    with _stopped_by_signals():
        lease.take()
        keeper = threading.Thread(target=lease.keep, daemon=True)
        keeper.start()
        run.token, run.saves, run.check_lease = lease.token, 0, lease.check
        try:
            take_over(run)
            yield
            lease.check()
        except KeyboardInterrupt:
            lease.check()  # interrupted by `keep`, not by the user
            raise
        finally:
            run.token, run.check_lease = "", no_lease
            lease.release(keeper)


class Lease:
    """One claim of this process; use it through `hold`.

    Attributes
    ----------
    token : str
        Greater than that of every earlier holder; empty until taken.
    """

    def __init__(self, run: Run, what: str) -> None:
        self.run = run
        self.facts = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process": identity(os.getpid()),
            "what": what,
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.name = ""
        self.token = ""
        self._asked = 0.0  # by the file system's clock
        self._seen = ""  # the greatest token of any claim, even if it was removed since
        self._is_lost = False
        self._renewed = 0.0  # by this process's clock
        self._stop = threading.Event()
        self._thread = threading.current_thread()

    def take(self) -> None:
        """Acquire the lease, or raise UserError."""
        until = clock() + 2 * claims_module.TTL_SECONDS
        while clock() < until:
            self.name, self.token = f"{uuid.uuid4().hex}.json", ""
            try:
                if self._ask() and self._begin():
                    return
            except BaseException:
                self._delete(self.name)
                raise
            self._delete(self.name)
            # Two processes that ask at the same time both back off and retry.
            sleep(random.uniform(0, 2 * POLL_SECONDS))
        raise UserError(
            f"Several processes are requesting {self.run.uri} at once; start only one of them."
        )

    def _ask(self) -> bool:
        """Whether no other process has a claim; False on a tie."""
        first_seen: dict[str, float] = {}
        while True:
            self._write()
            own, others = self._look()
            if own is None:  # presumed dead by another process, or a delayed listing
                return False
            self._asked = own.renewed
            for claim in [claim for claim in others if claim.is_over(own.renewed)]:
                self._delete(claim.name)
                others.remove(claim)
            if not others:
                return True
            for claim in others:
                is_renewed = claim.renewed > first_seen.setdefault(claim.name, claim.renewed)
                if claim.is_held and (is_renewed or claim.is_here):
                    raise UserError(_refusal(self.run.uri, claim))
            if not any(claim.is_held for claim in others):
                return False
            sleep(POLL_SECONDS)

    def _begin(self) -> bool:
        """Whether the lease is held from now on; False if it took so long that it may not be."""
        self.token = next_token(self.run, self._seen, self._asked)
        self._write()
        own, others = self._look()
        is_alone = own is not None and not any(claim.is_held for claim in others)
        return is_alone and clock() - self._renewed < claims_module.TTL_SECONDS / 2

    def keep(self) -> None:
        """Renew until released; interrupt the block if the lease is lost."""
        while not self._stop.wait(RENEW_SECONDS):
            if not self.renew():
                if self._thread is threading.main_thread() and not self._stop.is_set():
                    signal.pthread_kill(threading.main_thread().ident or 0, LOST)
                return

    def renew(self) -> bool:
        """Renew once; False if the lease is lost."""
        try:
            self.check()
            self._write()
            self.check()  # a stalled write may have restored a removed claim
        except LeaseLost:
            return False
        except OSError:  # on a remote file system: retried until the lease expires
            if clock() - self._renewed > claims_module.TTL_SECONDS:
                self._is_lost = True
        return not self._is_lost

    def check(self) -> None:
        """Raise LeaseLost if the lease is lost.

        Always looks at the files: a process cannot tell how long it was suspended.
        """
        if not self._is_lost:
            own, others = self._look()
            later = any(claim.is_held and claim.token > self.token for claim in others)
            self._is_lost = own is None or later or newest_token(self.run) > self.token
            if self._is_lost:
                self._delete(self.name)
        if self._is_lost:
            raise LeaseLost(f"another process has taken over {self.run.uri}; this one stops")

    def release(self, keeper: threading.Thread | None = None) -> None:
        """Release the lease."""
        self._stop.set()
        if keeper is not None:
            # A renewal in progress would restore the claim.
            keeper.join(claims_module.TTL_SECONDS)
        self._delete(self.name)

    def _look(self) -> tuple[Claim | None, list[Claim]]:
        """This lease's claim, if it still exists, and all others."""
        found = read_claims(self.run)
        self._seen = max(self._seen, *(claim.token for claim in found), "")
        own = next((claim for claim in found if claim.name == self.name), None)
        return own, [claim for claim in found if claim.name != self.name]

    def _write(self) -> None:
        state: dict[str, Any] = {"held": bool(self.token), "token": self.token}
        content = json.dumps(self.facts | state | {"renewed": time.time()}) + "\n"
        self.run.write(content.encode(), LEASE, self.name)
        self._renewed = clock()

    def _delete(self, name: str) -> None:
        with suppress(OSError):  # already removed by another process, or it will expire
            self.run.fs.delete_file(self.run.at(LEASE, name))


def clock() -> float:
    """A monotonic clock in seconds, which on Linux also runs while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def sleep(seconds: float) -> None:
    """Wait before looking again."""
    time.sleep(seconds)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """In the main thread, a lost lease interrupts the block, and SIGTERM ends it cleanly."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can have handlers; the next save stops the block
        return
    handlers = {LOST: _interrupt}
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        handlers[signal.SIGTERM] = _terminate
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is handlers[number]:  # rather than one that Ray has set
                signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _refusal(uri: str, claim: Claim) -> str:
    facts = claim.facts
    who = (
        f"smotext {facts['what']} (process {facts['pid']} on {facts['host']}, since "
        f"{facts['since']})"
        if facts
        else f"a process whose claim {LEASE}/{claim.name} cannot be read here"
    )
    return f"The run {uri} is locked by {who}; wait until it is done, or stop it."
