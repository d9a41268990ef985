"""A training is killed, resumed, prolonged and branched off, and learns as if it had not been."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_training import TEXTS, curve, last_state, metrics, quiet

from smotext_ray.errors import UserError
from smotext_ray.training.config import TrainConfig
from smotext_ray.training.state import STATE_FILE, branch_off, settings_of
from smotext_ray.training.train import train


class Killed(Exception):
    pass


def killed_at(step: int):
    def log(line: str) -> None:
        if line.startswith(f"step {step} "):
            raise Killed

    return log


@pytest.mark.parametrize(("step", "minutes"), [(10, 1e9), (30, 0), (40, 0)])
def test_a_killed_training_ends_as_an_uninterrupted_one(trained, config, tmp_path, step, minutes):
    config = replace(config, save_minutes=minutes)  # killed before any checkpoint, and at one
    with pytest.raises(Killed):
        train(TEXTS, config, tmp_path, log=killed_at(step))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": ')  # the line that the kill cut short
    first = []
    bridge = train(TEXTS, config, tmp_path, log=first.append)
    assert first[0].startswith(f"step {10 if minutes else step + 10} ")
    assert_same(bridge, tmp_path, trained)


def test_steps_since_the_last_checkpoint_are_taken_again(trained, config, tmp_path):
    train(TEXTS, replace(config, steps=25), tmp_path, log=quiet)
    config = replace(config, save_minutes=1e9)
    with pytest.raises(Killed):
        train(TEXTS, config, tmp_path, log=killed_at(40))
    assert last_state(tmp_path)["step"] == 25
    train(TEXTS, config, tmp_path, log=quiet)
    assert_same_state(tmp_path, trained[1])
    assert curve(tmp_path) == curve(trained[1])


@pytest.mark.parametrize("moment", ["while", "between", "after"])
def test_a_kill_or_damage_at_a_checkpoint_costs_only_the_steps_since_the_one_before(
    trained, config, tmp_path, monkeypatch, moment
):
    """While it is written; between the two renames; and a file that the disk has lost."""

    def die(state, file):
        file.write(b"half")
        raise Killed

    with pytest.raises(Killed):
        train(TEXTS, config, tmp_path, log=killed_at(20))
    state = tmp_path / "training_state.pt"
    if moment == "while":
        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(torch, "save", die)
            train(TEXTS, config, tmp_path, log=quiet)
        assert last_state(tmp_path)["step"] == 20
    elif moment == "between":
        state.unlink()
    else:
        state.write_bytes(state.read_bytes()[:-1000])
    first = []
    bridge = train(TEXTS, config, tmp_path, log=first.append)
    assert first[0].startswith("step 30 " if moment == "while" else "step 20 ")
    assert_same(bridge, tmp_path, trained)


def test_a_state_that_cannot_be_read_is_no_reason_to_begin_again(config, tmp_path):
    (tmp_path / "training_state.pt").write_bytes(b"half")
    with pytest.raises(UserError, match="cannot be read"):
        train(TEXTS, config, tmp_path, log=quiet)


def test_a_state_is_read_to_the_cpu(trained, config, monkeypatch):
    """A training that began on a GPU resumes where there is none."""
    seen, plain = [], torch.load

    def load(*args, **options):
        seen.append((options["map_location"], options["weights_only"]))
        return plain(*args, **options)

    monkeypatch.setattr(torch, "load", load)
    train(TEXTS, config, trained[1], log=quiet)
    assert set(seen) == {("cpu", True)}


def assert_same(bridge, output, trained):
    """Bit by bit: the best bridge, the last one with its optimizer, and every figure."""
    assert_same_state(output, trained[1])
    for name, tensor in trained[0].state_dict().items():
        assert torch.equal(bridge.state_dict()[name], tensor), name
    assert metrics(output) == metrics(trained[1])
    weights = "bridge.safetensors"
    assert (output / weights).read_bytes() == (trained[1] / weights).read_bytes()


def assert_same_state(output, reference):
    one, other = last_state(output), last_state(reference)
    for kind in ("learned", "average"):
        for name, tensor in other[kind].items():
            assert torch.equal(one[kind][name], tensor), (kind, name)
    for number, moments in other["optimizer"]["state"].items():
        for name, tensor in moments.items():
            assert torch.equal(one["optimizer"]["state"][number][name], tensor), (number, name)
    for name in ("step", "best", "typical_norm", "held_out_none", "warmup_steps"):
        assert one[name] == other[name], name


def test_of_a_finished_training_nothing_is_repeated(trained, config):
    lines = []
    bridge = train(TEXTS, config, trained[1], log=lines.append)
    assert lines == []
    assert_same(bridge, trained[1], trained)


@pytest.mark.parametrize("change", [{"seed": 1}, {"tokens_per_step": 33}, {"soft_tokens": 1}])
def test_a_directory_with_another_training_is_refused(trained, config, change):
    before = (trained[1] / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match=r"other (settings|models)"):
        train(TEXTS, replace(config, **change), trained[1], log=quiet)
    assert (trained[1] / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("texts", [TEXTS[1:], [*TEXTS[:-1], "corn0"], TEXTS[::-1]])
def test_a_training_is_not_resumed_with_other_texts(trained, config, texts):
    with pytest.raises(UserError, match="with other texts"):
        train(texts, config, trained[1], log=quiet)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"held_out": 1}, "held_out is 1; it must be at least 2"),
        ({"tokens_per_step": 0}, "tokens_per_step is 0; it must be at least 1"),
        ({"batch_tokens": -1}, "batch_tokens is -1"),
        ({"decay_steps": -1}, "decay_steps is -1; it must be at least 0"),
        ({"eval_every": 0}, "eval_every is 0"),
        ({"lora_rank": -1}, "lora_rank is -1; it must be at least 0"),
        ({"stage": 4}, "stage is 4"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        TrainConfig(**change)


@pytest.mark.parametrize("batch_tokens", [8, 1000])
def test_a_step_learns_the_same_in_batches_of_any_size(trained, config, tmp_path, batch_tokens):
    """So a training is resumed on another machine with what fits that one."""
    train(TEXTS, replace(config, steps=30), tmp_path, log=quiet)
    train(TEXTS, replace(config, batch_tokens=batch_tokens), tmp_path, log=quiet)
    ours, theirs = np.array(curve(tmp_path)), np.array(curve(trained[1]))
    assert np.array_equal(ours[:30], theirs[:30])
    # The sums are rounded differently, which a training makes more of with each step.
    np.testing.assert_allclose(ours[30:34], theirs[30:34], rtol=1e-3)
    np.testing.assert_allclose(ours, theirs, rtol=0.05)


def test_a_training_is_prolonged_exactly(trained, config, tmp_path):
    """At other rates and intervals too: none of them is part of what a training is."""
    train(TEXTS, replace(config, steps=20, warmup_steps=5, decay_steps=4), tmp_path, log=quiet)
    assert last_state(tmp_path, "decay_state.pt")["step"] == 24
    train(TEXTS, replace(config, steps=50, eval_every=7), tmp_path, log=quiet)
    bridge = train(TEXTS, replace(config, eval_every=60), tmp_path, log=quiet)
    assert curve(tmp_path)[:20] != [] and curve(tmp_path, "step") == list(range(1, 61))
    one, other = last_state(tmp_path)["learned"], last_state(trained[1])["learned"]
    # A warm-up is a tenth of the steps at most: of the first 20 it took 2, not 5.
    assert one.keys() == other.keys() and last_state(tmp_path)["warmup_steps"] == 2
    assert bridge.config == trained[0].config


def test_prolonged_a_training_is_as_if_it_had_been_longer_from_the_start(trained, config, tmp_path):
    train(TEXTS, replace(config, steps=50), tmp_path, log=quiet)
    train(TEXTS, config, tmp_path, log=quiet)
    assert curve(tmp_path) == curve(trained[1])
    one, other = last_state(tmp_path)["learned"], last_state(trained[1])["learned"]
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_decay_branches_off_and_the_main_line_stays(trained, config, tmp_path):
    decayed = replace(config, decay_steps=20)
    with pytest.raises(Killed):
        train(TEXTS, decayed, tmp_path / "killed", log=killed_at(70))
    for output in ("killed", "whole"):
        train(TEXTS, decayed, tmp_path / output, log=quiet)
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")
    for output in ("killed", "whole"):
        assert_same_state(tmp_path / output, trained[1])
        assert last_state(tmp_path / output, "decay_state.pt")["step"] == 80
    lines = metrics(tmp_path / "whole")
    assert lines[:59] == metrics(trained[1])[:59]
    rates = [line["lr"] for line in lines[60:]]
    assert rates[0] == 1e-2 and rates == sorted(rates, reverse=True) and rates[-1] < 5e-4
    again = []
    train(TEXTS, decayed, tmp_path / "whole", log=again.append)
    assert again == []


def test_a_decay_is_started_on_a_copy_of_a_running_training(trained, config, tmp_path):
    given = settings_of(trained[1])
    assert given["steps"] == 60 and given["tokens_per_step"] == 32
    assert given["learning_rate"] == 1e-2 and "lora_learning_rate" not in given
    models = {"encoder": config.encoder, "llm": config.llm}
    branch = TrainConfig(**given | models | {"decay_steps": 10, "eval_every": 30})
    branch_off(trained[1], tmp_path)
    state = last_state(tmp_path)
    torch.save(state | {"best": 0.0}, tmp_path / "training_state.pt")  # as no branch will reach
    before = {file.name: file.read_bytes() for file in trained[1].glob("*.*")}
    assert train(TEXTS, branch, tmp_path, log=quiet).config == trained[0].config
    assert curve(tmp_path, "step") == list(range(1, 71))
    assert curve(tmp_path)[:60] == curve(trained[1])
    assert {file.name: file.read_bytes() for file in trained[1].glob("*.*")} == before
    with pytest.raises(UserError, match="no training state"):
        settings_of(tmp_path / "none")


def test_a_branch_has_the_rates_of_the_main_line(config, tmp_path):
    two = replace(config, lora_rank=2, learning_rate=3e-3, lora_learning_rate=1e-3, steps=1)
    train(TEXTS, two, tmp_path, log=quiet)
    given = settings_of(tmp_path)
    assert (given["learning_rate"], given["lora_learning_rate"]) == (3e-3, 1e-3)


def test_a_state_from_when_there_were_instructions(trained, tmp_path):
    state = torch.load(trained[1] / STATE_FILE, weights_only=True)
    for was_on in (False, True):
        state["identity"]["settings"]["instructions"] = was_on
        torch.save(state, tmp_path / STATE_FILE)
        if was_on:
            with pytest.raises(UserError, match="finish it with smotext-ray of commit"):
                settings_of(tmp_path)
        else:
            assert settings_of(tmp_path) == settings_of(trained[1])
