"""A run on Google's storage: killed, resumed, expanded; against a server on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from buckets import a_stalled_save_is_never_read, killed_gone_on_with_and_expanded, serving, smotext
from cluster_tools import free_ports
from pyarrow import fs

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.long]

EMULATOR = ["-m", "gcp_storage_emulator", "start", "--in-memory", "--host", "127.0.0.1", "--port"]


@pytest.fixture(scope="module")
def at(tmp_path_factory) -> Iterator[Callable[[str], str]]:
    """The URI of a path in the bucket ``corpora`` of that server."""
    said = tmp_path_factory.mktemp("gcs") / "server"
    with serving(lambda port: [*EMULATOR, port], said) as gcs:
        place = {"endpoint_override": gcs, "scheme": "http"}
        fs.GcsFileSystem(**place, anonymous=True, project_id="testing").create_dir("corpora")
        query = "&".join(f"{name}={value}" for name, value in place.items())
        yield lambda path: f"gs://anonymous@corpora/{path}?{query}"


def test_a_save_of_a_holder_that_was_stalled_is_never_read(at, monkeypatch):
    a_stalled_save_is_never_read(at("runs/stalled"), monkeypatch)


def test_a_run_in_a_bucket_survives_a_kill_and_is_expanded(at, tmp_path):
    killed_gone_on_with_and_expanded(at, tmp_path)
    assert not Path("corpora").exists()  # no checkpoint on the disk of the driver


def test_a_store_that_does_not_answer_is_told_of(tmp_path):
    (port,) = free_ports(1)
    place = f"scheme=http&endpoint_override=127.0.0.1:{port}"
    said = smotext("status", f"gs://anonymous@corpora/run?{place}")
    assert said.returncode == 1 and "Could not connect" in said.stderr
