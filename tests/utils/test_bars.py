"""A bar is shown where somebody sees it, follows the work, and warns of nothing."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from smotext_ray.utils import bars


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def notebook(monkeypatch):
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def test_a_bar_follows_the_rows_to_the_end(monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := Screen())
    monkeypatch.setattr(bars, "POLL_SECONDS", 0.01)
    done = [0]
    with bars.polled_bar("decode round-1", 40, lambda: done[0]):
        for done[0] in (10, 20):
            time.sleep(0.2)
        done[0] = 40
    drawn = screen.getvalue()
    assert "decode round-1" in drawn and "20/40" in drawn
    assert drawn.rstrip().rpartition("\r")[2].startswith("decode round-1: 100%")


def test_without_a_terminal_there_is_none(capsys):
    with bars.polled_bar("embed", 40, lambda: pytest.fail("nobody looks")):
        pass
    assert capsys.readouterr().err == ""


def test_a_notebook_has_one_though_its_output_is_no_terminal(notebook, capsys):
    assert bars.is_notebook() and bars.is_shown()
    with bars.polled_bar("embed", 40, lambda: 40):
        pass
    assert "40/40" in capsys.readouterr().err


def test_other_python_is_no_notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not bars.is_notebook()
    shell = SimpleNamespace(config={"TerminalIPythonApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert not bars.is_notebook()


def test_ipywidgets_are_not_asked_for():
    code = (
        "import sys, types; shell = types.SimpleNamespace(config={'IPKernelApp': {}});"
        "sys.modules['IPython'] = types.SimpleNamespace(get_ipython=lambda: shell);"
        "sys.modules['ipywidgets'] = None;"
        "from smotext_ray.utils.bars import progress_bar; progress_bar('embed', 3).close()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "embed" in done.stderr and "ipywidgets" not in done.stderr
