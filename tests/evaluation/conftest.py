"""A browser with the page of a report."""

from __future__ import annotations

import chromium
import pytest
from made_report import made_report

from smotext_ray.evaluation.report.page import write_report


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


@pytest.fixture
def fresh(opened):
    return opened(made_report())
