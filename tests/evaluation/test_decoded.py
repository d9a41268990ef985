"""Decoded controls: the run's budget, once; and the real thing on a few points."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade_run import build, corpus_table

from smotext_ray.config.load import load_config
from smotext_ray.config.schema import PrivacyConfig, RunConfig
from smotext_ray.errors import UserError
from smotext_ray.evaluation.controls import decode as module
from smotext_ray.evaluation.controls.decode import NAMES, decode_controls, first_of_classes
from smotext_ray.evaluation.controls.prompts import PromptActor
from smotext_ray.gate.reference import class_reference
from smotext_ray.gate.rules import Candidate, choose_candidate
from smotext_ray.models.load import load_encoder
from smotext_ray.pipeline.jobs import DecodeJob
from smotext_ray.pipeline.local import Local
from smotext_ray.privacy.promise import promise
from smotext_ray.run.directory import Run
from smotext_ray.run.facts import BegunControl, JobFacts
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.verify import verify

WANTED = {"grain": 5, "ship": 3}  # ids 0 to 4 and 5 to 7
FALSE = {2, 6}  # ids that the stand-in rejects


def encode(texts):
    return np.array([[len(text), 1] for text in texts], np.float32).reshape(-1, 2)


class Jobs(Local):
    """Decodes none: accepts all but a few, and notes what it was asked."""

    def __init__(self):
        super().__init__()
        self.asked: list[tuple[RunConfig, DecodeJob]] = []
        self.dies = False

    def decode(self, config, run, job, done):
        self.asked.append((config, job))
        if self.dies:
            raise RuntimeError("killed")
        plan = run.table(job.plan).to_table()
        assert len(plan) == job.rows
        ids = plan["sample_id"].to_pylist()
        table = plan.drop_columns(["point", "source_text", "neighbor_text"])
        columns = {
            "text": [f"{job.stage} {i}" for i in ids],
            "cosine_to_point": pa.array([0.5] * len(ids), pa.float32()),
            "status": ["rejected" if i in FALSE else "accepted" for i in ids],
            "reason": ["truncated" if i in FALSE else "" for i in ids],
        }
        for name, column in columns.items():
            table = table.append_column(name, pa.array(column))
        pq.write_table(table, run.make(job.directory) + "/0.parquet", filesystem=run.fs)
        return JobFacts(seconds=1.5, tokens=80, actors=1)


@pytest.fixture
def jobs():
    return Jobs()


@pytest.fixture
def run(tmp_path):
    # Of the run itself 3 of grain are accepted, and 1 of ship.
    rejected = dict.fromkeys([0, 1, 5, 7], "low_similarity")
    return build(tmp_path, WANTED, corpus=corpus_table(grain=9, ship=8), rejected=rejected)


@pytest.fixture
def config(run):
    return Manifest.read(run).config


def quiet(line):
    pass


def test_every_control_decodes_every_point_once(run, config, jobs):
    lines = []
    found = decode_controls(run, config, encode, executor=jobs, log=lines.append)
    assert tuple(found) == NAMES
    for name, (_, job) in zip(NAMES, jobs.asked, strict=True):
        assert (job.plan, job.directory) == (
            f"controls/{name}/plan",
            f"controls/{name}/samples",
        )
        assert (found[name].asked, found[name].accepted, found[name].tokens) == (8, 6, 80)
    assert len({job.name for _, job in jobs.asked}) == len(NAMES)
    assert lines[0] == "control shuffled: 6 of 8 texts accepted"
    noted = Manifest.read(run).controls["lam_0"]
    assert (noted.points, noted.tokens, noted.seconds) == (8, 80, 1.5)
    assert dict(noted.accepted) == {"grain": 4, "ship": 2}
    assert noted.reasons == {"truncated": 2}


def test_the_encoder_is_not_needed_before_all_are_decoded(run, config, jobs):
    decoded_before = []

    def noted(texts):
        decoded_before.append(len(jobs.asked))
        return encode(texts)

    decode_controls(run, config, noted, executor=jobs, log=quiet)
    assert decoded_before == [len(NAMES)] * len(NAMES)


def test_no_more_texts_of_a_class_than_the_run_has(run, config, jobs):
    for control in decode_controls(run, config, encode, executor=jobs, log=quiet).values():
        assert [int(text.split()[-1]) for text in control.rows.texts] == [0, 1, 3, 5]
        assert control.rows.labels == ["grain"] * 3 + ["ship"]
        np.testing.assert_array_equal(
            control.rows.embeddings[:, 0], [len(text) for text in control.rows.texts]
        )


def test_parents_are_those_of_the_vector(run, config, jobs):
    found = decode_controls(run, config, encode, executor=jobs, log=quiet)
    ids = run.table("embeddings").to_table().sort_by("id")["id"].to_pylist()
    for name in ("shuffled", "lam_0", "parents_as_text"):
        plan = run.table("controls", name, "plan").to_table().to_pylist()
        row_of = {row["sample_id"]: row for row in plan}
        for sample_id, parents in zip([0, 1, 3, 5], found[name].parents, strict=True):
            row = row_of[sample_id]
            assert [ids[p] for p in parents] == [row["source_id"], row["neighbor_id"]]
    assert found["label_only"].parents is found["class_mean"].parents is None


def test_each_has_its_gate_and_only_words_their_own_actor(run, config, jobs):
    decode_controls(run, config, encode, executor=jobs, log=quiet)
    asked = dict(zip(NAMES, jobs.asked, strict=True))
    (shuffled, _), (label_only, of_label) = asked["shuffled"], asked["label_only"]
    parents, of_parents = asked["parents_as_text"]
    assert shuffled.gate == config.gate.model_copy(update={"same_class": False})
    assert asked["lam_0"][0] == asked["class_mean"][0] == config
    assert label_only.gate.same_class and label_only.gate.reject_truncated
    assert label_only.decoder == shuffled.decoder == config.decoder
    of_points = [asked[name][1] for name in ("shuffled", "lam_0", "class_mean")]
    assert all(job.actor is jobs.actors.decode for job in of_points)
    assert of_label.actor is of_parents.actor is PromptActor
    assert sorted(of_label.arguments["labels"]) == ["grain", "ship"]
    assert [job.arguments["of_parents"] for job in (of_label, of_parents)] == [False, True]
    assert parents == config
    plan = run.table("controls", "parents_as_text", "plan").to_table().sort_by("sample_id")
    assert plan.equals(run.table("plan", "round-1").to_table().sort_by("sample_id"))


def test_without_a_point_the_gate_keeps_the_first_that_passes(config):
    gate = module._gated(config, "label_only").gate
    reference = class_reference(np.ones(2), np.eye(2), np.eye(2), np.empty(0, np.int64))
    texts = ["", "wheat is up", "corn is up"]
    right = [Candidate(text, "stop", 0.0, right_class=True, unclean=False) for text in texts]
    verdict = choose_candidate(right, [], reference, gate)
    assert (verdict.chosen, verdict.accepted) == (1, True)
    wrong = [replace(candidate, right_class=False) for candidate in right]
    assert not choose_candidate(wrong, [], reference, gate).accepted


def test_a_second_call_only_reads(run, config, jobs):
    first = decode_controls(run, config, encode, executor=jobs, log=quiet)
    again = decode_controls(run, config, encode, executor=jobs, log=quiet)
    assert len(jobs.asked) == len(NAMES)
    for name in NAMES:
        assert again[name].rows.texts == first[name].rows.texts


def test_an_unfinished_control_goes_on_with_its_plan(run, config, jobs):
    jobs.dies = True
    with pytest.raises(RuntimeError, match="killed"):
        decode_controls(run, config, encode, ["shuffled"], executor=jobs, log=quiet)
    (file, *_) = run.table("controls", "shuffled", "plan").files
    written = run.fs.get_file_info(file).mtime_ns
    run.make("checkpoints", "control-shuffled-attempts", "noted")
    jobs.dies = False
    assert (
        decode_controls(run, config, encode, ["shuffled"], executor=jobs, log=quiet)[
            "shuffled"
        ].accepted
        == 6
    )
    assert run.fs.get_file_info(file).mtime_ns == written
    assert run.has("checkpoints", "control-shuffled-attempts", "noted")


def test_a_run_that_got_more_rounds_has_its_controls_made_anew(tmp_path, run, config, jobs):
    decode_controls(run, config, encode, ["shuffled"], executor=jobs, log=quiet)
    controls = Manifest.read(run).controls
    longer = build(tmp_path / "longer", WANTED, rounds=2, corpus=corpus_table(grain=9, ship=8))
    run.fs.copy_file(run.at("controls/shuffled/samples/0.parquet"), f"{tmp_path}/old.parquet")
    longer.make("controls", "shuffled", "samples")
    run.fs.move(
        f"{tmp_path}/old.parquet", longer.at("controls", "shuffled", "samples", "old.parquet")
    )
    longer.make("checkpoints", "control-shuffled", "done")
    manifest = Manifest.read(longer)
    manifest.controls = controls
    manifest.save(longer)
    found = decode_controls(longer, config, encode, ["shuffled"], executor=jobs, log=quiet)[
        "shuffled"
    ]
    assert found.asked == 16 and len(jobs.asked) == 2
    assert Manifest.read(longer).controls["shuffled"].points == 16
    assert not longer.has("checkpoints", "control-shuffled", "done")
    assert longer.table("controls", "shuffled", "samples").count_rows() == 16


def test_points_of_one_class_are_not_shuffled(tmp_path, config, jobs):
    one = build(tmp_path / "one", {"grain": 4}, corpus=corpus_table(grain=9, ship=8))
    lines = []
    found = decode_controls(one, config, encode, executor=jobs, log=lines.append)
    assert set(found) == set(NAMES) - {"shuffled"}
    assert "skipped, all points are of one class" in lines[0]


def test_parents_that_a_run_may_not_keep_are_not_shown(run, config, jobs):
    manifest = Manifest.read(run)
    manifest.privacy = promise(RunConfig(privacy=PrivacyConfig(epsilon=8.0)), {"name": "made"})
    manifest.save(run)
    lines = []
    found = decode_controls(
        run, config, encode, ["parents_as_text", "lam_0"], executor=jobs, log=lines.append
    )
    assert set(found) == {"lam_0"} and "has not kept the texts" in lines[0]


def test_a_run_without_texts_is_refused(tmp_path, config, jobs):
    planned = build(tmp_path / "planned", WANTED, until="plan")
    with pytest.raises(UserError, match="run smotext augment first"):
        decode_controls(planned, config, encode)


def test_a_run_with_controls_is_still_sound(run, config, jobs):
    before = verify(run)
    decode_controls(run, config, encode, executor=jobs, log=quiet)
    assert verify(run) == before
    assert all(finding.ok for finding in before)


def test_first_of_classes():
    assert first_of_classes(["a", "b", "c", "a", "b", "a"], {"a": 2, "b": 9}) == [0, 1, 3, 4]
    assert first_of_classes([], {"a": 1}) == []


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.long
def test_real_controls_of_a_few_points(own_ray, tmp_path):
    import ray

    from smotext_ray.corpus.demo import load_dataset
    from smotext_ray.pipeline.rounds import augment

    try:
        frame = load_dataset("reuters-r8", "test").to_pandas()
    except UserError as error:
        pytest.skip(str(error))
    counts = {"crude": 20, "grain": 7, "ship": 12}
    rows = [frame[frame["label"] == label].head(n) for label, n in counts.items()]
    pq.write_table(
        pa.concat_tables([pa.Table.from_pandas(part, preserve_index=False) for part in rows]),
        tmp_path / "corpus.parquet",
    )
    given = {
        "input.path": str(tmp_path / "corpus.parquet"),
        "plan.sampling_strategy": {"grain": 10, "ship": 15},
        "plan.max_rounds": 1,
        "plan.expected_acceptance": 1.0,
        "decoder.max_tokens": 48,
        "gate.reject_truncated": False,
        "resources.decoder_actors": 1,
    }
    config = load_config("offline", None, [], given)
    real_encode = load_encoder(config).encode
    try:
        run = augment(config, str(tmp_path / "run"))
        found = decode_controls(run, config, real_encode, log=quiet)
        files = {name: run.table("controls", name, "samples").files for name in NAMES}
        unfinished = Manifest.read(run)
        unfinished.controls["label_only"] = BegunControl(points=6)
        unfinished.save(run)
        again = decode_controls(run, config, real_encode, log=quiet)
    finally:
        ray.shutdown()
    check_real(run, found)
    for name in NAMES:
        # Decoded before the manifest could say so, and not decoded again.
        assert run.table("controls", name, "samples").count_rows() == 6
        assert again[name].rows.texts == found[name].rows.texts
        assert set(files[name]) <= set(run.table("controls", name, "samples").files)


def check_real(run: Run, found) -> None:
    most = Manifest.read(run).rounds[0].decode.accepted
    texts = {text for control in found.values() for text in control.rows.texts}
    assert sum(len(control.rows) for control in found.values()) == len(texts) > 0
    for name, control in found.items():
        samples = run.table("controls", name, "samples").to_table()
        assert sorted(samples["sample_id"].to_pylist()) == list(range(6))
        assert not set(samples["status"].to_pylist()) & {"error"}
        assert all(n <= most[label] for label, n in Counter(control.rows.labels).items())
        np.testing.assert_allclose(np.linalg.norm(control.rows.embeddings, axis=1), 1, atol=1e-4)
        assert Manifest.read(run).controls[name].tokens > 0 or name == "label_only"
