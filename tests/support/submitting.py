"""A Ray head of a test's own with token authentication, and jobs that are submitted to it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PATIENCE = 600.0  # seconds until a wait is a failure: of a busy machine, not of an idle one


@dataclass(frozen=True)
class Head:
    """A head that runs, and the environment that clients of it need."""

    url: str
    token: str
    env: dict[str, str]

    def submit(
        self, entrypoint: list[str], working_dir: Path, *options: str, env: dict | None = None
    ) -> subprocess.CompletedProcess:
        """``ray job submit``, as docs/clusters.md has it."""
        files = ["--working-dir", working_dir, "--runtime-env", ROOT / "jobs" / "runtime_env.yaml"]
        command = [BIN / "ray", "job", "submit", *files, *options, "--", *entrypoint]
        return run(command, env or self.env)

    def stop(self, job: str) -> str:
        """What ``ray job stop`` asks for, without the seconds that it takes to start; the log."""
        self._ask(f"{job}/stop", method="POST")
        wait_until(lambda: self.status(job) not in ("PENDING", "RUNNING"), "it stops")
        return self._ask(f"{job}/logs")["logs"]

    def status(self, job: str) -> str:
        """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
        return self._ask(job)["status"]

    def jobs(self, token: str | None = None) -> list[dict]:
        """All jobs; with another token, or with none at all if it is empty."""
        return self._ask("", token)

    def _ask(self, path: str, token: str | None = None, method: str = "GET"):
        given = self.token if token is None else token
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        url = f"{self.url}/api/jobs/{path}"
        request = urllib.request.Request(url, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


def run(command: list, env: dict[str, str]) -> subprocess.CompletedProcess:
    command = list(map(str, command))
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)


@contextmanager
def ray_head(cpus: int) -> Iterator[Head]:
    """Start a head on ports of its own, and end it and all that it started."""
    directory = Path(tempfile.mkdtemp(prefix="rayjob-", dir="/tmp"))  # sockets need short paths
    token = "0123456789abcdef" * 4
    (directory / "token").write_text(token)
    port, dashboard, agent, client = free_ports(4)
    url = f"http://127.0.0.1:{dashboard}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(directory / "token"),
        "RAY_API_SERVER_ADDRESS": url,
        "RAY_raylet_start_wait_time_s": "120",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    options = {
        "node-ip-address": "127.0.0.1",
        "port": port,
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": agent,
        "ray-client-server-port": client,
        "min-worker-port": 0,  # any that are free
        "max-worker-port": 0,
        "num-cpus": cpus,
        "object-store-memory": 256 * 1024**2,
        "temp-dir": directory / "ray",
    }
    command = [str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats"]
    command += [f"--{name}={value}" for name, value in options.items()]
    with open(directory / "head.log", "w") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        head = Head(url, token, env)
        wait_until(lambda: is_up(head, process, directory / "head.log"), "the dashboard answers")
        yield head
    finally:
        end(process)
        shutil.rmtree(directory, ignore_errors=True)


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def is_up(head: Head, process: subprocess.Popen, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        head.jobs()
    except (urllib.error.URLError, OSError):
        return False
    return True


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.1)


def end(process: subprocess.Popen) -> None:
    """SIGTERM, on which ``ray start --block`` ends what it started; then kill what is left."""
    started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
    for child in started:
        if child.is_running():
            child.kill()
    psutil.wait_procs(started, timeout=30)


def repository(to: Path) -> Path:
    """A copy of what a user submits, with a version of its own and things to be left out."""
    for name in ("smotext_ray", "jobs"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".gitignore", to)
    for name in (".git", ".venv", "benchmarks", "docs", "runs", "tests"):
        (to / name).mkdir()
        (to / name / "left-out").write_text("not to be uploaded")
    init = to / "smotext_ray" / "_version.py"
    init.write_text(re.sub(r'__version__ = ".*"', '__version__ = "0.submitted"', init.read_text()))
    return to
