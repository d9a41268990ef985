"""Label-only prompts hold the class name in the LLM's own chat template, and no vector."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from fake_engine import fake_vllm
from tiny_models import tiny_llm
from transformers import AutoTokenizer

from smotext_ray.config.schema import RunConfig
from smotext_ray.evaluation.controls.prompts import (
    INSTRUCTION,
    OF_PARENTS,
    PARENT_TOKENS,
    PromptActor,
    of_label,
    of_row,
)
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
    ids = of_label({"label": "corn3"}, tokenizer)
    # The start token of the template is the only one, and the answer begins after it.
    expected = tokenizer(f"{INSTRUCTION.format(label='corn3')} corn0")["input_ids"]
    assert ids == expected and ids.count(tokenizer.bos_token_id) == 1


def test_an_llm_without_a_chat_template_is_given_the_instruction(llm):
    tokenizer = AutoTokenizer.from_pretrained(llm)
    ids = of_label({"label": 7}, tokenizer)
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


def test_the_parents_stand_in_a_users_turn_and_long_ones_are_cut(llm):
    tokenizer = AutoTokenizer.from_pretrained(llm)
    tokenizer.chat_template = CHAT
    row = {"label": "corn3", "source_text": "ship1 ship2", "neighbor_text": "bank4"}
    asked = OF_PARENTS.format(label="corn3", source="ship1 ship2", neighbor="bank4")
    assert of_row(row, tokenizer) == tokenizer(f"{asked} corn0")["input_ids"]
    absent = of_row({"label": "corn3", "source_text": "", "neighbor_text": ""}, tokenizer)
    long = of_row(row | {"source_text": "ship1 " * 500, "neighbor_text": "bank2 " * 500}, tokenizer)
    assert len(absent) + PARENT_TOKENS < len(long) <= len(absent) + 2 * PARENT_TOKENS


def test_each_row_is_prompted_with_its_own_parents(llm, monkeypatch):
    fake_vllm(monkeypatch)
    config = RunConfig.model_validate({"decoder": {"model": str(llm), "max_tokens": 9}})
    actor = PromptActor(config, Counter(), 2, ["corn1"], of_parents=True)
    given: list[dict[str, list[int]]] = []
    enqueue = actor.engine.llm.enqueue

    def noted(prompts, sampling, **settings):
        given.extend(prompts)
        return enqueue(prompts, sampling, **settings)

    actor.engine.llm.enqueue = noted
    table = pa.table(
        {
            "label": ["corn1"] * 2,
            "source_text": ["ship1", "ship2"],
            "neighbor_text": ["bank1", "bank1"],
            "seed": [5, 6],
            "point": fixed_size_list(np.ones((2, 4))),
        }
    )
    actor(table)
    first, second = (prompt["prompt_token_ids"] for prompt in given)
    assert first != second and len(first) == len(second)
    longest = actor.engine.llm.settings["max_model_len"] - 9
    assert longest - 2 * PARENT_TOKENS < len(first) <= longest
