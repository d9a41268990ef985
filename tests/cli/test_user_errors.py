"""What the user gets wrong is one sentence and exit code 2."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_run import build
from two_class_csv import ROWS, csv

from smotext_ray.cli import main as cli_main
from smotext_ray.cluster import session
from smotext_ray.cluster.session import Cluster
from smotext_ray.run.directory import MANIFEST

pytestmark = pytest.mark.usefixtures("own_log", "no_ray")


# The corpus


def refused_corpus(refused, path, output, *more):
    """The sentence, which the dry run gives too; nothing is made."""
    before = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    command = ("augment", "--input", path, "--output", output, *more)
    sentence = refused(*command)
    assert refused(*command, "--dry-run") == sentence
    assert not output.exists()
    assert (sorted(path.parent.iterdir()) if path.parent.is_dir() else []) == before
    return sentence


def test_the_file_is_missing(refused, tmp_path, output):
    assert "does not exist" in refused_corpus(refused, tmp_path / "no.csv", output)
    assert "does not exist" in refused_corpus(refused, tmp_path / "no" / "*.csv", output)


@pytest.mark.parametrize("content", ["", "text,label\n"], ids=["no bytes", "no rows"])
def test_the_file_is_empty(refused, tmp_path, output, content):
    path = tmp_path / "empty.csv"
    path.write_text(content)
    assert str(path) in refused_corpus(refused, path, output)


def test_the_directory_is_empty(refused, tmp_path, output):
    (tmp_path / "in" / "empty").mkdir(parents=True)
    refused_corpus(refused, tmp_path / "in" / "empty", output)


def test_the_file_cannot_be_read(refused, tmp_path, output):
    path = csv(tmp_path / "corpus.csv")
    path.chmod(0)
    try:
        path.read_bytes()
    except PermissionError:
        assert str(path) in refused_corpus(refused, path, output)
    else:
        pytest.skip("this user may read every file")


@pytest.mark.parametrize("name", ["c.parquet", "c.jsonl", "c.csv.gz", "c.csv"])
def test_the_file_is_corrupt(refused, tmp_path, output, name):
    path = tmp_path / name
    path.write_bytes(b'\x00\xff\xfe"{not a table\n\x00\n' * 3)
    assert str(path) in refused_corpus(refused, path, output)


def test_a_parquet_file_is_cut_off(refused, tmp_path, output):
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"text": ["a", "b"] * 500, "label": ["x", "y"] * 500}), path)
    path.write_bytes(path.read_bytes()[:-100])
    assert str(path) in refused_corpus(refused, path, output)


def test_a_column_is_missing(refused, tmp_path, output):
    path = csv(tmp_path / "corpus.csv", header="body,topic")
    sentence = refused_corpus(refused, path, output)
    assert "text" in sentence and "body" in sentence and "topic" in sentence
    sentence = refused_corpus(refused, path, output, "--text-column", "body")
    assert "label" in sentence and "topic" in sentence
    sentence = refused_corpus(
        refused,
        path,
        output,
        *("--text-column", "body", "--label-column", "topic"),
        *("--id-column", "number"),
    )
    assert "number" in sentence


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": None, "label": "a"}, "text is null"),
        ({"text": "  \n", "label": "a"}, "text is empty"),
        ({"text": 17, "label": "a"}, "text is not a string"),
        ({"text": "some words", "label": None}, "label is null"),
    ],
)
def test_a_row_is_bad(refused, printed, tmp_path, output, row, reason):
    path = tmp_path / "corpus.jsonl"
    good = [{"text": f"words {i}", "label": "ab"[i % 2]} for i in range(5)]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*good, row]))
    sentence = refused_corpus(refused, path, output)
    assert reason in sentence and "5" in sentence and "--on-bad-row skip" in sentence
    code, out = printed("augment", "--input", path, "--on-bad-row", "skip", "--dry-run")
    assert code == 0 and f"1 rows whose {reason}" in out


def test_one_class_only(refused, tmp_path, output):
    path = csv(tmp_path / "corpus.csv", rows=[("one", "ship"), ("two", "ship")])
    assert "'ship'" in refused_corpus(refused, path, output)


# The strategy and the settings


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ('{"corn": 9}', "corn"),
        ('{"ship": 1}', "already has 3"),
        ('{"ship": "many"}', "'many'"),
        ('{"ship": 3.5}', "3.5"),
        ("{ship: 3}", "is not JSON"),
        ('{"ship": 3', "is not JSON"),
        ("[1, 2]", "Unknown sampling strategy '[1, 2]'"),
        ("true", "Unknown sampling strategy 'true'"),
        ("null", "Unknown sampling strategy 'null'"),
        ("most", "'most'"),
        ("1.5", "1.5"),
        ("-1", "-1"),
    ],
)
def test_a_strategy_does_not_fit(refused, corpus, output, strategy, told):
    sentence = refused_corpus(refused, corpus, output, f"--sampling-strategy={strategy}")
    assert told in sentence


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--preset", "offlin"], "Did you mean 'offline'"),
        (["decoder.max_token=3"], "Did you mean 'max_tokens'"),
        (["decode.max_tokens=3"], "Did you mean 'decoder'"),
        (["max_tokens=3"], "max_tokens"),
        (["decoder.max_tokens"], "section.key=value"),
        (["decoder.max_tokens=many"], "decoder.max_tokens"),
        (["decoder.max_tokens=0"], "decoder.max_tokens"),
        (["decoder.max_tokens=[1"], "not YAML"),
        (["--k-neighbors", "0"], "neighbors.k_neighbors"),
        (["--seed", "-1"], "plan.seed"),
        (["--max-rounds", "0"], "plan.max_rounds"),
        (["--seed", "x"], "--seed"),
        (["--on-bad-row", "maybe"], "maybe"),
        (["--config", "/no/such.yaml"], "/no/such.yaml"),
        (["--bogus"], "--bogus"),
    ],
)
def test_a_setting_does_not_fit(refused, corpus, output, more, told):
    assert told in refused_corpus(refused, corpus, output, *more)


@pytest.mark.parametrize("content", ["- 1\n- 2\n", "decoder: [", "decoder: 3\n", "\x00"])
def test_a_config_file_does_not_fit(refused, corpus, output, tmp_path, content):
    file = tmp_path / "run.yaml"
    file.write_text(content)
    refused_corpus(refused, corpus, output, "--config", file)


@pytest.mark.parametrize(
    "arguments", [[], ["frobnicate"], ["augment", "--input"], ["show"], ["status"], ["--bogus"]]
)
def test_usage(refused, arguments):
    assert "--help" in refused(*arguments)


def test_an_option_may_stand_between_overrides():
    command = ["augment", "plan.seed=3", "--input", "a.csv", "gate.min_words=2", "gate.max_words=9"]
    options = cli_main._options(command)
    assert options.overrides == ["plan.seed=3", "gate.min_words=2", "gate.max_words=9"]
    assert options.input == "a.csv"


def test_input_and_output_have_to_be_named(refused, corpus, output):
    assert "--input" in refused("augment", "--output", output)
    assert "--output" in refused("augment", "--input", corpus)
    assert "--output" in refused("embed", "--input", corpus)
    assert not output.exists()


# The output


def test_the_output_holds_another_run(refused, tmp_path):
    build(tmp_path, {"grain": 2})
    before = (tmp_path / "run" / MANIFEST).read_bytes()
    command = ("augment", "--input", tmp_path / "corpus.parquet", "--output", tmp_path / "run")
    columns = ("--text-column", "body", "--label-column", "topic")
    sentence = refused(*command, *columns, "--seed", "4")
    assert "was started with other settings: plan.seed is 0 there, but 4 here" in sentence
    other = csv(tmp_path / "other.csv")
    sentence = refused("augment", "--input", other, "--output", tmp_path / "run", *columns)
    assert "input.path" in sentence
    assert (tmp_path / "run" / MANIFEST).read_bytes() == before


def test_the_output_holds_something_else(refused, corpus, output):
    output.mkdir()
    (output / "letter.txt").write_text("dear")
    assert "has files but no run" in refused("augment", "--input", corpus, "--output", output)
    assert [path.name for path in output.iterdir()] == ["letter.txt"]


def test_the_output_is_a_file(refused, corpus):
    assert "is a file" in refused("augment", "--input", corpus, "--output", corpus)
    assert corpus.read_text().startswith("text,label")


# The cluster


@pytest.mark.parametrize(
    ("there", "more", "told"),
    [
        (Cluster(6, 0, 8), ["resources.encoder_actors=9"], "encoder_actors is 9"),
        (Cluster(1, 0, 8), [], "has 1 CPUs"),
        (Cluster(6, 0, 0.5), [], "0.5 GiB"),
    ],
)
def test_the_cluster_is_too_small(refused, corpus, output, monkeypatch, there, more, told):
    monkeypatch.setattr(session, "connect", lambda *_: there)
    assert told in refused("augment", "--input", corpus, "--output", output, *more)


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_class_of_one_row(refused, tmp_path, output, more):
    singleton = csv(tmp_path / "singleton.csv", ROWS[1:])
    sentence = refused("augment", "--input", singleton, "--output", output, *more)
    assert "Class 'grain' has only one distinct text" in sentence
