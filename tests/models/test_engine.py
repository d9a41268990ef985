"""The engine: an error stays with its prompt, and a dead engine is told from a bad prompt."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fake_engine import EngineDeadError, fake_vllm

from smotext_ray.models import engine as module
from smotext_ray.models.engine import Engine
from smotext_ray.models.engine_loop import EngineDead


@pytest.fixture(autouse=True)
def no_vllm(monkeypatch):
    fake_vllm(monkeypatch)


@pytest.fixture
def engine() -> Engine:
    return Engine("an-llm", 5, num_candidates=2, max_tokens=10)


def prompts(*firsts: int) -> list[dict[str, list[int]]]:
    return [{"prompt_token_ids": [first, 0, 0]} for first in firsts]


def test_each_prompt_gets_its_candidates_in_order(engine):
    first, second = engine.generate(prompts(5, 3), [11, 12])
    assert (first.texts, second.texts) == (["5 11 0", "5 11 1"], ["3 12 0", "3 12 1"])
    assert (first.finish_reasons, first.num_tokens) == (["length", "stop"], [1, 2])
    assert engine.llm.batches == [[5, 3]]  # one batch


def test_special_tokens_end_a_text_and_not_too_early():
    engine = Engine("an-llm", 5, top_p=1.0, has_least_length=True, no_repeat_ngram=3)
    assert engine.llm.settings["logits_processors"] == [
        "smotext_ray.models.no_repeat:NoRepeatedNgram",
        "smotext_ray.models.least_length:LeastLength",
    ]
    engine.generate(prompts(5), [11], [4])
    assert engine.llm.asked.stop_token_ids == [1, 2]
    assert engine.llm.asked.extra_args == {"no_repeat_ngram": 3, "least_length": 4}
    engine.generate(prompts(5), [11], [0])
    assert engine.llm.asked.extra_args == {"no_repeat_ngram": 3}


def test_no_prompts_need_no_engine(engine):
    assert engine.generate([], []) == []
    assert engine.llm.batches == []


def test_an_error_stays_with_its_prompt(engine):
    engine.llm.refused = {2.0}
    results = engine.generate(prompts(1, 2, 3), [7, 8, 9])
    assert [r.texts[:1] for r in results] == [["1 7 0"], [], ["3 9 0"]]
    assert [r.error for r in results] == ["", "ValueError: refused", ""]


def test_a_refused_prompt_is_not_tried_again(engine):
    engine.llm.refused = {2.0}
    assert engine.generate(prompts(2), [8])[0].error == "ValueError: refused"
    assert engine.llm.batches == []
    assert engine.generate(prompts(1), [7])[0].texts[0] == "1 7 0"


def test_a_dead_engine_is_not_an_error_of_a_prompt(engine):
    engine.llm.refused, engine.llm.error = {2.0}, EngineDeadError("gone")
    for _ in range(2):
        with pytest.raises(EngineDead, match="gone"):
            engine.generate(prompts(1, 2, 3), [7, 8, 9])
    assert engine.llm.batches == []


def test_an_engine_whose_step_failed_counts_as_dead(engine):
    # It holds on to the requests: their texts would come out as those of other prompts.
    engine.llm.broken = ValueError("out of range")
    with pytest.raises(EngineDead, match="ValueError: out of range"):
        engine.generate(prompts(1, 2, 3), [7, 8, 9])
    engine.llm.broken = None
    with pytest.raises(EngineDead, match="ValueError: out of range"):
        engine.generate(prompts(1), [7])
    assert len(engine.llm.batches) == 1


def test_it_has_room_for_prompt_and_text_and_none_for_wrong_cache_hits(engine):
    settings = engine.llm.settings
    assert settings["max_model_len"] == 5 + 10
    assert settings["enable_prompt_embeds"] is True
    assert settings["enable_prefix_caching"] is False
    assert "enable_lora" not in settings


@pytest.mark.parametrize(("rank", "room"), [(1, 8), (8, 8), (12, 16), (64, 64)])
def test_lora_layers_apart_from_the_llm_have_room(rank, room):
    engine = Engine("an-llm", 5, lora=Path("layers"), lora_rank=rank)
    assert engine.llm.settings["max_lora_rank"] == room
    engine.generate(prompts(1), [0])
    assert engine.llm.lora_request[-1] == "layers"


@pytest.mark.skipif(torch.cuda.is_available(), reason="vLLM has kernels for it on a GPU")
def test_top_p_is_ours_where_vllm_sorts_the_vocabulary():
    engine = Engine("an-llm", 5, top_p=0.5)
    (processor,) = engine.llm.settings["logits_processors"]
    nucleus = processor(None, None, False)
    assert engine._sampling["top_p"] == 1
    assert nucleus.is_argmax_invariant()
    kept = nucleus.apply(torch.tensor([[0.0, 9.0, 1.0]]))
    assert (kept > -torch.inf).tolist() == [[False, True, False]]
    assert "logits_processors" not in Engine("an-llm", 5, top_p=1.0).llm.settings
    many = Engine("an-llm", 5, top_p=0.5, tensor_parallel_size=2)
    assert "logits_processors" not in many.llm.settings
    assert many._sampling["top_p"] == 0.5
    other = Engine("an-llm", 5, top_p=0.5, own_process=True)  # which could not import the class
    assert "logits_processors" not in other.llm.settings
    assert other._sampling["top_p"] == 0.5


def test_repetition_is_forbidden_in_any_process():
    for own in (False, True):
        engine = Engine("an-llm", 5, top_p=1.0, no_repeat_ngram=4, own_process=own)
        (name,) = engine.llm.settings["logits_processors"]
        assert name == "smotext_ray.models.no_repeat:NoRepeatedNgram"
        engine.generate(prompts(1), [0])
        assert engine.llm.asked.extra_args == {"no_repeat_ngram": 4}
    assert len(Engine("an-llm", 5, no_repeat_ngram=4).llm.settings["logits_processors"]) == 2


@pytest.mark.parametrize(("temperature", "n"), [(0.0, 1), (1e-6, 1), (0.5, 3)])
def test_greedy_decoding_asks_for_one_text(temperature, n):
    engine = Engine("an-llm", 5, num_candidates=3, temperature=temperature)
    assert len(engine.generate(prompts(1), [0])[0].texts) == n


def test_what_vllm_refuses_in_another_process_is_an_error_of_the_prompt():
    output = SimpleNamespace(text="", token_ids=[], finish_reason="error")
    refused = module._candidates(SimpleNamespace(outputs=[output]))
    assert refused.texts == [] and "rejected" in refused.error
