"""Text to embedding with any BERT-family encoder of Hugging Face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

Pooling = Literal["mean", "cls", "last"]


class Encoder:
    """A sentence encoder, loaded once.

    Parameters
    ----------
    model : str
        Directory or hub name of a Hugging Face encoder.
    pooling : {"mean", "cls", "last"}, default="mean"
        Mean over the text's tokens, the first token, or the last one.
    normalize : bool, default=True
        Scale each embedding to Euclidean length 1.
    max_length : int, default=128
        Tokens of a text that are read, where the model reads so many; the rest is cut off.
    device : str, optional
        Default: ``"cuda"`` where there is a GPU, else ``"cpu"``.
    dtype : str, default="float32"
        Of the weights while encoding; the embeddings are float32 in any case.

    Attributes
    ----------
    dim : int
        Length of an embedding.
    """

    def __init__(
        self,
        model: str,
        *,
        pooling: Pooling = "mean",
        normalize: bool = True,
        max_length: int = 128,
        device: str | None = None,
        dtype: str = "float32",
    ) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.pooling = pooling
        self.normalize = normalize
        self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        self._tokenizer.padding_side = "right"
        self.max_length = min(max_length, self._tokenizer.model_max_length)
        loaded = AutoModel.from_pretrained(model, dtype=getattr(torch, dtype))
        self._model = loaded.to(self.device).eval()
        self.dim = int(self._model.config.hidden_size)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], batch_size: int = 32) -> np.ndarray:
        """Embed texts.

        Texts of like length share a batch, so little is spent on padding; the result is
        in the order of ``texts``.

        Parameters
        ----------
        texts : sequence of str, length n
        batch_size : int, default=32

        Returns
        -------
        ndarray of shape (n, dim), float32
        """
        embeddings = np.empty((len(texts), self.dim), dtype=np.float32)
        if not len(texts):
            return embeddings
        tokens = self._tokenizer(list(texts), truncation=True, max_length=self.max_length)
        order = np.argsort([-len(ids) for ids in tokens["input_ids"]], kind="stable")
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self._tokenizer.pad(
                {"input_ids": [tokens["input_ids"][i] for i in rows]}, return_tensors="pt"
            ).to(self.device)
            hidden = self._model(**batch).last_hidden_state
            embeddings[rows] = self._pool(hidden, batch["attention_mask"]).cpu().numpy()
        return embeddings

    def _pool(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        pooled = pool(hidden, mask, self.pooling)
        return torch.nn.functional.normalize(pooled, dim=-1) if self.normalize else pooled


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One vector a text, from one vector a token.

    Parameters
    ----------
    hidden : Tensor of shape (n, length, d)
    mask : Tensor of shape (n, length)
        1 for a token, 0 for padding on the right.
    pooling : {"mean", "cls", "last"}

    Returns
    -------
    Tensor of shape (n, d), float32
    """
    hidden = hidden.float()
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]
    weights = mask.unsqueeze(-1).float()
    return (hidden * weights).sum(1) / weights.sum(1)
