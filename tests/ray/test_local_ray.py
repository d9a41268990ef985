"""A Ray that is started here is for this process alone: no other host or user can use it."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from smotext_ray.cluster import local_ray

ASK = """
import sys
from ray._raylet import GcsClient

print(GcsClient(address=sys.argv[1]).internal_kv_keys(b"", namespace=None, timeout=5))
"""


def asked(address: str, **environment: str) -> subprocess.CompletedProcess:
    """What another process gets from the Ray at this address."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return subprocess.run(
        [sys.executable, "-c", ASK, address],
        capture_output=True,
        text=True,
        env=kept | environment,
        timeout=120,
    )


@pytest.fixture(scope="module")
def ray(shared_ray):
    import ray

    @ray.remote
    def work() -> tuple[str, str]:
        return os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"]

    ray.work = ray.get(work.remote())  # now there are workers too
    return ray


def is_loopback(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:127.0.0.1
    return (mapped or address).is_loopback


def test_the_addresses_are_told_apart():
    assert all(map(is_loopback, ("127.0.0.1", "::1", "::ffff:127.0.0.1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.0.2.2", "::ffff:192.0.2.2")))


def connections_of(process):
    try:
        return process.net_connections(kind="inet")
    except psutil.NoSuchProcess:  # ended in the meantime
        return []


def test_every_socket_listens_on_the_loopback_only(ray):
    me = psutil.Process()
    listening = {
        (process.name(), connection.laddr.ip)
        for process in (me, *me.children(recursive=True))
        for connection in connections_of(process)
        if connection.status == psutil.CONN_LISTEN
    }
    assert {"gcs_server", "raylet"} <= {name for name, _ in listening}
    assert {x for x in listening if not is_loopback(x[1])} == set()


def test_it_asks_for_a_token_that_only_its_processes_have(ray):
    address = ray.get_runtime_context().gcs_address
    assert address.startswith("127.0.0.1:")
    mode, token = ray.work
    assert mode == "token" and len(token) == 64
    assert os.environ.get("RAY_AUTH_TOKEN") != token
    for environment in (
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
    ):
        refused = asked(address, **environment)
        assert refused.returncode != 0 and "uthenticat" in refused.stderr, refused.stderr
    taken = asked(address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
    assert taken.returncode == 0, taken.stderr


def test_only_this_user_can_enter_its_directory(ray):
    above = Path(ray.get_runtime_context().get_temp_dir()).parent
    assert above == local_ray.private_directory()
    found = above.stat()
    assert (found.st_mode & 0o777, found.st_uid) == (0o700, os.getuid())


def test_the_environment_is_as_before(monkeypatch):
    monkeypatch.setattr(local_ray, "forget_token", lambda: None)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of a cluster")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/a/file")
    with local_ray._own_environment():
        assert os.environ["RAY_AUTH_MODE"] == "token"
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
        assert "RAY_AUTH_TOKEN_PATH" not in os.environ
        assert os.environ["GLOO_SOCKET_IFNAME"] == "lo"
    assert not {"RAY_AUTH_MODE", "GLOO_SOCKET_IFNAME"} & os.environ.keys()
    assert os.environ["RAY_AUTH_TOKEN"] == "of a cluster"
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == "/a/file"


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setattr(local_ray, "LONGEST_BASE", 200)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    return tmp_path


def test_a_directory_that_was_open_is_closed(base):
    directory = base / f"smotext-{os.getuid()}"
    directory.mkdir(mode=0o777)
    assert local_ray.private_directory() == directory
    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["link", "link to nothing", "file", "someone else"])
def test_a_directory_that_someone_else_has_put_there_is_not_used(base, kind, monkeypatch):
    directory = base / f"smotext-{os.getuid()}"
    if kind.startswith("link"):
        (base / "theirs").mkdir()
        directory.symlink_to(base / ("theirs" if kind == "link" else "nothing"))
    elif kind == "file":
        directory.touch()
    else:
        directory.mkdir()
        mine = os.getuid()
        monkeypatch.setattr(local_ray.os, "getuid", lambda: mine + 1)
        (base / f"smotext-{mine + 1}").mkdir()
    found = local_ray.private_directory()
    assert found != directory and not found.is_symlink()
    assert found.stat().st_mode & 0o777 == 0o700


def test_sockets_have_room_in_a_long_temporary_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("x" * 60)))
    assert len(str(local_ray.private_directory())) < 40
