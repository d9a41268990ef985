"""A run on S3: killed, resumed, expanded; over the protocol, against a server on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from buckets import a_stalled_save_is_never_read, killed_gone_on_with_and_expanded, serving
from pyarrow import fs

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.long]

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing-key",
    "AWS_SECRET_ACCESS_KEY": "testing-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def at(tmp_path_factory) -> Iterator[Callable[[str], str]]:
    """The URI of a path in the bucket ``corpora`` of that server."""
    said = tmp_path_factory.mktemp("s3") / "server"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        with serving(lambda port: ["-m", "moto.server", "-H", "127.0.0.1", "-p", port], said) as s3:
            place = {"endpoint_override": s3, "scheme": "http", "region": "us-east-1"}
            fs.S3FileSystem(**place, allow_bucket_creation=True).create_dir("corpora")
            query = "&".join(f"{name}={value}" for name, value in place.items())
            yield lambda path: f"s3://corpora/{path}?{query}"


def test_a_save_of_a_holder_that_was_stalled_is_never_read(at, monkeypatch):
    a_stalled_save_is_never_read(at("runs/stalled"), monkeypatch)


def test_a_run_in_a_bucket_survives_a_kill_and_is_expanded(at, tmp_path):
    run = killed_gone_on_with_and_expanded(at, tmp_path)
    assert not Path("corpora").exists()  # no checkpoint on the disk of the driver
    for secret in KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"]:
        assert secret not in run.read("manifest.json").decode()
