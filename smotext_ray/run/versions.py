"""Versions of the manifest: a save by a process that has lost the lease is never read.

The supported file systems share no compare-and-swap operation, so no save is refused; instead,
saves are ordered. Each holder of the lease has a token, greater than all before it, and writes the
manifest under its own name, ``RUN/lease/manifest-<token>.json``, before it replaces
``RUN/manifest.json``. Readers take the version with the greatest token. Whatever a stalled or
suspended holder still writes has a smaller token, whenever it arrives. The second copy also
survives a power failure that truncates the first.
"""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from typing import Any

from smotext_ray.run.claims import VERSION
from smotext_ray.run.directory import LEASE, MANIFEST, Run

Order = tuple[str, int]
NONE: Order = ("", 0)


def read_newest(run: Run) -> Any:
    """The newest version of the manifest, as JSON.

    Raises
    ------
    FileNotFoundError
        If the run has none.
    ValueError
        If every version is damaged.
    """
    found: Any = None
    refused: Exception | None = None
    try:
        found = json.loads(run.read(MANIFEST))
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        refused = error
    for token in _tokens(run):
        if refused is None and token < _order(found)[0]:
            break
        try:
            version = json.loads(run.read(LEASE, f"{VERSION}{token}.json"))
        except (FileNotFoundError, ValueError):
            continue
        if version is None:  # by a holder that has not saved yet
            continue
        if refused is not None or _order(version) > _order(found):
            return version
        break
    if refused is not None:
        raise refused
    return found


def has_manifest(run: Run) -> bool:
    """Whether a run has started, even if its only manifest is damaged."""
    try:
        read_newest(run)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except ValueError:
        return True
    return True


def save_version(run: Run, content: dict[str, Any]) -> None:
    """Replace the manifest.

    Raises
    ------
    LeaseLost
        If this process had the lease and has lost it. The version may have been written, but is
        never read.
    """
    run.check_lease()
    token, number = (run.token, run.saves) if run.token else _last(run)
    if not token:  # nobody has ever held a lease on this run
        run.write(_as_json(content), MANIFEST)
        return
    run.saves = number + 1
    version = _as_json(content | {"version": {"token": token, "save": run.saves}})
    run.write(version, LEASE, f"{VERSION}{token}.json")
    run.check_lease()
    run.write(version, MANIFEST)


def take_over(run: Run) -> None:
    """Make the manifest this holder's, so that no earlier holder can change it.

    A stalled earlier holder may save between the read and the write here, and that save is lost.
    But it looks for other claims after saving, and finds this holder's, which existed before the
    read. So a save that has returned is never lost.
    """
    try:
        content = read_newest(run)
    except (FileNotFoundError, ValueError):
        content = None  # a new run, or one that opening it will refuse
    if isinstance(content, dict):
        save_version(run, content)
    else:
        # An earlier holder that wakes up must see that there was a later one, even if that ended
        # without a save.
        run.check_lease()
        run.write(b"null\n", LEASE, f"{VERSION}{run.token}.json")
    for token in _tokens(run):
        if token < run.token:
            with suppress(OSError):
                run.fs.delete_file(run.at(LEASE, f"{VERSION}{token}.json"))


def next_token(run: Run, seen: str = "", now: float = 0.0) -> str:
    """A token greater than that of every earlier holder.

    An earlier holder may have left no trace and still wake up, so a token starts with the time.
    Processes that choose at the same time choose different tokens, in an order that all agree on.

    Parameters
    ----------
    run : Run
    seen : str
        The greatest token that was seen in a claim.
    now : float
        Seconds by the file system's clock.
    """
    tokens = [seen, _last(run)[0], *_tokens(run)]
    last = max((int(token.partition("-")[0]) for token in tokens if token), default=0)
    return f"{max(last + 1, int(now * 1000)):015d}-{uuid.uuid4().hex[:12]}"


def newest_token(run: Run) -> str:
    """The greatest token under which a version is written; empty if there is none."""
    return max(_tokens(run), default="")


def _tokens(run: Run) -> list[str]:
    """Tokens of the versions, greatest first."""
    names = [info.base_name for info in run.files(LEASE)]
    found = [name[len(VERSION) : -len(".json")] for name in names if name.startswith(VERSION)]
    return sorted(found, reverse=True)


def _last(run: Run) -> Order:
    try:
        return _order(read_newest(run))
    except (FileNotFoundError, ValueError):
        return NONE


def _order(content: Any) -> Order:
    version = content.get("version") if isinstance(content, dict) else None
    if not isinstance(version, dict):
        return NONE
    return str(version.get("token", "")), int(version.get("save", 0))


def _as_json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
