"""The processes of one training: what each does of a step, and sums over all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import distributed


class Workers:
    """The processes of torch's process group; where there is none, this one alone.

    Attributes
    ----------
    count : int
    rank : int
        Number of this process, from 0.
    is_first : bool
        Whether this is the process that writes files and speaks.
    """

    def __init__(self) -> None:
        joined = distributed.is_available() and distributed.is_initialized()
        self.count: int = distributed.get_world_size() if joined else 1
        self.rank: int = distributed.get_rank() if joined else 0
        self.is_first = self.rank == 0

    def share(self, batches: Sequence[np.ndarray], costs: Sequence[int]) -> list[np.ndarray]:
        """This process's batches of a step, if the costliest are dealt first.

        Parameters
        ----------
        batches : sequence of ndarrays
        costs : sequence of int
            Of the batches; each goes to the process with the least to do so far.

        Returns
        -------
        list of ndarrays
            Empty where there are fewer batches than processes.
        """
        loads = np.zeros(self.count)
        mine = []
        for number in np.argsort(-np.asarray(costs), kind="stable"):
            owner = int(loads.argmin())
            loads[owner] += costs[number]
            if owner == self.rank:
                mine.append(batches[number])
        return mine

    def add_up(self, *tensors: torch.Tensor) -> None:
        """Put the sum over all processes in the place of each tensor; all of one dtype."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, parts, strict=True):
            tensor.copy_(total.view_as(tensor))

    def first_says(self, what: bool, device: torch.device | str) -> bool:
        """What the first process says, in all of them: their clocks differ."""
        told = torch.tensor(float(what and self.is_first), device=device)
        self.add_up(told)
        return bool(told.item())

    def wait(self) -> None:
        """Continue when every process has come here."""
        if self.count > 1:
            distributed.barrier()
