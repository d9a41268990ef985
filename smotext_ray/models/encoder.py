"""Embed texts with a BERT-family encoder from Hugging Face, or one based on a causal LLM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from smotext_ray.config.choices import Pooling
from smotext_ray.models.pretrained import load_pretrained
from smotext_ray.utils.cpu import Dtype, cpu_dtype

# A GPU, unlike a CPU, is slow on small batches, so its batches are measured in tokens.
GPU_TOKENS_PER_TEXT = 512
GPU_ROWS = 512


class Encoder:
    """A sentence encoder, loaded once.

    Parameters
    ----------
    model : str
        Directory or hub name of a Hugging Face encoder.
    pooling : {"mean", "cls", "last"}, default="mean"
        Mean over the text's tokens, the first token, or the last one. With "last" the tokenizer's
        end token is appended to each text if its ``tokenizer_config.json`` has ``add_eos_token:
        true``, which transformers 5 ignores next to a ``tokenizer.json``. Other tokenizers are used
        as they are: the vector is that of their last token.
    normalize : bool, default=True
        Scale each embedding to Euclidean length 1.
    max_length : int, default=128
        Maximum number of tokens per text, capped by the model's limit; longer texts are truncated.
    device : str, optional
        Default: ``"cuda"`` if there is a GPU, else ``"cpu"``.
    dtype : str, default="float32"
        Dtype of the weights; embeddings are always float32. "auto": bfloat16 if the device supports
        it natively, else float32.

    Attributes
    ----------
    dim : int
        Embedding dimension.
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

        self.device = device or default_device()
        self._on_gpu = torch.device(self.device).type == "cuda"
        self.pooling = pooling
        self.normalize = normalize
        self._tokenizer: Any = load_pretrained(AutoTokenizer, model)
        self._tokenizer.padding_side = "right"
        self._end = _missing_end(self._tokenizer, model) if pooling == "last" else []
        self.max_length = min(max_length, self._tokenizer.model_max_length)
        if dtype == "auto":
            dtype = fastest_dtype(self.device)
        # On a GPU, weight by weight: a 7B model need not fit in the host's memory.
        place = {"device_map": self.device} if self._on_gpu else {}
        loaded = load_pretrained(AutoModel, model, dtype=getattr(torch, dtype), **place)
        self._model = loaded.to(self.device).eval()
        self._model.config.use_cache = False  # the cached keys and values are never used
        self.dim = int(self._model.config.hidden_size)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], batch_size: int = 32) -> np.ndarray:
        """Embed texts.

        Texts of similar length share a batch, to save padding; the result is in the order of
        ``texts``.

        Parameters
        ----------
        texts : sequence of str, length n
        batch_size : int, default=32
            Texts per batch. On a GPU, a batch is filled to 512 times that many tokens, including
            padding, with at most 512 texts.

        Returns
        -------
        ndarray of shape (n, dim), float32
        """
        embeddings = np.empty((len(texts), self.dim), dtype=np.float32)
        if not len(texts):
            return embeddings
        rows = self._token_ids(texts)
        lengths = [len(row) for row in rows]
        if self._on_gpu:
            shared = batches(lengths, GPU_ROWS, batch_size * GPU_TOKENS_PER_TEXT)
        else:
            shared = batches(lengths, batch_size)
        order, pooled = [], []
        for batch in shared:
            order.append(batch)
            # Asynchronous: the host pads the next batch while the GPU processes this one.
            pooled.append(self._embed([rows[i] for i in batch]).to("cpu", non_blocking=True))
        if self._on_gpu:
            torch.cuda.synchronize(self.device)
        embeddings[np.concatenate(order)] = torch.cat(pooled).numpy()
        return embeddings

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        room = self.max_length - len(self._end)
        rows = self._tokenizer(list(texts), truncation=True, max_length=room)["input_ids"]
        return [row + self._end for row in rows]

    def _embed(self, rows: list[list[int]]) -> torch.Tensor:
        batch = self._tokenizer.pad({"input_ids": rows}, return_tensors="pt")
        if self._on_gpu:
            batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
        batch = {name: t.to(self.device, non_blocking=True) for name, t in batch.items()}
        return self._pool(self._model(**batch).last_hidden_state, batch["attention_mask"])

    def _pool(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        pooled = pool(hidden, mask, self.pooling)
        return torch.nn.functional.normalize(pooled, dim=-1) if self.normalize else pooled


def batches(
    lengths: Sequence[int], most_rows: int, most_tokens: int | None = None
) -> Iterator[np.ndarray]:
    """Group rows into batches, longest first.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each row.
    most_rows : int
        Maximum rows per batch.
    most_tokens : int, optional
        Maximum tokens per batch, padding included; a longer row is a batch by itself.

    Yields
    ------
    ndarray of int64
        Indices into ``lengths``; each index is in one batch.

    Examples
    --------
    >>> [batch.tolist() for batch in batches([2, 9, 3, 8], most_rows=3, most_tokens=18)]
    [[1, 3], [2, 0]]
    """
    order = np.argsort([-length for length in lengths], kind="stable")
    start = 0
    while start < len(order):
        rows = most_rows
        if most_tokens is not None:  # all are padded to the first row, the longest
            rows = min(rows, max(1, most_tokens // max(1, lengths[order[start]])))
        yield order[start : start + rows]
        start += rows


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Pool one vector per token into one vector per text.

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
    if pooling == "cls":
        return hidden[:, 0].float()
    if pooling == "last":
        rows = torch.arange(len(hidden), device=hidden.device)
        return hidden[rows, mask.sum(1) - 1].float()
    hidden = hidden.float()
    weights = mask.unsqueeze(-1).float()
    return (hidden * weights).sum(1) / weights.sum(1)


def default_device() -> str:
    """The GPU of this process if it has one, else its CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def fastest_dtype(device: str) -> Dtype:
    """bfloat16 if the GPU or CPU supports it natively, else float32.

    Emulated, bfloat16 takes several times as long as float32. float16 is not used on older GPUs,
    because some models overflow in it.
    """
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float32"
    return cpu_dtype()


def _missing_end(tokenizer: Any, model: str) -> list[int]:
    """The end token, if the tokenizer's config asks for it but the tokenizer omits it."""
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    end = tokenizer.eos_token_id
    asked = end is not None and get_tokenizer_config(model).get("add_eos_token")
    if not asked or tokenizer("a")["input_ids"][-1:] == [end]:
        return []
    return [end]
