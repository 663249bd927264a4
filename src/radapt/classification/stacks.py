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
    """Volumes uint8 (B, M, C, n, H, W), zero where a modality is missing; `present` (B, M) bool."""

    volumes: Tensor
    present: Tensor


class StackClassifier(nn.Module):
    """A 3D network over all modalities of a case at once.

    The channels of a missing modality are zero, the mean of standardised grey levels. Each modality that is missing in
    some training cases (`partial`) has one more channel, 1 where the modality is present. `encoder` takes M · C
    channels and one per partial modality, and returns vectors (B, `width`).
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
        mask = present.to(x.dtype)[:, :, None, None, None, None]
        grey = (x * mask).flatten(1, 2)  # (B, M, C, n, H, W) -> (B, M · C, n, H, W)
        presence = mask[:, self.partial, 0].expand(-1, -1, *grey.shape[2:])
        vectors = self.encoder(torch.cat([grey, presence], dim=1)).float()
        with torch.autocast(vectors.device.type, enabled=False):
            return self.head(vectors)


@dataclass(frozen=True, eq=False)
class StackLoader(CaseLoader[CaseReader]):
    """For a 3D network. Stacks of any number of planes are resampled to `depth` planes."""

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
        logits = np.empty((len(rows), self.network.head.out_features))
        none = np.zeros(1, np.uint64)
        for place, row in enumerate(rows):  # one at a time: one volume fills the device
            stack = self.load(images, [int(row)], none)
            logits[place] = self.network(stack.volumes.to(device), stack.present.to(device))[0].double().cpu().numpy()
        return logits


def to_depth(planes: np.ndarray, depth: int) -> np.ndarray:
    """Planes uint8 (n, C, H, W) as `depth` planes: averaged if there are more, interpolated if there are fewer."""
    if len(planes) == depth:
        return planes
    stack = torch.from_numpy(planes.astype(np.float32)).flatten(1).T[None]  # (1, C · H · W, n)
    mode = {"mode": "area"} if len(planes) > depth else {"mode": "linear", "align_corners": False}
    moved = interpolate(stack, size=depth, **mode)[0].T  # (depth, C · H · W)
    return moved.round().to(torch.uint8).numpy().reshape(depth, *planes.shape[1:])
