"""report.html in a browser: every section is drawn from what was measured."""

from __future__ import annotations

from made_report import made_report
from report_page import choose, named, texts, words_of


def test_every_section_is_drawn(usual):
    assert not usual.complaints
    assert "not measured" not in texts(usual, "section > .body > p")
    assert words_of(usual, "h1") == "s3://corpora/reuters/r8-balanced"
    assert "5,485" in words_of(usual, ".facts") and "122 (41%)" in words_of(usual, ".facts")
    assert texts(usual, "#classes .value")[:2] == ["41 \u2192 160", "108 \u2192 160"]
    assert len(texts(usual, "#histograms .outline[d]")) == 4
    assert texts(usual, "#rejections .name")[0] == "closer to another class"
    assert texts(usual, "#fidelity caption")[2] == "Density and coverage of the test texts"
    assert "membership inference, AUC" in words_of(usual, "#copies")
    assert "0.961" in words_of(usual, "#distillation")
    assert texts(usual, "#distillation caption") == [
        "Student compared with teacher",
        "Agreement with the teacher on the test texts",
    ]
    assert texts(usual, "#distillation tbody tr:first-child td")[:2] == ["soft", "macro-F1"]
    assert "self-BLEU, texts of one length\t16.9\t18.6" in words_of(usual, "#fidelity")
    assert "vectors shuffled\t293\t158\t54%" in words_of(usual, "#fidelity")


def test_the_verdict_and_what_weakens_it_stand_on_top(usual):
    first, second = texts(usual, "header.page .outcome")
    assert first.startswith(
        "logistic regression on embeddingsBetter than real texts alone, but not"
    )
    assert "macro-F10.757 \u2192 0.868 +0.111, 95%: +0.099 to +0.122" in first
    assert "best control0.852 parents decoded again (lam 0)" in first
    assert "recall0.81 \u2192 0.96 of grain" in first
    assert second.startswith("linear SVM on TF-IDFBetter than real texts alone and than class")
    assert texts(usual, ".warnings li") == made_report()["summary"]["warnings"]
    facts = words_of(usual, ".facts")
    assert "s3://corpora/reuters/r8-test.parquet (2,189 texts)" in facts
    assert "2025-11-21" in facts and "13:46" not in facts and "0.1.0" in facts
    usual.click("document.querySelector('.settings summary')")
    assert 'plan.sampling_strategy\t{"grain":160,"ship":160}' in words_of(usual, ".settings")


def test_classes_with_synthetic_texts_come_first(usual):
    labels = [row["label"] for row in made_report()["classes"]]
    assert texts(usual, "#classes .row .name") == ["grain", "ship", *labels[:-2], ""]
    assert texts(usual, "#map [aria-pressed] bdi")[:2] == ["ship", "grain"]
    # Two bars go on beyond the axis, on which the raised classes can be read.
    assert usual.js("document.querySelectorAll('#classes .gap').length") == 2
    assert "Bars with a gap" in words_of(usual, "#classes")


def test_figures_of_each_class_stand_next_to_each_other(usual):
    rows = texts(usual, "#fidelity .body > .scroll tbody tr")
    assert rows == ["grain119 / 410.97 / 0.930.63 / 0.6884 / 1010.71",
                    "ship52 / 1080.71 / 0.930.63 / 0.6884 / 1010.71"]  # fmt: skip


def test_a_measure_without_a_card_is_shown_with_its_lists(usual):
    assert {"another measure", "another measure, of classes"} <= {
        *texts(usual, "#fidelity caption")
    }
    assert "[object" not in words_of(usual, "body")


def test_what_was_not_measured_is_listed_with_its_command(usual):
    shown = texts(usual, "#unmeasured li")
    assert shown and shown[0].endswith(
        "smotext evaluate --run s3://corpora/reuters/r8-balanced --test "
        "s3://corpora/reuters/r8-test.parquet --output DIR --quick --classifiers embedding tfidf "
        "bert"
    )
    assert not any("perplexity" in entry for entry in shown)


def test_axes_have_titles(usual):
    titles = texts(usual, ".row.axis .value")
    assert titles[:4] == ["rows", "macro-F1", "gain", "recall"]
    assert texts(usual, ".axis-title") == [
        "cosine to the target point",
        "length in words, log scale",
    ]


def test_utility_follows_the_switches(usual):
    title = "#utility h3"
    assert texts(usual, title)[0].startswith("macro-F1, logistic regression on embeddings")
    assert "credited to interpolation" in words_of(usual, ".verdict")
    rows = len(texts(usual, "#utility .switched > ol:first-of-type .row"))
    usual.click(named("#utility label", "linear SVM"))
    usual.click(named("#utility label", "accuracy"))
    assert texts(usual, title)[0].startswith("accuracy, linear SVM on TF-IDF")
    # SMOTE on embeddings has no texts, so this classifier has an arm less.
    assert len(texts(usual, "#utility .switched > ol:first-of-type .row")) == rows - 1
    usual.click("document.querySelector('#utility summary')")
    assert "vectors shuffled" in words_of(usual, "#utility details table")
    usual.click(named("#utility label", "logistic"))
    usual.click(named("#utility label", "macro-F1"))
    assert texts(usual, title)[0].startswith("macro-F1, logistic")


def test_recall_is_compared_with_the_arm_chosen(usual):
    before = texts(usual, "#utility .value")
    choose(usual, "compared with", "shuffled")
    assert "vectors shuffled" in texts(usual, "#utility .legend li")
    assert texts(usual, "#utility .value") != before


def test_a_gain_that_does_not_clear_its_controls_is_not_interpolations(opened):
    report = made_report()
    for verdict in report["utility"]["verdicts"]:
        verdict["counts"] = False
        verdict["over_lam_0"]["p"] = 0.06
    page = opened({"utility": report["utility"]})
    assert "does not significantly beat parents decoded again" in words_of(page, ".verdict")
    del report["utility"]["verdicts"]
    page = opened({"utility": report["utility"]})
    assert "was not measured" in words_of(page, ".verdict") and not page.complaints
