"""What the benchmarks compute from what they measure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_ratios_stand_with_their_targets(capsys):
    from figures import Target, show_ratios

    targets = [Target("ours", "theirs", 2.5), Target("ours", "bare", 1.3, is_most=True)]
    ratios = show_ratios({"ours": 30.0, "theirs": 10.0, "bare": 25.0}, targets)
    assert ratios == {"ours / theirs": 3.0, "ours / bare": 1.2}
    assert capsys.readouterr().out.splitlines()[2:4] == [
        "| ours / theirs | 3.00 | at least 2.5 |",
        "| ours / bare | 1.20 | at most 1.3 |",
    ]


def test_figures_are_kept_with_the_machine_that_they_are_of(tmp_path):
    from figures import save

    save(tmp_path / "new" / "figures.json", seconds={"a": 1.5})
    kept = json.loads((tmp_path / "new" / "figures.json").read_text())
    assert kept["seconds"] == {"a": 1.5} and kept["cores"] >= 1 and kept["cpu"]


def test_the_weights_that_a_step_reads_are_those_of_the_published_model():
    from gpu_large_llm import _weights
    from transformers import MistralConfig

    shape = MistralConfig()
    published = 7_241_732_096  # parameters of Mistral-7B-v0.1
    norms = (2 * shape.num_hidden_layers + 1) * shape.hidden_size
    assert _weights(shape) == published - norms - shape.vocab_size * shape.hidden_size


def test_blocks_that_keep_a_driver_ahead_of_its_gpus(capsys):
    import scale

    scale.show_capacity(driver_seconds=0.08)
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in lines if line}
    # 256 texts at once, a step of 4 ms, two candidates of 32 tokens: 1,000 samples/s.
    assert [cell.strip() for cell in rows["1"]] == ["1,000", "1,000", "8%", "552", "552", "8%"]
    assert [cell.strip() for cell in rows["64"][:3]] == ["64,000", "10,240", "50%"]
    assert float(rows["512"][5].strip("% ")) <= 50


def test_time_that_is_held_between_two_times():
    from simulated_gpus import SHAPES, overlap

    assert overlap([(0.0, 1.0), (2.0, 4.0), (9.0, 10.0)], 0.5, 3.0) == 1.5
    assert SHAPES["7b"].encode > SHAPES["7b"].decode  # the gate's encoder is the slower one


def test_ratios_of_a_gpu_are_those_of_what_was_measured(capsys):
    from gpu_engine import show_all

    rate = {"of": "tokens", "start": 2.0}
    large = {"weights_gb": 14.2, "gb_a_second": 4000.0, "batches": [[1, 100.0, 200.0]]}
    found = {
        "demo": {"seconds": 60.0},
        "decoder": rate | {"speed": 3000.0},
        "generate": rate | {"speed": 1000.0},
        "FAISS, GPU": {"error": "out of memory"},
        "7B": large,
    }
    show_all(found)
    out = capsys.readouterr().out
    assert "| decoder / generate | 3.00 | at least 2.5 |" in out
    assert "FAISS" not in out and "| 1 | 100 | 200 | 50% |" in out


def test_the_table_of_the_protocol_has_gains_with_both_kinds_of_intervals(tmp_path, capsys):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from utility_tables import show, write_scores

    from smotext_ray.evaluation.utility.scores import measure

    labels = ["a", "b"] * 30
    guesses = {"nothing": 40, "class_weights": 44, "real_and_synthetic": 52, "synthetic_only": 36}
    for seed in range(2):
        place = tmp_path / f"seed-{seed}"
        (place / "scores").mkdir(parents=True)
        pq.write_table(pa.table({"label": labels}), place / "test.parquet")
        for arm, right in guesses.items():
            guess = labels[: right + seed] + ["a"] * (60 - right - seed)
            found = {("tfidf", arm): measure(labels, guess, seed)}
            write_scores(place / "scores" / f"tfidf.{arm}.json", found, rows=60)
    lacking = {("tfidf", "lam_0"): measure(labels, labels, 0)}
    write_scores(tmp_path / "seed-0" / "scores" / "tfidf.lam_0.json", lacking, rows=60)
    show(tmp_path, 2)
    out = capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())["tfidf"]
    gain = results["class_weights"]["new_texts_less_this"]
    assert "| class_weights | 60 | 0.8" in out
    assert "lam_0" not in out  # the other seed has none
    assert gain["mean"] == pytest.approx(results["over_test_rows"]["mean"]) and gain["p"] < 0.5
    assert "Over class_weights, by a bootstrap over the test rows: +0.069" in out
    assert "new_texts_less_this" not in results["synthetic_only"]
    assert "of their macro-F1: -0.0" in out


def test_arms_are_ranked_over_datasets(tmp_path, capsys):
    import numpy as np
    from across_sets import compare, read, wilcoxon_p_values

    from smotext_ray.errors import UserError

    directories = []
    for number in range(8):
        directory = tmp_path / f"set-{number}"
        directory.mkdir()
        means = {"class_weights": 0.5, "eda": 0.4, "real_and_synthetic": 0.6, "nothing": 0.45}
        arms = {
            arm: {
                "rows": 9,
                "macro_f1": {"mean": mean + number / 100 + 1e-3 * number * (arm < "d")},
            }
            for arm, mean in means.items()
        }
        if number:
            arms["only_here"] = arms["eda"]
        results = {"tfidf": arms | {"over_test_rows": None, "tstr_over_trtr": {}}}
        (directory / "results.json").write_text(json.dumps(results))
        directories.append(directory)
    arms, scores = read(directories, "tfidf")
    assert arms == ["class_weights", "eda", "real_and_synthetic", "nothing"]
    p_values = wilcoxon_p_values(arms, scores)
    least = 2 / 2**8
    assert p_values == pytest.approx(
        {"class_weights": least, "eda": 2 * least, "nothing": 2 * least}
    )
    compare(arms, scores)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:6]] == [
        "real_and_synthetic", "class_weights", "nothing", "eda",
    ]  # fmt: skip
    assert "1.00" in lines[2] and "4.00" in lines[5] and "1.66" in lines[-1]
    with pytest.raises(UserError, match="no results of bert"):
        read(directories, "bert")
    same = np.tile(scores[:, :1], (1, 4))
    assert set(wilcoxon_p_values(arms, same).values()) == {1.0}


def test_what_leaks_is_measured_class_by_class():
    import numpy as np
    from leakage import leak

    from smotext_ray.evaluation.inputs import EvaluationData
    from smotext_ray.evaluation.rows import Rows

    def rows(x, labels):
        return Rows([""] * len(x), np.float32(x), labels)

    axes = np.eye(6)
    real, test = rows(axes[:4], ["a", "a", "b", "b"]), rows(axes[[4, 5, 5]], ["a", "b", "b"])
    near = rows(axes[[0, 1, 4]], ["a", "a", "a"])
    parents = np.array([[0, 1], [0, 1], [0, 1]])
    material = EvaluationData(real, near, test, parents, near.embeddings, [0, 1, 2], [])
    assert leak(material, np.array([0, 1])) == 1.0  # texts on their parents
    assert leak(material, np.array([2])) == 0.0  # a text on the test text
    assert leak(material, np.array([0, 2])) == 0.25  # one parent has none: half a tie, one lost


def samples_of(cosines, reasons):
    """One table per candidate, as the gate's, from (points, candidates) of cosines."""
    import pyarrow as pa

    count = len(cosines)
    return [
        pa.table(
            {
                "sample_id": range(count),
                "label": ["a"] * count,
                "text": [f"text {point} {n}" for point in range(count)],
                "num_tokens": pa.array([10 + n] * count, pa.int32()),
                "cosine_to_point": pa.array([row[n] for row in cosines], pa.float32()),
                "status": ["rejected" if row[n] else "accepted" for row in reasons],
            }
        )
        for n in range(len(cosines[0]))
    ]


def test_each_policy_of_candidates_keeps_the_nearest_accepted_one_that_it_looks_at():
    from candidates import POLICIES

    no = "low_similarity"
    samples = samples_of(
        [[0.5, 0.6, 0.9, 0.9], [0.2, 0.1, 0.7, 0.8], [0.9, 0.3, 0.95, 0.1]],
        [["", "", no, ""], [no, no, no, ""], ["", "", "", ""]],
    )

    def kept(policy):
        texts, tokens = POLICIES[policy](samples)
        return texts["text"].to_pylist(), tokens

    assert kept("1") == (["text 0 0", "text 2 0"], 30)
    assert kept("2") == (["text 0 1", "text 2 0"], 63)
    assert kept("4") == (["text 0 3", "text 1 3", "text 2 2"], 138)
    assert kept("2, then 2") == (["text 0 1", "text 1 3", "text 2 0"], 63 + 25)
    # The middle of the accepted ones is 0.75: the first point is far, too.
    assert kept("2, then 2 if far") == (["text 0 3", "text 1 3", "text 2 0"], 63 + 50)


def test_a_record_votes_for_the_nearest_text_of_its_class():
    import numpy as np
    from private_votes import count_votes, most_voted

    from smotext_ray.evaluation.rows import Rows

    east, north, south = [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]
    real = Rows(["r"] * 3, np.float32([east, east, north]), ["a", "a", "b"])
    texts = Rows(["t"] * 4, np.float32([east, north, south, east]), ["a", "a", "b", "b"])
    votes = count_votes(real, texts)
    assert votes.tolist() == [2, 0, 0, 1]
    assert most_voted(votes, texts.labels, 1).tolist() == [0, 3]
    assert most_voted(votes, texts.labels, 5).tolist() == [0, 1, 2, 3]
