"""Rows with several labels each, in all the ways in which an input writes them."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value
from pyarrow import fs
from surveyed import refused

from smotext_ray.config.load import load_config
from smotext_ray.config.schema import InputConfig
from smotext_ray.config.stored import config_json
from smotext_ray.corpus.staging import original_columns, sampled_columns, stage_corpus
from smotext_ray.corpus.survey import survey_corpus
from smotext_ray.errors import UserError

TEXTS = ["about one", "about two", "about three", "about four"]
SETS = [["ship", "grain"], [], ["grain"], ["ship"]]
COUNTS = {"grain": 2, "ship": 2}
BEYOND_64_BITS = pa.array([[2**63], [1], [], []], pa.list_(pa.uint64()))


def parquet(path, **columns):
    pq.write_table(pa.table({"text": TEXTS, **columns}), path)
    return path


def jsonl(path, labels):
    rows = [{"text": text, "label": each} for text, each in zip(TEXTS, labels, strict=False)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def staged_and_back(config, tmp_path):
    """The staged labels, the original rows, and what new rows with the same labels hold."""
    survey = survey_corpus(config)
    local, home = fs.LocalFileSystem(), str(tmp_path / "corpus")
    stage_corpus(config, survey, local, home)
    staged = pq.read_table(home)
    back = original_columns(staged, config, survey.schema, survey.categories)
    samples = pa.table({"text": staged["text"], "labels": staged["label"]})
    new = sampled_columns(samples, config, survey.schema, survey.categories)
    return survey, staged["label"].to_pylist(), back, new


def written_as(kind, tmp_path):
    """The same four rows in one of the ways, as settings of the input."""
    if kind == "list":
        return InputConfig(path=str(parquet(tmp_path / "c.parquet", label=SETS)))
    if kind == "large list":
        sets = pa.array(SETS, pa.large_list(pa.dictionary(pa.int32(), pa.string())))
        return InputConfig(path=str(parquet(tmp_path / "c.parquet", label=sets)))
    if kind == "jsonl":
        return InputConfig(path=str(jsonl(tmp_path / "c.jsonl", SETS)))
    if kind == "joined":
        joined = [";".join(labels) for labels in SETS]
        path = parquet(tmp_path / "c.parquet", label=joined)
        return InputConfig(path=str(path), label_delimiter=";")
    if kind == "joined csv":
        path = tmp_path / "c.csv"
        lines = [f"{text},{'; '.join(each)}" for text, each in zip(TEXTS, SETS, strict=True)]
        path.write_text("\n".join(["text,label", *lines]) + "\n")
        return InputConfig(path=str(path), label_delimiter=";")
    # Their own order decides where a row has no order of its own.
    order = ("ship", "grain")
    columns = {name: [int(name in labels) for labels in SETS] for name in order}
    if kind == "columns":
        path = parquet(tmp_path / "c.parquet", **columns)
    elif kind == "bool columns":
        truths = {name: [bool(one) for one in ones] for name, ones in columns.items()}
        path = parquet(tmp_path / "c.parquet", **truths)
    else:
        path = tmp_path / "c.csv"
        lines = [f"{text},{s},{g}" for text, s, g in zip(TEXTS, *columns.values(), strict=True)]
        path.write_text("\n".join(["text,ship,grain", *lines]) + "\n")
    return InputConfig(path=str(path), label_columns=order)


WAYS = [
    *("list", "large list", "jsonl", "joined", "joined csv"),
    *("columns", "bool columns", "csv columns"),
]


@pytest.mark.parametrize("kind", WAYS)
def test_every_way_gives_the_same_labels_and_comes_back(tmp_path, kind):
    config = written_as(kind, tmp_path)
    survey, labels, back, new = staged_and_back(config, tmp_path)
    assert survey.is_multilabel and survey.class_counts == COUNTS and survey.rows == 4
    assert labels == SETS
    source = survey.schema
    assert back.schema.equals(source) and new.schema.equals(source)
    if kind == "joined csv":  # a synthetic row is joined by the delimiter alone
        assert back["label"].to_pylist() == ["ship; grain", None, "grain", "ship"]
        assert new["label"].to_pylist() == ["ship;grain", "", "grain", "ship"]
    else:
        assert new.equals(back)


def test_original_lists_stay_as_they_are(tmp_path):
    """Repeats and their order: the label is counted once, the row comes back as it was."""
    given = [["b", "a", "b"], ["a"], ["a", "a"], []]
    config = InputConfig(path=str(parquet(tmp_path / "c.parquet", label=given)))
    survey, labels, back, _ = staged_and_back(config, tmp_path)
    assert survey.class_counts == {"a": 3, "b": 1}
    assert labels == [["b", "a"], ["a"], ["a"], []]
    assert back["label"].to_pylist() == given


def test_integers_and_their_names(tmp_path):
    features = Features(
        {"text": Value("string"), "label": Sequence(ClassLabel(names=["grain", "ship"]))}
    )
    data = Dataset.from_dict({"text": TEXTS, "label": [[1, 0], [], [0], [1]]}, features=features)
    data.to_parquet(tmp_path / "c.parquet")
    config = InputConfig(path=str(tmp_path / "c.parquet"))
    survey, labels, back, new = staged_and_back(config, tmp_path)
    assert survey.class_counts == {0: 2, 1: 2} and labels == [[1, 0], [], [0], [1]]
    assert survey.class_names == {0: "grain", 1: "ship"}
    assert new.equals(back) and new["label"].to_pylist() == data["label"][:]


def test_json_lines_whose_first_block_has_no_label(tmp_path, monkeypatch):
    monkeypatch.setattr("smotext_ray.corpus.blocks.BLOCK_ROWS", 1)
    path = jsonl(tmp_path / "c.jsonl", [[], ["a"], ["a", "b"], []])
    survey, labels, _, _ = staged_and_back(InputConfig(path=str(path)), tmp_path)
    assert labels == [[], ["a"], ["a", "b"], []] and survey.class_counts == {"a": 2, "b": 1}


def test_missing_labels_are_bad_rows(tmp_path):
    given = [["a", None], None, ["a", "b"], ["a", " "]]
    path = parquet(tmp_path / "c.parquet", label=given)
    message = refused(InputConfig(path=str(path)))
    assert "label is null in 2 (id 0, 1)" in message and "label is empty in 1 (id 3)" in message
    found = survey_corpus(InputConfig(path=str(path), on_bad_row="skip"))
    assert found.rows == 1 and found.class_counts == {"a": 1, "b": 1}
    columns = {"a": [1, None, 0, 1], "b": [0, 1, 1, 0]}
    path = parquet(tmp_path / "d.parquet", **columns)
    config = InputConfig(path=str(path), label_columns=("a", "b"))
    assert "label is null in 1 (id 1)" in refused(config)


@pytest.mark.parametrize(
    ("columns", "settings", "said"),
    [
        ({"label": [[["a"]], [["b"]], [], []]}, {}, "must be a list of strings or integers"),
        ({"label": [[0.5], [1.5], [], []]}, {}, "must be a list of strings or integers"),
        ({"label": BEYOND_64_BITS}, {}, "integers beyond 64 bits"),
        ({"label": [[], [], [], []]}, {}, "have no label; use a corpus with at least two labels"),
        ({"label": [["a"], [], ["a"], []]}, {}, "have only the label 'a'"),
        ({"label": [1, 2, 3, 4]}, {"label_delimiter": ";"}, "splits strings; leave it out"),
        ({"a": [0, 1, 2, 0], "b": [1] * 4}, {"label_columns": ("a", "b")}, "'a' of"),
        ({"a": ["x"] * 4, "b": [1] * 4}, {"label_columns": ("a", "b")}, "other than 0 and 1"),
        ({"a": [0.5] * 4, "b": [1] * 4}, {"label_columns": ("a", "b")}, "other than 0 and 1"),
        ({"a": [1] * 4}, {"label_columns": ("a", "b")}, "with --label-columns."),
        ({"a": [1] * 4}, {"label_columns": ("a", "text")}, "must be different"),
    ],
)
def test_bad_inputs_are_refused_in_one_sentence(tmp_path, columns, settings, said):
    path = parquet(tmp_path / "c.parquet", **columns)
    message = refused(InputConfig(path=str(path), **settings))
    assert said in message and "\n" not in message and "about one" not in message


def test_the_settings_name_several_columns_each_once():
    for given in ('["a"]', '["a", "a"]'):
        with pytest.raises(UserError, match="name at least two columns, each once"):
            load_config(overrides=[f"input.label_columns={given}"])
    both = ["input.label_delimiter=;", 'input.label_columns=["a", "b"]']
    with pytest.raises(UserError, match="or a delimiter of labels, not both"):
        load_config(overrides=both)
    assert not {"label_columns", "label_delimiter"} & config_json(load_config())["input"].keys()
