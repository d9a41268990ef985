"""Hashes of ids, the same in every process."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray


def id_hashes(ids: pa.ChunkedArray) -> NDArray[np.uint64]:
    """64 bits per id, spread evenly.

    A collision is improbable below a billion rows.

    Examples
    --------
    >>> id_hashes(pa.chunked_array([[1, 2]])) % np.uint64(1000)
    array([789, 730], dtype=uint64)
    """
    return np.asarray(pd.util.hash_array(ids.to_numpy(), categorize=False), np.uint64)
