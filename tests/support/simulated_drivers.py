"""Several processes that want one run, on a virtual clock.

Each simulated thread is a real one, but only one runs at a time: before and after every operation
on the store it gives way to the one whose time comes next. How long an operation takes is drawn,
and at times it takes minutes: then it arrives when others have long continued.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from crashing_store import PATH, URI, Bucket
from pyarrow import fs as pafs

from smotext_ray.errors import UserError
from smotext_ray.run import claims, directory, lease
from smotext_ray.run.directory import Run
from smotext_ray.run.lease import Lease, LeaseLost
from smotext_ray.run.versions import read_newest, save_version, take_over

STALL = 0.02  # of the operations
LONGEST = 200.0  # seconds


@dataclass
class Thread:
    driver: Driver
    body: Callable[[], None]
    wakes: float = 0.0
    is_done: bool = False
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


class World:
    """The clock, the store, and whose turn it is."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.store = SlowStore(self)
        self.threads: list[Thread] = []
        self.current: Thread | None = None
        self.back = threading.Semaphore(0)
        self.seen: tuple[str, int] = ("", 0)
        self.entries: list[str] = []
        self.drivers: list[Driver] = []
        self.wrong: list[str] = []
        self.began: dict[str, float] = {}  # token -> when its holder had taken over

    def start(self, driver: Driver, body: Callable[[], None], delay: float = 0.0) -> Thread:
        thread = Thread(driver, body, self.now + delay)

        def run() -> None:
            thread.turn.acquire()
            try:
                body()
            except BaseException as error:  # the test is told
                self.wrong.append(f"{driver.name}: {type(error).__name__}: {error}")
            thread.is_done = True
            self.back.release()

        threading.Thread(target=run, daemon=True).start()
        self.threads.append(thread)
        return thread

    def run(self) -> None:
        """Until all threads have ended."""
        while waiting := [thread for thread in self.threads if not thread.is_done]:
            self.current = min(waiting, key=lambda thread: thread.wakes)
            self.now = max(self.now, self.current.wakes)
            self.current.turn.release()
            self.back.acquire()
            self.look()

    def wait(self, seconds: float) -> None:
        """The current thread gives way."""
        thread = self.current
        if thread is None:
            return
        if self.random.random() < STALL / 4:  # its machine is suspended
            thread.driver.until = self.now + self.random.uniform(30, LONGEST)
        thread.wakes = max(self.now + seconds, thread.driver.until)
        self.back.release()
        thread.turn.acquire()
        thread.wakes = self.now

    def latency(self) -> float:
        if self.random.random() < STALL:
            return self.random.uniform(5, LONGEST)
        return self.random.uniform(0.01, 0.3)

    def look(self) -> None:
        """What any reader sees now: it never goes back, and has all saves that have returned."""
        self.current, before = None, self.current
        try:
            content = read_newest(Run(URI))
        except FileNotFoundError:
            return
        finally:
            self.current = before
        version = content.get("version") or {"token": "", "save": 0}
        order = (version["token"], version["save"])
        if order < self.seen:
            self.wrong.append(f"{self.seen} was read, and then {order}")
        for driver in self.drivers:
            if missing := [e for e in driver.kept if content["entries"].count(e) != 1]:
                self.wrong.append(f"{missing} of {driver.name} are not once in {content}")
        self.seen, self.entries = order, content["entries"]


class SlowStore(Bucket):
    """A bucket whose every operation takes its time, on the way there and back."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def is_listed(self, path: str) -> bool:
        return True

    def put(self, path: str, content: bytes) -> None:
        self.now = self._world.now
        super().put(path, content)

    def _taking(self, operation: Callable[..., Any], *arguments: Any) -> Any:
        self._world.wait(self._world.latency())
        try:
            return operation(*arguments)
        finally:
            self._world.wait(self._world.latency())

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        return self._taking(super().get_file_info_selector, selector)

    def delete_file(self, path: str) -> None:
        self._taking(super().delete_file, path)

    def copy_file(self, source: str, target: str) -> None:
        self._taking(super().copy_file, source, target)

    def open_input_file(self, path: str) -> Any:
        return self._taking(super().open_input_file, path)

    def finish(self, path: str, content: bytes) -> None:
        self._taking(super().finish, path, content)


class Driver:
    """A process that wants to add entries to a manifest, as `hold` has it."""

    def __init__(self, world: World, name: str, entries: int) -> None:
        self.world, self.name, self.wanted = world, name, entries
        self.until = 0.0  # suspended until then
        self.kept: list[str] = []  # entries whose save came back
        self.times_held = self.tried = 0
        world.drivers.append(self)
        world.start(self, self.work, world.random.uniform(0, 30))

    def work(self) -> None:
        for _ in range(8):
            run = Run(URI)
            holder = Lease(run, self.name)
            try:
                holder.take()
            except UserError:
                self.world.wait(self.world.random.uniform(10, 60))
                continue
            self.hold(run, holder)
            if len(self.kept) >= self.wanted:
                return

    def hold(self, run: Run, holder: Lease) -> None:
        is_over: list[bool] = []

        def keep() -> None:
            while not is_over:
                self.world.wait(lease.RENEW_SECONDS)
                if is_over or not holder.renew():
                    return

        keeper = self.world.start(self, keep)
        run.token, run.saves, run.check_lease = holder.token, 0, lambda: self.check(holder)
        try:
            take_over(run)
            self.world.began[holder.token] = self.world.now
            self.times_held += 1
            self.add_entries(run)
        except LeaseLost:
            pass
        is_over.append(True)
        for _ in range(60):
            if not keeper.is_done:
                self.world.wait(1.0)
        holder.release()

    def add_entries(self, run: Run) -> None:
        try:
            content = read_newest(run)
        except FileNotFoundError:
            content = {"entries": []}
        while len(self.kept) < self.wanted:
            self.world.wait(self.world.random.uniform(0, 25))
            self.tried += 1
            entry = f"{self.name}{self.tried}"
            content["entries"] = [*content["entries"], entry]
            save_version(run, content)
            self.kept.append(entry)

    def check(self, holder: Lease) -> None:
        started = self.world.now
        holder.check()
        for token, began in self.world.began.items():
            if token > holder.token and began < started:
                self.world.wrong.append(f"{holder.token} passes after {token} has begun")


@contextmanager
def world_of(seed: int) -> Iterator[World]:
    """Within the block leases are taken in a world with this seed."""
    world = World(seed)
    with pytest.MonkeyPatch.context() as patch:
        opened = (pafs.PyFileSystem(world.store), PATH)
        patch.setattr(directory, "open_filesystem", lambda uri: opened)
        for module in (claims, lease):
            patch.setattr(module, "identity", lambda pid: "")  # each on a machine of its own
        patch.setattr(lease, "clock", lambda: world.now)
        patch.setattr(lease, "sleep", world.wait)
        patch.setattr(lease, "random", world.random)
        yield world
