"""Running average of the trainable weights, which a training saves as its bridge.

At a constant learning rate the latest weights oscillate around good ones; their average does not,
and at any time approximates the result of decaying the rate.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

LONGEST = 0.999  # longest memory of the average: about 1,000 steps


class Average:
    """Exponential moving average of a module's parameters, float32.

    Parameters
    ----------
    module : Module
        The average starts from its current parameters.

    Attributes
    ----------
    weights : dict of str to Tensor
        Keyed by parameter name.
    """

    def __init__(self, module: nn.Module) -> None:
        self._parameters = dict(module.named_parameters())
        self.weights = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update with the parameters after step ``step``, counted from 0.

        The memory grows with training to about the last ninth of the steps: otherwise the average
        of a short training would be dominated by its start.
        """
        share = 1 - min(LONGEST, (1 + step) / (10 + step))
        for name, parameter in self._parameters.items():
            self.weights[name].lerp_(parameter, share)

    @torch.no_grad()
    def load(self, weights: dict[str, torch.Tensor]) -> None:
        """Continue an average of the same parameters."""
        for name, own in self.weights.items():
            own.copy_(weights[name])

    def copy(self) -> Average:
        """The average as it is now, of the same parameters; it is no longer updated with this."""
        found = copy.copy(self)
        found.weights = {name: weight.clone() for name, weight in self.weights.items()}
        return found

    def sha256(self) -> str:
        """Digest of the averaged weights."""
        parts = hashlib.sha256()
        for name in sorted(self.weights):
            parts.update(name.encode())
            parts.update(self.weights[name].cpu().numpy().tobytes())
        return parts.hexdigest()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Use the averaged weights in the module during a ``with`` block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            parameter.data, self.weights[name] = self.weights[name], parameter.data
