"""Embeddings of the training texts: computed on first use, cached on disk.

The cache is ``embeddings-KEY``, with one float16 file per checkpoint interval for the rows computed
in it. KEY is a hash of the texts, the encoder and its settings, so that stale vectors are never
read. The files are independent: any number of workers and trainings may add to a directory at the
same time, a lost file is recomputed, and duplicates are harmless.
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
        Loads the encoder when it is needed.
    directory : Path
        Parent directory of ``embeddings-KEY``.
    """

    def __init__(self, texts: Sequence[str], frozen: FrozenModels, directory: Path) -> None:
        self._texts = texts
        self._frozen = frozen
        self._encoder: Encoder | None = None
        self._directory = directory / f"embeddings-{_key(texts, frozen)}"
        self._directory.mkdir(parents=True, exist_ok=True)
        self._record = np.dtype([("row", "<i4"), ("vector", "<f2", (frozen.encoder_dim,))])
        self._files: list[Path] = []
        self._file = np.full(len(texts), NOT_ON_DISK, dtype=np.int32)  # per row: its file,
        self._place = np.zeros(len(texts), dtype=np.int32)  # and its index in it
        self._fresh: dict[int, np.ndarray] = {}  # computed but not yet on disk
        self._look()

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Embeddings of rows; missing ones are computed.

        Parameters
        ----------
        rows : ndarray of row numbers, of shape (n,)

        Returns
        -------
        ndarray of shape (n, dim), float32
            Always rounded as on disk, so that a resumed training sees the same values.
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
        """Compute missing embeddings of rows that will be needed soon, all at once."""
        if self._missing(rows):
            self._look()  # another worker may have computed them
            self._compute(self._missing(rows))

    def flush(self) -> None:
        """Write new embeddings; call this before saving a training state."""
        if self._fresh:
            records = np.empty(len(self._fresh), dtype=self._record)
            records["row"] = list(self._fresh)
            records["vector"] = list(self._fresh.values())
            with whole_file(self._directory / f"{uuid.uuid4().hex}.npy") as handle:
                np.save(handle, records, allow_pickle=False)
            self._look()
            self._fresh.clear()
        if (self._file != NOT_ON_DISK).all():
            self._encoder = None  # everything is embedded: free the encoder's memory

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
        """Index files that are new since the last look."""
        known = set(self._files)
        for file in sorted(self._directory.glob("[!.]*.npy")):
            if file in known:
                continue
            try:
                rows = self._open(file)["row"]
            except (OSError, ValueError, EOFError):
                continue  # damaged: its embeddings are recomputed
            self._file[rows] = len(self._files)
            self._place[rows] = np.arange(len(rows))
            self._files.append(file)

    def _open(self, file: Path) -> np.ndarray:
        found: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
        if found.dtype != self._record:
            raise ValueError(f"{file} does not hold embeddings of this width")
        return found


class GivenEmbeddings:
    """Embeddings known from the start.

    Parameters
    ----------
    vectors : ndarray of shape (n, dim), float32
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self._vectors)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Embeddings of rows; shape (rows, dim), float32."""
        found: np.ndarray = self._vectors[rows]
        return found

    def prepare(self, rows: np.ndarray) -> None:
        """Nothing to compute; see `Embeddings.prepare`."""

    def flush(self) -> None:
        """Nothing to write; see `Embeddings.flush`."""


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
