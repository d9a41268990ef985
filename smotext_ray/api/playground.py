"""What the page of ``smotext play`` does: neighbors, the text at a point, the gate's verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smotext_ray.api.interpolate import candidates_of, target_points
from smotext_ray.api.loaded import encoder_of
from smotext_ray.config.schema import RunConfig
from smotext_ray.errors import UserError
from smotext_ray.gate.gate import cosines
from smotext_ray.gate.reasons import REJECTED_IN_WORDS
from smotext_ray.gate.reference import ClassReference
from smotext_ray.gate.rules import Candidate, choose_candidate
from smotext_ray.plan.neighbors import nearest_neighbors
from smotext_ray.run.directory import Run
from smotext_ray.run.manifest import Manifest
from smotext_ray.run.reference import load_reference
from smotext_ray.run.tables import embeddings_table
from smotext_ray.tables import matrix
from smotext_ray.utils.text import distinct_part

MOST_ROWS = 20_000  # embedded texts of a run that are kept in memory to choose from
NOT_CHECKED = "(without a run, its class and copies of a corpus are not checked)"


@dataclass(frozen=True)
class Decoded:
    """The text at a point.

    Attributes
    ----------
    text : str
    cosine : float
        Of its embedding to the point, in [-1, 1].
    accepted : bool
    verdict : str
        The gate's, in words.
    """

    text: str
    cosine: float
    accepted: bool
    verdict: str


class Playground:
    """Two texts, a point between them, and its text; with a run also its corpus and its gate.

    Parameters
    ----------
    config : RunConfig
        Names the models; with a run, the run's own.
    run : Run, optional
        A run whose corpus is embedded.

    Raises
    ------
    UserError
        If the run has no embeddings, or has an epsilon, so that its corpus must not be shown.
    """

    def __init__(self, config: RunConfig, run: Run | None = None) -> None:
        self.config = config
        self.corpus = None if run is None else _Corpus(run)

    def decode(
        self, first: str, second: str, lam: float, name: str | None = None, seed: int = 0
    ) -> Decoded:
        """Decode the point at ``lam`` between two texts, and let the gate judge its text.

        Parameters
        ----------
        first, second : str
        lam : float
            0 is at the first text, 1 at the second.
        name : str, optional
            The class that the text should belong to; needs a run.
        seed : int, default=0

        Raises
        ------
        UserError
            If a text is empty, or no text could be decoded.
        """
        targets = target_points(first, second, [lam], self.config)
        (made,) = candidates_of(targets, self.config, [seed])
        if not made.texts:
            raise UserError(f"The point could not be decoded ({made.error}); try another one.")
        x = encoder_of(self.config).encode(made.texts, self.config.encoder.batch_size)
        near, gate = cosines(x, targets.points[0]), self.config.gate
        if self.corpus is None or name is None:
            reference, right = _NO_REFERENCE, [True] * len(x)
        else:
            reference = self.corpus.reference
            right = (reference.nearest_class(x) == self.corpus.code_of(name)).tolist()
        facts = zip(made.texts, made.finish_reasons, near.tolist(), right, strict=True)
        # Cleaning searches all embeddings of a run: too much for a single text.
        candidates = [Candidate(*each, unclean=False) for each in facts]
        verdict = choose_candidate(candidates, [first, second], reference, gate)
        why = f"Rejected: {REJECTED_IN_WORDS[verdict.reason]}." if verdict.reason else "Accepted."
        if reference is _NO_REFERENCE:
            why += f" {NOT_CHECKED}"
        kept = verdict.chosen
        return Decoded(made.texts[kept], float(near[kept]), verdict.accepted, why)


class _Corpus:
    """The embedded texts of a run, at most `MOST_ROWS`, and its gate's reference."""

    def __init__(self, run: Run) -> None:
        manifest = Manifest.read(run)
        if manifest.is_private:
            raise UserError(f"{run.uri} has an epsilon and keeps no texts of its corpus.")
        if "reference" not in manifest.stages:
            raise UserError(f"{run.uri} is not embedded yet; run smotext embed first.")
        reference = load_reference(run)
        if not isinstance(reference, ClassReference):
            raise UserError(f"The rows of {run.uri} have several labels; the page shows one class.")
        table = embeddings_table(run).head(MOST_ROWS, columns=["text", "label", "embedding"])
        self._labels = manifest.labels
        self._names = [str(manifest.called(label)) for label in self._labels]
        self._texts = np.array(table["text"].to_pylist(), object)
        self._of = np.array([self._labels.index(each) for each in table["label"].to_pylist()], int)
        self._x = matrix(table["embedding"])
        self.reference = reference

    @property
    def names(self) -> list[str]:
        """The classes that have at least two texts here."""
        counts = np.bincount(self._of, minlength=len(self._names))
        return [name for name, count in zip(self._names, counts, strict=True) if count > 1]

    def code_of(self, name: str) -> int:
        """The row of a class in the reference."""
        return self._names.index(name)

    def draw(self, name: str, seed: Any = None) -> str:
        """A text of a class, at random."""
        rows = np.flatnonzero(self._of == self.code_of(name))
        return str(self._texts[np.random.default_rng(seed).choice(rows)])

    def neighbors(self, name: str, text: str, k: int, encoder: Any) -> list[tuple[str, float]]:
        """The nearest other texts of a class, each with its cosine similarity, nearest first.

        Parameters
        ----------
        name : str
        text : str
            Of the corpus or not.
        k : int
        encoder : object
            Has ``encode(texts)``.
        """
        rows = np.flatnonzero(self._of == self.code_of(name))
        (same,) = np.nonzero([distinct_part(t) == distinct_part(text) for t in self._texts[rows]])
        query = self._x[rows[same[:1]]] if len(same) else encoder.encode([text])
        base = rows[np.setdiff1d(np.arange(len(rows)), same)]
        found, order = nearest_neighbors(query, self._x[base], min(k, len(base)), "cosine")
        texts: Sequence[Any] = self._texts[base[order[0]]]
        return [(str(text), 1.0 - float(far)) for text, far in zip(texts, found[0], strict=True)]


_NO_REFERENCE = ClassReference(
    np.empty((0, 0), np.float32), np.empty((0, 0), np.float32), np.empty(0, np.int64)
)
