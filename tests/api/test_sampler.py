"""SMOTExT as imbalanced-learn's users know a sampler."""

from __future__ import annotations

import logging
import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import datasets
import numpy as np
import pandas as pd
import pytest
from fake_stages import Encoder
from fsspec.implementations.memory import MemoryFileSystem
from given_sampler import ALL_PASS, Decoder, rows, sampler
from imblearn.base import is_sampler
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import TomekLinks
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from smotext_ray import SMOTExT
from smotext_ray.api import loaded
from smotext_ray.api.neighbors import FaissNeighbors
from smotext_ray.config.load import load_config
from smotext_ray.models import load
from smotext_ray.models.engine import Candidates
from smotext_ray.plan.acceptance import lacking
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import InputFacts
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.opening import new_manifest
from smotext_ray.run.verify import verify


def kinds():
    texts, labels = rows()
    frame = pd.DataFrame({"text": texts, "page": range(len(texts))})
    return {
        "list": (texts, labels),
        "tuple": (tuple(texts), tuple(labels)),
        "array": (np.array(texts), np.array(labels)),
        "objects": (np.array(texts, dtype=object), np.array(labels, dtype=object)),
        "column": (np.array(texts)[:, None], np.array(labels)),
        "series": (pd.Series(texts, name="t"), pd.Series(labels, name="l", dtype="category")),
        "frame": (frame, pd.Series(labels)),
        "dataset": (datasets.Dataset.from_pandas(frame), labels),
    }


def texts_of(x):
    if isinstance(x, (pd.DataFrame, datasets.Dataset)):
        return list(x["text"])
    return np.array(x, dtype=object).ravel().tolist()


@pytest.mark.parametrize("kind", kinds())
def test_the_same_kind_comes_back_originals_first(kind):
    x, y = kinds()[kind]
    before, n = texts_of(x), len(texts_of(x))
    x_new, y_new = sampler().fit_resample(x, y)
    assert type(x_new) is type(x) and type(y_new) is type(y)
    assert texts_of(x) == before  # the user's own is left as it was
    assert texts_of(x_new)[:n] == before and list(y_new)[:n] == list(y)
    assert set(list(y_new)[n:]) == {"rare"}
    assert Counter(list(y_new)) == {"rare": 20, "common": 20}
    assert all(text.startswith("new text") for text in texts_of(x_new)[n:])
    if kind == "frame":
        assert list(x_new.columns) == ["text", "page"] and x_new["page"][n:].isna().all()
    if kind == "dataset":
        assert x_new.features == x.features and x_new["page"][n:] == [None] * 12
    if kind in ("series", "frame"):
        assert y_new.dtype == y.dtype and list(x_new.index) == list(range(n + 12))
    if kind == "array":
        assert x_new.dtype.kind == "U" and x_new.shape == (n + 12,)
    if kind == "column":
        assert x_new.shape == (n + 12, 1)


def test_cleaning_rejects_and_rounds_make_up_for_it():
    texts, labels = rows()
    given = {"sampling_strategy": {"common": 50}, "options": {"plan.expected_acceptance": 1.0}}
    free = sampler(**given)
    cleaned = sampler(**given, gate=ALL_PASS | {"cleaning": "tomek"})
    x_free, _ = free.fit_resample(texts, labels)
    x_cleaned, y_cleaned = cleaned.fit_resample(texts, labels)
    assert len(free.decoder.points) == 1 and len(cleaned.decoder.points) > 1
    tomek = TomekLinks(sampling_strategy="all")
    corpus = Encoder().encode(texts)

    def is_kept(text):
        x = normalize(np.vstack([corpus, Encoder().encode([text])]))
        tomek.fit_resample(x, [*labels, "common"])
        return 28 in tomek.sample_indices_

    assert all(is_kept(text) for text in x_cleaned[28:]) and y_cleaned[28:] == ["common"] * 30
    assert [text for text in x_free[28:] if is_kept(text)] != x_free[28:]


def test_the_lineage_tells_the_parents_and_the_point():
    texts, labels = rows()
    smotext = sampler()
    x_new, _ = smotext.fit_resample(texts, labels)
    x = Encoder().encode(texts)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert list(smotext.lineage_["row"]) == list(range(28, 40))
    points = smotext.decoder.points[0]
    # The preset expects that some are rejected.
    assert {"rare": len(points)} == lacking({"rare": 12}, {}, {}, 0.75)
    for row, point in zip(smotext.lineage_.itertuples(), points[:12], strict=True):
        assert labels[row.source_id] == labels[row.neighbor_id] == "rare"
        assert row.source_id != row.neighbor_id and 0 <= row.lam < 1
        assert x_new[row.row] == f"new text {row.seed}"
        raw = Encoder().encode([texts[row.source_id], texts[row.neighbor_id]])
        between = raw[0] + row.lam * (raw[1] - raw[0])
        np.testing.assert_allclose(point, between / np.linalg.norm(between), atol=1e-6)


def test_synthetic_texts_of_a_class_weigh_together_as_much_as_its_real_ones():
    smotext = sampler(sampling_strategy={"rare": 20})
    x, _ = smotext.fit_resample(*rows(minority=8))
    assert smotext.sample_weight_.shape == (len(x),)
    assert (smotext.sample_weight_[:28] == 1).all()
    assert smotext.sample_weight_[28:].tolist() == [8 / 12] * 12


def test_neighbors_are_the_nearest_of_the_class():
    texts, labels = rows()
    smotext = sampler(k_neighbors=3, sampling_strategy={"rare": 500})
    smotext.fit_resample(texts, labels)
    x = Encoder().encode(texts[:8])
    finder = NearestNeighbors(n_neighbors=4, metric="cosine").fit(x)
    near = finder.kneighbors(x, return_distance=False)[:, 1:]
    found = smotext.lineage_
    for source in range(8):
        got = found["neighbor_id"][found["source_id"] == source]
        assert set(got) == set(near[source])


def test_an_object_that_finds_neighbors_is_used_and_left_as_it_was():
    texts, labels = rows()
    finder = NearestNeighbors(n_neighbors=4, metric="manhattan")
    smotext = sampler(k_neighbors=finder, sampling_strategy={"rare": 500})
    smotext.fit_resample(texts, labels)
    assert not hasattr(finder, "n_samples_fit_")
    assert smotext.nn_k_ is not finder and isinstance(smotext.nn_k_, NearestNeighbors)
    x = Encoder().encode(texts[:8])
    near = clone(finder).fit(x).kneighbors(x, return_distance=False)[:, 1:]
    for source, neighbor in smotext.lineage_[["source_id", "neighbor_id"]].to_numpy():
        assert neighbor in near[source]
    assert isinstance(sampler().fit(texts, labels).nn_k_, FaissNeighbors)


def test_equal_seeds_give_equal_texts_and_a_random_state_others():
    texts, labels = rows()
    one, again = (sampler(random_state=1).fit_resample(texts, labels) for _ in range(2))
    assert one == again
    assert sampler(random_state=2).fit_resample(texts, labels) != one
    state = np.random.RandomState(0)
    first, second = (sampler(random_state=state).fit_resample(texts, labels) for _ in range(2))
    assert first != second


def test_rounds_go_on_until_the_class_is_full_and_say_so_if_it_is_not():
    texts, labels = rows()

    class Half(Decoder):
        def decode(self, points, seeds):
            made = super().decode(points, seeds)
            return [m if i % 2 else Candidates([""], ["stop"], [0]) for i, m in enumerate(made)]

    decoder = Half()
    _, y_new = sampler(decoder=decoder).fit_resample(texts, labels)
    assert Counter(y_new) == {"rare": 20, "common": 20} and len(decoder.points) == 2

    same = Decoder()
    same.decode = lambda points, seeds: [Candidates(["one text"], ["stop"], [2]) for _ in seeds]
    with pytest.warns(UserWarning, match="'rare' is 11 texts short"):
        x_new, _ = sampler(decoder=same).fit_resample(texts, labels)
    assert x_new[28:] == ["one text"]


def test_a_class_of_one_text_is_refused_and_a_small_one_has_fewer_neighbors():
    with pytest.raises(ValueError, match="only one distinct text"):
        sampler().fit_resample(*rows(minority=1))
    with pytest.warns(UserWarning, match="Using k_neighbors=2 instead of 5"):
        _, y_new = sampler().fit_resample(*rows(minority=3))
    assert Counter(y_new)["rare"] == 20


def test_params_clone_repr_and_pickle():
    given = {"encoder": {"max_length": 64}, "decoder": {"temperature": 0.9}, "gate": ALL_PASS}
    smotext = SMOTExT(sampling_strategy="minority", k_neighbors=3, **given)
    assert {name: smotext.get_params()[name] for name in given} == given
    assert clone(smotext).get_params() == smotext.get_params()
    assert repr(smotext).startswith("SMOTExT(decoder={'temperature': 0.9}, encoder=")
    again = pickle.loads(pickle.dumps(smotext))
    assert again.get_params() == smotext.get_params()
    assert smotext.set_params(k_neighbors=7).k_neighbors == 7
    assert is_sampler(smotext)
    fitted = sampler().fit(*rows())
    assert pickle.loads(pickle.dumps(fitted)).sampling_strategy_ == {"rare": 12}
    with pytest.raises(TypeError):
        SMOTExT("minority")  # keyword-only, as in imbalanced-learn


def test_in_a_pipeline_only_fitting_samples():
    texts, labels = rows()
    decoder = Decoder()
    model = make_pipeline(sampler(decoder=decoder), TfidfVectorizer(), LogisticRegression())
    search = GridSearchCV(
        model, {"smotext__k_neighbors": [2, 3], "smotext__gate": [ALL_PASS]}, cv=2
    )
    search.fit(texts, labels)
    assert search.best_params_["smotext__k_neighbors"] in (2, 3)
    assert search.predict(["rare text 3", "common text 4"]).tolist() == ["rare", "common"]
    assert decoder.points == []  # the pipeline's steps are clones


def test_a_variant_starts_from_other_texts_and_several_neighbors_are_named():
    texts, labels = rows(minority=20, majority=40)
    lineage = {}
    for variant in ("smote", "adasyn", "borderline"):
        smotext = sampler(variant=variant, m_neighbors=6, neighbors_per_point=3)
        _, y_new = smotext.fit_resample(texts, labels)
        assert Counter(y_new)["rare"] == 40
        lineage[variant] = smotext.lineage_
        for row in smotext.lineage_.itertuples():
            neighbors = [row.neighbor_id, *row.other_neighbor_ids]
            assert len({row.source_id, *neighbors}) == 4
            assert {labels[i] for i in neighbors} == {"rare"} and len(row.other_lams) == 2
    assert not lineage["smote"]["source_id"].equals(lineage["adasyn"]["source_id"])
    x = Encoder().encode(texts)
    finder = NearestNeighbors(n_neighbors=7, metric="cosine").fit(x)
    near = np.array(labels)[finder.kneighbors(x[:20], return_distance=False)[:, 1:]]
    others = (near == "common").sum(axis=1)
    danger = np.flatnonzero((others >= 3) & (others < 6))
    assert set(lineage["borderline"]["source_id"]) <= set(danger) and len(danger) < 20


def test_a_class_without_a_source_is_left_with_a_warning(monkeypatch, caplog):
    texts, labels = rows()
    sentence = "'rare' is skipped: none of its texts is in danger"
    with pytest.warns(UserWarning, match=sentence) as told:
        x_new, y_new = sampler(variant="borderline", m_neighbors=1).fit_resample(texts, labels)
    assert (x_new, y_new) == (texts, labels) and len(told) == 1

    def plans_nothing(config, uri):  # a run that found no source either
        run = Run(uri)
        facts = InputFacts(rows=len(texts), class_counts={})
        manifest = new_manifest(config, {}, "2026-01-01", facts)
        manifest.targets, manifest.warnings = {}, ["skipped"]
        manifest.save(run)
        return run

    monkeypatch.setattr("smotext_ray.pipeline.rounds.augment", plans_nothing)
    on_ray = SMOTExT(on_ray=True, gate=ALL_PASS, random_state=0)
    with pytest.warns(UserWarning, match="skipped") as told:
        assert on_ray.fit_resample(texts, labels) == (texts, labels)
    assert [w.category for w in told].count(UserWarning) == 1
    assert "Starting Ray on this machine; use on_ray=False" in caplog.text


def test_neighbors_by_faiss():
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    distances, near = FaissNeighbors(4, "euclidean").fit(x).kneighbors(x)
    expected = NearestNeighbors(n_neighbors=4).fit(x).kneighbors(x)
    assert (near == expected[1]).all()
    np.testing.assert_allclose(distances, expected[0], atol=1e-5)
    with pytest.raises(NotFittedError):
        FaissNeighbors().kneighbors(x)


def test_the_engine_computes_in_this_process_for_scripts_without_a_guard(monkeypatch):
    asked = {}

    def load_decoder(config, **of_engine):
        asked.update(of_engine, model=config.decoder.model)

    monkeypatch.setattr(load, "load_decoder", load_decoder)
    loaded._loaded_decoder.__wrapped__(loaded._key(load_config()))
    assert asked["own_process"] is False
    assert asked["expected_texts"] == loaded.MOST_TEXTS
    assert asked["model"] == load_config().decoder.model


def test_nothing_stays_behind_unless_an_output_is_named(tmp_path):
    kept = MemoryFileSystem.store.copy()
    texts, labels = rows()
    sampler().fit_resample(texts, labels)
    assert MemoryFileSystem.store == kept
    handlers = logging.getLogger("smotext_ray").handlers
    assert not [h for h in handlers if type(h).__module__ == "smotext_ray.run.log"]

    decoder = Decoder()
    home = str(tmp_path / "run")
    first = sampler(decoder=decoder, output=home)
    x_new, y_new = first.fit_resample(texts, labels)
    run = Run(home)
    assert all(finding.ok for finding in verify(run))
    manifest = Manifest.read(run)
    assert manifest.models["llm"]["name"] == "given_sampler.Decoder"
    assert manifest.result.synthetic == len(first.lineage_) == 12
    calls = len(decoder.points)
    assert sampler(decoder=decoder, output=home).fit_resample(texts, labels) == (x_new, y_new)
    assert len(decoder.points) == calls  # a finished run is read, not made again
    with pytest.raises(ValueError, match=r"plan\.seed is 0 there, but 1 here"):
        sampler(output=home, random_state=1).fit_resample(texts, labels)
    others = [f"{text} again" for text in texts]  # as in another fold of a cross-validation
    with pytest.raises(ValueError, match="is of other texts or labels; name another output"):
        sampler(decoder=decoder, output=home).fit_resample(others, labels)
    assert sampler(decoder=decoder, output=home).fit_resample(texts, labels) == (x_new, y_new)


def test_in_another_thread_than_the_main_one():
    texts, labels = rows()
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(sampler().fit_resample, texts, labels) for _ in range(2)]
        assert jobs[0].result() == jobs[1].result() == sampler().fit_resample(texts, labels)
