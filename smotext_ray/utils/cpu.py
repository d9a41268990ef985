"""This machine's CPU: its best dtype, and its cores."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Literal

Dtype = Literal["float32", "bfloat16", "float16"]


@cache
def cpu_dtype() -> Dtype:
    """bfloat16 if this machine's CPU supports it natively, which doubles the speed; else float32.

    Without bfloat16 instructions, decoding takes five times as long with it (benchmarks/decode.py).
    The cosine of embeddings to those in float32 is 0.9999 (benchmarks/encode.py).
    """
    try:
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:  # not Linux
        found = None
    flags = set(found[1].split()) if found else set()
    return "bfloat16" if flags & {"avx512_bf16", "amx_bf16", "bf16"} else "float32"


def usable_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
