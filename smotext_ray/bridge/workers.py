"""The processes of one training: what each does of a step, and sums over all of them."""

from __future__ import annotations

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

    def share(self, rows: np.ndarray, batch_size: int) -> np.ndarray:
        """This process's part of a step.

        Parameters
        ----------
        rows : ndarray of shape (accumulate * count * batch_size,)
        batch_size : int
            Rows that are computed at once.

        Returns
        -------
        ndarray of shape (accumulate, batch_size)
        """
        return rows.reshape(-1, self.count, batch_size)[:, self.rank]

    def add_up(self, *tensors: torch.Tensor) -> None:
        """Put the sum over all processes in the place of each tensor; all of one dtype."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, parts, strict=True):
            tensor.copy_(total.view_as(tensor))

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.count > 1:
            distributed.barrier()
