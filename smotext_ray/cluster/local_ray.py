"""Start a Ray on this machine for this process alone.

Whoever reaches the ports of a Ray without a token can run any code as its user. By default Ray
listens on all interfaces, shares one token among all Rays of a user, in a file that other users may
read, and makes its directory, with its logs and spilled objects, readable for everyone.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

LONGEST_BASE = 30  # a socket's path may have 107 bytes, of which Ray needs about 70
AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
GLOO_INTERFACE = "GLOO_SOCKET_IFNAME"  # of PyTorch's process groups, in engines and in training
LOOPBACK = "lo"


def start_local_ray(**settings: Any) -> None:
    """Call ``ray.init`` for a new Ray that listens on the loopback interface only.

    It has its own token, which only its processes know, no dashboard, and a directory that only
    this user can enter.

    Parameters
    ----------
    **settings
        Additional arguments of ``ray.init``.
    """
    import ray

    with _own_environment(), _on_loopback():
        ray.init(
            # Otherwise Ray joins a cluster that someone started on this machine, and then rejects
            # num_cpus.
            address="local",
            include_dashboard=False,
            _temp_dir=str(private_directory() / "ray"),
            **settings,
        )
    _forget_at_shutdown()


def forget_token() -> None:
    """Make Ray read mode and token from the environment again, as in a new process."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _forget_at_shutdown() -> None:
    """Let a Ray that this process starts later in another way have its own token."""
    import ray

    shutdown = ray.shutdown

    @wraps(shutdown)
    def shutdown_and_forget(*arguments: Any, **named: Any) -> None:
        ray.shutdown = shutdown
        shutdown(*arguments, **named)
        forget_token()

    ray.shutdown = shutdown_and_forget


def private_directory() -> Path:
    """A directory for this user's Rays, mode 0700, where Ray would have created its own.

    A directory of that name created by someone else is not used.
    """
    base = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    if len(str(base)) > LONGEST_BASE:
        base = Path("/tmp")
    base.mkdir(parents=True, exist_ok=True)
    directory = base / f"smotext-{os.getuid()}"
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="smotext-", dir=base))
    directory.chmod(0o700)
    return directory


@contextmanager
def _own_environment() -> Iterator[None]:
    """Give the Ray that is started in the block a fresh token, and keep PyTorch local.

    Its processes inherit the environment, and this one keeps the token in memory; the environment
    is restored afterwards.
    """
    before = {name: os.environ.pop(name, None) for name in (*AUTHENTICATION, GLOO_INTERFACE)}
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    if LOOPBACK in {name for _, name in socket.if_nameindex()}:
        os.environ[GLOO_INTERFACE] = LOOPBACK
    try:
        forget_token()
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Give the Ray that is started in the block the address 127.0.0.1.

    ``ray.init(_node_ip_address="127.0.0.1")`` would look for another address of the machine, unless
    Ray takes it for one that cannot be part of a cluster.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
