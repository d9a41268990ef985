"""The command line on a cluster that counts GPUs which its machine does not have.

All that is Ray's is as on a GPU cluster: pools with shares of GPUs, blocks, dtypes. The models
find no GPU and compute on the CPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from cluster_tools import Stage, check_whole, free_ports, ray_node, without_ray

from smotext_ray.corpus.demo import load_dataset
from smotext_ray.errors import UserError
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.long]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    try:
        frame = load_dataset("reuters-r8", "test").to_pandas()
    except UserError as error:
        pytest.skip(str(error))
    parts = [frame[frame["label"] == label].head(10) for label in ("grain", "ship")]
    file = tmp_path_factory.mktemp("corpus") / "corpus.parquet"
    pd.concat(parts).to_parquet(file)
    return file


def test_augment_ends_on_a_head_with_two_gpus(tmp_path, corpus):
    stage = Stage(tmp_path / "stage").reset(seconds=0)
    command = [
        *(sys.executable, "-m", "smotext_ray.cli.main", "augment", "--max-rounds", "1"),
        *("--input", corpus, "--output", tmp_path / "run"),
        *("--sampling-strategy", '{"grain": 18}'),
        *("decoder.num_candidates=1", "decoder.max_tokens=24", "gate.min_cosine=-1"),
        *("plan.expected_acceptance=1.0", "encoder.batch_size=8", "resources.gpu_type=L4"),
    ]
    of_ray = json.dumps({"accelerator_type:L4": 1.0})  # which Ray adds where it finds an L4
    (port,) = free_ports(1)
    with ray_node(stage, 12, port, "--num-gpus=2", f"--resources={of_ray}") as (address, _):
        done = subprocess.run(
            list(map(str, command)),
            env=without_ray() | {"RAY_ADDRESS": address, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=900,
        )
    assert done.returncode in (0, 3), done.stderr
    assert "Traceback" not in done.stderr
    run = Run(os.fspath(tmp_path / "run"))
    check_whole(run)
    manifest = Manifest.read(run)
    assert manifest.config.encoder.dtype == "bfloat16"  # for the GPUs that are counted
    assert len(manifest.rounds) == 1 and manifest.rounds[0].decode.tokens > 0
