"""What Prometheus would scrape: each metric comes out of Ray, with the numbers that are true."""

from __future__ import annotations

import re
import socket
import time
import urllib.request

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_models import WORDS

from smotext_ray.cluster.metrics import COUNTERS, GAUGES
from smotext_ray.cluster.progress import stage_progress
from smotext_ray.config.schema import RunConfig
from smotext_ray.pipeline.rounds import embed
from smotext_ray.run.directory import Run
from smotext_ray.run.log import run_name

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

ROWS = 40
PATIENCE = 60  # seconds; Ray passes a count on within two


@pytest.fixture(scope="module")
def port():
    """A Ray with an address to scrape, and without a dashboard, as `smotext` starts it."""
    import ray

    with pytest.MonkeyPatch.context() as patch, socket.socket() as taken:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_metrics_report_interval_ms", "1000")
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.close()
        ray.init(
            address="local",
            num_cpus=6,
            include_dashboard=False,
            _metrics_export_port=port,
            logging_level="ERROR",
            log_to_driver=False,
        )
        yield port
        ray.shutdown()


def scrape(port, run, stage):
    """The values of one stage: name and its own labels -> value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        text = page.read().decode()
    found = {}
    for name, listed, value in re.findall(r"^(ray_smotext_\w+)\{(.*)\} (\S+)$", text, re.M):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', listed))
        if labels["run"] == run_name(run) and labels["stage"] == stage:
            own = tuple(labels[key] for key in ("status", "reason", "actor") if key in labels)
            found[name, *own] = float(value)
    return found


def wait_for(port, run, stage, expected):
    until = time.monotonic() + PATIENCE
    while (seen := scrape(port, run, stage)) != expected and time.monotonic() < until:
        time.sleep(0.2)
    assert seen == expected


def test_every_metric_comes_out_with_its_value(port, tmp_path):
    import ray

    @ray.remote(num_cpus=0)
    class Gate:
        """Counts from a process of its own, as the actors do."""

        def work(self, counter):
            samples = {("accepted", ""): 2, ("rejected", "truncated"): 1, ("error", ""): 1}
            ray.get(counter.add.remote(0, 80))
            ray.get(counter.add.remote(4, first=1, samples=samples))
            ray.get(counter.add.remote(4, first=1, samples=samples))  # after a kill
            ray.get(counter.add.remote(3, first=5, samples={("accepted", ""): 3}))
            ray.get(counter.restarted.remote("decoder", ""))

    run = Run(str(tmp_path / "run"))
    counted = {
        ("ray_smotext_rows_total",): 7,
        ("ray_smotext_repeated_rows_total",): 4,
        ("ray_smotext_tokens_total",): 80,
        ("ray_smotext_samples_total", "accepted", ""): 5,
        ("ray_smotext_samples_total", "rejected", "truncated"): 1,
        ("ray_smotext_samples_total", "error", ""): 1,
        ("ray_smotext_restarts_total", "decoder"): 1,
    }
    names = {f"ray_{name}_total" for name in COUNTERS} | {f"ray_{name}" for name in GAUGES}
    gate = Gate.remote()
    with stage_progress("decode round-1", 20, run, before=3) as counter:
        ray.get(gate.work.remote(counter))
        under_way = counted | {("ray_smotext_rows_to_do",): 10}
        assert {name for name, *_ in under_way} == names
        wait_for(port, run, "decode round-1", under_way)
    # The gauge goes with its stage, the counts stay.
    wait_for(port, run, "decode round-1", counted)


def test_the_encoder_s_rows_are_counted(port, tmp_path):
    texts = [f"{WORDS[i % 32]} {WORDS[i // 32]}" for i in range(ROWS)]
    labels = ["corn", "ship", "ship", "ship"] * (ROWS // 4)
    pq.write_table(pa.table({"text": texts, "label": labels}), tmp_path / "corpus.parquet")
    config = RunConfig.model_validate(
        {
            "input": {"path": str(tmp_path / "corpus.parquet")},
            "resources": {"encoder_actors": 1},
        }
    )
    run = embed(config, str(tmp_path / "run"))
    assert run.table("embeddings").count_rows() == ROWS
    wait_for(port, run, "embed", {("ray_smotext_rows_total",): ROWS})
