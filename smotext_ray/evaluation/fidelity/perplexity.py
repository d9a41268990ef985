"""Perplexity of texts under a plain LLM, from per-text token likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from smotext_ray.evaluation.statistics import Spread, spread
from smotext_ray.models.encoder import default_device
from smotext_ray.models.pretrained import load_pretrained

BATCH = 8  # texts at once: logits over a large vocabulary take most of the memory


@dataclass(frozen=True)
class Perplexity:
    """Perplexity of a set of texts.

    Attributes
    ----------
    corpus : float, at least 1
        Perplexity of all tokens together.
    texts : Spread
        Perplexities of the single texts.
    tokens : int
    """

    corpus: float
    texts: Spread
    tokens: int

    def as_json(self) -> dict[str, Any]:
        """The figures as a mapping of plain values."""
        return asdict(self)


def perplexity(counts: Sequence[tuple[float, int]]) -> Perplexity:
    """Perplexity from an LLM's token likelihoods.

    Parameters
    ----------
    counts : sequence of (float, int)
        Per text, the sum of ``-log p`` over its tokens, in nats, and their number. Texts without
        tokens are ignored.

    Raises
    ------
    ValueError
        If there are no tokens at all, or numbers are negative, NaN or infinite.

    Examples
    --------
    >>> round(perplexity([(np.log(8), 1), (np.log(2), 1)]).corpus, 6)
    4.0
    """
    pairs = np.asarray([pair for pair in counts if pair[1]], np.float64).reshape(-1, 2)
    if not len(pairs) or not np.isfinite(pairs).all() or (pairs < 0).any():
        raise ValueError("Perplexity needs at least one token, and nats that are not negative.")
    nats, tokens = pairs.T
    corpus = float(np.exp(nats.sum() / tokens.sum()))
    return Perplexity(corpus, spread(np.exp(nats / tokens)), int(tokens.sum()))


class TokenNLL:
    """Token likelihoods under the plain LLM: no bridge, no LoRA, no prompt.

    Parameters
    ----------
    model : str
        Directory or hub name of a Hugging Face causal LLM.
    max_tokens : int
        Only the first tokens of a text are read. Later tokens are easier to predict than early
        ones, so texts are comparable only if they are truncated at the same length.
    """

    def __init__(self, model: str, max_tokens: int) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.max_tokens = max_tokens
        self.device = default_device()
        self._tokenizer: Any = load_pretrained(AutoTokenizer, model)
        loaded = load_pretrained(AutoModelForCausalLM, model, dtype=torch.bfloat16)
        self._model = loaded.to(self.device).eval()
        start = self._tokenizer.bos_token_id
        self._start = self._tokenizer.eos_token_id if start is None else start

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """Likelihood of each text, after its start token.

        Parameters
        ----------
        texts : sequence of str, length n

        Returns
        -------
        list of (float, int), length n
            The sum of ``-log p`` over the text's tokens, in nats, and their number; (0, 0)
            for a text without tokens.
        """
        found = [(0.0, 0)] * len(texts)
        if not len(texts):
            return found
        ids = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        ids = [row[: self.max_tokens] for row in ids]
        by_length = np.argsort([-len(row) for row in ids], kind="stable").tolist()
        for start in range(0, len(texts), BATCH):
            rows = by_length[start : start + BATCH]
            for row, nats in zip(rows, self._nats([ids[row] for row in rows]), strict=True):
                found[row] = (nats, len(ids[row]))
        return found

    def _nats(self, ids: list[list[int]]) -> list[float]:
        length = max(map(len, ids))
        if not length:
            return [0.0] * len(ids)
        wanted = torch.full((len(ids), length), -100)
        for row, told in enumerate(ids):
            wanted[row, : len(told)] = torch.tensor(told, dtype=torch.long)
        wanted = wanted.to(self.device)
        before = wanted[:, :-1].clamp(min=0)
        start = torch.full((len(ids), 1), self._start, device=self.device)
        # Padding is on the right, where causal attention never looks, so no mask is needed.
        logits = self._model(torch.cat([start, before], dim=1), use_cache=False).logits
        # Flattened: with three axes, the loss over the middle one took five times as long on CPU.
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1).float(), wanted.flatten(), ignore_index=-100, reduction="none"
        )
        nats: list[float] = losses.reshape(wanted.shape).sum(dim=1).tolist()
        return nats
