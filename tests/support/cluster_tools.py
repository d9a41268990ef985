"""Drivers with fake stages, nodes and processes to kill, and what must hold of a run then."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from fake_stages import HERE

from smotext_ray.run.directory import Run
from smotext_ray.run.verify import verify

TESTS = Path(__file__).parent
PATIENCE = 600.0  # seconds; on a busy machine Ray alone takes minutes to start
MAIN = "import sys, fake_stages; sys.exit(fake_stages.main(sys.argv[1:]))"


@dataclass(frozen=True)
class Stage:
    """The directory in which a test and its fake stages meet."""

    directory: Path

    def reset(self, seconds: float) -> Stage:
        """As new, with calls that take so long."""
        shutil.rmtree(self.directory, ignore_errors=True)
        (self.directory / "faults").mkdir(parents=True)
        (self.directory / "seconds").write_text(str(seconds))
        return self

    def slow(self, actor: str, seconds: float) -> None:
        """From here on calls of one actor take so long."""
        written = self.directory / "seconds-new"
        written.write_text(str(seconds))
        written.replace(self.directory / f"seconds-{actor}")  # whole, for who reads it now

    def order(self, fault: str, times: int) -> None:
        for number in range(times):
            (self.directory / "faults" / f"{fault}-{number}").touch()

    def name(self, kind: str, *ids: int) -> None:
        """Samples that are ``poison``, or that make the decoder ``hungry``."""
        (self.directory / kind).write_text(json.dumps(ids))

    def calls(self, actor: str) -> list[dict[str, Any]]:
        file = self.directory / f"{actor}.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def rows(self, actor: str) -> Counter[Any]:
        """How often each row was worked on."""
        return Counter(id_ for call in self.calls(actor) for id_ in call["ids"])


class Driver:
    """``smotext`` with fake stages, in a session of its own with all that it starts."""

    def __init__(self, stage: Stage, *arguments: Any, **env: str) -> None:
        self.errors = stage.directory / "stderr"
        environment = without_ray() | {HERE: str(stage.directory)} | env
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", MAIN, *map(str, arguments)],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    def ends(self) -> tuple[int, str]:
        """Wait for it: the exit code, and what it said."""
        try:
            code = self.process.wait(PATIENCE)
        finally:
            self.kill()
        return code, self.errors.read_text()

    def until(self, reached: Callable[[], Any]) -> Any:
        """Wait until something is so, while the driver runs; returns what it is."""
        deadline = time.monotonic() + PATIENCE
        while not (found := reached()):
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.01)
        return found

    def kill(self) -> None:
        """kill -9, the Ray that it has started included."""
        end_tree(self.process)


def without_ray() -> dict[str, str]:
    """The environment, with the fakes to import and no address of a cluster."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {
        "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parents[1]}",
        "OMP_NUM_THREADS": "1",
        "RAY_raylet_start_wait_time_s": "300",
        "RAY_health_check_timeout_ms": "120000",  # a node without a core for 10 s is not dead
        "RAY_AUTH_MODE": "disabled",  # it is on in what ``ray start`` starts
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def end_tree(process: subprocess.Popen) -> None:
    """kill -9 a process and all that it has started."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.kill()
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=30)
    process.wait()


def kill(pid: int) -> None:
    """kill -9, if it has not ended by itself."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def plan_bytes(run: Run) -> bytes:
    """The plan by rising sample id, in Arrow's own layout."""
    table = pq.read_table(run.at("plan"), filesystem=run.fs).sort_by("sample_id").combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def samples(run: Run) -> list[dict[str, Any]]:
    """All samples by rising id."""
    return pq.read_table(run.at("samples"), filesystem=run.fs).sort_by("sample_id").to_pylist()


def check_whole(run: Run, errors: Mapping[int, str] | None = None) -> None:
    """Every point of the plan is a sample, once; no other error than these; files agree."""
    plan = pq.read_table(run.at("plan"), columns=["sample_id"], filesystem=run.fs)
    planned = plan["sample_id"].to_pylist()
    rows = samples(run)
    assert [row["sample_id"] for row in rows] == sorted(planned)
    told = {row["sample_id"]: row["reason"] for row in rows if row["status"] == "error"}
    assert told == (errors or {})
    assert all(finding.ok for finding in verify(run)), verify(run)


def done_again(stage: Stage, actor: str) -> int:
    """Rows that an actor worked on more than once."""
    return sum(stage.rows(actor).values()) - len(stage.rows(actor))


@contextmanager
def ray_nodes(stage: Stage, cpus: list[int]) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """A cluster of such nodes, each with processes of its own; the first is the head."""
    directory = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # sockets need short paths
    (port,) = free_ports(1)
    nodes: list[subprocess.Popen] = []
    address = f"127.0.0.1:{port}"
    try:
        for number, count in enumerate(cpus):
            where = [f"--address={address}"] if number else head(port, directory)
            where += [f"--dashboard-agent-listen-port={free_ports(1)[0]}"]
            nodes.append(start_node(stage, count, where, directory / f"node-{number}"))
        yield address, nodes
    finally:
        for node in nodes:
            end_tree(node)
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def ray_node(
    stage: Stage, cpus: int, port: int, *options: str, **env: str
) -> Iterator[tuple[str, subprocess.Popen]]:
    """A cluster of one node, for now: its address and its process."""
    directory = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # sockets need short paths
    where = [*head(port, directory), *options]
    node = start_node(stage, cpus, where, directory / "head", **env)
    try:
        yield f"127.0.0.1:{port}", node
    finally:
        end_tree(node)
        shutil.rmtree(directory, ignore_errors=True)


def head(port: int, directory: Path) -> list[str]:
    """Options of a head that shares nothing with other Rays of this machine."""
    return [
        *("--head", f"--port={port}", f"--ray-client-server-port={free_ports(1)[0]}"),
        *("--include-dashboard=false", f"--temp-dir={directory}"),
    ]


def start_node(
    stage: Stage, cpus: int, where: list[str], said: Path, **env: str
) -> subprocess.Popen:
    """``ray start``, and wait until the node is there."""
    room = [f"--num-cpus={cpus}", f"--memory={8 * 1024**3}", "--object-store-memory=100000000"]
    with said.open("w") as output:
        node = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *room, *where],
            env=without_ray() | {HERE: str(stage.directory)} | env,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + PATIENCE
    while "Ray runtime started" not in said.read_text():
        assert node.poll() is None and time.monotonic() < deadline, said.read_text()
        time.sleep(0.1)
    return node


def node_of(pid: int, nodes: list[subprocess.Popen]) -> subprocess.Popen | None:
    """The node on which a process runs; None where it has ended."""
    with suppress(psutil.NoSuchProcess):
        above = {parent.pid for parent in psutil.Process(pid).parents()}
        return next((node for node in nodes if node.pid in above), None)
    return None


def free_ports(number: int) -> list[int]:
    """Ports that nothing listens on, below those that the system and Ray's workers are given."""
    found: list[int] = []
    while len(found) < number:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as tried:
            if port not in found and tried.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found
