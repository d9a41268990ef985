"""The bridge's command line, between tiny models: texts to tasks to a tuned bridge."""

from __future__ import annotations

import pytest
from tiny_training import TEXTS, tiny_config

from smotext_ray.cli.main import main
from smotext_ray.models.bridge_config import read_bridge_config
from smotext_ray.training.data import Task
from smotext_ray.training.tasks import read_tasks
from smotext_ray.utils.files import new_file

SIZES = ["--soft-tokens=3", "--projector-hidden-size=16", "--template=corn0 <xRAG>"]
SHORT = ["--steps=1", "--tokens-per-step=16", "--held-out=4", "--max-text-tokens=6"]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> list[str]:
    config = tiny_config(tmp_path_factory.mktemp("models"))
    return [f"--encoder={config.encoder}", f"--llm={config.llm}"]


@pytest.fixture
def texts(tmp_path) -> str:
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(TEXTS))
    return str(file)


def test_a_training_takes_its_sizes_from_the_bridge_it_goes_on_from(models, texts, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    start = ["train-bridge", f"--input={texts}", *models, *SHORT]
    assert main([*start, f"--output={one}", "--lora-rank=2", *SIZES]) == 0
    assert main([*start, f"--output={other}", f"--from={one}"]) == 0
    config = read_bridge_config(other)
    assert config == read_bridge_config(one)
    assert (config.soft_tokens, config.projector_hidden_size, config.lora_rank) == (3, 16, 2)


def test_a_decay_branches_off_with_the_settings_of_the_main_line(models, texts, tmp_path, capsys):
    main_line, branch = tmp_path / "main", tmp_path / "branch"
    start = ["train-bridge", f"--input={texts}", f"--held-out-file={texts}", *models]
    more = [*SHORT, *SIZES, "--lora-rank=2", "--decay-steps=0", "--lora-learning-rate=0.002"]
    assert main([*start, *more, f"--output={main_line}"]) == 0
    decay = [f"--from-state={main_line}", "--decay-steps=2"]
    assert main([*start, *decay, f"--output={branch}"]) == 0
    assert (branch / "decay_state.pt").exists() and not (main_line / "decay_state.pt").exists()
    assert read_bridge_config(branch) == read_bridge_config(main_line)
    assert main([*start, *decay, f"--output={main_line}", f"--from-state={tmp_path / 'no'}"]) == 2
    assert "no training state" in capsys.readouterr().err


def test_what_does_not_fit_the_bridge_it_goes_on_from_is_refused(models, texts, tmp_path, capsys):
    one = tmp_path / "one"
    start = ["train-bridge", f"--input={texts}", *models, *SHORT]
    assert main([*start, f"--output={one}", *SIZES]) == 0
    more = [f"--output={tmp_path / 'other'}", f"--from={one}", "--soft-tokens=4"]
    assert main([*start, *more]) == 2
    assert "has other models or sizes" in capsys.readouterr().err
    assert main([*start, f"--output={tmp_path / 'other'}", f"--from={tmp_path / 'no'}"]) == 2
    assert "There is no bridge" in capsys.readouterr().err


def test_texts_to_tasks_to_a_tuned_bridge(models, texts, tmp_path):
    tasks, tuned = tmp_path / "tasks.parquet", tmp_path / "tuned"
    assert main(["bridge", "tasks", f"--input={texts}", f"--output={tasks}", *models]) == 0
    assert {task.background for task in read_tasks(str(tasks))} <= set(TEXTS)
    start = ["train-bridge", "--stage=2", f"--input={tasks}", *models, *SHORT]
    assert main([*start, f"--output={tuned}"]) == 0
    assert (tuned / "bridge.safetensors").exists()


def test_outputs_are_checked_before_the_work(texts, tmp_path, capsys):
    """A directory that is not there is made; nothing is read before that."""
    (tmp_path / "there").mkdir()
    commands = [
        ["bridge", "tasks", f"--input={texts}", f"--output={tmp_path / 'there'}"],
        ["bridge", "points", f"--input={texts}", f"--output={tmp_path / 'there'}"],
        ["bridge", "eval", f"--input={texts}", f"--json={tmp_path / 'there'}"],
        ["bridge", "decode", str(texts), f"--output={tmp_path / 'there'}"],
        ["directions", f"--input={texts}", f"--output={tmp_path / 'there'}"],
    ]
    for command in commands:
        assert main(command) == 2, command
        assert "is a directory; name a file to write." in capsys.readouterr().err
    assert new_file(tmp_path / "a" / "b.parquet").parent.is_dir()


def test_tasks_need_texts_and_answers(models, texts, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("smotext_ray.training.tasks.make_tasks", lambda *_: [])
    start = ["bridge", "tasks", f"--input={texts}", f"--output={tmp_path / 'tasks'}", *models]
    assert main(start) == 2
    assert "The LLM gave no answer" in capsys.readouterr().err
    assert main([*start, "--rows=-5"]) == 2
    assert "--rows is -5; it must be at least 2." in capsys.readouterr().err
    assert not (tmp_path / "tasks").exists()


@pytest.mark.parametrize("lacking", Task._fields)
def test_stage_2_of_a_table_without_tasks_is_refused(models, texts, tmp_path, capsys, lacking):
    table = tmp_path / "tasks.jsonl"
    fields = ", ".join(f'"{name}": "corn0"' for name in Task._fields if name != lacking)
    table.write_text(f"{{{fields}}}\n")
    output = tmp_path / "tuned"
    start = ["train-bridge", "--stage=2", f"--input={table}", *models, *SHORT]
    assert main([*start, f"--output={output}"]) == 2
    error = capsys.readouterr().err
    assert lacking in error and error.count("\n") == 1
    assert not output.exists()


def test_a_stage_that_is_not_there_is_refused(texts, tmp_path, capsys):
    command = ["train-bridge", "--stage=4", f"--input={texts}", f"--output={tmp_path / 'b'}"]
    assert main(command) == 2
    assert "--stage" in capsys.readouterr().err
