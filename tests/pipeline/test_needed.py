"""Only the rows that a later stage reads are embedded."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_run import HERE, fake_config, fakes_told
from fake_stages import Encoder

from smotext_ray.evaluation.inputs import read_evaluation_data, read_held_out, row_numbers
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.expand import ExpansionRequest, expand
from smotext_ray.pipeline.needed import rows_to_embed
from smotext_ray.pipeline.repair import repair
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.reference import distinct_texts, load_reference
from smotext_ray.run.status import stages
from smotext_ray.run.verify import verify

SIZES = {"corn": 30, "oats": 12, "ship": 5}
TARGET = {"ship": 9}


@pytest.fixture(scope="module", autouse=True)
def fakes(tmp_path_factory):
    with fakes_told(tmp_path_factory.mktemp("fakes") / "stage"):
        yield


def write_corpus(path: Path, sizes: dict[str, int], first: int = 0) -> Path:
    texts = [f"{label} number {i}" for label, size in sizes.items() for i in range(first, size)]
    labels = [label for label, size in sizes.items() for _ in range(first, size)]
    order = np.random.default_rng(0).permutation(len(texts))
    pq.write_table(pa.table({"text": texts, "label": labels}).take(order), path)
    return path


def augment(home: Path, name: str = "run", rows: int = 4, **sections) -> Run:
    corpus = home / "corpus.parquet"
    if not corpus.exists():
        write_corpus(corpus, SIZES)
    given = {
        "gate": {"reference_rows": rows},
        "plan": {"sampling_strategy": TARGET},
        "resources": {"embed_rows_per_block": 1},
    }
    for section, values in sections.items():
        given[section] = given.get(section, {}) | values
    return rounds.augment(fake_config(corpus, **given), str(home / name), **HERE)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("made")
    augment(home)
    return home


@pytest.fixture
def run(made, tmp_path) -> Run:
    """A finished run to change, and its corpus."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Run(str(tmp_path / "run"))


def embedded(run: Run) -> dict[str, set]:
    table = run.table("embeddings").to_table()
    found: dict[str, set] = {}
    for id_, label in zip(*table.select(["id", "label"]).columns, strict=True):
        found.setdefault(label.as_py(), set()).add(id_.as_py())
    assert sum(map(len, found.values())) == len(table)
    return found


def sizes(run: Run) -> dict[str, int]:
    return {label: len(ids) for label, ids in embedded(run).items()}


def is_sound(run: Run) -> bool:
    return all(finding.ok for finding in verify(run))


def test_a_class_without_points_gets_a_few_embeddings(run):
    manifest = Manifest.read(run)
    assert sizes(run) == {"corn": 4, "oats": 4, "ship": 5} == manifest.embedded_counts
    assert manifest.stages["embed"].rows == 13 and not run.has("to_embed")
    assert is_sound(run) and manifest.class_counts == SIZES
    (embed,) = [stage for stage in stages(run, manifest) if stage.stage == "embed"]
    assert embed.rows == 13
    assert rows_to_embed(manifest.config, SIZES, TARGET) == manifest.embedded_counts


def test_texts_that_are_not_embedded_count_as_texts_of_the_corpus(run):
    reference = load_reference(run)
    texts = [f"{label} number {i}" for label, size in SIZES.items() for i in range(size)]
    assert all(reference.holds(text) for text in texts)
    assert distinct_texts(run, [*SIZES]) == SIZES
    result = pq.read_table(run.at("augmented.parquet"))
    assert Counter(result["label"].to_pylist()) == SIZES | TARGET


def test_files_of_any_size_have_the_same_rows_chosen(run, tmp_path, monkeypatch):
    monkeypatch.setattr("smotext_ray.pipeline.embed.ENCODE_CHUNK", 5)
    other = augment(tmp_path, "other")
    assert len(other.table("corpus").files) == 10
    assert embedded(other) == embedded(run)


@pytest.mark.parametrize(
    "sections",
    [
        {"plan": {"variant": "adasyn"}},
        {"gate": {"cleaning": "tomek"}},
        {"gate": {"reference_rows": 30}},
    ],
)
def test_all_rows_are_embedded_for_stages_that_look_at_all(tmp_path, sections):
    run = augment(tmp_path, **sections)
    assert sizes(run) == SIZES and is_sound(run)


def test_an_expansion_that_raises_another_class_embeds_what_is_missing_of_it(run, tmp_path):
    before, files = embedded(run), set(run.table("embeddings").files)
    _, done = expand(run.uri, ExpansionRequest(target={"oats": 15}), **HERE)
    assert done and is_sound(run)
    after = embedded(run)
    assert after["oats"] > before["oats"] and len(after["oats"]) == 12
    assert {label: after[label] for label in ("corn", "ship")} == {
        label: before[label] for label in ("corn", "ship")
    }
    assert files < set(run.table("embeddings").files)  # nothing twice
    manifest = Manifest.read(run)
    assert manifest.accepted() == {"ship": 4, "oats": 3} and manifest.stages["embed"].rows == 8
    # It is planned as if all had been embedded at once.
    other = augment(tmp_path, "other", rows=1000)
    expand(other.uri, ExpansionRequest(target={"oats": 15}), **HERE)
    assert _points(run, "oats") == _points(other, "oats")


def _points(run: Run, label: str) -> list[tuple]:
    last = Manifest.read(run).rounds[-1]
    rows = run.table("plan", last.name).to_table().to_pylist()
    return [(row["source_text"], row["neighbor_text"]) for row in rows if row["label"] == label]


def test_a_target_of_old_needs_nothing_that_is_not_there(run):
    before = Manifest.read(run).stages["embed"]
    _, done = expand(run.uri, ExpansionRequest(target={"ship": 8}), **HERE)
    manifest = Manifest.read(run)
    assert done and is_sound(run)
    assert manifest.stages["choose"].rows == 0 and manifest.stages["embed"] == before


def test_of_a_corpus_that_has_grown_the_same_rows_are_chosen(run, tmp_path):
    before = embedded(run)
    new = write_corpus(tmp_path / "new.parquet", {"corn": 90, "ship": 40}, first=35)
    _, done = expand(run.uri, ExpansionRequest(input=str(new)), **HERE)
    assert done and is_sound(run)
    after = embedded(run)
    assert {label: before[label] <= after[label] for label in SIZES} == dict.fromkeys(SIZES, True)
    assert len(after["ship"]) == 10 and after["oats"] == before["oats"]
    # Those that a new run on all rows would choose are among them.
    whole = pa.concat_tables([pq.read_table(tmp_path / f"{n}.parquet") for n in ("corpus", "new")])
    pq.write_table(whole, tmp_path / "corpus.parquet")
    other = embedded(augment(tmp_path, "other", plan={"sampling_strategy": {"ship": 12}}))
    assert {label: other[label] <= after[label] for label in SIZES} == dict.fromkeys(SIZES, True)
    assert len(other["corn"]) == 4 < len(after["corn"]) <= 8


def test_a_run_that_embedded_all_is_resumed_and_expanded(run, tmp_path):
    all_rows = augment(tmp_path, "all", rows=1000)
    as_begun_before(all_rows)
    assert is_sound(all_rows)
    _, done = expand(all_rows.uri, ExpansionRequest(target={"oats": 15}), **HERE)
    assert done and is_sound(all_rows) and sizes(all_rows) == SIZES
    new = write_corpus(tmp_path / "new.parquet", {"ship": 8}, first=5)
    _, done = expand(all_rows.uri, ExpansionRequest(input=str(new)), **HERE)
    assert done and is_sound(all_rows) and sizes(all_rows) == SIZES | {"ship": 8}


def as_begun_before(run: Run) -> None:
    """Take from the manifest what runs did not have that embedded every row."""
    content = json.loads(run.read("manifest.json"))
    del (
        content["embedded"],
        content["stages"]["choose"],
        content["config"]["gate"]["reference_rows"],
    )
    run.write(json.dumps(content).encode(), "manifest.json")
    shutil.rmtree(run.at("lease"))
    assert Manifest.read(run).embedded is None


@pytest.mark.parametrize("lost", ["a file", "all"])
def test_lost_embeddings_are_made_again(run, lost):
    before = embedded(run)
    if lost == "all":
        shutil.rmtree(run.at("embeddings"))
    else:
        Path(min(run.table("embeddings").files)).unlink()
    assert not is_sound(run)
    assert all(finding.ok for finding in repair(run, **HERE))
    assert embedded(run) == before and not run.has("to_embed")


@pytest.mark.parametrize("damage", ["a row of another class", "a row less", "a strange row"])
def test_other_rows_than_the_chosen_ones_are_found(run, damage):
    path = min(run.table("embeddings").files)
    table = pq.read_table(path)
    if damage == "a row less":
        table = table.slice(1)
    elif damage == "a strange row":
        table = table.set_column(0, "id", pa.array(range(1000, 1000 + len(table))))
    else:
        labels = pa.array(["oats", *table["label"].to_pylist()[1:]])
        table = table.set_column(2, "label", labels)
        assert table["label"] != pq.read_table(path)["label"]
    pq.write_table(table, path)
    assert not is_sound(run)


def test_an_evaluation_has_all_rows(run, tmp_path):
    """Those that have no embedding are encoded for it, and no other."""
    test = write_corpus(tmp_path / "test.parquet", {"corn": 60, "ship": 60}, first=50)
    asked: list[str] = []

    def encode(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return Encoder().encode(texts)

    data = read_evaluation_data(run, read_held_out(run, str(test)), encode)
    assert Counter(data.real.labels) == SIZES
    np.testing.assert_array_equal(data.real.embeddings, Encoder().encode(data.real.texts))
    there = run.table("embeddings").to_table(columns=["text"])["text"].to_pylist()
    assert set(asked).isdisjoint(there) and len(there) == 13
    result = pq.read_table(run.at("augmented.parquet"))
    text_of = dict(enumerate(result["text"].to_pylist()[: sum(SIZES.values())]))
    assert [data.real.texts[row] for row in row_numbers(run).values()] == [*text_of.values()]
    parents = run.table("samples", "round-1").to_table().sort_by("sample_id")
    sources = [text_of[id_] for id_ in parents["source_id"].to_pylist()]
    assert [data.real.texts[row] for row in data.parents[:, 0]] == sources
