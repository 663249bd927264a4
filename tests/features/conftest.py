"""A backbone small enough to run in a millisecond, and cohorts drawn from random pixels."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from radapt.cohorts.cohort import Case, Cohort
from radapt.locations import Location


@dataclass(frozen=True)
class ToyLayer:
    cls: torch.Tensor
    patches: torch.Tensor


@dataclass(frozen=True)
class ToyTokens:
    layers: tuple[ToyLayer, ...]


@dataclass
class ToyBackbone:
    """Patches of 8 px through a fixed random projection; layer -k is scaled by k."""

    name: str = "toy"
    identity: str = "random:0"
    dtype: str = "float32"
    device: str = "cpu"
    runtime: str = "pytorch"
    width: int = 6
    before: Callable[[int], None] = lambda call: None
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._weights = torch.randn(self.width, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    @property
    def token_identity(self) -> str:
        return self.identity

    def widths(self, layers: tuple[int, ...]) -> tuple[int, ...]:
        return (self.width,) * len(layers)

    def tokens(self, images: torch.Tensor, layers: tuple[int, ...] = (-1,)) -> ToyTokens:
        self.before(len(self.shapes))
        self.shapes.append(tuple(images.shape))
        x = images.expand(-1, 3, -1, -1).float() / 255 - 0.5
        patches = torch.nn.functional.conv2d(x, self._weights, stride=8).permute(0, 2, 3, 1)
        made = [patches * -layer for layer in layers]
        return ToyTokens(tuple(ToyLayer(part.amax(dim=(1, 2)), part) for part in made))


@pytest.fixture
def toy_backbone() -> Callable[..., ToyBackbone]:
    return ToyBackbone


def write_cohort(folder: Path, cases: int = 7, seed: int = 0, deep: int = 5) -> Cohort:
    """Stacks of 1…`deep` slices (16, 16) in .npy of modalities t1 and t2; every third case lacks t2."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    made = []
    for number in range(cases):
        images = {}
        for name in ("t1", "t2")[: 1 + (number % 3 > 0)]:
            path = folder / f"{number}-{name}.npy"
            depth = int(rng.integers(1, deep + 1))
            np.save(path, rng.integers(0, 256, (depth, 16, 16), dtype=np.uint8).astype(np.int16))
            images[name] = Location(path)
        split = "train" if number % 2 else "test"
        made.append(Case(f"c{number}", f"p{number}", split, images, label=number // 2 % 2, row=number + 2))
    return Cohort("toy", "mri", tuple(made), ("t1", "t2"), classes=("no", "yes"))


@pytest.fixture
def toy_cohort(tmp_path: Path) -> Callable[..., Cohort]:
    def make(**options: Any) -> Cohort:
        return write_cohort(tmp_path / "images", **options)

    return make
