"""Stage 3: prefer texts close to the point they are decoded from.

Stages 1 and 2 train at embeddings of texts, but a run decodes points between texts. Of several
texts that the bridge itself writes at a point, the one nearest to it is preferred to the farthest
(direct preference optimization: Rafailov et al., 2023, arXiv:2305.18290). The log-likelihood of the
chosen text is added, as in Pang et al. (2024, arXiv:2404.19733): without it, both texts may become
less likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from smotext_ray.models.bridge import Bridge
from smotext_ray.training.average import Average
from smotext_ray.training.data import Preference
from smotext_ray.training.frozen import Batch, FrozenModels
from smotext_ray.training.lengths import count_tokens

BETA = 0.1  # how far the bridge may move from the first one; larger: less far
NLL_WEIGHT = 0.02  # per nat of the chosen text


class PreferenceLoss:
    """Stage 3: the chosen text rather than the rejected one.

    Parameters
    ----------
    frozen : FrozenModels
    preferences : sequence of Preference
    reference : Average
        The weights that the training started from.
    cache : Path, optional
        Directory where lengths of large sets of texts are cached.

    Attributes
    ----------
    texts : list of str
        The chosen texts.
    styles : ndarray of shape (n, SIZE), float32
    tokens : ndarray of shape (n,)
        Tokens of the longer text of each preference, including the end token.
    positions : ndarray of shape (n,)
        Positions that the two texts take in the LLM, padded to the same length.
    """

    def __init__(
        self,
        frozen: FrozenModels,
        preferences: Sequence[Preference],
        reference: Average,
        cache: Path | None = None,
    ) -> None:
        self._frozen, self._reference = frozen, reference
        self.texts = [one.chosen for one in preferences]
        self._rejected = [one.rejected for one in preferences]
        self.styles = np.stack([one.style for one in preferences])
        longer = np.maximum(*(count_tokens(t, frozen, cache) for t in (self.texts, self._rejected)))
        self.tokens = longer + 1
        around = sum(map(len, frozen.template))
        self.positions = 2 * (self.tokens + around + frozen.config.soft_tokens - 1)

    def batch(self, rows: np.ndarray, embeddings: np.ndarray) -> Batch:
        """The chosen texts of the rows, then their rejected texts."""
        texts = [side[row] for side in (self.texts, self._rejected) for row in rows]
        batch = self._frozen.batch(texts, np.concatenate([embeddings, embeddings]))
        styles = np.concatenate([self.styles[rows], self.styles[rows]])
        batch.styles = torch.from_numpy(styles).to(batch.ids.device)
        return batch

    def loss(self, bridge: Bridge, batch: Batch) -> torch.Tensor:
        """Loss of each preference; shape (n,)."""
        with torch.no_grad(), self._reference.in_place():
            before = self._log_likelihoods(bridge, batch)
        now = self._log_likelihoods(bridge, batch)
        chosen, rejected = (now - before).chunk(2)
        return -logsigmoid(BETA * (chosen - rejected)) - NLL_WEIGHT * now.chunk(2)[0]

    def _log_likelihoods(self, bridge: Bridge, batch: Batch) -> torch.Tensor:
        nll = self._frozen.nll(bridge.prompt_embeds(batch.embeddings, batch.styles), batch)
        lengths = (batch.ids >= 0).sum(1)
        owners = torch.arange(len(lengths), device=nll.device).repeat_interleave(lengths)
        return nll.new_zeros(len(lengths)).index_add(0, owners, -nll)
