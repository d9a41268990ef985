"""What vLLM is told on a GPU and on a CPU; the GPU is made up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake_engine import fake_gpu, fake_vllm
from tiny_models import tiny_llm

from smotext_ray.errors import UserError
from smotext_ray.models import engine_device as module
from smotext_ray.models.engine import Engine

H200, L4, V100 = ((9, 0), 139), ((8, 9), 22), ((7, 0), 31)
# Of the tiny LLM in two-byte numbers: 2 of key and value, 2 layers, 2 heads of 8 numbers.
TOKEN_BYTES = 2 * 2 * 2 * 8 * 2


@pytest.fixture(autouse=True)
def no_vllm(monkeypatch):
    fake_vllm(monkeypatch)


@pytest.fixture(scope="module")
def llm(tmp_path_factory) -> str:
    return str(tiny_llm(tmp_path_factory.mktemp("models") / "llm"))


def test_a_gpu_that_decodes_much(monkeypatch, llm):
    fake_gpu(monkeypatch, *H200)
    engine = Engine(llm, 5, max_tokens=10)
    assert engine.llm.settings == {
        "dtype": "bfloat16",
        "enable_prompt_embeds": True,
        "enable_prefix_caching": False,
        "enable_chunked_prefill": True,
        "enforce_eager": False,
        "max_model_len": 15,
        "max_num_seqs": 1024,
        "max_cudagraph_capture_size": 1024,
        "tensor_parallel_size": 1,
        "gpu_memory_utilization": 0.85,
        "kv_cache_memory_bytes": (1024 * 2 + 1) * 16 * TOKEN_BYTES,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    assert engine.dtype == "bfloat16"
    assert engine._sampling["top_p"] == 0.95  # vLLM has a kernel for it


def test_a_smaller_gpu_has_fewer_texts_in_flight(monkeypatch, llm):
    fake_gpu(monkeypatch, *L4)
    settings = Engine(llm, 5, max_tokens=10).llm.settings
    assert settings["max_num_seqs"] == 256
    assert "max_cudagraph_capture_size" not in settings
    assert settings["enforce_eager"] is False
    assert settings["kv_cache_memory_bytes"] == (256 * 2 + 1) * 16 * TOKEN_BYTES


@pytest.mark.parametrize(("texts", "eager"), [(None, False), (49_999, True), (50_000, False)])
def test_few_texts_are_not_worth_compiling_for(monkeypatch, llm, texts, eager):
    fake_gpu(monkeypatch)
    settings = Engine(llm, 5, expected_texts=texts).llm.settings
    assert settings["enforce_eager"] is eager
    assert ("max_cudagraph_capture_size" in settings) is not eager
    assert settings["max_num_seqs"] == 1024


@pytest.mark.parametrize("texts", [None, 100_000])
def test_a_cpu_never_compiles_or_reads_a_prompt_in_two_steps(monkeypatch, texts):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings = Engine("an-llm", 5, expected_texts=texts).llm.settings
    assert settings["enforce_eager"] is True
    assert settings["enable_chunked_prefill"] is False
    assert settings["max_num_seqs"] == 256
    assert not {"kv_cache_memory_bytes", "max_cudagraph_capture_size"} & set(settings)


@pytest.mark.parametrize(
    ("gpu", "of_cpu", "dtype"),
    [
        (H200, "float32", "bfloat16"),
        (((8, 0), 79), "float32", "bfloat16"),
        (((7, 5), 15), "bfloat16", "float16"),
        (V100, "bfloat16", "float16"),
        (None, "bfloat16", "bfloat16"),
        (None, "float32", "float32"),
    ],
)
def test_the_engine_computes_in_what_the_machine_is_fast_in(monkeypatch, llm, gpu, of_cpu, dtype):
    monkeypatch.setattr(module, "cpu_dtype", lambda: of_cpu)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if gpu:
        fake_gpu(monkeypatch, *gpu)
    engine = Engine(llm, 5)
    assert engine.dtype == engine.llm.settings["dtype"] == dtype
    assert Engine(llm, 5, dtype="float32").llm.settings["dtype"] == "float32"


def test_lora_layers_on_a_gpu(monkeypatch, llm):
    fake_gpu(monkeypatch)
    settings = Engine(llm, 5, lora=Path("layers"), lora_rank=12).llm.settings
    assert (settings["enable_lora"], settings["max_loras"]) == (True, 1)
    assert settings["max_lora_rank"] == 16


def test_engines_that_share_a_gpu_share_its_memory(monkeypatch, llm):
    fake_gpu(monkeypatch, gib=80)
    settings = Engine(llm, 5, max_tokens=10, engines_per_gpu=3).llm.settings
    assert settings["gpu_memory_utilization"] == pytest.approx(0.85 / 3)
    # vLLM would measure by the free memory of the device, which the others change.
    assert settings["kv_cache_memory_bytes"] == (1024 * 2 + 1) * 16 * TOKEN_BYTES


def test_more_engines_than_fit_are_refused_before_one_starts(monkeypatch, llm):
    fake_gpu(monkeypatch, *L4)
    with pytest.raises(UserError, match=r"lower resources\.decoders_per_gpu"):
        Engine(llm, 5, engines_per_gpu=8)


def test_a_cache_that_might_not_fit_is_left_to_vllm(monkeypatch, llm):
    fake_gpu(monkeypatch, gib=4.5)
    settings = Engine(llm, 5).llm.settings
    assert "kv_cache_memory_bytes" not in settings
    assert settings["gpu_memory_utilization"] == 0.85


def test_tensor_parallel_gpus_share_weights_and_cache(monkeypatch, llm):
    fake_gpu(monkeypatch)
    one, two, many = (
        Engine(llm, 5, tensor_parallel_size=n).llm.settings["kv_cache_memory_bytes"]
        for n in (1, 2, 8)
    )
    assert (one, two) == (2 * two, many)  # no head is cut in two
    monkeypatch.setattr(module, "_weight_bytes", lambda _: 200 * module.GIB)
    assert "kv_cache_memory_bytes" not in Engine(llm, 5).llm.settings
    assert "kv_cache_memory_bytes" in Engine(llm, 5, tensor_parallel_size=2).llm.settings


def test_weights_are_measured_in_either_format(tmp_path):
    assert module._weight_bytes("a/hub-name") == 0
    (tmp_path / "pytorch_model.bin").write_bytes(b"0" * 5)
    assert module._weight_bytes(str(tmp_path)) == 5
    (tmp_path / "model-00001-of-00001.safetensors").write_bytes(b"0" * 7)
    assert module._weight_bytes(str(tmp_path)) == 7


def test_the_environment_of_an_engine_on_a_gpu(monkeypatch, llm):
    fake_gpu(monkeypatch)
    environment = Engine(llm, 5).llm.environment
    assert {name: environment[name] for name in environment if name.startswith("VLLM_")} == {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_USE_FLASHINFER_SAMPLER": "0",  # is compiled at the start, and never used with seeds
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }


@pytest.mark.parametrize(
    ("gpu", "asked", "given", "own"),
    [
        (False, None, None, "0"),
        (True, None, None, "1"),
        (True, False, None, "0"),
        (False, True, None, "1"),
        (False, None, "1", "1"),
        (True, None, "0", "0"),
        (True, False, "1", "0"),
    ],
)
def test_whose_process_the_engine_computes_in(monkeypatch, llm, gpu, asked, given, own):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if gpu:
        fake_gpu(monkeypatch)
    if given is not None:
        monkeypatch.setitem(os.environ, module.OWN_PROCESS, given)
    engine = Engine(llm, 5, own_process=asked)
    assert engine.llm.environment[module.OWN_PROCESS] == own
    # Ray's workers, if this process starts them, are not told.
    assert os.environ.get(module.OWN_PROCESS) == given


def test_settings_of_the_user_outweigh_those_for_the_engine(monkeypatch):
    monkeypatch.setitem(os.environ, "VLLM_CPU_KVCACHE_SPACE", "7")
    module.set_environment()
    assert os.environ["VLLM_CPU_KVCACHE_SPACE"] == "7"
    assert os.environ["VLLM_USE_FLASHINFER_SAMPLER"] == "0"


def test_programs_next_to_python_are_found_without_activating_its_environment(monkeypatch):
    here = str(Path(sys.executable).parent)
    for before, after in [
        ("/usr/bin", f"{here}{os.pathsep}/usr/bin"),
        (f"/usr/bin{os.pathsep}{here}", f"/usr/bin{os.pathsep}{here}"),
        ("", here),
    ]:
        monkeypatch.setitem(os.environ, "PATH", before)
        module.set_environment()
        assert os.environ["PATH"] == after


@pytest.mark.slow
def test_vllm_knows_every_argument(llm):
    code = (
        "import json, sys\n"
        "from smotext_ray.models.engine_device import Gpu, device_arguments\n"
        "from vllm import EngineArgs\n"
        "arguments = device_arguments(\n"
        "    Gpu((9, 0), 80 * 2**30), sys.argv[1], 'bfloat16', max_model_len=32,\n"
        "    tensor_parallel_size=1, gpu_memory_utilization=0.8, engines_per_gpu=2,\n"
        "    expected_texts=None,\n"
        ")\n"
        "given = EngineArgs(model=sys.argv[1], **arguments)\n"
        "print(json.dumps([sorted(arguments), given.max_cudagraph_capture_size]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, llm], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "kv_cache_memory_bytes" in done.stdout and "1024]" in done.stdout
