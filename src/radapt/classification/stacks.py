"""Cases as volumes for a 3D network: their planes as a stack, modalities as channels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from radapt.cases import CaseReader
from radapt.classification.case_loader import CaseLoader
from radapt.networks.classifiers import standardised

if TYPE_CHECKING:
    from radapt.training import Augmentation


@dataclass(frozen=True)
class Stack:
    """Volumes uint8 (B, M, C, n, H, W), zero where a case lacks a modality; `present` (B, M) bool."""

    volumes: Tensor
    present: Tensor


class StackClassifier(nn.Module):
    """A 3D network over all modalities of a case at once.

    The channels of a missing modality are zero, which is middle grey once grey levels are brought to mean 0; each
    modality that some training cases lack (`partial`) has one more channel that says so, 1 where it is there.
    `encoder` takes M · C channels and one per partial modality, and gives vectors (B, `width`).
    """

    partial: Tensor

    def __init__(self, encoder: nn.Module, width: int, outputs: int, partial: tuple[bool, ...]) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(width, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("partial", torch.tensor(partial), persistent=False)

    def forward(self, volumes: Tensor, present: Tensor) -> Tensor:
        """Logits (B, outputs) of volumes (B, M, C, n, H, W), uint8 or float in [0, 1], and `present` (B, M) bool."""
        x = standardised(volumes)
        there = present.to(x.dtype)[:, :, None, None, None, None]
        grey = (x * there).flatten(1, 2)  # (B, M, C, n, H, W) -> (B, M · C, n, H, W)
        said = there[:, self.partial, 0].expand(-1, -1, *grey.shape[2:])
        found = self.encoder(torch.cat([grey, said], dim=1)).float()
        with torch.autocast(found.device.type, enabled=False):
            return self.head(found)


@dataclass(frozen=True, eq=False)
class StackLoader(CaseLoader[CaseReader]):
    """For a 3D network. Stacks of any number of planes are brought to `depth` planes."""

    network: StackClassifier
    augmentation: "Augmentation"
    depth: int

    def load(self, images: CaseReader, rows: Sequence[int] | np.ndarray, seeds: np.ndarray) -> Stack:
        shape = (len(rows), len(images.modalities), images.channels or 1, self.depth, *images.recipe.size)
        volumes, present = np.zeros(shape, np.uint8), np.zeros(shape[:2], bool)
        for place, row in enumerate(rows):
            for modality in images.columns(int(row)):
                planes = images.planes(int(row), modality)
                volumes[place, modality] = to_depth(planes, self.depth).swapaxes(0, 1)
                present[place, modality] = True
        return Stack(torch.from_numpy(volumes), torch.from_numpy(present))

    def logits(self, batch: Stack, seeds: np.ndarray) -> Tensor:
        count = batch.volumes.shape[1]
        flat = batch.volumes.flatten(1, 2)
        moved, _ = self.augmentation.apply(flat, self.augmentation.draw(seeds))
        return self.network(moved.unflatten(1, (count, -1)), batch.present)

    @torch.no_grad()
    def answers(self, images: CaseReader, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        device = self.network.head.weight.device
        found = np.empty((len(rows), self.network.head.out_features))
        none = np.zeros(1, np.uint64)
        for place, row in enumerate(rows):  # one at a time: a volume fills a processor, and has no neighbours
            one = self.load(images, [int(row)], none)
            found[place] = self.network(one.volumes.to(device), one.present.to(device))[0].double().cpu().numpy()
        return found


def to_depth(planes: np.ndarray, depth: int) -> np.ndarray:
    """Planes uint8 (n, C, H, W) as `depth` planes: averaged where there are more, in between where there are fewer."""
    if len(planes) == depth:
        return planes
    stack = torch.from_numpy(planes.astype(np.float32)).flatten(1).T[None]  # (1, C · H · W, n)
    mode = {"mode": "area"} if len(planes) > depth else {"mode": "linear", "align_corners": False}
    moved = interpolate(stack, size=depth, **mode)[0].T  # (depth, C · H · W)
    return moved.round().to(torch.uint8).numpy().reshape(depth, *planes.shape[1:])
