"""Sums and samples of one step, collected over its parts and over all processes."""

import torch
from torch import Tensor


class Sums:
    """Column sums of rows over the parts of a step, and their mean over all processes."""

    def __init__(self) -> None:
        self._total: Tensor | None = None

    def clear(self) -> None:
        """Discard what was added."""
        self._total = None

    def add(self, rows: Tensor) -> None:
        """Add rows (n, C) float32; n may be 0."""
        total = torch.cat([rows.sum(0), rows.new_tensor([len(rows)])])
        self._total = total if self._total is None else self._total + total

    def means(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The mean (C,) over all rows of all processes and their number (); 0 and 0 without any row. Clears the sums.

        `like` (C,) gives device and length in a process without rows. Every process has to call this.
        """
        total = like.new_zeros(len(like) + 1) if self._total is None else self._total
        self._total = None
        if several():
            torch.distributed.all_reduce(total)
        return total[:-1] / total[-1].clamp(min=1), total[-1]


def gathered(rows: Tensor) -> Tensor:
    """Rows (n, C) of all processes, in their order; n may differ. Every process has to call this."""
    if not several():
        return rows
    world = torch.distributed.get_world_size()
    counts = rows.new_zeros(world, dtype=torch.int64)
    counts[torch.distributed.get_rank()] = len(rows)
    torch.distributed.all_reduce(counts)
    longest = int(counts.max())
    padded = torch.cat([rows, rows.new_zeros(longest - len(rows), rows.shape[1])])
    tables = [torch.empty_like(padded) for _ in range(world)]
    torch.distributed.all_gather(tables, padded)
    return torch.cat([table[:count] for table, count in zip(tables, counts.tolist(), strict=True)])


def several() -> bool:
    """Whether several processes train together."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()
