"""Decoding without vLLM: errors stay with their point, LoRA layers come with their bridge."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_engine import fake_gpu, fake_vllm
from passing_bridge import DIM, bridge_of
from safetensors.torch import load_file
from tiny_models import HIDDEN, tiny_llm
from transformers import AutoModelForCausalLM

from smotext_ray.errors import UserError
from smotext_ray.models.decoder import Decoder
from smotext_ray.models.engine import Engine
from smotext_ray.models.lora import Adapter
from smotext_ray.models.style import style_of


@pytest.fixture(autouse=True)
def no_vllm(monkeypatch):
    fake_vllm(monkeypatch)


@pytest.fixture(scope="module")
def llm(tmp_path_factory) -> str:
    return str(tiny_llm(tmp_path_factory.mktemp("models") / "llm"))


@pytest.fixture
def with_lora(llm, tmp_path, monkeypatch) -> Path:
    """A directory with LoRA layers of rank 12 for the LLM."""
    monkeypatch.setenv("SMOTEXT_CACHE", str(tmp_path / "cache"))
    model = AutoModelForCausalLM.from_pretrained(llm).requires_grad_(False)
    adapter = Adapter(model, llm, 12)
    torch.manual_seed(0)
    for weight in adapter.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    directory = tmp_path / "bridge"
    directory.mkdir()
    adapter.save(directory)
    return directory


def test_lora_layers_are_merged_into_a_checkpoint_that_is_made_once(llm, with_lora):
    bridge = bridge_of(lora_rank=12)
    one = Decoder(llm, bridge, lora=with_lora)._engine.llm
    merged = Path(one.model)
    assert merged.is_relative_to(with_lora.parent / "cache") and "enable_lora" not in one.settings
    before, after = (load_file(d / "model.safetensors") for d in (Path(llm), merged))
    changed = {k for k in after if not torch.allclose(before[k], after[k].float(), atol=0.01)}
    assert {k.split(".")[-2] for k in changed} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    made = (merged / "model.safetensors").stat().st_mtime_ns
    assert Decoder(llm, bridge, lora=with_lora)._engine.llm.model == str(merged)
    assert (merged / "model.safetensors").stat().st_mtime_ns == made


def test_lora_layers_are_merged_on_a_gpu_too(llm, with_lora, monkeypatch):
    fake_gpu(monkeypatch)
    engine = Decoder(llm, bridge_of(lora_rank=12), lora=with_lora, dtype="float32")._engine.llm
    assert Path(engine.model).is_relative_to(with_lora.parent / "cache")
    assert "enable_lora" not in engine.settings


def test_lora_layers_can_be_left_to_vllm(llm, with_lora):
    engine = Engine(llm, 5, lora=with_lora, lora_rank=12)
    assert engine.llm.model == llm and engine.llm.settings["max_lora_rank"] == 16
    engine.generate([{"prompt_token_ids": [5, 0, 0]}], [0])
    assert engine.llm.lora_request[-1] == str(with_lora)


def test_a_bridge_with_lora_layers_is_never_used_without_them(llm, with_lora):
    with pytest.raises(ValueError, match="lora"):
        Decoder(llm, bridge_of(lora_rank=12))
    with pytest.raises(ValueError, match="lora"):
        Decoder(llm, bridge_of(), lora=with_lora)


@pytest.fixture
def decoder(llm) -> Decoder:
    return Decoder(llm, bridge_of(), num_candidates=2, max_tokens=10, dtype="float32")


def points(*firsts: float) -> np.ndarray:
    return np.stack([np.full(DIM, first, np.float32) for first in firsts])


def test_each_point_gets_its_candidates_in_order(decoder):
    first, second = decoder.decode(points(5, 3), [11, 12])
    assert first.texts == ["5 11 0", "5 11 1"]
    assert second.texts == ["3 12 0", "3 12 1"]
    assert (first.finish_reasons, first.num_tokens) == (["length", "stop"], [1, 2])
    assert first.error == ""
    assert decoder._engine.llm.batches == [[5, 3]]  # one batch


def test_no_points_need_no_engine(decoder):
    assert decoder.decode(np.empty((0, DIM), np.float32), []) == []
    assert decoder._engine.llm.batches == []


def test_read_only_points_are_taken(decoder):
    frozen = points(1)  # as Ray hands them out; torch warns of them
    frozen.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(decoder._prompts(frozen)) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_point_that_is_not_finite_never_reaches_the_engine(decoder, bad):
    given = points(1, 2, 3)
    given[1, 2] = bad
    results = decoder.decode(given, [7, 8, 9])
    assert [r.texts[:1] for r in results] == [["1 7 0"], [], ["3 9 0"]]
    assert [r.error for r in results] == ["", "the point has NaN or infinite values", ""]
    assert decoder._engine.llm.batches == [[1, 3]]


def test_points_of_another_width_never_reach_the_engine(decoder):
    results = decoder.decode(np.ones((2, DIM + 1), np.float32), [1, 2])
    assert [r.error for r in results] == ["the point has shape (5,)"] * 2
    assert decoder._engine.llm.batches == []


def test_prompts_are_in_the_llms_precision(llm):
    decoder = Decoder(llm, bridge_of(), dtype="bfloat16")
    ((prompt,),) = (given.values() for given in decoder._prompts(points(1)))
    assert prompt.dtype == torch.bfloat16 and prompt.shape == (2, HIDDEN)
    assert not prompt.requires_grad


def test_the_engine_has_room_for_prompt_and_text(decoder):
    assert decoder._engine.llm.settings["max_model_len"] == 2 + 10


def test_an_engines_error_stays_with_its_point(decoder):
    decoder._engine.llm.refused = {2.0}
    results = decoder.decode(points(1, 2, np.nan, 3), [7, 8, 9, 10])
    assert [r.texts[:1] for r in results] == [["1 7 0"], [], [], ["3 10 0"]]
    assert [bool(r.error) for r in results] == [False, True, True, False]


def test_sampling_can_be_changed(decoder):
    decoder.set_sampling(num_candidates=3, temperature=0.5)
    assert len(decoder.decode(points(1), [0])[0].texts) == 3


def test_a_bridge_for_another_llm_is_refused(llm):
    with pytest.raises(UserError, match=rf"48 dimensions for an-llm, but .* expects {HIDDEN}"):
        Decoder(llm, bridge_of(hidden=48))


def test_least_tokens_are_a_share_of_the_length_that_fits(llm, monkeypatch):
    decoder = Decoder(llm, bridge_of(), max_tokens=10, min_length=0.8, dtype="float32")
    asked = []
    enqueue = decoder._engine.llm.enqueue

    def noting(prompts, sampling, **others):
        asked.append(sampling[0].extra_args.get("least_length", 0))
        return enqueue(prompts, sampling, **others)

    monkeypatch.setattr(decoder._engine.llm, "enqueue", noting)
    spoilt = points(5, np.nan, 3, 4)
    decoder.decode(spoilt, [1, 2, 3, 4], [5.0, 7.0, 40.0, 0.0])
    decoder.decode(points(5), [1])
    assert asked == [4, 8, 0, 0]


def test_tokens_are_those_of_the_llm(decoder):
    one, two, none = decoder.count_tokens(["corn0", "corn0 ship1", ""])
    assert none == 0 < one < two
    assert decoder.count_tokens([]) == []


def test_the_bridge_is_told_what_each_text_should_look_like(llm):
    bridge, told = bridge_of(has_style=True), []
    bridge.forward = lambda points, styles: (told.append(styles), points[:, :1, None])[1].expand(
        -1, 2, HIDDEN
    )
    decoder = Decoder(llm, bridge, max_tokens=10, dtype="float32")
    assert decoder.follows_parents and not Decoder(llm, bridge_of()).follows_parents
    decoder.decode(points(5, np.nan, 3, 4), [1, 2, 3, 4], [5, 7, 40, 0], ["a", "B", "C.", None])
    np.testing.assert_array_equal(told[0][:2], style_of(["a", "C."], [5, 10]))
    assert not told[0][2].any()
    decoder.decode(points(5), [1])
    assert not told[1].any()


def test_a_least_length_follows_the_parents_too(llm):
    assert Decoder(llm, bridge_of(), min_length=0.5).follows_parents
