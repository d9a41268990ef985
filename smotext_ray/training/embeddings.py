"""The embeddings of the training texts: computed when a step first asks, kept on disk.

They lie in ``embeddings-KEY``, in files of the rows that were asked for between two
checkpoints, float16. KEY names the texts, the encoder and how it is used, so that vectors
of anything else are never read. The files are independent of each other: any number of
workers and trainings may add to a directory at the same time, a file that is lost is
computed again, and an embedding that two of them have made is read from either.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smotext_ray.training.data import hash_texts
from smotext_ray.utils.files import whole_file

if TYPE_CHECKING:
    from smotext_ray.models.encoder import Encoder
    from smotext_ray.training.frozen import FrozenModels


NOT_ON_DISK = -1


class Embeddings:
    """Embeddings of texts by row number.

    Parameters
    ----------
    texts : sequence of str, length n
    frozen : FrozenModels
        Loads the encoder, once it is needed.
    directory : Path
        Where ``embeddings-KEY`` lies or is made.
    """

    def __init__(self, texts: Sequence[str], frozen: FrozenModels, directory: Path) -> None:
        self._texts = texts
        self._frozen = frozen
        self._encoder: Encoder | None = None
        self._directory = directory / f"embeddings-{_key(texts, frozen)}"
        self._directory.mkdir(parents=True, exist_ok=True)
        self._record = np.dtype([("row", "<i4"), ("vector", "<f2", (frozen.encoder_dim,))])
        self._files: list[Path] = []
        self._file = np.full(len(texts), NOT_ON_DISK, dtype=np.int32)  # of each row,
        self._place = np.zeros(len(texts), dtype=np.int32)  # and where in it
        self._fresh: dict[int, np.ndarray] = {}  # computed, and not on disk yet
        self._look()

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Embeddings of rows, computed where there are none.

        Parameters
        ----------
        rows : ndarray of row numbers, of shape (n,)

        Returns
        -------
        ndarray of shape (n, dim), float32
            Always as from disk, so that a resumed training reads the same.
        """
        self.prepare(rows)
        found = np.empty((len(rows), self._frozen.encoder_dim), dtype=np.float32)
        files = self._file[rows]
        for number in np.unique(files[files != NOT_ON_DISK]):
            these = files == number
            found[these] = self._open(self._files[number])["vector"][self._place[rows[these]]]
        for i in np.flatnonzero(files == NOT_ON_DISK):
            found[i] = self._fresh[int(rows[i])]
        return found

    def prepare(self, rows: np.ndarray) -> None:
        """Compute what is missing of rows that are soon asked for, all at once."""
        if self._missing(rows):
            self._look()  # another worker may have made them
            self._compute(self._missing(rows))

    def flush(self) -> None:
        """Write what was computed since the last time; to be called before a state is saved."""
        if self._fresh:
            records = np.empty(len(self._fresh), dtype=self._record)
            records["row"] = list(self._fresh)
            records["vector"] = list(self._fresh.values())
            with whole_file(self._directory / f"{uuid.uuid4().hex}.npy") as handle:
                np.save(handle, records, allow_pickle=False)
            self._look()
            self._fresh.clear()
        if (self._file != NOT_ON_DISK).all():
            self._encoder = None  # nothing is left to embed: free its memory

    def _missing(self, rows: np.ndarray) -> list[int]:
        on_disk = self._file[rows] != NOT_ON_DISK
        return [row for row in rows[~on_disk].tolist() if row not in self._fresh]

    def _compute(self, rows: list[int]) -> None:
        if not rows:
            return
        self._encoder = self._encoder or self._frozen.new_encoder(self._frozen.dtype)
        vectors = self._encoder.encode([self._texts[row] for row in rows])
        self._fresh |= zip(rows, vectors.astype(np.float16), strict=True)

    def _look(self) -> None:
        """Learn what the files hold that are not known yet."""
        known = set(self._files)
        for file in sorted(self._directory.glob("[!.]*.npy")):
            if file in known:
                continue
            try:
                rows = self._open(file)["row"]
            except (OSError, ValueError, EOFError):
                continue  # damaged: what was in it is computed again
            self._file[rows] = len(self._files)
            self._place[rows] = np.arange(len(rows))
            self._files.append(file)

    def _open(self, file: Path) -> np.ndarray:
        found: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
        if found.dtype != self._record:
            raise ValueError(f"{file} holds no embeddings of this width")
        return found


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
