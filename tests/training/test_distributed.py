"""Training on Ray: as in one process, over kills of workers and changes of their number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from tiny_training import TEXTS, curve, last_state, metrics, quiet, tiny_config

from smotext_ray.cluster.session import Cluster
from smotext_ray.errors import UserError
from smotext_ray.training import distributed
from smotext_ray.training.config import TrainConfig
from smotext_ray.training.distributed import train_on_ray
from smotext_ray.training.train import train
from smotext_ray.training.workers import Workers

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    """With LoRA layers, which must begin alike in all workers."""
    return replace(tiny_config(tmp_path_factory.mktemp("models")), lora_rank=2)


def assert_same_curves(output, reference):
    for key in ("step", "lr"):
        assert curve(output, key) == curve(reference, key)
    for key in ("loss", "held_out_matched", "held_out_shuffled", "held_out_none"):
        # Sums over workers are rounded differently, and steps amplify it.
        np.testing.assert_allclose(curve(output, key)[:5], curve(reference, key)[:5], rtol=1e-4)
        np.testing.assert_allclose(curve(output, key), curve(reference, key), rtol=5e-3)


@pytest.mark.cluster
@pytest.mark.slow
def test_two_workers_resume_what_one_process_began(shared_ray, config, tmp_path):
    train(TEXTS, config, tmp_path / "whole", log=quiet)

    def stop(line):
        if line.startswith("step 30 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TEXTS, config, tmp_path / "ray", log=stop)
    lines = []
    bridge = train_on_ray(TEXTS, config, tmp_path / "ray", 2, log=lines.append)
    assert_same_curves(tmp_path / "ray", tmp_path / "whole")
    assert [line.split()[1] for line in lines] == ["40", "50", "60"]
    assert bridge.config.soft_tokens == 2
    assert not list((tmp_path / "ray").glob(".*")), "the driver and the workers tidy up"


def under_torchrun(config, texts, output, processes):
    """Start a training in processes of torchrun's, without Ray."""
    settings = {
        "encoder": config.encoder,
        "llm": config.llm,
        "soft-tokens": 2,
        "projector-hidden-size": 64,
        "lora-rank": 2,
        "max-text-tokens": 6,
        "steps": 60,
        "decay-steps": 0,
        "tokens-per-step": 32,
        "batch-tokens": 24,
        "learning-rate": 0.01,
        "warmup-steps": 2,
        "held-out": 16,
        "eval-every": 30,
        "save-minutes": 0,
        "input": texts,
        "output": output,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        + [f"--nproc-per-node={processes}", ROOT / "jobs" / "train_bridge.py"]
        + [f"--{name}={value}" for name, value in settings.items()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
@pytest.mark.long
def test_torchrun_trains_as_one_process_does_and_leaves_nobody_behind(config, tmp_path):
    train(TEXTS, config, tmp_path / "whole", log=quiet)
    texts, output = tmp_path / "texts.txt", tmp_path / "two"
    texts.write_text("\n".join(TEXTS))
    killed = under_torchrun(config, texts, output, 2)
    for line in killed.stdout:
        if line.startswith("step 10 "):
            break
    workers = psutil.Process(killed.pid).children()
    assert len(workers) == 2
    killed.kill()
    assert not psutil.wait_procs(workers, timeout=60)[1], "they would train on unseen"
    killed.stdout.close()
    killed.wait()
    told, _ = (again := under_torchrun(config, texts, output, 2)).communicate(timeout=500)
    assert again.returncode == 0, told
    assert told.count("The best bridge by held-out loss is in") == 1
    assert_same_curves(output, tmp_path / "whole")


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.long
def test_a_killed_worker_costs_only_the_steps_since_the_last_state(shared_ray, config, tmp_path):
    config = replace(config, steps=400, eval_every=200)
    train_on_ray(TEXTS, config, tmp_path / "whole", 2, log=quiet)
    lines, killed = [], []

    def kill_one(line):
        lines.append(line)
        if line.startswith("step ") and not killed:
            pids = [p.pid for p in psutil.Process().children(recursive=True) if is_worker(p)]
            assert len(pids) == 2
            os.kill(pids[1], signal.SIGKILL)
            killed.append(pids[1])

    train_on_ray(TEXTS, config, tmp_path / "ray", 2, log=kill_one)
    assert killed and "a worker failed; all workers restart from the last checkpoint" in lines
    # Two workers add two numbers, in whichever order, so nothing is rounded in another way.
    assert metrics(tmp_path / "ray") == metrics(tmp_path / "whole")
    assert last_state(tmp_path / "ray")["step"] == 400


def is_worker(process: psutil.Process) -> bool:
    return "RayTrainWorker" in " ".join(process.cmdline())


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.long
def test_what_a_worker_refuses_ends_in_its_sentence_at_once(shared_ray, config, tmp_path):
    train(TEXTS, replace(config, steps=1), tmp_path, log=quiet)
    lines = []
    with pytest.raises(UserError, match="with other texts; use another --output"):
        train_on_ray(TEXTS[::-1], replace(config, steps=1), tmp_path, 2, log=lines.append)
    assert lines == []
    assert len(metrics(tmp_path)) == 1


def test_impossible_trainings_are_refused_before_ray_starts(config, tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "connect", None)
    with pytest.raises(UserError, match="workers is 0; it must be at least 1"):
        train_on_ray(TEXTS, config, tmp_path / "bridge", 0)
    with pytest.raises(UserError, match=r"more than the 16 held-out texts"):
        train_on_ray(TEXTS[:16], config, tmp_path / "bridge", 20)
    assert not (tmp_path / "bridge").exists()


@pytest.mark.parametrize(
    ("cluster", "use_gpu", "cpus", "message"),
    [
        (Cluster(3, 0, 8), None, 1, "4 workers need 4 CPUs, but the cluster has 3 CPUs and 0 GPUs"),
        (Cluster(8, 0, 8), None, 4, "need 16 CPUs"),
        (Cluster(8, 2, 8), None, 1, "need 4 CPUs and 4 GPUs"),
        (Cluster(8, 0, 8), True, 1, "need 4 CPUs and 4 GPUs"),
    ],
)
def test_workers_that_ray_would_wait_for_without_end_are_refused(cluster, use_gpu, cpus, message):
    with pytest.raises(UserError, match=message):
        distributed._scaling(cluster, 4, use_gpu, cpus)


def test_gpus_are_used_where_there_are_any():
    assert not distributed._scaling(Cluster(4, 0, 8), 4, None, 1).use_gpu
    assert distributed._scaling(Cluster(4, 4, 8), 4, None, 1).use_gpu
    assert not distributed._scaling(Cluster(4, 4, 8), 4, False, 1).use_gpu


def test_a_worker_that_does_not_see_the_drivers_file_is_refused(tmp_path):
    with distributed._marked(tmp_path) as marker:
        distributed._require_marker(tmp_path, marker, patience_s=0)
        for output, told in ((tmp_path / "elsewhere", marker), (tmp_path, "of another run")):
            with pytest.raises(UserError, match="storage that all machines share"):
                distributed._require_marker(output, told, patience_s=0)
    assert list(tmp_path.iterdir()) == []


def test_rays_exit_on_an_interrupt_is_an_interrupt_here():
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), distributed._interruptible():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise SystemExit(0)
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_costliest_batches_are_dealt_first():
    batches, found = [np.array([number]) for number in range(7)], []
    costs = [1, 2, 3, 4, 5, 6, 7]
    for rank in range(2):
        worker = Workers()
        worker.rank, worker.count = rank, 2
        found.append([int(batch[0]) for batch in worker.share(batches, costs)])
    assert found == [[6, 3, 2], [5, 4, 1, 0]]  # 14 of 28 for each
    assert sorted(int(batch[0]) for batch in Workers().share(batches, costs)) == list(range(7))
    worker.count = 8
    assert [len(share_of(worker, rank, batches, costs)) for rank in range(8)] == [1] * 7 + [0]


def share_of(worker, rank, batches, costs):
    worker.rank = rank
    return worker.share(batches, costs)


def test_the_job_takes_the_arguments_of_train_bridge(tmp_path):
    arguments = ["--input", tmp_path / "none.txt", "--output", tmp_path / "bridge"]
    job = subprocess.run(
        [sys.executable, ROOT / "jobs" / "train_bridge.py", *arguments],
        capture_output=True,
        text=True,
    )
    assert job.returncode == 2
    assert "cannot be read" in job.stderr
