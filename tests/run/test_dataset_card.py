"""The card of a result says what the manifest says, in a front matter that the hub can read."""

from __future__ import annotations

import re

import pytest
import yaml
from handmade_run import build, changed
from huggingface_hub import DatasetCard

from smotext_ray.cli.main import main
from smotext_ray.config.load import load_config
from smotext_ray.config.stored import config_json
from smotext_ray.privacy.promise import Promise
from smotext_ray.run.card import _size, card_text
from smotext_ray.run.manifest import Manifest

pytestmark = pytest.mark.usefixtures("own_log")

REJECTED = {0: "wrong_class", 1: "truncated", 2: "wrong_class"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return build(tmp_path_factory.mktemp("card"), {"grain": 5}, rejected=REJECTED)


def table(text, title):
    """The rows of the first table of a section."""
    section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_the_hub_can_read_the_front_matter(run):
    card = DatasetCard(card_text(Manifest.read(run), "cc-by-4.0"))
    data = card.data.to_dict()
    assert data["license"] == "cc-by-4.0" and data["size_categories"] == "n<1K"
    assert data["task_categories"] == ["text-classification"] and "synthetic" in data["tags"]
    ((split,),) = [config["data_files"] for config in data["configs"]]
    assert split == {"split": "train", "path": "augmented.parquet"}
    assert run.has(split["path"])
    assert DatasetCard(card_text(Manifest.read(run))).data.license is None


def test_counts_before_and_after_and_reasons(run):
    text = card_text(Manifest.read(run))
    assert table(text, "Classes") == [["grain", "4", "5", "2", "6"], ["ship", "6", "0", "0", "6"]]
    assert "10 original rows of the corpus `corpus.parquet`, and 2 synthetic ones" in text
    assert "Of 5 points, 2 became accepted texts (40%), in 1 round." in text
    assert table(text, "Acceptance") == [
        ["wrong_class", "closer to another class", "2"],
        ["truncated", "truncated at decoder.max_tokens", "1"],
    ]


def test_the_columns_are_those_of_the_result(run):
    listed = table(card_text(Manifest.read(run)), "Columns")
    told = {name for names, _ in listed for name in names.split(", ")}
    assert told | {"page"} == set(run.table("augmented.parquet").schema.names)


def test_models_with_their_digests(run):
    manifest = Manifest.read(run)
    manifest.models["llm"] = {"name": "some-lab/an-llm", "sha256": ""}
    manifest.models["bridge"] = {"name": "/home/me/bridges/mine", "sha256": "abc"}
    assert table(card_text(manifest), "Models") == [
        ["encoder", "encoder", "0"],
        ["llm", "some-lab/an-llm", "as on the hub"],
        ["bridge", "mine", "abc"],
    ]


def test_the_settings_make_the_same_run(run, tmp_path):
    text = card_text(Manifest.read(run))
    assert "--text-column body --label-column topic" in text
    settings = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1]
    (tmp_path / "settings.yaml").write_text(settings)
    made = load_config(file=str(tmp_path / "settings.yaml")).model_dump()
    for section in ("gate", "plan", "neighbors", "decoder", "encoder", "bridge"):
        there = config_json(Manifest.read(run).config)[section]
        assert {key: made[section][key] for key in there} == there
    assert set(yaml.safe_load(settings)["gate"]) >= {"min_cosine", "cleaning"}


def test_nothing_tells_where_the_owner_keeps_things(run):
    manifest = Manifest.read(run)
    manifest.config = changed(
        manifest.config,
        input={"path": "s3://secret-bucket/private/tickets.csv"},
        decoder={"model": "/home/me/llm"},
    )
    text = card_text(manifest)
    assert "tickets.csv" in text and "model: llm" in text
    for word in ("secret-bucket", "/home/me", str(run.path)):
        assert word not in text


def test_a_run_without_epsilon_says_that_it_promises_nothing(run):
    text = card_text(Manifest.read(run))
    assert "not anonymous" in text and "original rows of the corpus" in text
    assert "epsilon" not in text


def test_a_run_with_epsilon_says_what_it_promises(run):
    manifest = Manifest.read(run)
    manifest.privacy = Promise(
        epsilon=8.0,
        delta=1e-5,
        unit="a record",
        mechanism="noise",
        sensitivity=1.0,
        clip_norm=0.5,
        dimensions=4,
        sigma=0.6,
        accountant="opendp",
        assumes="no record is in it twice",
        neighbors="replace",
        labels="protected",
        public_data="the models",
    )
    manifest.config = changed(manifest.config, privacy={"epsilon": 8.0, "delta": 1e-5})
    manifest.result.rows = manifest.result.synthetic = 2
    text = card_text(manifest)
    assert "Differentially private with epsilon 8 and delta 1e-05 for a record" in text
    assert "Labels: protected. Public: the models. Assumed: no record is in it twice." in text
    assert "not anonymous" not in text
    assert "No row of the corpus" in text and "released with noise" in text
    assert "rows before, noised" in text and "not of its rows" in text and "ledger" not in text
    assert table(text, "Classes")[0] == ["grain", "4", "5", "2", "2"]


@pytest.mark.parametrize(
    ("rows", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (12_345, "10K<n<100K"), (10**9, "100M<n<1B")],
)
def test_sizes_are_called_as_the_hub_calls_them(rows, name):
    assert _size(rows) == name


def command(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert (out + err).count("\n") == 1
    return code, out + err


def test_a_card_is_written_once_and_anew_on_request(tmp_path, capsys):
    run = build(tmp_path, {"grain": 2})
    card = tmp_path / "run" / "README.md"
    code, said = command(capsys, "card", run.uri, "--license", "mit")
    assert code == 0 and str(card) in said and f"smotext push {run.uri}" in said
    assert card.read_text() == card_text(Manifest.read(run), "mit")
    code, said = command(capsys, "card", run.uri)
    assert code == 2 and "--overwrite" in said
    assert command(capsys, "card", run.uri, "--overwrite")[0] == 0
    assert card.read_text() == card_text(Manifest.read(run))


@pytest.mark.parametrize("until", ["embed", "plan", "decode"])
def test_a_run_without_a_result_has_no_card(tmp_path, capsys, until):
    run = build(tmp_path, {"grain": 2}, until=until)
    code, said = command(capsys, "card", run.uri)
    assert code == 2 and "has no result yet" in said and not run.has("README.md")


def test_what_is_no_run_is_told(tmp_path, capsys):
    code, said = command(capsys, "card", tmp_path / "nothing")
    assert code == 2 and "There is no run in" in said
