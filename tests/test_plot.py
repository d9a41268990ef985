"""Figures of a report: what is drawn is what the report says."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from made_report import made_report

import smotext_ray
from smotext_ray.errors import UserError
from smotext_ray.evaluation.report.words import in_words

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402

from smotext_ray import plot  # noqa: E402


@pytest.fixture(scope="module")
def report():
    return json.loads(json.dumps(made_report(), default=lambda x: x.tolist()))


@pytest.fixture(autouse=True)
def close():
    yield
    pyplot.close("all")


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_bars_are_the_rows_of_the_classes(report):
    ax = plot.class_balance(report)
    by_label = {str(row["label"]): row for row in report["classes"]}
    real, new = ax.containers
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert sorted(labels) == sorted(by_label)
    for label, below, above in zip(labels, real, new, strict=True):
        assert below.get_width() == by_label[label]["real"] == above.get_x()
        assert above.get_width() == by_label[label]["accepted"]
    assert legend(ax) == ["real", "synthetic"]


def test_every_point_is_on_the_map(report):
    ax = plot.embedding_map(report)
    drawn = sorted(map(tuple, (p for c in ax.collections for p in c.get_offsets().tolist())))
    assert drawn == pytest.approx(sorted((p["x"], p["y"]) for p in report["map"]["points"]))
    synthetic = {str(p["label"]) for p in report["map"]["points"] if p["kind"] == "synthetic"}
    named = {name.removesuffix(", synthetic") for name in legend(ax) if name.endswith("synthetic")}
    assert named == synthetic


def test_lengths_are_shares_on_the_scale_of_the_report(report):
    ax = plot.length(report)
    (found,) = [each for each in report["histograms"] if each["name"] == "length"]
    assert ax.get_xscale() == found["scale"] and legend(ax) == [s["name"] for s in found["series"]]
    for steps, series in zip(ax.patches, found["series"], strict=True):
        values, edges, _ = steps.get_data()
        assert values.sum() == pytest.approx(1) and edges.tolist() == series["edges"]


def test_the_arms_are_in_order_with_their_intervals(report):
    ax = plot.utility(report, classifier="tfidf", metric="accuracy")
    rows = [
        row
        for row in report["utility"]["rows"]
        if (row["classifier"], row["metric"]) == ("tfidf", "accuracy")
    ]
    rows.sort(key=lambda row: row["mean"])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [in_words(r["arm"]) for r in rows]
    means = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    assert means == [row["mean"] for row in rows]
    spans = [tuple(line.get_xdata()) for line in ax.lines if line.get_marker() != "o"]
    assert spans == [(row["low"], row["high"]) for row in rows if row["low"] is not None]


def test_given_axes_are_drawn_on_and_files_are_read(report, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(report))
    figure, axes = pyplot.subplots(2, 2)
    drawn = [
        function(where, ax=ax)
        for function, ax, where in zip(
            (plot.class_balance, plot.embedding_map, plot.length, plot.utility),
            axes.flat,
            (tmp_path, str(tmp_path), tmp_path / "report.json", report),
            strict=True,
        )
    ]
    assert drawn == list(axes.flat) and all(ax.has_data() for ax in drawn)
    figure.savefig(tmp_path / "all.png")
    assert len(pyplot.get_fignums()) == 1


def test_what_is_not_there_is_said(report, tmp_path):
    with pytest.raises(UserError, match="does not exist; write it with smotext evaluate"):
        plot.length(tmp_path)
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(UserError, match="is not a report"):
        plot.length(tmp_path)
    with pytest.raises(UserError, match="no section 'map'"):
        plot.embedding_map({"map": None})
    with pytest.raises(UserError, match=r"no macro_f1 of the classifier 'svm'; it has: .*tfidf"):
        plot.utility(report, classifier="svm")


def test_matplotlib_is_imported_for_a_figure_alone():
    code = (
        "import sys, smotext_ray; smotext_ray.plot.utility;"
        "assert 'matplotlib' not in sys.modules; sys.modules['matplotlib'] = None\n"
        "row = {'label': 1, 'real': 1, 'accepted': 0}\n"
        "try: smotext_ray.plot.class_balance({'classes': [row]})\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Figures need matplotlib; install it with: pip install matplotlib\n"
    assert smotext_ray.plot is plot
