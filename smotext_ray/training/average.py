"""The running average of the weights that learn, which is what a training gives away.

At a constant learning rate the last weights jump about the good ones; their average does
not, and shows at any time about what a decay of the rate would give.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

LONGEST = 0.999  # the average's memory is at most so long: about 1,000 steps


class Average:
    """Exponential moving average of a module's parameters, float32.

    Parameters
    ----------
    module : Module
        Its parameters as they are now are where the average starts.

    Attributes
    ----------
    weights : dict of str to Tensor
        By the parameters' names.
    """

    def __init__(self, module: nn.Module) -> None:
        self._parameters = dict(module.named_parameters())
        self.weights = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after step ``step``, counted from 0.

        The memory grows with the steps, to about the last ninth of them: the average of a
        short training would otherwise be of where it started.
        """
        share = 1 - min(LONGEST, (1 + step) / (10 + step))
        for name, parameter in self._parameters.items():
            self.weights[name].lerp_(parameter, share)

    @torch.no_grad()
    def load(self, weights: dict[str, torch.Tensor]) -> None:
        """Continue an average of the same parameters."""
        for name, own in self.weights.items():
            own.copy_(weights[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """In the block the module computes with the average."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            parameter.data, self.weights[name] = self.weights[name], parameter.data
