"""A classifier for few rows: an encoder fine-tuned on pairs of texts, then logistic regression."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smotext_ray.evaluation.rows import Rows, need_texts
from smotext_ray.evaluation.utility.fine_tuning import descend, in_batches, tokens_of
from smotext_ray.evaluation.utility.training_sets import TrainingSet
from smotext_ray.models.pretrained import load_pretrained


@dataclass(frozen=True)
class Contrastive:
    """Fine-tunes an encoder as SetFit does [1]_, and fits logistic regression to its embeddings.

    Pairs from one class are pulled to a cosine similarity of 1, others to 0. Half of the
    pairs are of one class, and all classes occur equally often, however many rows they have. Row
    weights are ignored. Seeded, without changing torch's global random state.

    Parameters
    ----------
    model : str
        Directory or hub name of a Hugging Face encoder.
    steps : int, default=400
    pairs : int, default=16
        Pairs per step.
    learning_rate : float, default=2e-5
        Peak, after a warm-up of a tenth of the steps; then decays to zero.
    max_length : int, default=128
        Maximum number of tokens read per text.
    device : str, optional
        Default: ``"cuda"`` if there is a GPU, else ``"cpu"``.

    References
    ----------
    .. [1] Tunstall and others: Efficient few-shot learning without prompts. arXiv:2209.11055,
       2022.
    """

    model: str
    steps: int = 400
    pairs: int = 16
    learning_rate: float = 2e-5
    max_length: int = 128
    device: str | None = None

    def __call__(self, training: TrainingSet, test: Rows, seed: int) -> list[str]:
        """Fit on the training rows and predict the test rows."""
        import torch
        from sklearn.linear_model import LogisticRegression

        rows = training.rows
        need_texts(rows, test)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            encode, model = self._load()
            self._fit(model, encode, rows, np.random.default_rng([seed, 31]))
            model.eval()
            x, unseen = (in_batches(texts, encode) for texts in (rows.texts, test.texts))
        head = LogisticRegression(max_iter=2000, class_weight="balanced").fit(x, rows.labels)
        return [str(label) for label in head.predict(unseen)]

    def _load(self) -> tuple[Callable[[Sequence[str]], Any], Any]:
        """A function from texts to embeddings of length 1, and the model that it calls."""
        import torch
        from transformers import AutoModel, AutoTokenizer

        from smotext_ray.models.encoder import default_device, pool

        device = self.device or default_device()
        model = load_pretrained(AutoModel, self.model, dtype=torch.float32).to(device)
        tokens = tokens_of(load_pretrained(AutoTokenizer, self.model), device, self.max_length)

        def encode(texts: Sequence[str]) -> Any:
            batch = tokens(list(texts))
            hidden = model(**batch).last_hidden_state
            return torch.nn.functional.normalize(pool(hidden, batch["attention_mask"], "mean"))

        return encode, model

    def _fit(
        self, model: Any, encode: Callable[[Sequence[str]], Any], rows: Rows, rng: Any
    ) -> None:
        import torch

        def losses() -> Iterator[Any]:
            for left, right, alike in self._pairs(rows.labels, rng):
                found = encode([rows.texts[i] for i in (*left, *right)])
                cosine = (found[: len(left)] * found[len(left) :]).sum(1)
                wanted = torch.as_tensor(alike, dtype=torch.float32, device=cosine.device)
                yield torch.nn.functional.mse_loss(cosine, wanted)

        descend(model, losses(), self.steps, self.learning_rate)

    def _pairs(
        self, labels: Sequence[str], rng: Any
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each step, two arrays of row numbers and whether each pair is of one class."""
        names, codes = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
        rows_of = [np.flatnonzero(codes == k) for k in range(len(names))]
        for _ in range(self.steps):
            alike = np.arange(self.pairs) % 2 == 0
            first = rng.integers(len(names), size=self.pairs)
            step = rng.integers(1, max(len(names), 2), size=self.pairs)
            second = np.where(alike, first, (first + step) % len(names))
            left, right = ([rng.choice(rows_of[k]) for k in of] for of in (first, second))
            yield np.array(left), np.array(right), alike
