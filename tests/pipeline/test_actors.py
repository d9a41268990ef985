"""The actors without Ray: rows in, rows out, and what becomes of errors."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from counter_handle import CounterHandle as Counter

from smotext_ray.config.schema import RunConfig
from smotext_ray.gate.cleaning import cleaning_of
from smotext_ray.gate.gate import Gate, cosines
from smotext_ray.gate.reference import class_reference
from smotext_ray.pipeline import actors
from smotext_ray.pipeline.actors import ENCODE_CHUNK, DecodeActor, EncodeActor, GateActor
from smotext_ray.tables import fixed_size_list, matrix, plan_schema
from smotext_ray.utils.text import fingerprint

D = 4
TOPICS = {"grain": 0, "ship": 1}


class BatchEncoder:
    """The last number of an embedding tells which texts shared the call."""

    dim = D

    def encode(self, texts, batch_size):
        together = fingerprint("|".join(texts)) % 1000
        return np.array([[len(text), batch_size, 1, together] for text in texts], np.float32)


def encode_actor():
    actor = object.__new__(EncodeActor)
    actor.encoder, actor.batch_size, actor.counter = BatchEncoder(), 8, Counter()
    actor.clipper = None
    return actor


def corpus(rows):
    texts = ["x" * (1 + i % 50) + str(i) for i in range(rows)]
    return pa.table({"id": np.arange(rows), "text": texts, "label": ["a", "b"] * (rows // 2)})


# Encode


def test_an_embedding_a_row_in_the_order_of_rows():
    actor, table = encode_actor(), corpus(1100)
    out = actor(table)
    assert out.drop_columns(["embedding"]).equals(table)
    lengths = [len(text) for text in table["text"].to_pylist()]
    assert matrix(out["embedding"])[:, 0].tolist() == lengths
    assert out.schema.field("embedding").type == pa.list_(pa.float32(), D)
    assert actor.counter.rows == 1100


@pytest.mark.parametrize("chunks", [1, 2])
def test_blocks_of_whole_chunks_give_what_one_block_gives(chunks):
    table = corpus(3 * ENCODE_CHUNK + 100)
    whole = encode_actor()(table)
    step = chunks * ENCODE_CHUNK
    cut = [encode_actor()(table.slice(start, step)) for start in range(0, len(table), step)]
    assert pa.concat_tables(cut).combine_chunks().equals(whole.combine_chunks())


def test_a_text_that_occurs_again_in_a_chunk_is_embedded_once():
    once, actor = corpus(100), encode_actor()
    twice = pa.concat_tables([once, once]).take(np.random.default_rng(0).permutation(200))
    given: list[str] = []
    encode = actor.encoder.encode
    actor.encoder.encode = lambda texts, size: given.extend(texts) or encode(texts, size)
    out = actor(twice)
    assert len(given) == 100 and set(given) == {*once["text"].to_pylist()}
    assert out.drop_columns(["embedding"]).equals(twice) and actor.counter.rows == 200
    lengths = [len(text) for text in twice["text"].to_pylist()]
    assert matrix(out["embedding"])[:, 0].tolist() == lengths


def test_a_block_in_pieces_gives_what_one_piece_gives():
    table = corpus(700)
    pieces = pa.concat_tables([table.slice(0, 10), table.slice(10, 600), table.slice(610)])
    assert encode_actor()(pieces).combine_chunks().equals(encode_actor()(table).combine_chunks())


def test_an_empty_block_keeps_the_schema():
    out = encode_actor()(corpus(2).slice(0, 0))
    assert len(out) == 0
    assert out.schema == encode_actor()(corpus(2)).schema


# Decode


class Decoder:
    """Makes two texts a point; point 1 fails."""

    def __init__(self):
        self.seeds = []

    def decode(self, points, seeds):
        from smotext_ray.models.engine import Candidates

        self.seeds += seeds
        made = []
        for point in points:
            if point[0] == 1:
                made.append(Candidates([], [], [], "the point is odd"))
            else:
                name = f"text {point[0]:.0f}"
                made.append(Candidates([name, name + "b"], ["stop", "length"], [3, 4]))
        return made


def planned(rows):
    """Plan rows; the first number of a point is the row's number."""
    points = np.ones((rows, D), np.float32)
    points[:, 0] = np.arange(rows)
    columns = {
        "sample_id": np.arange(100, 100 + rows),
        "label": ["grain", "ship"] * (rows // 2),
        "source_id": np.arange(rows),
        "neighbor_id": np.arange(rows) + 1,
        "lam": np.full(rows, 0.5, np.float32),
        "seed": np.arange(rows) + 7,
        "round": np.ones(rows, np.int32),
        "source_text": [f"source {i} of the plan" for i in range(rows)],
        "neighbor_text": [f"neighbor {i} of the plan" for i in range(rows)],
        "point": fixed_size_list(points),
    }
    return pa.table(columns, schema=plan_schema(pa.int64(), pa.string(), D))


def decode_actor(decoder=None):
    actor = object.__new__(DecodeActor)
    actor.decoder, actor.counter = decoder or Decoder(), Counter()
    return actor


def test_candidates_come_with_their_plan_row():
    actor, table = decode_actor(), planned(4)
    out = actor(table)
    assert out.select(table.column_names).equals(table)
    assert out["texts"].to_pylist() == [
        ["text 0", "text 0b"],
        [],
        *[[f"text {i}", f"text {i}b"] for i in (2, 3)],
    ]
    assert out["finish_reasons"].to_pylist()[0] == ["stop", "length"]
    assert out["tokens"].to_pylist()[0] == [3, 4]
    assert out["error"].to_pylist() == ["", "the point is odd", "", ""]
    assert actor.decoder.seeds == [7, 8, 9, 10]
    assert (actor.counter.rows, actor.counter.tokens) == (0, 21)


def test_an_empty_plan_block_keeps_the_schema():
    out = decode_actor()(planned(2).slice(0, 0))
    assert len(out) == 0
    assert out.schema == decode_actor()(planned(2)).schema


class Left(BaseException):
    """What stands for the end of the process."""


class Follower(Decoder):
    """Notes what the texts should look like."""

    follows_parents = True

    def count_tokens(self, texts):
        return [len(text.split()) for text in texts]

    def decode(self, points, seeds, lengths=None, examples=None):
        self.looks = lengths, examples
        return super().decode(points, seeds)


def test_texts_look_like_their_parents():
    decoder, plan = Follower(), planned(4)
    decode_actor(decoder)(plan)
    lengths, examples = decoder.looks
    assert list(lengths) == [5] * 4 and examples == plan["source_text"].to_pylist()
    actors.decode_points(plan.select(["point", "seed"]), decoder)
    assert decoder.looks == (None, None)


def test_a_dead_engine_ends_the_process(monkeypatch):
    from smotext_ray.models.engine_loop import EngineDead

    def end(code):
        raise Left(code)

    class Dead:
        def decode(self, points, seeds):
            raise EngineDead("gone")

    monkeypatch.setattr(actors.os, "_exit", end)
    monkeypatch.setattr("ray.wait", lambda told, timeout: None)
    actor = decode_actor(Dead())
    with pytest.raises(Left) as caught:
        actor(planned(2))
    assert caught.value.args == (1,)
    assert actor.counter.tokens == 0
    ((sentence, facts),) = actor.counter.counter.events
    assert "engine died" in sentence and facts == {"sample_ids": [100, 101]}


# Gate


class TopicEncoder:
    """``<topic> <height>``: a vector on the topic's axis, and so much off it."""

    dim = D

    def encode(self, texts, batch_size):
        x = np.zeros((len(texts), D), np.float32)
        for row, text in zip(x, texts, strict=True):
            topic, height, *_ = text.split()
            row[TOPICS[topic]] = 1
            row[2] = float(height)
        return x


def gate_actor(labels=("grain", "ship"), label_type=None, corpus_texts=(), **gate):
    x = np.random.default_rng(0).normal(scale=0.1, size=(40, D))
    x[:20, 0] += 1
    x[20:, 1] += 1
    reference = class_reference(
        counts=np.array([20, 20]),
        sums=np.stack([x[:20].sum(0), x[20:].sum(0)]),
        scatter=x.T @ x,
        fingerprints=np.array([fingerprint(text) for text in corpus_texts], np.int64),
    )
    actor = object.__new__(GateActor)
    config = RunConfig.model_validate({"gate": gate})
    embedded = {"id": range(40), "label": [labels[0]] * 20 + [labels[1]] * 20}
    embedded["embedding"] = fixed_size_list(x.astype(np.float32))
    actor.gate = Gate(
        TopicEncoder(),
        config,
        reference,
        labels,
        label_type or pa.string(),
        cleaning_of(config, ds.dataset(pa.table(embedded)), labels),
    )
    actor.counter = Counter()
    return actor


def decoded(rows, labels=None):
    """Decoded plan rows; each of ``rows`` is a row's candidates, or its error."""
    points = np.zeros((len(rows), D), np.float32)
    points[:, 0] = 1
    table = planned(2 * len(rows)).slice(0, len(rows))
    at = table.column_names.index
    table = table.set_column(at("point"), "point", fixed_size_list(points))
    labels = labels or ["grain"] * len(rows)
    table = table.set_column(at("label"), "label", pa.array(labels))
    texts = [[] if isinstance(row, str) else row for row in rows]
    columns = {
        "texts": pa.array(texts, pa.list_(pa.string())),
        "finish_reasons": pa.array([["stop"] * len(t) for t in texts], pa.list_(pa.string())),
        "tokens": pa.array([list(range(1, len(t) + 1)) for t in texts], pa.list_(pa.int32())),
        "error": pa.array([row if isinstance(row, str) else "" for row in rows]),
    }
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def test_one_sample_a_row_with_its_lineage():
    actor = gate_actor()
    table = decoded([["grain 0 a"], "no text", ["ship 0 b"], ["grain 1 c"]])
    out = actor(table)
    lineage = ["sample_id", "label", "source_id", "neighbor_id", "lam", "seed", "round"]
    assert out.select(lineage).equals(table.select(lineage))
    assert out["status"].to_pylist() == ["accepted", "error", "rejected", "accepted"]
    assert out["reason"].to_pylist() == ["", "no text", "low_similarity", ""]
    assert out["text"].to_pylist() == ["grain 0 a", None, "ship 0 b", "grain 1 c"]
    assert out["predicted_label"].to_pylist() == ["grain", None, "ship", "grain"]
    near = out["cosine_to_point"].to_pylist()
    assert near[1] is None
    assert [near[0], near[2], near[3]] == pytest.approx([1, 0, 0.5**0.5])
    assert "point" not in out.column_names and "source_text" not in out.column_names
    assert actor.counter.rows == 4
    counts, events = actor.counter.counter.see(0)
    assert {key[1:]: n for key, n in counts.items() if key[0] == "smotext_samples"} == {
        ("accepted", ""): 2,
        ("error", ""): 1,
        ("rejected", "low_similarity"): 1,
    }
    assert events[0] == ("a sample has no text", {"sample_ids": [101], "reason": "no text"})
    assert [facts["text"] for _, facts in events[1:]] == ["grain 0 a", "grain 1 c"]
    actor(table)  # its first texts are shown, later ones are not
    assert [facts for _, facts in actor.counter.counter.see(3)[1] if "text" in facts] == []


def test_the_nearest_candidate_that_passes_is_kept():
    table = decoded([["grain 1 far", "grain 0 copy", "grain 0.1 near"]])
    out = gate_actor(corpus_texts=["grain 0 copy"])(table).to_pylist()[0]
    assert (out["text"], out["num_tokens"], out["status"]) == ("grain 0.1 near", 3, "accepted")


def test_rows_do_not_mix_their_candidates():
    rows = [["grain 0.5 a", "grain 0.1 b"], "failed", ["grain 0.2 c"], ["ship 9 d", "grain 0.3 e"]]
    together = gate_actor()(decoded(rows)).to_pylist()
    for number, row in enumerate(rows):
        (alone,) = gate_actor()(decoded([row])).to_pylist()
        for name in ("text", "status", "reason", "cosine_to_point", "predicted_label"):
            assert together[number][name] == alone[name]


@pytest.mark.parametrize(("rule", "reason"), [("enn", "other_neighbors"), ("tomek", "tomek_link")])
def test_what_cleaning_would_remove_is_passed_over_or_rejected(rule, reason):
    actor = gate_actor(cleaning=rule, min_cosine=-1, same_class=False)
    rows = [["ship 0 among ships"], "failed", ["ship 0 a", "grain 0 b"], ["grain 0 c"]]
    labels = ["grain", "grain", "grain", "grain"]
    out = actor(decoded(rows, labels))
    assert out["reason"].to_pylist() == [reason, "failed", "", ""]
    kept = ["ship 0 among ships", None, "grain 0 b", "grain 0 c"]
    assert out["text"].to_pylist() == kept
    for number, row in enumerate(rows):  # whatever shares its block
        (alone,) = actor(decoded([row])).to_pylist()
        assert alone["reason"] == out["reason"][number].as_py()


def test_a_block_of_errors_only_and_an_empty_block():
    whole = gate_actor()(decoded([["grain 0 a"]]))
    failed = gate_actor()(decoded(["one", "two"]))
    assert failed["status"].to_pylist() == ["error", "error"]
    empty = gate_actor()(decoded([["grain 0 a"]]).slice(0, 0))
    assert failed.schema == empty.schema == whole.schema
    assert len(empty) == 0


def test_labels_keep_their_type():
    table = decoded([["grain 0 a"], ["ship 0 b"]], labels=[7, 7])
    out = gate_actor(labels=(7, 3), label_type=pa.int64(), min_cosine=-1)(table)
    assert out.schema.field("predicted_label").type == pa.int64()
    assert out["predicted_label"].to_pylist() == [7, 3]
    assert out["reason"].to_pylist() == ["", "wrong_class"]


def test_cosines_are_finite_for_a_vector_of_length_0():
    got = cosines(np.array([[1, 0], [0, 2], [0, 0], [-3, 0]], np.float32), np.array([2.0, 0]))
    np.testing.assert_allclose(got, [1, 0, 0, -1])


def test_a_copy_of_any_neighbor_of_a_mixture_is_found():
    table = decoded([["grain 0 some words more"], ["grain 0 some words more"]])
    others = [["grain 0 some words more", "x"], ["x", "y"]]
    table = table.append_column("other_neighbor_texts", pa.array(others))
    samples = gate_actor()(table)
    assert samples["reason"].to_pylist() == ["copy_of_parent", ""]
    ids = pa.array([["a"], ["b"]])
    told = gate_actor()(table.append_column("other_neighbor_ids", ids))
    assert told["other_neighbor_ids"].to_pylist() == [["a"], ["b"]]
