"""The processes of one training: dividing a step's batches, and sums over all processes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import distributed


class Workers:
    """The processes of torch's process group, or just this one.

    Attributes
    ----------
    count : int
    rank : int
        Rank of this process, from 0.
    is_first : bool
        Whether this is the process that writes files and logs.
    """

    def __init__(self) -> None:
        joined = distributed.is_available() and distributed.is_initialized()
        self.count: int = distributed.get_world_size() if joined else 1
        self.rank: int = distributed.get_rank() if joined else 0
        self.is_first = self.rank == 0

    def share(self, batches: Sequence[np.ndarray], costs: Sequence[int]) -> list[np.ndarray]:
        """This process's batches of a step; the most expensive are assigned first.

        Parameters
        ----------
        batches : sequence of ndarrays
        costs : sequence of int
            Costs of the batches; each batch goes to the process with the least work so far.

        Returns
        -------
        list of ndarrays
            May be empty if there are fewer batches than processes.
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
        """Replace each tensor with its sum over all processes; all must have the same dtype."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, parts, strict=True):
            tensor.copy_(total.view_as(tensor))

    def first_says(self, what: bool, device: torch.device | str) -> bool:
        """Give all processes the first one's value, because their clocks differ."""
        told = torch.tensor(float(what and self.is_first), device=device)
        self.add_up(told)
        return bool(told.item())

    def wait(self) -> None:
        """Wait until every process gets here."""
        if self.count > 1:
            distributed.barrier()
