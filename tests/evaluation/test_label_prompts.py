"""Label-only prompts hold the class name in the LLM's own chat template, and no vector."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from fake_engine import fake_vllm
from tiny_models import tiny_llm
from transformers import AutoTokenizer

from smotext_ray.config.schema import RunConfig
from smotext_ray.evaluation.controls.class_names import INSTRUCTION, PromptActor, prompt_token_ids
from smotext_ray.tables import fixed_size_list

CHAT = "{% for turn in messages %}<s> {{ turn['content'] }} {% endfor %}corn0"


class Counter:
    """Stands for the handle of the counter: ``counter.add.remote(...)``."""

    def __init__(self):
        self.rows = self.tokens = 0
        self.add = self

    def remote(self, rows, tokens=0):
        self.rows += rows
        self.tokens += tokens


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    return tiny_llm(tmp_path_factory.mktemp("models") / "llm", start_token=True)


def test_the_label_stands_in_a_users_turn(llm):
    tokenizer = AutoTokenizer.from_pretrained(llm)
    tokenizer.chat_template = CHAT
    ids = prompt_token_ids("corn3", tokenizer)
    # The start token of the template is the only one, and the answer begins after it.
    expected = tokenizer(f"{INSTRUCTION.format(label='corn3')} corn0")["input_ids"]
    assert ids == expected and ids.count(tokenizer.bos_token_id) == 1


def test_an_llm_without_a_chat_template_is_given_the_instruction(llm):
    tokenizer = AutoTokenizer.from_pretrained(llm)
    ids = prompt_token_ids(7, tokenizer)
    assert ids == tokenizer(INSTRUCTION.format(label=7))["input_ids"]


def test_rows_of_a_class_are_prompted_alike_whatever_their_vectors(llm, monkeypatch):
    fake_vllm(monkeypatch)
    config = RunConfig.model_validate(
        {"decoder": {"model": str(llm), "num_candidates": 2, "max_tokens": 9}}
    )
    actor = PromptActor(config, Counter(), 3, ["corn1", "a longer label"])
    given: list[dict[str, list[int]]] = []
    enqueue = actor.engine.llm.enqueue

    def noted(prompts, sampling, **settings):
        given.extend(prompts)
        return enqueue(prompts, sampling, **settings)

    actor.engine.llm.enqueue = noted
    points = np.random.default_rng(0).normal(size=(3, 4))
    labels = ["corn1", "a longer label", "corn1"]
    table = pa.table({"label": labels, "seed": [5, 6, 7], "point": fixed_size_list(points)})
    out = actor(table)
    assert [tuple(prompt) for prompt in given] == [("prompt_token_ids",)] * 3
    assert given[0] == given[2] != given[1]
    settings = actor.engine.llm.settings
    longest = max(len(prompt["prompt_token_ids"]) for prompt in given)
    assert settings["max_model_len"] == longest + 9 and "enable_lora" not in settings
    assert out.select(table.column_names).equals(table)
    assert [text.split()[1] for (text, _) in out["texts"].to_pylist()] == ["5", "6", "7"]
    assert actor.counter.tokens == 9
