"""report.html: one file, safe whatever the texts are, and usable by hand, keyboard and phone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path

import chromium
import numpy as np
import pytest
from made_report import made_report, noised

from smotext_ray.evaluation.report import page as report_module
from smotext_ray.evaluation.report.page import write_report

HOSTILE = [
    '</script><img src=x onerror="window.hacked = 1">',
    "<!-- <script>window.hacked = 1</script>",
    "]]>\u2028\u2029\x00\u202e \ud800 & &lt;b&gt; ${7*7} {{x}}",
    "a" * 400,
    "__proto__",
    "constructor",
]
PARTS = Path(report_module.__file__).parent / "assets"


def hostile_report():
    """Hostile in every place that holds a text."""
    report = made_report(samples=60)
    for i, sample in enumerate(report["samples"][:12]):
        text = HOSTILE[i % len(HOSTILE)]
        names = ["text", "source_text", "neighbor_text", "label", "reason", "status"]
        sample.update(dict.fromkeys(names, text))
    for place, name in [
        ("classes", "label"),
        ("rejections", "reason"),
        ("histograms", "name"),
    ]:
        for i, row in enumerate(report[place]):
            row[name] = HOSTILE[i % len(HOSTILE)]
    for i, point in enumerate(report["map"]["points"]):
        point.update(text=HOSTILE[i % 6], label=HOSTILE[i % 6])
    for name in ("arm", "classifier", "metric"):
        row = dict(report["utility"]["rows"][0])
        report["utility"]["rows"].append({**row, name: HOSTILE[0]})
    report["utility"]["recall"][0]["label"] = HOSTILE[0]
    report["fidelity"] = {text: {text: 0.5} for text in HOSTILE}
    report["privacy"]["rows"][0].update(name=HOSTILE[0], value=HOSTILE[1], note=HOSTILE[3])
    report["run"].update(uri=HOSTILE[0], llm=HOSTILE[3], encoder=HOSTILE[2])
    return report


class Reader(HTMLParser):
    """Elements with their attributes, and the text of scripts, styles and titles."""

    def __init__(self, page):
        super().__init__()
        self.found, self.texts = [], {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.found and self.found[-1][0] in ("script", "style", "title"):
            tag, attributes = self.found[-1]
            self.texts.setdefault(attributes.get("id", tag), data)


def written(report, directory):
    file = directory / "report.html"
    write_report(report, file)
    return file.read_text("utf-8")


# The file


def test_the_report_stands_in_it_whole(tmp_path):
    report = made_report()
    page = Reader(written(report, tmp_path))
    assert json.loads(page.texts["report"]) == report
    assert json.loads(page.texts["words"])["reasons"]["empty"] == "no words"


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path):
    class Unwritable:
        def __str__(self):
            raise ValueError

    old = written({}, tmp_path)
    with pytest.raises(ValueError):
        write_report({"fidelity": {"x": Unwritable()}}, tmp_path / "report.html")
    assert [file.read_text("utf-8") for file in tmp_path.iterdir()] == [old]


def test_texts_that_look_like_markup_stay_texts(tmp_path):
    report = hostile_report()
    calm, page = (Reader(written(r, tmp_path)) for r in (made_report(), report))
    assert [tag for tag, _ in page.found] == [tag for tag, _ in calm.found]
    assert json.loads(page.texts["report"]) == report
    assert page.texts["report"].isascii() and not set("<>&") & set(page.texts["report"])
    assert page.texts["title"].startswith("SMOTExT report: </script><img")


def test_numbers_of_numpy_and_numbers_that_are_none(tmp_path):
    fidelity = {
        "a": np.float32(0.5),
        "b": np.int64(3),
        "c": float("nan"),
        "d": np.float64("inf"),
        "e": np.array([1.0, np.nan]),
        "f": (np.bool_(True),),
    }
    page = Reader(written({"fidelity": fidelity}, tmp_path))
    assert json.loads(page.texts["report"])["fidelity"] == {
        "a": 0.5,
        "b": 3,
        "c": None,
        "d": None,
        "e": [1.0, None],
        "f": [True],
    }


def test_a_path_that_is_no_utf8(tmp_path):
    page = written({"run": {"uri": "/tmp/\udcff"}}, tmp_path)
    assert "<title>SMOTExT report: /tmp/&#56575;</title>" in page


def test_nothing_of_it_is_elsewhere(tmp_path):
    page = written({}, tmp_path)
    assert not re.search(r"https?:|//[a-z0-9-]+\.|url\(|@import|@font-face|\bsrcset?=", page)
    for tag, attributes in Reader(page).found:
        assert tag not in ("link", "img", "iframe", "object", "embed")
        assert not attributes.get("href", "#").strip("#") or attributes["href"].startswith("#")


def test_its_policy_allows_its_own_script_and_style_only(tmp_path):
    page = written(made_report(), tmp_path)
    (policy,) = (a["content"] for _, a in Reader(page).found if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    for kind in ("script", "style"):
        source = re.search(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_no_part_makes_markup_of_text():
    for part in PARTS.glob("*.js"):
        source = part.read_text()
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in source, part.name
        assert "</script" not in source and "<!--" not in source, part.name


def test_no_part_calls_a_run_private():
    for part in PARTS.iterdir():
        assert "private" not in part.read_text().lower(), part.name


# Colors


def colors(dark):
    """The custom properties of the style that are colors."""
    light, night = re.split(
        r"@media \(prefers-color-scheme: dark\)", (PARTS / "page.css").read_text()
    )
    found = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6});", light))
    return found | (dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6});", night)) if dark else {})


def linear(color):
    part = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """As WCAG 2 defines it."""
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (high + 0.05) / (low + 0.05)


def seen(color, matrix):
    """Where a color lies in OKLab (Ottosson, 2020) for an eye of this kind."""
    to_cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    to_lab = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    cones = np.array(to_cones) @ np.clip(np.array(matrix) @ linear(color), 0, 1)
    return np.array(to_lab) @ np.cbrt(cones)


EYES = {  # Machado, Oliveira and Fernandes (2009), severity 1
    "usual": np.eye(3),
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("dark", [False, True])
def test_colors_can_be_read_and_told_apart(dark):
    named = colors(dark)
    for ground in ("paper", "raised"):
        for name in ("ink", "muted", "accent", "no"):
            assert contrast(named[name], named[ground]) >= 4.5, name
    classes = [named[f"c{i}"] for i in range(8)]
    for color in [*classes, named["edge"], named["plain"]]:
        assert contrast(color, named["paper"]) >= 3, color
    for eye, matrix in EYES.items():
        places = [seen(color, matrix) for color in classes]
        nearest = min(float(np.linalg.norm(a - b)) for a, b in combinations(places, 2))
        assert nearest > (0.07 if eye == "tritanopia" else 0.1), eye


# The page, in a browser


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    pytest.importorskip("websockets", reason="websockets is not installed")
    if chromium.chromium() is None:
        pytest.skip("no Chromium is installed")
    with chromium.browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def opened(tab, tmp_path_factory):
    """Opens a report on a wide and light screen, where nothing moves."""

    def open_report(report):
        file = tmp_path_factory.mktemp("report") / "report.html"
        write_report(report, file)
        tab.emulate(1280, still=True)
        tab.open(file)
        assert tab.requests == [file.as_uri()]
        return tab

    return open_report


@pytest.fixture(scope="module")
def usual(opened):
    return opened(made_report())


def texts(page, selector):
    return page.js(f"[...document.querySelectorAll({selector!r})].map((e) => e.textContent)")


def words_of(page, selector):
    return page.js(f"document.querySelector({selector!r}).innerText")


def named(selector, words):
    """The element of this kind whose text is, or starts with, these words."""
    return (
        f"[...document.querySelectorAll({selector!r})]"
        f".find((e) => e.textContent.trim().startsWith({words!r}))"
    )


def choose(page, label, value):
    page.js(
        f"(() => {{ const it = {named('label.field', label)}.querySelector('select');"
        f"it.value = {value!r}; it.dispatchEvent(new Event('change')); }})()"
    )


def search(page, query):
    """Type the query in place of the one that is there; wait until it was looked for."""
    page.js("document.querySelector('[type=search]').value = ''")
    page.click("document.querySelector('[type=search]')")
    page.type(query)
    page.js("new Promise((done) => setTimeout(done, 300))")


def clear_filters(page):
    search(page, " ")
    for label in ("Class", "Status"):
        choose(page, label, "")
    choose(page, "Order", "id")


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


@pytest.fixture
def fresh(opened):
    return opened(made_report())


def test_the_legend_of_the_map_hides_classes(fresh):
    shown = "[...document.querySelectorAll('.map g')].filter((g) => g.style.display === '').length"
    layers = fresh.js(shown)
    assert layers == 10  # eight classes of real texts, two of new ones
    fresh.click(named("#map button", "grain"))
    assert fresh.js(shown) == layers - 2
    assert fresh.js(named("#map button", "grain") + ".getAttribute('aria-pressed')") == "false"
    fresh.click(named("#map button", "real texts"))
    assert fresh.js(shown) == 1 and words_of(fresh, ".readout").startswith("120 texts shown")
    fresh.click(named("#map button", "none"))
    assert fresh.js(shown) == 0
    fresh.click(named("#map button", "all"))
    assert fresh.js(shown) == 2


def test_points_are_named_on_hover_and_found_on_click(fresh):
    fresh.click(named("#map button", "real texts"))
    x, y, text = fresh.js(
        "(() => { const svg = document.querySelector('.map svg'); svg.scrollIntoView();"
        "const sample = JSON.parse(document.getElementById('report').textContent).samples[5];"
        "const d = svg.querySelector('.synthetic').getAttribute('d').split('M')[3];"
        "const at = new DOMPoint(...d.split('h')[0].split(' ').map(Number))"
        ".matrixTransform(svg.getScreenCTM()); return [at.x, at.y, sample.text]; })()"
    )
    fresh.mouse(x, y)
    assert "synthetic #5" in words_of(fresh, ".readout") and text in words_of(fresh, ".readout")
    fresh.mouse(x, y, "mousePressed", "mouseReleased")
    assert fresh.js("document.querySelector('[type=search]').value") == "#5"
    assert words_of(fresh, ".count") == "1 of 240 samples"
    assert text in texts(fresh, "#samples .new p")


def test_the_map_is_walked_by_keys(fresh):
    fresh.js("document.querySelector('.map').focus()")
    said = []
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft"):
        fresh.key(key)
        said.append(words_of(fresh, ".readout"))
    assert all(" \u00b7 " in line for line in said) and len(set(said)) >= 3
    fresh.click(named("#map button", "real texts"))
    fresh.js("document.querySelector('.map').focus()")
    fresh.key("ArrowRight")
    fresh.key("Enter")
    assert words_of(fresh, ".count") == "1 of 240 samples"


def test_samples_are_filtered_by_class_and_status(usual):
    clear_filters(usual)
    choose(usual, "Class", "grain")
    assert words_of(usual, ".count") == "120 of 240 samples"
    choose(usual, "Status", "rejected")
    assert set(texts(usual, "#samples h3 bdi")) == {"grain"}
    assert all(text.startswith("rejected: ") for text in texts(usual, "#samples .status"))
    assert any("too far from its point" in text for text in texts(usual, "#samples .status"))
    choose(usual, "Order", "far")
    lines = texts(usual, "#samples .facts")
    cosines = [float(re.search(r"cosine ([\d.]+)", line)[1]) for line in lines]
    assert cosines == sorted(cosines) and len(cosines) == 10
    clear_filters(usual)


def test_samples_are_searched_in_text_and_parents(usual):
    clear_filters(usual)
    search(usual, "WHEAT OF THE")
    found = texts(usual, "#samples .triple")
    assert found and all("wheat of the" in text.lower() for text in found)
    assert {mark.lower() for mark in texts(usual, "#samples mark")} == {"wheat of the"}
    for query in (".*", "(", "[", "\\", "</p>"):
        search(usual, query)
        assert words_of(usual, ".count") == "0 of 240 samples", query
    search(usual, "#17")
    assert texts(usual, "#samples h3 small") == ["#17"]
    clear_filters(usual)
    assert words_of(usual, ".count") == "240 samples" and not usual.complaints


def test_samples_are_paged(usual):
    clear_filters(usual)
    for press, first, place in [
        ("Next", "#10", "2 of 24"),
        ("Last", "#230", "24 of 24"),
        ("Next", "#230", "24 of 24"),
        ("Previous", "#220", "23 of 24"),
        ("First", "#0", "1 of 24"),
        ("Previous", "#0", "1 of 24"),
    ]:
        usual.click(named(".pager button", press))
        assert texts(usual, "#samples h3 small")[0] == first
        assert words_of(usual, ".place") == place
    usual.click(named(".pager button", "Next"))
    choose(usual, "Class", "ship")
    assert words_of(usual, ".place") == "1 of 12"
    clear_filters(usual)


def test_a_long_text_is_cut_until_asked_for(opened):
    report = made_report(samples=1)
    report["samples"][0]["text"] = "word " * 500
    page = opened(report)
    assert len(texts(page, "#samples .new p")[0]) < 500
    page.click("document.querySelector('.more')")
    assert texts(page, "#samples .new p") == ["word " * 500]


def test_twenty_thousand_samples(opened):
    page = opened(made_report(samples=20_000))
    assert words_of(page, ".count") == "20,000 samples"
    assert len(texts(page, "#samples .triple")) == 10
    search(page, "bushels said the maize")
    assert re.fullmatch(r"[\d,]+ of 20,000 samples", words_of(page, ".count"))
    page.click(named(".pager button", "Last"))
    assert page.js("document.querySelectorAll('*').length") < 3000 and not page.complaints


def test_many_classes(opened):
    classes = [{"label": f"c{i}", "real": 9, "accepted": 1, "target": 10} for i in range(150)]
    point = {"x": 0.5, "y": 0.5, "kind": "synthetic", "id": 0}
    points = [{**point, "x": i / 7, "label": f"c{i}"} for i in range(150)]
    page = opened({"classes": classes, "map": {"method": "PCA", "points": points}})
    visible = "[...document.querySelectorAll('#classes .row')].filter((r) => !r.hidden).length"
    assert page.js(visible) == 31
    page.click(named("#classes button", "Show all 150"))
    assert page.js(visible) == 151
    assert texts(page, "#map [aria-pressed=true] bdi") == [f"c{i}" for i in range(8)]
    assert not page.complaints


def test_hostile_texts_are_only_shown(opened):
    page = opened(hostile_report())
    assert page.js("window.hacked") is None and not page.complaints
    assert page.js("document.querySelectorAll('img, iframe, link').length") == 0
    assert HOSTILE[0] in texts(page, "#samples .new p")
    assert HOSTILE[0] in texts(page, "#classes .name") and "__proto__" in texts(page, "#map bdi")
    assert "Cannot draw this section" not in words_of(page, "main")
    search(page, HOSTILE[0])
    assert texts(page, "#samples mark")[0] == HOSTILE[0]
    assert page.js("window.hacked") is None and not page.complaints
    page.emulate(360)
    assert page.js("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("report", [{}, dict.fromkeys(made_report()), {"utility": {"rows": []}}])
def test_what_is_missing_is_not_shown(opened, report):
    page = opened(report)
    for place in ("main section", "nav[aria-label=Sections] a"):
        shown = f"[...document.querySelectorAll({place!r})].filter((e) => !e.hidden).length"
        assert page.js(shown) == 0
    assert not page.complaints


def test_synthetic_texts_alone_have_no_table_where_they_were_not_trained_on(opened):
    report = made_report()
    assert "TSTR" in words_of(opened(report), "#utility")
    for nothing in (None, {}, {"embedding": None}):
        report["utility"]["tstr_ratio"] = nothing
        assert "TSTR" not in words_of(opened(report), "#utility")


def test_values_that_are_missing_were_not_measured(opened):
    report = made_report()
    for row in report["utility"]["rows"] + report["utility"]["gains"]:
        row.update(mean=None, low=None, high=None, values=[])
    report["histograms"][0]["series"] = []
    report["histograms"][1]["series"][0].update(edges=[], counts=[])
    report["map"]["points"][0].update(x=None)
    report["privacy"].update(rows=[])
    page = opened({**report, "run": {}, "distillation": {"teacher": "t", "student": "s"}})
    assert not page.complaints and "Cannot draw this section" not in words_of(page, "main")
    assert "NaN" not in words_of(page, "body") and "undefined" not in words_of(page, "body")


def test_a_distillation_without_students_says_why(opened):
    note = "No student was trained: 6 of 8 classes have no synthetic texts (acq)."
    page = opened(
        {
            "distillation": {
                "teacher": "t",
                "student": "s",
                "note": note,
                "rows": [],
                "agreement": [],
            }
        }
    )
    assert note in words_of(page, "#distillation .body")
    assert not texts(page, "#distillation table") and not page.complaints


def test_a_section_that_is_wrong_leaves_the_others(opened):
    page = opened({**made_report(), "histograms": [{"name": "x"}]})
    assert words_of(page, "#histograms .body").startswith("Cannot draw this section")
    assert words_of(page, ".count") == "240 samples" and len(page.complaints) == 1


def test_privacy_is_named_only_with_its_epsilon(opened, usual):
    page = opened(made_report())
    assert words_of(page, "#copies h2") == "Copy check"
    assert "this is not a privacy guarantee" in words_of(page, "#copies")
    assert "differential" not in words_of(page, "body").lower()
    page = opened(noised(made_report(), epsilon=8.0))
    assert words_of(page, "#copies h2") == "Differential privacy, \u03b5\u00a0=\u00a08"
    facts = words_of(page, "#copies .facts")
    assert "1.0e-5" in facts and "protected like texts" in facts
    assert texts(page, "#copies .name")[:4] == [
        "\u03b5 = 1",
        "\u03b5 = 4",
        "\u03b5 = 8",
        "no noise",
    ]
    assert set(texts(page, "#samples .parent p")) == {"withheld (differential privacy)"}
    assert not page.complaints


def test_it_fits_a_phone(fresh):
    fresh.emulate(360)
    assert fresh.js("document.documentElement.scrollWidth") == 360
    fresh.js("document.querySelectorAll('details').forEach((d) => d.open = true)")
    assert fresh.js("document.documentElement.scrollWidth") == 360
    wide = (
        "[...document.querySelectorAll('body *')].filter((e) => !e.closest('.scroll, .skip')"
        "&& e.getBoundingClientRect().right > 361).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert fresh.js(wide) == []


def test_it_follows_the_readers_preferences(fresh):
    color = "getComputedStyle(document.body).backgroundColor"
    scrolling = "getComputedStyle(document.documentElement).scrollBehavior"
    light, dark = (
        tuple(int(colors(night)["paper"][i : i + 2], 16) for i in (1, 3, 5))
        for night in (False, True)
    )
    fresh.emulate(1280)
    assert fresh.js(color) == f"rgb{light}" and fresh.js(scrolling) == "smooth"
    fresh.emulate(1280, dark=True, still=True)
    assert fresh.js(color) == f"rgb{dark}" and fresh.js(scrolling) == "auto"


def test_it_is_used_with_the_keyboard(fresh):
    fresh.key("Tab")
    assert words_of(fresh, ":focus") == "Skip to the report"
    assert fresh.js("document.activeElement.getBoundingClientRect().left") >= 0
    fresh.key("Enter")
    assert fresh.js("location.hash") == "#main"
    fresh.key("Tab")
    assert fresh.js("document.activeElement.closest('main') !== null")
    assert fresh.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    fresh.js("document.querySelector('#utility input:checked').focus()")
    fresh.key("ArrowRight")
    assert texts(fresh, "#utility h3")[0].startswith("macro-F1, linear SVM")
    # The button that turned the last page keeps the focus.
    fresh.js(named(".pager button", "Last") + ".focus()")
    fresh.key("Enter")
    assert words_of(fresh, ".place") == "24 of 24" and words_of(fresh, ":focus") == "Last"


def test_everything_has_a_name_for_a_screen_reader(fresh):
    headings = "[...document.querySelectorAll('h1, h2, h3, h4')].map((e) => e.tagName)"
    fresh.call("Accessibility.enable")
    nodes = fresh.call("Accessibility.getFullAXTree")["nodes"]
    kinds = {"button", "searchbox", "combobox", "radio", "application", "table", "region", "image"}
    spoken = {}
    for node in nodes:
        role = node.get("role", {}).get("value")
        if role in kinds and not node["ignored"]:
            spoken.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    assert kinds - {"table"} <= spoken.keys() and all(all(names) for names in spoken.values())
    assert fresh.js("[...document.querySelectorAll('table')].every((t) => t.caption)")
    assert fresh.js("[...document.querySelectorAll('th')].every((t) => t.scope)")
    levels = [int(tag[1]) for tag in fresh.js(headings)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
