"""A whole run with epsilon: no word of a text is left in it, and it is released once."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_models import WORDS, tiny_encoder

from smotext_ray.config.schema import EncoderConfig, PrivacyConfig, RunConfig
from smotext_ray.corpus.staging import stage_corpus
from smotext_ray.errors import UserError
from smotext_ray.evaluation.fidelity.agreement import label_agreement
from smotext_ray.evaluation.inputs import LabeledTexts, read_evaluation_data
from smotext_ray.evaluation.leakage.section import copy_check
from smotext_ray.models.encoder import Encoder
from smotext_ray.models.engine import Candidates
from smotext_ray.models.files import locate_model
from smotext_ray.pipeline import release as release_job
from smotext_ray.pipeline import rounds
from smotext_ray.pipeline.actors import Actors
from smotext_ray.pipeline.local import Local
from smotext_ray.pipeline.preflight import input_of, survey_input
from smotext_ray.privacy.directions import principal_directions, write_directions
from smotext_ray.run.directory import MANIFEST, Run
from smotext_ray.run.facts import StageFacts
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import verify
from smotext_ray.tables import fixed_size_list

SECRETS = ["quokkasphere", "zyzzogeton", "vellichor", "nudiustertian"]
ROWS = {"corn": 9, "ship": 16}


class WordsActor:
    """Stands for the decoder: two words a point, of its own, whatever the point is."""

    def __init__(self, config, counter, points):
        self.counter = counter

    def __call__(self, table):
        from smotext_ray.pipeline.actors import decode_rows

        # What an actor is given is what it could write down.
        assert table["source_text"].null_count == table["neighbor_text"].null_count == len(table)
        ids = table["sample_id"].to_pylist()
        texts = [f"{WORDS[i % 32]} {WORDS[i // 32 % 32]}" for i in ids]
        return decode_rows(
            table, lambda: [Candidates([t], ["stop"], [2]) for t in texts], self.counter
        )


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """A corpus with a secret in each text, another column and a bad row; a tiny encoder."""
    directory = tmp_path_factory.mktemp("noised")
    model = tiny_encoder(directory / "encoder")
    encoder = EncoderConfig(model=str(model))
    public = Encoder(str(model)).encode([f"{a} {b}" for a in WORDS for b in WORDS[::4]])
    digest = locate_model(str(model)).sha256
    file = directory / "public.safetensors"
    write_directions(principal_directions([public]), file, encoder, digest, "made of words")
    labels = [label for label, rows in ROWS.items() for _ in range(rows)]
    texts = [f"{SECRETS[i % 2]} {WORDS[i]} {label}{i % 8}" for i, label in enumerate(labels)]
    texts[3], texts[12] = None, " "  # which must not be seen
    corpus = pa.table(
        {
            "text": [*texts, f"{SECRETS[0]} without a label"],
            "label": [*labels, None],
            "note": [SECRETS[2]] * (len(labels) + 1),
            SECRETS[3]: [1] * (len(labels) + 1),
        }
    )
    pq.write_table(corpus, directory / "corpus.parquet")
    config = RunConfig.model_validate(
        {
            "input": {"path": str(directory / "corpus.parquet")},
            "encoder": encoder.model_dump(),
            "gate": {"min_cosine": -1, "same_class": False},
            "privacy": PrivacyConfig(
                epsilon=8.0, dimensions=4, directions=str(file), classes=["corn", "ship"]
            ).model_dump(),
            "plan": {"sampling_strategy": {"corn": 7, "ship": 5}},
            "resources": {"embed_rows_per_block": 8, "encoder_actors": 1, "decoder_actors": 1},
        }
    )
    return config, digest


@pytest.fixture(scope="module")
def finished(setting, tmp_path_factory):
    """The run, which failed once when its points were to be written."""
    config, digest = setting
    models = {name: {"name": name, "sha256": digest} for name in ("encoder", "llm", "bridge")}
    uri = str(tmp_path_factory.mktemp("runs") / "run")

    actors = Actors(decode=WordsActor, check_models=lambda config: models)

    def fail(*arguments):
        raise OSError("the disk is full")

    log = logging.getLogger("smotext_ray")
    level = log.level
    log.setLevel(logging.DEBUG)  # as the command line has it
    with pytest.MonkeyPatch.context() as patch:
        whole = release_job.write_points
        patch.setattr(release_job, "write_points", fail)
        try:
            with pytest.raises(Exception, match="the disk is full"):
                rounds.augment(config, uri, Local(actors))
            first = Run(uri).read("release.json")
            patch.setattr(release_job, "write_points", whole)
            run = rounds.augment(config, uri, Local(actors))
        finally:
            log.setLevel(level)
    assert run.read("release.json") == first
    return run


def words_in(path: Path) -> str:
    """All that a file holds; the columns of a parquet file as text."""
    content = path.read_bytes().decode("latin-1")
    if path.suffix != ".parquet":
        return content
    return content + str(pq.read_schema(path)) + str(pq.read_table(path).to_pydict())


def test_no_word_of_a_text_is_left_in_the_run(finished, setting):
    config, _ = setting
    assert all(secret in words_in(Path(config.input.path)) for secret in SECRETS)
    files = [path for path in Path(finished.uri).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".parquet", ".json", ".jsonl", ".safetensors"}
    for path in files:
        found = [secret for secret in SECRETS if secret in words_in(path).casefold()]
        assert not found, path
    assert not finished.has("corpus") and not finished.has("clipped")


def test_the_ledger_beside_the_corpus_tells_no_word_either(setting):
    config, _ = setting
    (entry,) = Path(config.input.path + ".privacy-ledger").iterdir()
    assert not any(secret in entry.read_text() for secret in SECRETS)


def test_the_result_is_new_texts_alone(finished):
    result = pq.read_table(finished.at("augmented.parquet"))
    assert result["synthetic"].to_pylist() == [True] * 12
    assert sorted(result["label"].to_pylist()) == ["corn"] * 7 + ["ship"] * 5
    assert result.column_names[:2] == ["text", "label"] and "note" not in result.column_names


def test_all_files_agree(finished):
    findings = verify(finished)
    assert all(finding.ok for finding in findings), findings
    assert "privacy: the corpus's texts are gone" in [finding.check for finding in findings]


def test_points_that_are_not_those_of_the_release_are_found_and_drawn_again(finished, setting):
    config, _ = setting
    run = Run(finished.uri)
    (file,) = sorted(run.table("embeddings").files)[:1]
    rows = run.read_table(file)
    changed = np.array(rows["embedding"].to_pylist(), np.float32)[::-1]
    try:
        pq.write_table(rows.set_column(2, "embedding", fixed_size_list(changed)), file)
        failed = [finding.check for finding in verify(run) if not finding.ok]
        assert failed == ["embeddings: points of the release"]
    finally:
        release_job.write_points(config, run)
    assert all(finding.ok for finding in verify(run))


def test_the_manifest_states_the_promise_and_nothing_else_of_the_corpus(finished):
    manifest = Manifest.read(Run(finished.uri))
    promise = manifest.privacy
    assert (promise.epsilon, promise.delta) == (8.0, 1e-5)
    assert promise.sensitivity == pytest.approx(0.5 * 2**0.5)
    assert promise.neighbors == "add_or_remove" and "may be in the corpus or not" in promise.unit
    assert "declared" in promise.labels and "made of words" in promise.public_data
    assert manifest.input.columns == ["text", "label"]
    assert manifest.input.bad_rows == {} and manifest.input.digest is None
    release = json.loads(Run(finished.uri).read("release.json"))
    noised = [max(20, round(count / release["units"])) for count in release["counts"]]
    assert manifest.class_counts == dict(zip(["corn", "ship"], noised, strict=True))
    for stage in ("corpus", "embed"):  # whose times depend on the texts
        assert manifest.stages[stage] == StageFacts(seconds=0.0)
    assert Run(finished.uri).read(MANIFEST).decode().count("seed") == 1  # the plan's


def test_no_log_tells_of_the_time_before_the_release(finished):
    logs = [path.read_text() for path in Path(finished.uri, "logs").iterdir()]
    assert logs and not any("embed" in line for text in logs for line in text.splitlines())


def test_a_second_release_of_the_corpus_needs_a_budget(finished, setting, tmp_path):
    config, digest = setting
    models = {name: {"name": name, "sha256": digest} for name in ("encoder", "llm", "bridge")}
    actors = Actors(decode=WordsActor, check_models=lambda config: models)
    with pytest.raises(UserError, match=r"released 1 time before; once more makes epsilon 1\d"):
        rounds.augment(config, str(tmp_path / "second"), Local(actors))
    assert not Run(str(tmp_path / "second")).has("release.json")
    privacy = config.privacy.model_copy(update={"budget": 13.0})
    config = config.model_copy(update={"privacy": privacy})
    run = rounds.augment(config, str(tmp_path / "second"), Local(actors))
    assert run.read("release.json") != finished.read("release.json")


@pytest.mark.parametrize("text", [None, "", " ", "quokkasphere sinks"])
def test_no_text_changes_what_is_seen_before_the_noise(setting, tmp_path, text):
    """Neighboring corpora: the same row with another text, or with none that can be used."""
    config, _ = setting
    table = pq.read_table(config.input.path)
    texts = ["another text", *table["text"].to_pylist()[1:]], [text, *table["text"].to_pylist()[1:]]
    seen = []
    for number, column in enumerate(texts):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(table.set_column(0, "text", pa.array(column, pa.string())), path)
        given = config.input.model_copy(update={"path": str(path)})
        survey = survey_input(config.model_copy(update={"input": given}))
        run = Run(str(tmp_path / f"run-{number}"))
        stage_corpus(input_of(config.model_copy(update={"input": given})), survey, run.fs,
                     run.make("corpus"))  # fmt: skip
        staged = run.table("corpus").to_table().drop_columns(["text"])
        seen.append((survey.rows, survey.class_counts, survey.schema, staged.to_pydict()))
    assert seen[0] == seen[1] and seen[0][0] == 25


def test_it_is_evaluated_as_texts_without_parents(finished, setting):
    """Points have numbers, and so have rows of the corpus: they are not taken for each other."""
    config, _ = setting
    encoder = Encoder(config.encoder.model)
    table = pq.read_table(config.input.path).slice(0, 25)
    texts = [text or "none" for text in table["text"].to_pylist()]
    corpus = LabeledTexts(texts, table["label"].to_pylist())
    data = read_evaluation_data(Run(finished.uri), corpus, encoder.encode, corpus)
    assert data.parents.shape == (12, 0) and len(data.real.texts) == 25
    found = {row["name"]: row for row in copy_check(data, encoder.encode, None)}
    assert "nearest real text" in found["longest shared run, mean"]["note"]
    assert not any("parents" in name for name in found)
    labels = [data.real.labels, data.synthetic.labels]
    judged = label_agreement(data.real.embeddings, labels[0], data.synthetic.embeddings, labels[1],
                             data.parents)  # fmt: skip
    assert judged.synthetic == 12
