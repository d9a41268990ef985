"""vLLM on CPU is killed while it decodes: Ray restarts it, and no row is lost."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import psutil
import pytest
from cluster_tools import check_whole, end_tree, kill, samples, without_ray

from smotext_ray.corpus.demo import load_dataset
from smotext_ray.errors import UserError
from smotext_ray.run.directory import Run

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

POINTS, BLOCK = 12, 4


def reuters() -> pd.DataFrame:
    try:
        return load_dataset("reuters-r8", "test").to_pandas()
    except UserError as error:
        pytest.skip(str(error))


def decoders(process: subprocess.Popen) -> list[int]:
    """The processes that have a block to decode, by the title that Ray gives them."""
    family = psutil.Process(process.pid).children(recursive=True)
    return [one.pid for one in family if "(Decoder)).submit" in " ".join(one.cmdline())]


def engine_cores(process: subprocess.Popen) -> list[int]:
    """The processes that decoders have started for their engines, as they do on GPUs."""
    family = psutil.Process(process.pid).children(recursive=True)
    return [one.pid for one in family if one.name() == "VLLM::EngineCore"]


@pytest.mark.long
@pytest.mark.parametrize(("own_process", "victims"), [("0", decoders), ("1", engine_cores)])
def test_a_killed_engine_costs_no_row(tmp_path, own_process, victims):
    frame = reuters()
    parts = [frame[frame["label"] == label].head(10) for label in ("grain", "ship")]
    pd.concat(parts).to_parquet(tmp_path / "corpus.parquet")
    run = Run(str(tmp_path / "run"))
    command = [
        *(sys.executable, "-m", "smotext_ray.cli.main", "augment", "--max-rounds", "1"),
        *("--input", str(tmp_path / "corpus.parquet"), "--output", run.path),
        *("--sampling-strategy", f'{{"grain": {10 + POINTS}}}'),
        *("decoder.num_candidates=1", "decoder.max_tokens=16", "resources.decoder_actors=1"),
        f"resources.decode_rows_per_block={BLOCK}",
    ]
    with (tmp_path / "stderr").open("w") as errors:
        process = subprocess.Popen(
            command,
            env=without_ray() | {"VLLM_ENABLE_V1_MULTIPROCESSING": own_process},
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    try:
        tries = tmp_path / "run" / "checkpoints" / "decode-1-attempts"
        killed: list[int] = []
        while process.poll() is None and not killed:
            if tries.is_dir() and any(tries.iterdir()):
                killed = victims(process)[:1]
                for pid in killed:
                    kill(pid)
        code = process.wait(600)
    finally:
        end_tree(process)
    said = (tmp_path / "stderr").read_text()
    assert killed and code in (0, 3), said
    assert "Ray has restarted the decoder" in said
    check_whole(run)
    assert all(row["num_tokens"] > 0 for row in samples(run))
