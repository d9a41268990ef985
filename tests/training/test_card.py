"""The model card says what its sources say, in a front matter that the hub can read."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict, fields, replace

import pytest
from huggingface_hub import ModelCard

from smotext_ray.cli.main import main
from smotext_ray.config.load import load_config
from smotext_ray.errors import UserError
from smotext_ray.models.bridge_config import BridgeConfig
from smotext_ray.training.card import (
    FIGURES,
    card_text,
    read_evaluations,
    read_held_out,
    write_card,
)
from smotext_ray.training.evaluate import Evaluation, LengthBucket

CONFIG = BridgeConfig(
    encoder="some-lab/an-encoder",
    encoder_sha256="abc",
    encoder_dim=5,
    pooling="cls",
    normalize=False,
    max_length=99,
    llm="other-lab/an-llm",
    llm_sha256="def",
    llm_hidden_size=7,
    soft_tokens=3,
)
FOUND = Evaluation(
    rows=321,
    nll_none=5.111,
    nll_shuffled=6.222,
    nll_matched=3.333,
    cosine_greedy=0.614,
    cosine_shuffled=0.109,
    cosine_best_of_4=0.707,
    retrieval_at_1=0.711,
    class_agreement=0.756,
    verbatim_share=0.0,
    interpolated={"0.25": 0.584, "0.5": 0.553},
    by_length={"1 to 10": LengthBucket(3, 0.66, 0.7, 8.0, 7.5)},
)


@pytest.fixture
def directory(tmp_path):
    """A directory with a bridge's config, which is all that a card needs."""
    path = tmp_path / "bridge"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(asdict(CONFIG)))
    return path


@pytest.fixture
def refused(capsys):
    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        return err.removeprefix("smotext: error: ").rstrip("\n")

    return run


def evaluation_file(path, **changed):
    path.write_text(json.dumps(FOUND.as_json() | changed))
    return path


def rows(text, title):
    """The table under a title: first cell to the others."""
    section = text.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert len({len(line) for line in cells}) == 1
    assert cells[1] == ["---"] * len(cells[0])
    return {line[0]: line[1:] for line in (cells[0], *cells[2:])}


def front_matter(text):
    return ModelCard(text).data.to_dict()


# Front matter


def test_the_front_matter_names_library_tags_and_both_models():
    data = front_matter(card_text(CONFIG, {}))
    assert data["library_name"] == "smotext-ray"
    assert data["base_model"] == ["some-lab/an-encoder", "other-lab/an-llm"]
    assert data["base_model_relation"] == "adapter"
    assert {"smotext-ray", "xrag"} <= set(data["tags"]) and "lora" not in data["tags"]
    assert "license" not in data and "model-index" not in data


def test_lora_is_a_tag_and_a_row():
    text = card_text(replace(CONFIG, lora_rank=16), {})
    assert "lora" in front_matter(text)["tags"]
    assert "| LoRA rank on the LLM | 16 |" in text
    assert "LoRA" not in card_text(CONFIG, {})


def test_styles_are_named_if_there_are_any():
    said = "given the length, case and punctuation"
    assert said in card_text(replace(CONFIG, has_style=True), {})
    assert said not in card_text(CONFIG, {})


def test_a_license_is_named_if_given():
    assert front_matter(card_text(CONFIG, {}, license="mit"))["license"] == "mit"


def test_the_hubs_own_reader_finds_every_figure():
    unlabelled = replace(FOUND, class_agreement=None, nll_matched=2.00006)
    text = card_text(CONFIG, {"trec": FOUND, "a set, of texts": unlabelled})
    results = ModelCard(text).data.eval_results
    seen = {(result.dataset_name, result.metric_type): result.metric_value for result in results}
    expected = {("trec", figure): getattr(FOUND, figure) for figure in FIGURES}
    expected |= {("a set, of texts", figure): getattr(FOUND, figure) for figure in FIGURES}
    expected["a set, of texts", "nll_matched"] = 2.0001
    del expected["a set, of texts", "class_agreement"]
    assert seen == expected and len(results) == len(expected)
    assert {result.dataset_type for result in results} == {"trec", "a-set-of-texts"}
    assert {result.metric_name for result in results} == set(FIGURES.values())


def test_a_model_in_a_directory_is_no_base_model_and_its_path_is_not_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    for path in (str(tmp_path / "models" / "mine"), "models/mine", "./models/mine"):
        text = card_text(replace(CONFIG, encoder=path), {})
        assert front_matter(text)["base_model"] == ["other-lab/an-llm"]
        assert "models/mine" not in text and str(tmp_path) not in text
        assert "# Bridge: mine to an-llm" in text
    neither = front_matter(card_text(replace(CONFIG, encoder="./a", llm="/b"), {}))
    assert "base_model" not in neither and "base_model_relation" not in neither


# Text


def test_the_command_in_the_card_sets_what_the_bridge_was_trained_with():
    text = card_text(CONFIG, {})
    command = text.split("\n    smotext ")[1].split("\n\n")[0]
    words = shlex.split(command.replace("\\\n", " "))
    assert words[0] == "augment"
    config = load_config(overrides=[word for word in words if "=" in word])
    assert config.bridge.path == "USER/NAME"
    assert (config.encoder.model, config.encoder.pooling) == (CONFIG.encoder, "cls")
    assert (config.encoder.normalize, config.encoder.max_length) == (False, 99)
    assert config.decoder.model == CONFIG.llm


def test_the_config_is_described():
    text = card_text(CONFIG, {})
    for row in (
        "| encoder (5 dimensions) | some-lab/an-encoder |",
        "| encoder settings | cls pooling, not normalized, at most 99 tokens |",
        "| LLM (7 dimensions) | other-lab/an-llm |",
        "| soft tokens | 3 |",
    ):
        assert row in text.splitlines()


def test_a_template_is_shown_where_there_is_one():
    text = card_text(replace(CONFIG, template="Say:\n<xRAG>"), {})
    assert '\n\n    "Say:\\n<xRAG>"\n' in text
    assert "xRAG>" not in card_text(CONFIG, {})


def test_the_evaluation_is_a_column_a_set():
    other = replace(
        FOUND,
        rows=7,
        class_agreement=None,
        verbatim_share=0.25,
        interpolated={"0.5": 0.1},
        by_length={"11 to 25": LengthBucket(1, 0.41, 0.0, 20.0, 11.0)} | FOUND.by_length,
    )
    table = rows(card_text(CONFIG, {"trec": FOUND, "a|b": other}), "Evaluation")
    assert table[""] == ["trec", r"a\|b"]
    assert table["texts"] == ["321", "7"]
    assert table["loss with the text's own embedding"] == ["3.33", "3.33"]
    assert table["loss with another text's embedding"] == ["6.22", "6.22"]
    assert table["loss without an embedding"] == ["5.11", "5.11"]
    assert table["cosine of the decoded text to its source"] == ["0.61", "0.61"]
    assert table["cosine of the decoded text to another source"] == ["0.11", "0.11"]
    assert table["cosine of the closest of four sampled texts"] == ["0.71", "0.71"]
    assert table["source retrieved among all texts"] == ["71%", "71%"]
    assert table["class kept"] == ["76%", "no labels"]
    assert table["equal to one of the texts"] == ["0%", "25%"]
    assert table["cosine to the point, interpolated at lam 0.25"] == ["0.58", ""]
    assert table["cosine to the point, interpolated at lam 0.5"] == ["0.55", "0.10"]
    assert table["cosine of the decoded text, sources of 1 to 10 words"] == ["0.66", "0.66"]
    assert table["cosine of the decoded text, sources of 11 to 25 words"] == ["", "0.41"]
    assert len(table) == 15


def test_no_figure_of_an_evaluation_is_left_out():
    named = {*FIGURES, "rows", "interpolated", "by_length"}
    assert named == {field.name for field in fields(Evaluation)}


def test_without_figures_there_is_no_empty_table():
    text = card_text(CONFIG, {})
    assert "## Evaluation" not in text and "## Held-out loss" not in text


# Held-out loss


def metrics_line(step, matched=None):
    line = {"step": step, "loss": 4.0, "lr": 0.1}
    if matched is not None:
        line |= {"held_out_matched": matched, "held_out_shuffled": 6.0, "held_out_none": 5.0}
    return json.dumps(line) + "\n"


def test_held_out_losses_come_from_the_training_and_its_best_step_is_named(directory):
    lines = [metrics_line(1), metrics_line(250, 3.5), metrics_line(500, 3.125)]
    lines += [metrics_line(501), metrics_line(750, 3.25), '{"step": 751, "held_out_mat']
    (directory / "metrics.jsonl").write_text("".join(lines))
    text = write_card(directory).read_text()
    table = rows(text, "Held-out loss")
    assert table == {
        "step": ["own embedding", "another text's", "none"],
        "250": ["3.50", "6.00", "5.00"],
        "500": ["3.12", "6.00", "5.00"],
        "750": ["3.25", "6.00", "5.00"],
    }
    assert "The bridge is from step 500." in " ".join(text.split())


def test_of_a_long_training_first_best_last_and_a_few_between_are_shown(directory):
    losses = {step: 4 - step / 1000 for step in range(10, 1010, 10)} | {130: 0.5}
    text = "".join(metrics_line(step, loss) for step, loss in losses.items())
    (directory / "metrics.jsonl").write_text(text)
    table = rows(write_card(directory).read_text(), "Held-out loss")
    assert {"10", "130", "1000"} < set(table) and len(table) <= 8
    assert table["130"][0] == "0.50"


@pytest.mark.parametrize("content", ["", metrics_line(1), "\n", "[]\n"])
def test_metrics_without_a_held_out_loss_give_no_table(directory, content):
    (directory / "metrics.jsonl").write_text(content)
    assert read_held_out(directory) == []
    assert "Held-out" not in write_card(directory).read_text()


# Files of figures


def test_a_set_is_named_as_its_file(tmp_path):
    files = [evaluation_file(tmp_path / f"{name}.json") for name in ("subj", "trec.6")]
    evaluation_file(files[1], class_agreement=None, later="figure")
    assert read_evaluations(files) == {
        "subj": FOUND,
        "trec.6": replace(FOUND, class_agreement=None),
    }


@pytest.mark.parametrize("key", FOUND.as_json())
def test_a_figure_that_is_missing_is_named(tmp_path, key):
    file = evaluation_file(tmp_path / "set.json")
    file.write_text(json.dumps({k: v for k, v in FOUND.as_json().items() if k != key}))
    with pytest.raises(UserError, match=rf"set\.json is not an evaluation \({key} is missing\)"):
        read_evaluations([file])


@pytest.mark.parametrize(
    "wrong",
    [
        {"nll_matched": None},
        {"cosine_greedy": "0.5"},
        {"verbatim_share": True},
        {"nll_none": float("nan")},
        {"interpolated": 0.5},
        {"interpolated": {"0.5": None}},
        {"class_agreement": []},
        {"by_length": {"1 to 10": {"rows": 3}}},
        {"by_length": {"1 to 10": 0.5}},
    ],
    ids=str,
)
def test_a_figure_that_is_no_number_is_refused(tmp_path, wrong):
    file = evaluation_file(tmp_path / "set.json", **wrong)
    with pytest.raises(UserError, match=rf"is not an evaluation \({next(iter(wrong))} is "):
        read_evaluations([file])


@pytest.mark.parametrize("content", ["{", "", "\x00", "null", "[]", "3"])
def test_what_is_no_evaluation_is_refused_in_one_sentence(tmp_path, content):
    (tmp_path / "set.json").write_text(content)
    with pytest.raises(UserError, match=r"set\.json .*give a file that smotext bridge eval"):
        read_evaluations([tmp_path / "set.json"])


def test_two_sets_of_one_name_are_refused(tmp_path):
    (tmp_path / "other").mkdir()
    files = [evaluation_file(tmp_path / name) for name in ("set.json", "other/set.json")]
    with pytest.raises(UserError, match="Two of the files are named set"):
        read_evaluations(files)


# The command


def test_the_command_writes_the_card(directory, tmp_path, capsys):
    files = [evaluation_file(tmp_path / f"{name}.json") for name in ("trec", "subj")]
    arguments = ["bridge", "card", "--bridge", directory, "--license", "mit", "--eval", *files]
    assert main([str(argument) for argument in arguments]) == 0
    written = (directory / "README.md").read_text()
    assert written == card_text(CONFIG, {"trec": FOUND, "subj": FOUND}, license="mit")
    assert f"smotext bridge push USER/NAME --bridge {directory}" in capsys.readouterr().out
    assert {path.name for path in directory.iterdir()} == {"config.json", "README.md"}


def test_a_card_that_is_there_is_kept_unless_told(directory, tmp_path, refused):
    (directory / "README.md").write_text("my own words")
    arguments = ["bridge", "card", "--bridge", directory, "--eval"]
    arguments.append(evaluation_file(tmp_path / "set.json"))
    assert "--overwrite" in refused(*arguments)
    assert (directory / "README.md").read_text() == "my own words"
    assert main([str(argument) for argument in [*arguments, "--overwrite"]]) == 0
    assert (directory / "README.md").read_text() == card_text(CONFIG, {"set": FOUND})


def test_the_command_refuses_what_is_no_bridge_or_no_evaluation(directory, tmp_path, refused):
    figures = evaluation_file(tmp_path / "set.json")
    nothing = tmp_path / "nothing"
    told = refused("bridge", "card", "--bridge", nothing, "--eval", figures)
    assert told == f"There is no bridge in {nothing} (config.json is missing)."
    told = refused("bridge", "card", "--bridge", directory, "--eval", nothing)
    assert told.startswith(f"{nothing} cannot be read (No such file")
    assert not (directory / "README.md").exists() and not nothing.exists()
