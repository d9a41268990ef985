"""Small Hugging Face classifiers: fine-tuning, and the logits of a fine-tuned one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from smotext_ray.evaluation.rows import Rows, need_texts
from smotext_ray.evaluation.utility.training_sets import TrainingSet
from smotext_ray.evaluation.utility.tuning import choose
from smotext_ray.models.pretrained import load_pretrained

BATCH = 64  # texts classified at once
# (steps, learning rate) to choose from.
SETTINGS = ((150, 5e-5), (150, 1e-4), (400, 5e-5), (400, 1e-4))
FOLDS = 2


@dataclass(frozen=True)
class FineTuned:
    """A classifier that fine-tunes a small encoder with a new layer on top.

    AdamW with a learning rate that warms up over a tenth of the steps and then decays to zero, as
    in BERT's fine-tuning [1]_. Every training set gets the same number of steps, whatever its
    number of rows. Seeded, without changing torch's global random state.

    Parameters
    ----------
    model : str
        Directory or hub name of a Hugging Face encoder.
    steps : int, default=400
    batch_size : int, default=16
    learning_rate : float, default=1e-4
    max_length : int, default=128
        Maximum number of tokens read per text.
    device : str, optional
        Default: ``"cuda"`` if there is a GPU, else ``"cpu"``.
    correct_priors : bool, default=False
        Subtract the log of each class's share of the training rows from its logit [2]_.

    References
    ----------
    .. [1] Devlin, Chang, Lee, Toutanova: BERT: pre-training of deep bidirectional
       transformers for language understanding. NAACL 2019.
    .. [2] Menon and others: Long-tail learning via logit adjustment. ICLR 2021.
    """

    model: str
    steps: int = 400
    batch_size: int = 16
    learning_rate: float = 1e-4
    max_length: int = 128
    device: str | None = None
    correct_priors: bool = False

    def __call__(self, training: TrainingSet, test: Rows, seed: int) -> list[str]:
        """Fit on the training rows and predict the test rows."""
        rows = training.rows
        classes, codes = np.unique(np.asarray(rows.labels, dtype=str), return_inverse=True)
        weights = np.ones(len(rows)) if training.weight is None else training.weight
        targets = np.eye(len(classes))[codes] * (weights / np.mean(weights))[:, None]
        return [str(label) for label in classes[self.learn(rows, targets, test, seed)]]

    def settled(self, real: TrainingSet, seed: int) -> FineTuned:
        """The classifier with the steps and the learning rate that fit the real rows best.

        Chosen among ``SETTINGS`` by two-fold cross-validation, once for all training sets:
        choosing for each would cost more than everything else.
        """

        def fit_each(
            train: TrainingSet, unseen: Rows, settings: Sequence[tuple[int, float]]
        ) -> list[list[str]]:
            return [self._with(setting)(train, unseen, seed) for setting in settings]

        return self._with(choose(real, SETTINGS, fit_each, seed, FOLDS))

    def _with(self, setting: tuple[int, float]) -> FineTuned:
        return replace(self, steps=setting[0], learning_rate=setting[1])

    def learn(self, train: Rows, targets: np.ndarray, test: Rows, seed: int) -> np.ndarray:
        """Fit on soft labels and predict the test rows.

        Parameters
        ----------
        train, test : Rows
        targets : ndarray of shape (len(train), classes)
            Class probabilities of each training row, times its weight.
        seed : int

        Returns
        -------
        ndarray of int64, shape (len(test),)
            The class of each test row: a column of ``targets``.
        """
        import torch

        need_texts(train, test)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            tokenizer, model = self._load(targets.shape[1])
            tokens = tokens_of(tokenizer, model.device, self.max_length)
            self._fit(model, tokens, train.texts, targets)
            found = logits(model, tokens, test.texts)
        if self.correct_priors:
            found = found - np.log(targets.sum(axis=0) / targets.sum())
        return np.asarray(found.argmax(axis=1))

    def _load(self, classes: int) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        from smotext_ray.models.encoder import default_device

        device = self.device or default_device()
        model = load_pretrained(
            AutoModelForSequenceClassification, self.model, num_labels=classes, dtype=torch.float32
        )
        return load_pretrained(AutoTokenizer, self.model), model.to(device)

    def _fit(self, model: Any, tokens: Any, texts: list[str], targets: np.ndarray) -> None:
        import torch

        wanted = torch.as_tensor(targets, dtype=torch.float32, device=model.device)

        def losses() -> Iterator[Any]:
            for rows in self._batches(len(texts)):
                found = model(**tokens([texts[i] for i in rows.tolist()])).logits
                yield torch.nn.functional.cross_entropy(found, wanted[rows.to(model.device)])

        descend(model, losses(), self.steps, self.learning_rate)

    def _batches(self, n: int) -> Iterator[Any]:
        """Row numbers of each step: one shuffle of all rows after another, cut into batches."""
        import torch

        size = self.batch_size
        passes = -(-self.steps * size // n)
        order = torch.cat([torch.randperm(n) for _ in range(max(passes, 1))])
        for step in range(self.steps):
            yield order[step * size : (step + 1) * size]


def tokens_of(tokenizer: Any, device: Any, max_length: int) -> Callable[[list[str]], Any]:
    """A function from texts to a padded batch, truncated to ``max_length`` tokens."""
    length = min(max_length, tokenizer.model_max_length)

    def tokens(texts: list[str]) -> Any:
        return tokenizer(
            texts, truncation=True, max_length=length, padding=True, return_tensors="pt"
        ).to(device)

    return tokens


def logits(model: Any, tokens: Callable[[list[str]], Any], texts: Sequence[str]) -> np.ndarray:
    """Logits of a sequence classifier.

    Parameters
    ----------
    model : torch.nn.Module
        A Hugging Face sequence classifier.
    tokens : callable
        As returned by `tokens_of`.
    texts : sequence of str, length n

    Returns
    -------
    ndarray of shape (n, classes), float32
    """
    model.eval()
    return in_batches(texts, lambda part: model(**tokens(part)).logits)


def in_batches(texts: Sequence[str], compute: Callable[[list[str]], Any]) -> np.ndarray:
    """Compute a row per text, in their order, from batches of texts of similar length.

    Parameters
    ----------
    texts : sequence of str, length n
    compute : callable
        Maps a batch of texts to a tensor with a row for each.

    Returns
    -------
    ndarray of shape (n, ...), float32
    """
    import torch

    # Texts of similar length share a batch, which saves padding.
    order = np.argsort([-len(text) for text in texts], kind="stable")
    with torch.inference_mode():
        parts = [
            compute([texts[i] for i in order[start : start + BATCH]]).float().cpu().numpy()
            for start in range(0, len(texts), BATCH)
        ]
    return np.asarray(np.concatenate(parts)[np.argsort(order)])


def descend(model: Any, losses: Iterator[Any], steps: int, learning_rate: float) -> None:
    """Train a model with AdamW on one loss per step; each is computed when it is requested.

    The learning rate warms up over a tenth of the steps and then decays to zero; gradients are
    clipped to norm 1.
    """
    import torch
    from transformers import get_linear_schedule_with_warmup

    # On a CPU, where steps are short, the unfused optimizer takes a third of their time.
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    model.train()
    for loss in losses:
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
