"""report.html in a browser, in use: map, samples, hostile texts, phone, keyboard, screen reader."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hostile_report import HOSTILE, hostile_report
from made_report import made_report, noised
from report_page import choose, clear_filters, colors, named, search, texts, words_of


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
