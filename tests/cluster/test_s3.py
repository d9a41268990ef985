"""A run on S3: killed, gone on with, expanded; over the protocol, against a server on loopback."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from cluster_tools import Driver, Stage, check_whole, free_ports, samples, without_ray
from pyarrow import fs

from smotext_ray.lease import read_claims
from smotext_ray.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

ROWS = {"common": 40, "rare": 8}
BLOCK = 4
KEYS = {
    "AWS_ACCESS_KEY_ID": "testing-key",
    "AWS_SECRET_ACCESS_KEY": "testing-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[str]:
    """The query of a URI on that server; its bucket is ``corpora``."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    said = tmp_path_factory.mktemp("s3") / "server"
    with pytest.MonkeyPatch.context() as patch, said.open("w") as log:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(f"http://{address}/", server, said)
            s3 = fs.S3FileSystem(
                endpoint_override=address,
                scheme="http",
                region="us-east-1",
                allow_bucket_creation=True,
            )
            s3.create_dir("corpora")
            yield f"scheme=http&endpoint_override={address}&region=us-east-1"
        finally:
            server.kill()
            server.wait()


def _wait_for(address: str, server: subprocess.Popen, said: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(address, timeout=10).close()
            return
        except (urllib.error.URLError, OSError):
            assert server.poll() is None and time.monotonic() < deadline, said.read_text()
            time.sleep(0.1)


def write_corpus(file: Path, rows: dict[str, int]) -> Path:
    labels = [label for label, number in rows.items() for _ in range(number)]
    texts = [f"{label} text {i}" for label, number in rows.items() for i in range(number)]
    pd.DataFrame({"text": texts, "label": labels}).to_parquet(file)
    return file


def smotext(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "smotext_ray.cli", *arguments],
        capture_output=True,
        text=True,
        env=without_ray(),
        timeout=300,
    )


def test_a_run_in_a_bucket_survives_a_kill_and_is_expanded(place, tmp_path):
    stage = Stage(tmp_path / "stage").reset(seconds=0.5)
    corpus = write_corpus(tmp_path / "corpus.parquet", ROWS)
    run = Run(f"s3://corpora/runs/first?{place}")
    command = [
        *("augment", "--input", corpus, "--output", run.uri, "--max-rounds", "1"),
        *(
            "gate.min_cosine=-1",
            "gate.same_class=false",
            f"resources.decode_rows_per_block={BLOCK}",
        ),
        *("resources.encoder_actors=1", "resources.decoder_actors=1"),
    ]
    driver = Driver(stage, *command)
    driver.until(lambda: run.has("samples") and len(stage.calls("decoder")) >= 3)
    driver.kill()
    assert "decode" not in run.manifest["rounds"][0]
    said = smotext("status", run.uri)
    assert said.returncode == 0 and "under way" in said.stdout, said.stderr

    stage.reset(seconds=0)
    code, said = Driver(stage, *command).ends()  # the dead driver's lease is no hindrance
    assert code == 0, said
    check_whole(run)
    before = samples(run)
    assert len(before) == 32 and read_claims(run) == []
    # Only what was not written is done again.
    assert sum(stage.rows("decoder").values()) < 32
    assert not Path("corpora").exists()  # no checkpoint on the disk of the driver

    write_corpus(corpus, ROWS | {"common": 44, "new": 3})
    stage.reset(seconds=0)
    expand = ["expand", "--run", run.uri, "--max-rounds", "1"]
    code, said = Driver(stage, *expand).ends()
    assert code == 0, said
    check_whole(run)
    assert dict(run.manifest["input"]["class_counts"]) == {"common": 44, "new": 3, "rare": 8}
    assert samples(run)[:32] == before
    assert max(stage.rows("encoder")) == 54 and min(stage.rows("encoder")) == 48
    stage.reset(seconds=0)
    assert Driver(stage, *expand).ends()[0] == 0
    assert stage.calls("encoder") == stage.calls("decoder") == []

    assert "new (sample" in smotext("show", run.uri, "--label", "new").stdout
    for secret in KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"]:
        assert secret not in run.read("manifest.json").decode()
