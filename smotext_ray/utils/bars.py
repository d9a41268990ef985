"""Progress bars: on a terminal and in notebooks, nowhere else."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

POLL_SECONDS = 0.5


def is_notebook() -> bool:
    """Whether this process runs the cells of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


def is_shown() -> bool:
    """Whether a bar would be seen: standard error is a terminal, or a notebook's cell."""
    return is_notebook() or sys.stderr.isatty()


def ask_for_no_widgets() -> None:
    """Call before tqdm and Ray are imported, which ask for ipywidgets in notebooks without them."""
    if is_notebook():
        logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)
        _tqdm()


def progress_bar(desc: str, total: int, initial: int = 0) -> Any:
    """A bar of ``tqdm``: a widget in notebooks that have ipywidgets, else a line of text."""
    tqdm = _tqdm()
    return tqdm(desc=desc, total=total, initial=initial, unit="row", disable=not is_shown())


@contextmanager
def polled_bar(desc: str, total: int, rows: Callable[[], int]) -> Iterator[None]:
    """Show a bar during the block that follows ``rows()``, twice a second and at the end."""
    if not is_shown():
        yield
        return
    stop = threading.Event()
    with progress_bar(desc, total) as bar:

        def follow() -> None:
            while not stop.wait(POLL_SECONDS):
                bar.update(rows() - bar.n)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            bar.update(rows() - bar.n)


def _tqdm() -> Any:
    with warnings.catch_warnings():
        # tqdm asks for ipywidgets when it is first imported; its text bar does just as well.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    return tqdm
