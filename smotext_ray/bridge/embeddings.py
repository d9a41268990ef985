"""The embeddings of the training texts: computed once, kept on disk, read row by row.

They lie in ``embeddings-KEY/00000.npy``, ``00001.npy`` and so on, each the vectors of
consecutive texts. KEY names the texts, the encoder and how it is used, so that vectors of
anything else are never read. A file is written whole or not at all: an interrupted
embedding goes on with the files that are missing, and several workers each make their own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smotext_ray.bridge.data import hash_texts
from smotext_ray.bridge.files import whole_file
from smotext_ray.bridge.workers import Workers

if TYPE_CHECKING:
    from smotext_ray.bridge.frozen import FrozenModels

ROWS_A_FILE = 4096  # a kill costs at most so many texts
MOST_FILES = 256  # each stays open while training


class Embeddings:
    """Embeddings on disk, read as they are asked for.

    Parameters
    ----------
    files : sequence of ndarray of shape (rows_a_file, dim)
        Memory-mapped; the last one may be shorter.
    rows_a_file : int
    """

    def __init__(self, files: Sequence[np.ndarray], rows_a_file: int) -> None:
        self._files = files
        self._rows_a_file = rows_a_file

    def __len__(self) -> int:
        return sum(map(len, self._files))

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Embeddings of rows; shape (n, dim), float32, in memory."""
        places = zip(*np.divmod(rows, self._rows_a_file), strict=True)
        return np.stack([self._files[file][row] for file, row in places])


def embed_once(
    texts: Sequence[str],
    frozen: FrozenModels,
    directory: Path,
    workers: Workers,
    log: Callable[[str], Any],
) -> Embeddings:
    """Embed what is not embedded yet and open the whole.

    Parameters
    ----------
    texts : sequence of str, length n
    frozen : FrozenModels
        Loads the encoder, which is needed only where a file is missing and is let go of
        before training takes the memory.
    directory : Path
        Where ``embeddings-KEY`` lies or is made.
    workers : Workers
        Each embeds its share of the files.
    log : callable
        Takes a line of progress for each file.

    Returns
    -------
    Embeddings of length n
    """
    directory = directory / f"embeddings-{_key(texts, frozen)}"
    directory.mkdir(parents=True, exist_ok=True)
    rows = max(ROWS_A_FILE, -(-len(texts) // MOST_FILES))
    starts = range(0, len(texts), rows)
    files = [directory / f"{number:05d}.npy" for number in range(len(starts))]
    lengths = [min(rows, len(texts) - start) for start in starts]
    encoder = None
    for number in range(workers.rank, len(files), workers.count):
        if _open(files[number], lengths[number], frozen.encoder_dim) is not None:
            continue
        encoder = encoder or frozen.new_encoder()
        # Sorted by length within the file; which texts share a batch, and with it the last
        # bit of a vector, is the same whoever makes the file.
        vectors = encoder.encode(texts[starts[number] : starts[number] + rows])
        with whole_file(files[number]) as handle:
            np.save(handle, vectors, allow_pickle=False)
        log(f"embedded {min(len(texts), (number + workers.count) * rows)} of {len(texts)} texts")
    workers.wait()
    found = [_open(*place, frozen.encoder_dim) for place in zip(files, lengths, strict=True)]
    missing = [str(file) for file, array in zip(files, found, strict=True) if array is None]
    if missing:
        raise OSError(f"{missing[0]} was written but cannot be read")
    return Embeddings([array for array in found if array is not None], rows)


def _key(texts: Sequence[str], frozen: FrozenModels) -> str:
    model, config = frozen.encoder_files, frozen.config
    settings = [
        model.sha256 or model.name,
        config.pooling,
        config.normalize,
        config.max_length,
        hash_texts(texts),
    ]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]


def _open(file: Path, rows: int, dim: int) -> np.ndarray | None:
    """The array in a file; None where it is missing or not what was to be written."""
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole: bool = found.shape == (rows, dim) and found.dtype == np.float32
    return found if whole else None
