"""The parts of the loss over an epoch, for its records, the same whatever batches were cut into."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from radapt.mmdino.distributed import several


class LossMeter:
    """Means over the samples of an epoch of losses by name.

    A step is `start`, any number of `add`, and `move`. `sums` (P, 2) float64, on the CPU, is the sum of each part and
    its number of samples in this process, and has to go into checkpoints.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.sums = torch.zeros(len(self.names), 2, dtype=torch.float64)
        self._found: list[tuple[str, Tensor, int]] = []

    def start(self) -> None:
        """Forget what was added and not moved: a step begins, or is tried again."""
        self._found.clear()

    def add(self, parts: Mapping[str, Tensor], samples: int) -> None:
        """Note the means () of parts over so many samples."""
        self._found += [(name, part.detach(), samples) for name, part in parts.items()]

    def move(self) -> None:
        """Take what was added into the sums."""
        if self._found:
            values = torch.stack([value.double() for _, value, _ in self._found]).tolist()
            for (name, _, samples), value in zip(self._found, values, strict=True):
                self.sums[self.names.index(name)] += torch.tensor([value * samples, samples], dtype=torch.float64)
        self._found.clear()

    def means(self, device: torch.device) -> dict[str, float]:
        """The mean of each part that there was, over all processes, all of which have to ask. The sums start again.

        Processes talk by way of `device`.
        """
        total = self.sums.to(device, copy=True)
        if several():
            torch.distributed.all_reduce(total)
        self.sums.zero_()
        return {
            name: value / samples for name, (value, samples) in zip(self.names, total.tolist(), strict=True) if samples
        }
