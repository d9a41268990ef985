"""A server of a bucket's protocol on loopback, and the life of a run in a bucket."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from cluster_tools import Driver, Stage, check_whole, free_ports, samples, without_ray

from smotext_ray.config.schema import RunConfig
from smotext_ray.run import claims, lease
from smotext_ray.run.claims import read_claims
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import InputFacts
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.opening import new_manifest

ROWS = {"common": 40, "rare": 8}
BLOCK = 4
MISSING = ROWS["common"] - ROWS["rare"]


@contextmanager
def serving(command: Callable[[str], list[str]], said: Path) -> Iterator[str]:
    """Python with these arguments, made from a free port; yields host and port once it answers."""
    (port,) = free_ports(1)
    with said.open("w") as log:
        server = subprocess.Popen([sys.executable, *command(str(port))], stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/", server, said)
        yield f"127.0.0.1:{port}"
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


def has_samples(run: Run) -> bool:
    """Whether a block is through decoder and gate, and written."""
    return run.has("samples") and len(samples(run)) > 0


def killed_gone_on_with_and_expanded(at: Callable[[str], str], directory: Path) -> Run:
    """A run of texts in a bucket, into the same bucket, as ``at`` gives their addresses."""
    stage = Stage(directory / "stage").reset(seconds=0.5)
    run = Run(at("runs/first"))
    write_corpus(at("texts/en/corpus.parquet"), ROWS)
    texts = ["--input", at("texts/*/corpus.parquet"), "--max-rounds", "1"]
    command = [
        *("augment", *texts, "--output", run.uri),
        *("gate.min_cosine=-1", "gate.same_class=false"),
        *(f"resources.decode_rows_per_block={BLOCK}", "resources.decode_blocks_in_flight=1"),
        *("resources.encoder_actors=1", "resources.decoder_actors=1"),
    ]
    driver = Driver(stage, *command)
    driver.until(lambda: len(stage.calls("decoder")) >= 3 and has_samples(run))
    driver.kill()
    assert Manifest.read(run).rounds[0].decode is None
    said = smotext("status", run.uri)
    assert said.returncode == 0 and "running" in said.stdout, said.stderr

    stage.reset(seconds=0)
    code, said = Driver(stage, *command).ends()  # the dead driver's lease is no hindrance
    assert code == 0, said
    check_whole(run)
    before = samples(run)
    planned = len(before)
    assert planned > MISSING  # more than needed, since the gate may reject some
    assert read_claims(run) == []
    # Only what was not written is done again.
    assert sum(stage.rows("decoder").values()) < planned

    write_corpus(at("texts/en/corpus.parquet"), ROWS | {"common": 44, "new": 3})
    stage.reset(seconds=0)
    expand = ["expand", "--run", run.uri, *texts]
    code, said = Driver(stage, *expand).ends()
    assert code == 0, said
    check_whole(run)
    assert Manifest.read(run).class_counts == {"common": 44, "new": 3, "rare": 8}
    assert samples(run)[:planned] == before
    assert max(stage.rows("encoder")) == 54 and min(stage.rows("encoder")) == 48
    stage.reset(seconds=0)
    assert Driver(stage, *expand).ends()[0] == 0
    assert stage.calls("encoder") == stage.calls("decoder") == []
    assert "new (sample" in smotext("show", run.uri, "--label", "new").stdout
    return run


def a_stalled_save_is_never_read(uri: str, patch: pytest.MonkeyPatch) -> None:
    """A holder that was stalled while another took over: its renewal and its save arrive late."""
    patch.setattr(claims, "TTL_SECONDS", 3.0)
    patch.setattr(lease, "identity", lambda pid: "")  # each on a machine of its own
    slow, other = Run(uri), Run(uri)
    stalled = lease.Lease(slow, "augment")
    stalled.take()
    slow.token = stalled.token
    new_manifest(RunConfig(), {}, "first", InputFacts(rows=0, class_counts={})).save(slow)
    time.sleep(4.5)
    with lease.hold(other, "expand"):
        manifest = Manifest.read(other)
        manifest.created = "second"
        manifest.save(other)
        stalled._write()
        with pytest.raises(lease.LeaseLost):
            stalled.check()
        manifest.created = "late"
        manifest.save(slow)
        assert b"late" in other.read("manifest.json")
        assert Manifest.read(Run(uri)).created == "second"
    assert read_claims(other) == []


def write_corpus(uri: str, rows: dict[str, int]) -> None:
    labels = [label for label, number in rows.items() for _ in range(number)]
    texts = [f"{label} text {i}" for label, number in rows.items() for i in range(number)]
    content = pd.DataFrame({"text": texts, "label": labels}).to_parquet()
    file = Run(uri)
    with file.fs.open_output_stream(file.path) as stream:
        stream.write(content)


def smotext(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "smotext_ray.cli.main", *arguments],
        capture_output=True,
        text=True,
        env=without_ray(),
        timeout=300,
    )
