"""Mean of each part of the loss over an epoch, for the records, independent of gradient accumulation."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from radapt.mmdino.distributed import several


class LossMeter:
    """Means of named losses over the samples of an epoch.

    A step is `start`, any number of `add`, and `move`. `sums` (P, 2) float64, on the CPU, holds each part's sum and
    its number of samples in this process, and has to go into checkpoints.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.sums = torch.zeros(len(self.names), 2, dtype=torch.float64)
        self._added: list[tuple[str, Tensor, int]] = []

    def start(self) -> None:
        """Discard what was added since the last `move`: a step begins, or is repeated."""
        self._added.clear()

    def add(self, parts: Mapping[str, Tensor], samples: int) -> None:
        """Add the means () of parts over `samples` samples."""
        self._added += [(name, part.detach(), samples) for name, part in parts.items()]

    def move(self) -> None:
        """Move what was added into the sums."""
        if self._added:
            values = torch.stack([value.double() for _, value, _ in self._added]).tolist()
            for (name, _, samples), value in zip(self._added, values, strict=True):
                self.sums[self.names.index(name)] += torch.tensor([value * samples, samples], dtype=torch.float64)
        self._added.clear()

    def means(self, device: torch.device) -> dict[str, float]:
        """The mean of each part that was added, over all processes, each of which has to call this. Resets the sums.

        Processes communicate through tensors on `device`.
        """
        total = self.sums.to(device, copy=True)
        if several():
            torch.distributed.all_reduce(total)
        self.sums.zero_()
        return {
            name: value / samples for name, (value, samples) in zip(self.names, total.tolist(), strict=True) if samples
        }
