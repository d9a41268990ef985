"""A whole run with epsilon: no word of a text is left in it, and a kill changes nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_models import WORDS, tiny_encoder

from smotext_ray.config.schema import EncoderConfig, PrivacyConfig, RunConfig
from smotext_ray.models.encoder import Encoder
from smotext_ray.models.engine import Candidates
from smotext_ray.models.files import locate_model
from smotext_ray.pipeline import denoise, embed, rounds
from smotext_ray.pipeline.actors import Actors
from smotext_ray.pipeline.local import Local
from smotext_ray.privacy.directions import principal_directions, write_directions
from smotext_ray.run.directory import MANIFEST, Run
from smotext_ray.run.facts import BadRows
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import verify

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
    write_directions(principal_directions([public]), file, encoder, digest)
    labels = [label for label, rows in ROWS.items() for _ in range(rows)]
    texts = [f"{SECRETS[i % 2]} {WORDS[i]} {label}{i % 8}" for i, label in enumerate(labels)]
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
            "input": {"path": str(directory / "corpus.parquet"), "on_bad_row": "skip"},
            "encoder": encoder.model_dump(),
            "gate": {"min_cosine": -1, "same_class": False},
            "privacy": PrivacyConfig(epsilon=8.0, dimensions=4, directions=str(file)).model_dump(),
            "resources": {"embed_rows_per_block": 8, "encoder_actors": 1, "decoder_actors": 1},
        }
    )
    return config, digest


@pytest.fixture(scope="module")
def finished(shared_ray, setting, tmp_path_factory):
    """The run, whose denoising failed once on the way."""
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
        whole = denoise.denoise
        patch.setattr(embed, "denoise", fail)
        try:
            with pytest.raises(Exception, match="the disk is full"):
                rounds.augment(config, uri, Local(actors))
            patch.setattr(embed, "denoise", whole)
            run = rounds.augment(config, uri, Local(actors))
        finally:
            log.setLevel(level)
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
    assert not finished.has("corpus") and not finished.has("noised")


def test_the_result_is_new_texts_alone(finished):
    result = pq.read_table(finished.at("augmented.parquet"))
    assert result["synthetic"].to_pylist() == [True] * 7
    assert result["label"].unique().to_pylist() == ["corn"]
    assert result.column_names[:2] == ["text", "label"] and "note" not in result.column_names
    assert set(result["source_id"].to_pylist()) <= set(range(9))


def test_all_files_agree(finished):
    findings = verify(finished)
    assert all(finding.ok for finding in findings), findings
    assert "privacy: the corpus's texts are gone" in [finding.check for finding in findings]


def test_the_manifest_states_the_promise_and_no_key_to_the_noise(finished):
    manifest = Manifest.read(Run(finished.uri))
    promise = manifest.privacy
    assert (promise.epsilon, promise.delta, promise.sensitivity) == (8.0, 1e-5, 1.0)
    assert promise.sigma > 0.5 and "labels" in promise.assumes
    assert len(manifest.models["directions"]["sha256"]) == 64
    assert manifest.input.columns == ["text", "label"]
    assert manifest.input.bad_rows == {"label is null": BadRows(count=1, examples=[25])}
    assert Run(finished.uri).read(MANIFEST).decode().count("seed") == 1  # the plan's


def test_embeddings_are_not_those_of_the_texts(finished, setting):
    config, _ = setting
    rows = finished.table("embeddings").to_table().sort_by("id")
    assert rows.column_names == ["id", "label", "embedding"]
    texts = pq.read_table(config.input.path, columns=["text"])["text"].to_pylist()[: len(rows)]
    true = Encoder(config.encoder.model).encode(texts)
    noised = np.array(rows["embedding"].to_pylist())
    assert (np.linalg.norm(noised - true, axis=1) > 0.1).all()
