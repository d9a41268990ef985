"""Stage 2 between tiny random models: its tasks, its loss, its training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tiny_training import TEXTS, curve, last_state, quiet, tiny_config

from smotext_ray.errors import UserError
from smotext_ray.models.prompts import about_background, instruction_token_ids
from smotext_ray.training.config import TrainConfig
from smotext_ray.training.data import Task
from smotext_ray.training.frozen import FrozenModels
from smotext_ray.training.objectives import KL_WEIGHT, Tuning
from smotext_ray.training.tasks import (
    ABOUT,
    ANOTHER,
    NEIGHBORS,
    answer,
    make_tasks,
    read_tasks,
    write_tasks,
)
from smotext_ray.training.train import train

CHAT = (
    "{% for m in messages %}<s> {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}bank7 {% endif %}"
)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    return replace(tiny_config(tmp_path_factory.mktemp("models")), stage=2)


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    """Answers that only the background tells."""
    return [Task(text, "corn1 gold1", " ".join(sorted(text.split()))) for text in TEXTS]


@pytest.fixture
def frozen(config) -> FrozenModels:
    models = FrozenModels(config)
    models.llm.float()  # to be compared with plain transformers
    return models


def test_the_loss_is_that_of_plain_transformers(frozen, config, tasks):
    bridge, rows = frozen.new_bridge(config), np.arange(3)
    tuning = Tuning(frozen, tasks)
    embeddings = frozen.encoder.encode([tasks[row].background for row in rows])
    batch = tuning.batch(rows, embeddings)
    table, expected = frozen.llm.get_input_embeddings(), []
    for row in rows:
        ids = batch.ids[row][batch.ids[row] >= 0]
        before, after = instruction_token_ids(
            about_background(tasks[row].question), frozen.tokenizer
        )
        before, after = table(torch.tensor(before)).float(), table(torch.tensor(after))
        text = frozen.tokenizer(tasks[row].background, add_special_tokens=False)["input_ids"]
        soft = bridge(torch.from_numpy(embeddings[[row]]))[0]
        logits = []
        for middle in (soft, table(torch.tensor(text[: config.max_text_tokens]))):
            prompt = torch.cat([before, middle, after])
            out = frozen.llm(inputs_embeds=torch.cat([prompt, table(ids)])[None]).logits[0]
            logits.append(out[len(prompt) - 1 : -1].log_softmax(1))
        student, teacher = logits
        divergence = (teacher.exp() * (teacher - student)).sum(1)
        expected.append(-student[torch.arange(len(ids)), ids] + KL_WEIGHT * divergence)
    torch.testing.assert_close(
        tuning.loss(bridge, batch), torch.cat(expected), rtol=1e-3, atol=1e-3
    )


def test_the_bridge_learns_to_answer(config, tasks, tmp_path):
    train(tasks, config, tmp_path, log=quiet)
    assert np.mean(curve(tmp_path)[-10:]) < 0.8 * np.mean(curve(tmp_path)[:5])
    matched, shuffled = (curve(tmp_path, f"held_out_{kind}") for kind in ("matched", "shuffled"))
    assert matched[-1] < shuffled[-1] - 0.2


def test_a_killed_training_goes_on_bit_by_bit(config, tasks, tmp_path):
    class Killed(Exception):
        pass

    def kill(line):
        if line.startswith("step 10 "):
            raise Killed

    config = replace(config, steps=20, lora_rank=2)
    train(tasks, config, tmp_path / "whole", log=quiet)
    with pytest.raises(Killed):
        train(tasks, config, tmp_path / "killed", log=kill)
    train(tasks, config, tmp_path / "killed", log=quiet)
    one, other = (last_state(tmp_path / name)["learned"] for name in ("killed", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_other_answers_are_another_training(config, tasks, tmp_path):
    config = replace(config, steps=1)
    train(tasks, config, tmp_path, log=quiet)
    with pytest.raises(UserError, match="with other texts"):
        train([*tasks[:-1], tasks[-1]._replace(answer="ship7")], config, tmp_path, log=quiet)


def test_a_chat_template_stands_around_the_instruction(frozen):
    frozen.tokenizer.chat_template = CHAT
    before, after = instruction_token_ids("corn1 <xRAG> gold1", frozen.tokenizer)
    words = frozen.tokenizer.convert_ids_to_tokens
    assert words(before) == ["<s>", "corn1"] and words(after) == ["gold1", "bank7"]
    with pytest.raises(UserError, match="exactly once"):
        instruction_token_ids("corn1", frozen.tokenizer)


def test_tasks_are_made_of_texts_alone(frozen):
    tasks = make_tasks(TEXTS, frozen, rows=40, seed=0, log=quiet)
    another = [task for task in tasks if task.question in ANOTHER]
    about = [task for task in tasks if task.question in ABOUT]
    assert len(another) + len(about) == len(tasks) and len(another) > 5 and len(about) > 5
    assert all(task.background in TEXTS for task in tasks)
    assert all(task.answer in TEXTS and task.answer != task.background for task in another)
    assert tasks == make_tasks(TEXTS, frozen, rows=40, seed=0, log=quiet)
    assert tasks != make_tasks(TEXTS, frozen, rows=40, seed=1, log=quiet)


def test_another_text_is_one_of_the_nearest(frozen):
    texts = sorted(set(TEXTS))
    tasks = make_tasks(texts, frozen, rows=len(texts), seed=0, log=quiet)
    x = frozen.encoder.encode(texts)
    another = [task for task in tasks if task.question in ANOTHER]
    assert another
    for task in another:
        near = x @ x[texts.index(task.background)]
        rank = (near > near[texts.index(task.answer)] + 1e-6).sum()
        assert rank <= NEIGHBORS, task


def test_answers_do_not_depend_on_who_else_is_in_the_batch(frozen):
    texts, questions = ["corn0", "gold0 gold1 gold0 gold1"], ["ship0", "ship0 ship1 ship0"]
    together = answer(texts, questions, frozen)
    assert together == [answer([t], [q], frozen)[0] for t, q in zip(texts, questions, strict=True)]


def test_tasks_are_read_as_they_were_written(tmp_path, tasks):
    write_tasks(tasks, tmp_path / "tasks.parquet")
    assert pq.read_table(tmp_path / "tasks.parquet").column_names == list(Task._fields)
    assert read_tasks(str(tmp_path / "tasks.parquet")) == tasks


def test_a_table_without_answers_is_refused(tmp_path, tasks):
    file = tmp_path / "tasks.parquet"
    write_tasks(tasks, file)
    pq.write_table(pq.read_table(file).drop_columns(["answer"]), file)
    with pytest.raises(UserError, match="answer"):
        read_tasks(str(file))
    write_tasks([Task("corn0", "ship0", " ")], file)
    with pytest.raises(UserError, match="no row"):
        read_tasks(str(file))
