"""The script for GPUs, on whatever is here: each part at toy sizes, and the script as a whole."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "benchmarks" / "gpu.py"


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))


def measured(name, home):
    """The figures of one part, with the line that is printed of them."""
    found = importlib.import_module(f"gpu_shapes.{name}").measure(True, home)
    assert found["line"] and "\n" not in found["line"]
    json.dumps(found)
    return found


def run_script(*options, blocked=(), directory, timeout=1200, **environment):
    """The script in a process in which some packages cannot be imported."""
    for name in blocked:
        package = directory / "blocked" / name
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text(f"raise ImportError('{name} is not here')")
    path = os.pathsep.join([str(directory / "blocked"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, SCRIPT, "--toy", "--output", directory / "out", *options],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_the_environment_is_what_doctor_asks_for(tmp_path):
    found = measured("environment", tmp_path)
    assert {"accelerator", "free memory"} <= set(found["checks"])
    assert found["versions"]["torch"]


def test_the_encoder_s_vectors_are_those_of_the_cpu(tmp_path):
    found = measured("encoding", tmp_path)
    assert set(found["texts_per_second"]) == {"float32", "bfloat16"}
    assert all(rate > 0 for rates in found["texts_per_second"].values() for rate in rates.values())
    assert max(found["differs_from_cpu"].values()) < 1e-3


def test_vectors_that_differ_from_those_of_the_cpu_are_told(tmp_path, monkeypatch):
    from gpu_shapes import encoding

    monkeypatch.setattr(encoding, "_difference", lambda *given: 0.01)
    with pytest.raises(AssertionError, match="difference from CPU"):
        encoding.measure(True, tmp_path)


def test_candidates_of_torch_give_the_plan_of_exact_ones(tmp_path):
    found = measured("search", tmp_path)
    assert found["same_bytes"] == {"cosine": True, "euclidean": True}
    assert 0 < found["error_by_bound"] < 1


def test_products_as_coarse_as_those_of_tf32_break_the_bound(monkeypatch):
    """Ten bits of mantissa in the place of 23: what a GPU would do, were TF32 on."""
    import torch
    from gpu_shapes import search

    base = search._made(600)
    assert search._error_by_bound(base) < 1
    product = torch.Tensor.__matmul__

    def coarse(one, other):
        one, other = ((x.contiguous().view(torch.int32) & ~0x1FFF) for x in (one, other))
        return product(one.view(torch.float32), other.view(torch.float32))

    monkeypatch.setattr(torch.Tensor, "__matmul__", coarse)
    assert search._error_by_bound(base) > 1


def test_our_nucleus_is_that_of_sorting(tmp_path):
    (row,) = measured("sampling", tmp_path)["ours"].values()
    assert row["agree"] > 0.999 and row["ms"] > 0


def test_another_nucleus_is_told(tmp_path, monkeypatch):
    from gpu_shapes import sampling

    monkeypatch.setattr(sampling, "_ours", lambda logits: logits)
    with pytest.raises(AssertionError, match="not the same nucleus"):
        sampling.measure(True, tmp_path)


def test_a_decoding_step(tmp_path):
    (row,) = measured("decode_step", tmp_path)["batches"].values()
    assert row["graph_ms"] > 0 and row["tokens_per_second"] > 0


@pytest.mark.slow
def test_steps_and_answers_of_stage_2(tmp_path):
    found = measured("tuning", tmp_path)
    assert len(found["losses"]) == 5 and min(found["shared_words"]) > 0


@pytest.mark.slow
@pytest.mark.long
def test_training_learns_resumes_and_is_read_on_a_cpu(tmp_path):
    found = measured("training", tmp_path)
    assert "FAILED" not in found["line"], found["line"]
    assert found["learns"]["last"] < found["learns"]["first"]
    assert 0 < found["resumes"]["killed_after"] < 40
    assert found["resumes"]["largest_difference"] == 0  # on a CPU
    assert found["reads_on_cpu"] is True
    assert found["gradients"]["cosine"] > 0.999


@pytest.mark.slow
@pytest.mark.long
def test_the_gate_alone_and_next_to_an_engine(tmp_path):
    found = measured("gate", tmp_path)
    assert set(found["texts_per_second"]) == {32, 64, 128}
    assert all(rate > 0 for rate in found["shared"].values())


# Processes of their own; their functions are those of libraries, which are found there too.


def test_a_value_comes_back():
    from alone import run_alone

    assert run_alone(divmod, (7, 2), 300, "spawn").value == (3, 1)


def test_an_error_is_a_line():
    from alone import run_alone

    outcome = run_alone(int, ("seven",), 300, "spawn")
    assert outcome.error.startswith("ValueError: invalid literal")


def test_a_crash_is_told_by_its_code():
    from alone import run_alone

    assert run_alone(os._exit, (7,), 300, "spawn").error == "its process ended with code 7"


def test_what_hangs_is_killed_with_what_it_started(tmp_path):
    from alone import run_alone

    pid = tmp_path / "pid"
    command = ["sh", "-c", f"echo $$ > {pid}; exec sleep 600"]
    assert run_alone(subprocess.run, (command,), 5, "spawn").error == "killed after 5 seconds"
    stat, until = Path("/proc", pid.read_text().strip(), "stat"), time.monotonic() + 60
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < until
        time.sleep(0.05)


# The script


@pytest.mark.slow
@pytest.mark.long
def test_the_shapes_need_neither_ray_nor_vllm_nor_faiss(tmp_path):
    absent = ("ray", "vllm", "faiss", "imblearn", "datasets", "rich")
    done = run_script("--part", "shapes", blocked=absent, directory=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    kept = json.loads((tmp_path / "out" / "shapes.json").read_text())
    assert kept["toy"] and len(kept["found"]) == 8
    assert len([line for line in done.stdout.splitlines() if " s): " in line]) == 8


@pytest.mark.slow
@pytest.mark.long
def test_a_part_that_fails_leaves_the_others(tmp_path):
    options = ("--part", "shapes", "--only", "tuning", "decode step")
    done = run_script(*options, blocked=("pydantic",), directory=tmp_path)
    assert done.returncode == 1
    kept = json.loads((tmp_path / "out" / "shapes.json").read_text())["found"]
    assert "pydantic is not here" in kept["tuning"]["error"]
    assert kept["decode step"]["batches"]


@pytest.mark.slow
@pytest.mark.long
def test_vllm_s_kernels_by_its_sources_alone(tmp_path):
    """Interpreted, as there is no GPU; vLLM itself is not imported."""
    pytest.importorskip("triton")
    options = ("--part", "shapes", "--only", "sampling")
    done = run_script(*options, directory=tmp_path, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    found = json.loads((tmp_path / "out" / "shapes.json").read_text())["found"]["sampling"]
    assert found["vllm"]["shapes"]["8 x 512"]["agree"] > 0.999, found
    assert found["vllm"]["overlay_ms"] > 0


@pytest.mark.slow
@pytest.mark.long
def test_the_engine_s_part_runs_the_demo_and_measures_each_way(tmp_path):
    done = run_script("--part", "engine", directory=tmp_path, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    kept = json.loads((tmp_path / "out" / "engine.json").read_text())
    found = kept["found"]
    assert kept["toy"] and len(found) == 8
    assert found["demo"]["seconds"] > 0 and found["demo"]["rounds"]
    rates = [row for name, row in found.items() if name not in ("demo", "7B")]
    assert all(row["speed"] > 0 and row["start"] >= 0 for row in rates)
    assert [batch for batch, _, _ in found["7B"]["batches"]] == [1, 16, 64, 256]
    assert all(speed > 0 and limit > 0 for _, speed, limit in found["7B"]["batches"])
    assert "| decoder / generate |" in done.stdout and "| texts in a batch |" in done.stdout
