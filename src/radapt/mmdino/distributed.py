"""What the pieces of a step, and the processes that share it, have to tell each other at its end."""

import torch
from torch import Tensor


class Sums:
    """Column sums of rows over the pieces of a step, and their mean over all processes."""

    def __init__(self) -> None:
        self._total: Tensor | None = None

    def clear(self) -> None:
        """Forget what was added."""
        self._total = None

    def add(self, rows: Tensor) -> None:
        """Add rows (n, C) float32; n may be 0."""
        total = torch.cat([rows.sum(0), rows.new_tensor([len(rows)])])
        self._total = total if self._total is None else self._total + total

    def means(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The mean (C,) over all rows of all processes and their number (), and forget them; 0 and 0 without any.

        `like` (C,) gives device and length to a process that has none. Every process has to call this.
        """
        total = like.new_zeros(len(like) + 1) if self._total is None else self._total
        self._total = None
        if several():
            torch.distributed.all_reduce(total)
        return total[:-1] / total[-1].clamp(min=1), total[-1]


def gathered(rows: Tensor) -> Tensor:
    """Rows (n, C) of all processes, in the order of processes; n may differ. Every process has to call this."""
    if not several():
        return rows
    world = torch.distributed.get_world_size()
    counts = rows.new_zeros(world, dtype=torch.int64)
    counts[torch.distributed.get_rank()] = len(rows)
    torch.distributed.all_reduce(counts)
    longest = int(counts.max())
    padded = torch.cat([rows, rows.new_zeros(longest - len(rows), rows.shape[1])])
    parts = [torch.empty_like(padded) for _ in range(world)]
    torch.distributed.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts.tolist(), strict=True)])


def several() -> bool:
    """Whether this is one of several processes that train together."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()
