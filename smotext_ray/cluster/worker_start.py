"""The start of a process that loads models: most of it is the import of their libraries."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import less, and collect no garbage meanwhile (benchmarks/start.py tells what it saves).

    Transformers imports scikit-learn where there is one, with SciPy and pandas, for one function
    of assisted decoding. It looks for it once, and finds none here; the block must not need
    it. For processes of one purpose, not for a user's.
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
        gc.freeze()  # what libraries hold is not looked through again and again
        if was_enabled:
            gc.enable()
