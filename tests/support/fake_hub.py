"""A Hugging Face hub: a dictionary behind huggingface_hub's functions.

It keeps their signatures, and the library's own rule for patterns of file names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import create_autospec

import httpx
import huggingface_hub
import pytest
from huggingface_hub import errors
from huggingface_hub.utils import filter_repo_objects


class Hub:
    """Repositories: name to files and visibility."""

    def __init__(self, downloads: Path) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.messages: list[str] = []
        self.tokens: set[str | None] = set()
        self.kinds: set[str | None] = set()
        self.downloads = downloads

    def create_repo(self, repo_id, *, token=None, private=None, exist_ok=False, repo_type=None):
        self.tokens.add(token)
        self.kinds.add(repo_type)
        name = repo_id if "/" in repo_id else f"me/{repo_id}"
        if name not in self.files:
            self.files[name], self.private[name] = {}, bool(private)
        else:
            assert exist_ok  # and what it was told of private is passed over
        return SimpleNamespace(repo_id=name)

    def repo_info(self, repo_id, *, token=None, repo_type=None):
        self.tokens.add(token)
        self.kinds.add(repo_type)
        return SimpleNamespace(private=self.private[repo_id])

    def upload_folder(
        self,
        *,
        repo_id,
        folder_path,
        allow_patterns=None,
        commit_message=None,
        token=None,
        repo_type=None,
    ):
        self.tokens.add(token)
        self.kinds.add(repo_type)
        self.messages.append(commit_message)
        folder = Path(folder_path)
        names = [str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()]
        for name in filter_repo_objects(names, allow_patterns=allow_patterns):
            self.files[repo_id][name] = (folder / name).read_bytes()

    def snapshot_download(self, repo_id, *, allow_patterns=None):
        if repo_id not in self.files:
            raise errors.RepositoryNotFoundError("no", response=response(404))
        target = self.downloads / repo_id
        for name in filter_repo_objects(self.files[repo_id], allow_patterns=allow_patterns):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(self.files[repo_id][name])
        return str(target)


FUNCTIONS = ("create_repo", "repo_info", "upload_folder", "snapshot_download")


def faked(fake: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Put it in the library's place."""
    for name in FUNCTIONS:
        same = create_autospec(getattr(huggingface_hub, name), side_effect=getattr(fake, name))
        monkeypatch.setattr(huggingface_hub, name, same)
    return fake


def failing_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """A function that lets the library fail with an error from now on."""

    def fail(error: Exception) -> None:
        def raise_it(*args, **kwargs):
            raise error

        for name in FUNCTIONS:
            monkeypatch.setattr(huggingface_hub, name, raise_it)

    return fail


def response(status):
    return SimpleNamespace(status_code=status, headers={}, request=None)


def caused(error, cause):
    error.__cause__ = cause
    return error


FAILURES = [
    (errors.OfflineModeIsEnabled("offline\nand more"), "HF_HUB_OFFLINE is set"),
    (
        caused(errors.LocalEntryNotFoundError("a\nb"), errors.OfflineModeIsEnabled("")),
        "HF_HUB_OFFLINE is set",
    ),
    (errors.LocalEntryNotFoundError("a\nb"), "the hub cannot be reached"),
    (errors.HFValidationError("a\nb"), "the repository name is invalid"),
    (errors.RepositoryNotFoundError("a\nb", response=response(401)), "no such repository"),
    (errors.GatedRepoError("a\nb", response=response(403)), "request access on its page"),
    (errors.LocalTokenNotFoundError("a\nb"), "hf auth login"),
    (errors.HfHubHTTPError("a\nb", response=response(401)), "hf auth login"),
    (errors.HfHubHTTPError("a\nb", response=response(403)), "lacks permission"),
    (errors.HfHubHTTPError("a\nb", response=response(500)), "(HfHubHTTPError)"),
    (httpx.ConnectError("a\nb"), "the hub cannot be reached"),
    (TimeoutError("a\nb"), "(TimeoutError)"),
    (ValueError("Invalid metadata in README.md.\n- no license"), "README.md. - no license)"),
    (ValueError("a\nb"), "(ValueError)"),
]
