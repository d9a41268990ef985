"""Faster startup of processes that load models, most of which is importing libraries."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import less, without garbage collection in the meantime (benchmarks/start.py measures the
    savings).

    Transformers imports scikit-learn if installed, with SciPy and pandas, for one function of
    assisted decoding. It checks once, and finds none inside this block, which must not need it.
    Only for single-purpose processes, not for a user's.
    """
    missing: dict[str, Any] = {} if "sklearn" in sys.modules else {"sklearn": None}
    was_enabled = gc.isenabled()
    gc.disable()
    sys.modules.update(missing)
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]
        gc.freeze()  # exclude library objects from later collections
        if was_enabled:
            gc.enable()
