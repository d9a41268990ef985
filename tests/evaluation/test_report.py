"""report.html: one file, safe whatever the texts are, and usable by hand, keyboard and phone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import combinations

import numpy as np
import pytest
from hostile_report import hostile_report
from made_report import made_report
from report_page import PARTS, colors

from smotext_ray.evaluation.report.page import write_report


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
