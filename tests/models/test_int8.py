"""An LLM in int8: what is rounded and how far."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from fake_engine import fake_vllm
from hypothesis import given
from hypothesis import strategies as st
from passing_bridge import DIM, bridge_of
from safetensors.torch import load_file
from tiny_models import tiny_llm

from smotext_ray.models.decoder import Decoder
from smotext_ray.models.int8 import rounded, write_int8


@given(st.integers(0, 2**32 - 1), st.floats(1e-4, 1e4))
def test_each_weight_is_within_half_a_step(seed, size):
    weight = size * torch.randn(5, 7, generator=torch.Generator().manual_seed(seed))
    weight[3] = 0
    steps, scale = rounded(weight)
    assert steps.dtype == torch.int8 and scale.shape == (5, 1)
    error = (steps.float() * scale.float() - weight).abs()
    # A scale that bfloat16 rounds down by up to 2**-9 cannot reach the largest weight.
    assert (error <= 0.5 * scale.float() + 2.0**-8 * weight.abs()).all()
    assert (steps[3] == 0).all()


def test_the_layers_are_rounded_and_nothing_else(tmp_path):
    llm = tiny_llm(tmp_path / "llm")
    (tmp_path / "int8").mkdir()
    write_int8(str(llm), tmp_path / "int8")
    before = load_file(llm / "model.safetensors")
    after = load_file(tmp_path / "int8" / "model.safetensors")
    small = {name for name, tensor in after.items() if tensor.dtype == torch.int8}
    assert {name.split(".")[-2] for name in small} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    assert after.keys() == before.keys() | {f"{name}_scale" for name in small}
    for name, tensor in before.items():
        if name in small:
            again = after[name].float() * after[f"{name}_scale"].float()
            assert (again - tensor).abs().max() <= tensor.abs().max() / 127
        else:
            torch.testing.assert_close(after[name].float(), tensor.float(), atol=0, rtol=0.01)
    config = json.loads((tmp_path / "int8" / "config.json").read_text())
    assert config["quantization_config"]["ignore"] == ["lm_head"]
    assert (tmp_path / "int8" / "tokenizer_config.json").exists()


def test_the_decoder_loads_a_checkpoint_that_is_made_once(tmp_path, monkeypatch):
    fake_vllm(monkeypatch)
    monkeypatch.setenv("SMOTEXT_CACHE", str(tmp_path / "cache"))
    llm = str(tiny_llm(tmp_path / "llm"))
    model = Path(Decoder(llm, bridge_of(), int8=True)._engine.llm.model)
    assert model.parent == tmp_path / "cache"
    made = (model / "model.safetensors").stat().st_mtime_ns
    decoder = Decoder(llm, bridge_of(), int8=True)
    assert decoder._engine.llm.model == str(model)
    assert (model / "model.safetensors").stat().st_mtime_ns == made
    assert len(decoder.decode(np.ones((2, DIM), np.float32), [0, 1])) == 2
    assert Decoder(llm, bridge_of())._engine.llm.model == llm
