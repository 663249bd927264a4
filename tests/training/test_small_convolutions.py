"""Gradients of 3D convolutions in bfloat16 on a CPU are those in float32, for maps of every size."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from radapt.training import train
from radapt.training.small_convolutions import SMALLEST, SmallConvolutions
from toy_task import ToyTask, config


def poison() -> None:
    """Leave memory that is not a number, which shows what is not written."""
    for size in range(10, 22, 2):
        del [torch.full((1 << size,), torch.nan) for _ in range(3)][:]


@pytest.mark.parametrize("layer", [nn.Conv3d(4, 16, 3, padding=1), nn.ConvTranspose3d(4, 16, 2, stride=2)])
@pytest.mark.parametrize("side", [1, 2, 5, SMALLEST])
def test_gradients_are_those_of_float32(layer: nn.Module, side: int) -> None:
    image = torch.randn(2, 4, side, side + 2, side, generator=torch.Generator().manual_seed(0))
    found = []
    for half in (False, True):
        layer.zero_grad()
        poison()
        with torch.autocast("cpu", torch.bfloat16, enabled=half), SmallConvolutions():
            (layer(image).float() * torch.linspace(-1, 1, 16)[:, None, None, None]).square().mean().backward()
        found.append(torch.cat([weight.grad.flatten().clone() for weight in layer.parameters()]))
    exact, half_precision = found
    assert float((half_precision - exact).norm() / exact.norm()) < (1e-6 if side < SMALLEST else 0.02)


class Volumes(ToyTask):
    """Convolutions of a small and a large map."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.Conv3d(2, 2, 2, stride=4))
        self.seen: list[torch.dtype] = []
        for layer in self.module:
            layer.register_forward_hook(lambda module, given, found: self.seen.append(found.dtype))

    def loss(self, batch: dict[str, Tensor], seeds: np.ndarray) -> Tensor:
        small = self.module[1](torch.ones(1, 2, 4, 4, 4)).float().square().mean()
        return self.module(torch.ones(1, 1, 8, 8, 8)).float().square().mean() + small

    def score(self) -> float:
        return 0.0


def test_training_in_bfloat16_computes_small_maps_in_float32() -> None:
    task = Volumes()
    train(task, config(epochs=1, precision="bfloat16"), seed=0)
    assert task.seen[:3] == [torch.float32, torch.bfloat16, torch.bfloat16]
    assert all(bool(weight.isfinite().all()) for weight in task.module.parameters())
