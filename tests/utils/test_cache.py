"""What is made once per machine: by one process, whole, and remembered as long as it is true."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smotext_ray.utils import cache
from smotext_ray.utils.cache import digest_of, made_once

# Makes a model, slowly, and notes it; "killed" ends while it does.
MAKER = """
import os, signal, sys, time
from pathlib import Path
from smotext_ray.utils.cache import made_once

log, how = Path(sys.argv[1]), sys.argv[2]

def make(output):
    with log.open("a") as file:
        file.write(how + "\\n")
    time.sleep(1)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    (output / "config.json").write_text(how)

print(made_once("model", make))
"""


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SMOTEXT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def maker(log: Path, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKER, str(log), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_of_several_processes_one_makes_it_and_the_others_wait(tmp_path, directory):
    log = tmp_path / "log"
    makers = [maker(log, f"process {number}") for number in range(4)]
    told = [process.communicate(timeout=120)[0].strip() for process in makers]
    assert told == [str(directory / "model")] * 4
    (made,) = log.read_text().splitlines()
    assert (directory / "model" / "config.json").read_text() == made


def test_what_is_made_is_for_its_owner_alone(directory):
    def make(output: Path) -> None:
        (output / "config.json").write_text("{}")

    before = os.umask(0)
    try:
        made = made_once("model", make)
        file = directory.parent / "weights"
        file.write_text("x")
        os.utime(file, (1, 1))
        digest_of([file])
    finally:
        os.umask(before)
    for path in (directory, made):
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_are_let_into_stays_as_it_is(directory):
    directory.mkdir()
    directory.chmod(0o750)
    digest_of([Path(__file__)])
    assert directory.stat().st_mode & 0o777 == 0o750


def test_a_process_that_is_killed_while_it_makes_it_keeps_nobody_waiting(tmp_path, directory):
    log = tmp_path / "log"
    dead = maker(log, "killed")
    while not log.exists():
        time.sleep(0.01)
    alive = maker(log, "alive")
    assert alive.communicate(timeout=120)[0].strip() == str(directory / "model")
    assert dead.wait(timeout=120) == -signal.SIGKILL
    assert log.read_text().splitlines() == ["killed", "alive"]


def test_a_cache_that_cannot_be_written_but_holds_the_model_is_enough(directory, monkeypatch):
    made = made_once("model", lambda output: (output / "config.json").write_text("{}"))

    def refuse(*given, **named):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache.tempfile, "mkdtemp", refuse)
    monkeypatch.setattr(cache.fcntl, "flock", refuse)
    assert made_once("model", refuse) == made


def test_an_error_of_the_conversion_is_not_taken_for_a_full_disk(directory):
    def lacks(output):
        raise OSError("cannot find the tokenizer")

    with pytest.raises(OSError, match="cannot find the tokenizer"):
        made_once("model", lacks)
    assert {path.name for path in directory.iterdir()} == {".lock"}


# Digests


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """How many files were read, each time that files were."""
    monkeypatch.setattr(cache, "SETTLED_SECONDS", 0.0)
    found: list[int] = []
    read = cache.sha256_of

    def sha256_of(files):
        found.append(len(files))
        return read(files)

    monkeypatch.setattr(cache, "sha256_of", sha256_of)
    return found


def two_files(directory: Path) -> list[Path]:
    files = [directory / "a", directory / "b"]
    for file in files:
        file.write_bytes(file.name.encode())
    return files


def test_a_digest_is_computed_once(tmp_path, counted):
    files = two_files(tmp_path)
    assert digest_of(files) == digest_of(files) == hashlib.sha256(b"ab").hexdigest()
    assert counted == [2]
    assert digest_of(files[:1]) == hashlib.sha256(b"a").hexdigest()
    assert digest_of([]) == digest_of([]) == hashlib.sha256(b"").hexdigest()


def test_a_file_that_changed_is_read_again_though_its_size_and_time_are_kept(tmp_path, counted):
    files = two_files(tmp_path)
    before = files[0].stat()
    assert digest_of(files) == hashlib.sha256(b"ab").hexdigest()
    while files[0].stat().st_ctime_ns == before.st_ctime_ns:  # a tick of the clock
        files[0].write_bytes(b"c")
    os.utime(files[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert files[0].stat().st_mtime_ns == before.st_mtime_ns
    assert digest_of(files) == hashlib.sha256(b"cb").hexdigest()
    assert counted == [2, 2]


def test_a_digest_of_a_file_that_may_still_change_is_not_remembered(tmp_path, counted, monkeypatch):
    monkeypatch.setattr(cache, "SETTLED_SECONDS", 1000.0)
    files = two_files(tmp_path)
    assert digest_of(files) == digest_of(files)
    assert counted == [2, 2]


def test_a_cache_that_cannot_be_written_only_forgets(tmp_path, counted, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SMOTEXT_CACHE", str(tmp_path / "file"))
    files = two_files(tmp_path)
    assert digest_of(files) == digest_of(files) == hashlib.sha256(b"ab").hexdigest()
    assert counted == [2, 2]


def test_what_was_made_for_one_bridge_is_deleted_when_it_was_not_used_for_a_month(directory):
    def make(output: Path) -> None:
        (output / "config.json").write_text("{}")

    old = [f"merged-{'a' * 40}-{'b' * 12}", f"bridge-{'c' * 40}"]
    used, others = f"merged-llm-{'d' * 12}", ["llm", f"int8-{'e' * 40}", "merged-mine"]
    for name in (*old, used, *others):
        made_once(name, make)
        os.utime(directory / name, (0, 0))
    made_once(used, make)  # it is there, and in use from now on
    made_once(f"bridge-{'f' * 40}", make)
    left = {path.name for path in directory.iterdir() if path.is_dir()}
    assert left == {used, *others, f"bridge-{'f' * 40}"}
    made_once(old[0], make)
    assert (directory / old[0] / "config.json").exists()
