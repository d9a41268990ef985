"""What a test reads on the page of a report, and does there, through `chromium`."""

from __future__ import annotations

import re
from pathlib import Path

from smotext_ray.evaluation.report import page as report_module

PARTS = Path(report_module.__file__).parent / "assets"


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


def colors(dark):
    """The custom properties of the style that are colors."""
    light, night = re.split(
        r"@media \(prefers-color-scheme: dark\)", (PARTS / "page.css").read_text()
    )
    found = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6});", light))
    return found | (dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6});", night)) if dark else {})
