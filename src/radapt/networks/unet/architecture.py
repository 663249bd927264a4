"""Planning a U-Net from the fingerprint of the training images, by the rules of nnU-Net.

Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation, Nature
Methods 2021. The rules are the paper's; their constants are below, each with its reason.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from radapt.errors import UsageError

Normalisation = Literal["foreground", "image", "nonzero"]

ANISOTROPIC = 3.0
"""Voxels this much longer along one axis than along the others are anisotropic (paper, target spacing)."""

COARSE_PERCENTILE = 10.0
"""The target spacing of an anisotropic axis is this percentile of the spacings instead of the median (paper)."""

KEEP_FINE = 2.0
"""An axis is neither pooled nor convolved over while its voxels are this much longer than the finest (paper)."""

SMALLEST_MAP = 4
"""No axis is pooled below this many voxels (paper)."""

MOST_FEATURES = {2: 512, 3: 320}
"""Features double with each stage up to this (paper)."""

MOST_POOLS = {2: 7, 3: 5}
"""The most poolings per axis: more would leave no map of a patch of 512 pixels or 128 voxels (paper)."""

REFERENCE_GB = 8.0
REFERENCE_NUMBERS = {2: 85e6, 3: 560e6}
"""Activations of one sample that fit a device of `REFERENCE_GB` with nnU-Net's batch sizes (its planner)."""

PER_STEP = 2**18
"""Voxels or pixels per training step: two patches of 51³ voxels, four of 256² pixels. nnU-Net fills the memory instead;
for the same number of samples, more and smaller steps learn more."""

BATCHES = (2, 12)
"""The smallest and the largest batch size: 2, and 12 as in nnU-Net's planner for 2D."""

WIDEST_PATCH = 512
"""The longest side of a patch: that of nnU-Net's 2D patches on 8 GB."""

ZEROS_MASKED = 0.25
"""Images with at least this share of exact zeros are masked, and 0 is not tissue (paper: nonzero region)."""

THICK = 12
"""Stacks with fewer planes are segmented plane by plane: two poolings would leave fewer than three planes."""


@dataclass(frozen=True)
class Channel:
    """One image channel over the training cases: `low` and `high` are the 0.5th and 99.5th percentile of the foreground
    values (inside the labels), `mean` and `sd` theirs; `zeros` is the median share of voxels that are 0."""

    name: str
    low: float
    high: float
    mean: float
    sd: float
    zeros: float


@dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of the training cases: voxels and mm along R, A and S of each of n cases, and C channels. Shapes
    are those of the nonzero region if images are `cropped`.

    `kind` is the cohort's. `measured` is whether the images have spacings: those without geometry do not.
    """

    kind: str
    shapes: tuple[tuple[int, ...], ...]
    spacings_mm: tuple[tuple[float, ...], ...]
    channels: tuple[Channel, ...]
    measured: bool = True


@dataclass(frozen=True)
class Scaling:
    """The normalisation of one channel: "foreground" clips to [low, high] and standardises by the training foreground;
    "image" standardises by the image itself; "nonzero" by its nonzero voxels, and zeros stay 0."""

    name: str
    by: Normalisation
    low: float
    high: float
    mean: float
    sd: float


@dataclass(frozen=True)
class UNetPlan:
    """The plan: everything that is decided before training.

    `spacing_mm` is the spacing of the network's grid along R, A, S; an axis with None is not resampled. In 2D the
    planes are stacked along `axis` of the volume. `longest` is set for images without spacing: they are scaled to this
    many pixels along their longer side. `patch`, and per stage `strides` and `kernels`, cover the network's axes.
    """

    dims: int
    axis: int
    spacing_mm: tuple[float | None, ...]
    longest: int | None
    patch: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    features: tuple[int, ...]
    batch: int
    scalings: tuple[Scaling, ...]
    crop: bool = False

    def facts(self) -> dict[str, Any]:
        """The plan as JSON-like values, for `of`."""
        return asdict(self)

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "UNetPlan":
        """The plan of `facts`. Raises UsageError if they are not those of a plan."""
        try:
            plain = dict(facts)
            for name in ("spacing_mm", "patch", "features"):
                plain[name] = tuple(plain[name])
            for name in ("strides", "kernels"):
                plain[name] = tuple(tuple(stage) for stage in plain[name])
            plain["scalings"] = tuple(Scaling(**scaling) for scaling in plain["scalings"])
            return cls(**plain)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"The stored plan is not that of a U-Net: {error}. Train it again.") from error

    @property
    def network_axes(self) -> tuple[int, ...]:
        """The axes of the volume that a patch covers."""
        return tuple(axis for axis in range(3) if self.dims == 3 or axis != self.axis)

    @property
    def divisor(self) -> tuple[int, ...]:
        """The total stride of each axis, which divides the side of every patch."""
        return tuple(int(n) for n in np.prod(np.asarray(self.strides), axis=0))


@dataclass(frozen=True)
class Budget:
    """The budget of the network. `memory_gb` bounds the patch, `features` are those of the first stage, `longest`
    bounds the longer side of planes in 2D; `patch` and `batch` override the plan."""

    memory_gb: float = REFERENCE_GB
    features: int = 32
    longest: int | None = WIDEST_PATCH
    patch: tuple[int, ...] | None = None
    batch: int | None = None


def plan_unet(fingerprint: Fingerprint, dims: int | None = None, budget: Budget | None = None) -> UNetPlan:
    """The U-Net plan for a fingerprint. `dims` None is 3 if the stacks are thick enough, else 2.

    Raises UsageError for a patch without one side per axis, and without training cases.
    """
    if not fingerprint.shapes:
        raise UsageError("A U-Net is planned from training images, and there are none; add training cases with masks.")
    budget = budget or Budget()
    shapes, spacings = np.asarray(fingerprint.shapes, float), np.asarray(fingerprint.spacings_mm, float)
    target = target_spacing(shapes, spacings)
    dims = dims or (3 if np.median(shapes, axis=0).min() >= THICK else 2)
    axis = _stacked(shapes, target)
    network_axes = [a for a in range(3) if dims == 3 or a != axis]
    longest = None if dims == 3 else budget.longest
    common = None
    if dims == 2 and not fingerprint.measured:
        side = round(float(np.median(shapes[:, network_axes].max(1))))
        common = side if longest is None else min(side, longest)
        sizes = shapes * (common / shapes[:, network_axes].max(1, keepdims=True))
    else:
        target = _coarser(target, shapes, spacings, network_axes, longest)
        sizes = shapes * spacings / target
    median = np.maximum(1, np.rint(np.median(sizes, axis=0)))[network_axes]
    spacing = np.ones(len(network_axes)) if common else target[network_axes]
    patch, strides, kernels = _patch(median, spacing, dims, budget)
    features = tuple(min(budget.features * 2**stage, MOST_FEATURES[dims]) for stage in range(len(strides)))
    return UNetPlan(
        dims=dims,
        axis=axis,
        spacing_mm=tuple(float(target[a]) if a in network_axes and not common else None for a in range(3)),
        longest=common,
        patch=patch,
        strides=strides,
        kernels=kernels,
        features=features,
        batch=budget.batch or int(np.clip(PER_STEP // np.prod(patch), *BATCHES)),
        scalings=tuple(_scaling(channel, fingerprint.kind) for channel in fingerprint.channels),
        crop=cropped(fingerprint.channels, fingerprint.kind),
    )


def cropped(channels: Sequence[Channel], kind: str) -> bool:
    """Whether images are cropped to their nonzero region: all channels are masked, and 0 is not water as in CT."""
    return kind != "ct" and bool(channels) and min(channel.zeros for channel in channels) >= ZEROS_MASKED


def target_spacing(shapes: np.ndarray, spacings: np.ndarray) -> np.ndarray:
    """(3,) mm: the median of (n, 3) spacings; along a coarse axis with few voxels the 10th percentile, so that finer
    images lose no resolution."""
    target = np.median(spacings, axis=0)
    size = np.median(shapes * spacings / target, axis=0)
    worst = int(target.argmax())
    others = [axis for axis in range(3) if axis != worst]
    if target[worst] > ANISOTROPIC * target[others].min() and ANISOTROPIC * size[worst] < size[others].min():
        coarse = np.percentile(spacings[:, worst], COARSE_PERCENTILE)
        # Never finer than the plane: interpolated voxels add no information.
        target[worst] = max(coarse, target[others].max())
    return target


def topology(
    spacing: Sequence[float], patch: Sequence[int], most: int
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """Strides and kernels of each stage, the first with stride 1; at least three stages.

    An axis is pooled while at least `SMALLEST_MAP` voxels remain and its voxels are not twice as long as those of the
    finest axis that can still be pooled. A kernel covers an axis from the stage where its voxels are less than twice as
    long as the finest.
    """
    size, mm, dims = list(patch), list(spacing), len(patch)
    pools, kernel = [0] * dims, [1] * dims
    strides: list[tuple[int, ...]] = [(1,) * dims]
    kernels: list[tuple[int, ...]] = []
    while True:
        kernel = [3 if width == 3 or _comparable(mm, size, a) else 1 for a, width in enumerate(kernel)]
        kernels.append(tuple(kernel))
        able = [a for a in range(dims) if size[a] >= 2 * SMALLEST_MAP and pools[a] < most]
        able = [a for a in able if mm[a] < KEEP_FINE * min(mm[b] for b in able)]
        if not able:
            break
        strides.append(tuple(2 if a in able else 1 for a in range(dims)))
        for a in able:
            size[a], mm[a], pools[a] = math.ceil(size[a] / 2), mm[a] * 2, pools[a] + 1
    while len(strides) < 3:  # MONAI's network needs three; a stage without pooling costs little on such a small patch
        strides.append((1,) * dims)
        kernels.append(kernels[-1])
    return tuple(strides), tuple(kernels)


def activations(patch: Sequence[int], strides: Sequence[Sequence[int]], features: Sequence[int]) -> float:
    """The activations of one sample: two convolutions per stage of the encoder; in the decoder the upsampled map and
    two convolutions."""
    voxels, total = float(np.prod(patch)), 0.0
    for stage, (stride, width) in enumerate(zip(strides, features, strict=True)):
        voxels /= float(np.prod(stride))
        total += voxels * width * (5 if stage < len(strides) - 1 else 2)
    return total


def _patch(
    median: np.ndarray, spacing: np.ndarray, dims: int, budget: Budget
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """The largest patch with the aspect ratio of the median image that fits the memory, with its topology."""
    if budget.patch is not None:
        if len(budget.patch) != dims:
            raise UsageError(f"A {dims}D patch has {dims} sides, not {len(budget.patch)}: {list(budget.patch)}.")
        return _divisible(np.asarray(budget.patch, float), spacing, dims)
    wanted = np.minimum(median, WIDEST_PATCH)
    # Starts from a cube in mm with the volume of 256³ voxels, so that anisotropic images get an isotropic view.
    if dims == 3:
        wanted = np.minimum(wanted, np.maximum(1, 256 * np.prod(spacing) ** (1 / 3) / spacing))
    allowed = REFERENCE_NUMBERS[dims] * budget.memory_gb / REFERENCE_GB
    while True:
        patch, strides, kernels = _divisible(wanted, spacing, dims)
        widths = [min(budget.features * 2**stage, MOST_FEATURES[dims]) for stage in range(len(strides))]
        steps = np.prod(np.asarray(strides), axis=0)
        if activations(patch, strides, widths) <= allowed or (np.asarray(patch) <= np.maximum(steps, 8)).all():
            return patch, strides, kernels
        relative = np.where(np.asarray(patch) > np.maximum(steps, 8), np.asarray(patch) / median, 0)
        longest = int(relative.argmax())
        wanted = np.asarray(patch, float)
        wanted[longest] -= steps[longest]


def _divisible(
    wanted: np.ndarray, spacing: np.ndarray, dims: int
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    sides = np.maximum(1, np.rint(wanted)).astype(int)
    # A side of one voxel stays one (a flat stack in 3D); others are at least one map long.
    sides = np.where(sides > 1, np.maximum(sides, SMALLEST_MAP), sides)
    strides, kernels = topology(spacing.tolist(), sides.tolist(), MOST_POOLS[dims])
    steps = np.prod(np.asarray(strides), axis=0)
    return tuple(int(n) for n in -(-sides // steps) * steps), strides, kernels


def _comparable(mm: Sequence[float], size: Sequence[int], axis: int) -> bool:
    finest = min((length for length, voxels in zip(mm, size, strict=True) if voxels > 1), default=mm[axis])
    return size[axis] > 1 and mm[axis] < KEEP_FINE * finest


def _stacked(shapes: np.ndarray, target: np.ndarray) -> int:
    """The axis that planes are stacked along: that of a single plane, else the coarsest, else the axial one."""
    flat = np.flatnonzero(np.median(shapes, axis=0) == 1)
    if len(flat):
        return int(flat[-1])
    return int(np.flatnonzero(np.isclose(target, target.max(), rtol=1e-3))[-1])


def _coarser(
    target: np.ndarray, shapes: np.ndarray, spacings: np.ndarray, network_axes: Sequence[int], longest: int | None
) -> np.ndarray:
    """The target spacing, coarser within planes if the median image would be longer than `longest`."""
    if longest is None:
        return target
    size = np.median(shapes * spacings / target, axis=0)[list(network_axes)].max()
    coarser = target.copy()
    coarser[list(network_axes)] *= max(1.0, size / longest)
    return coarser


def _scaling(channel: Channel, kind: str) -> Scaling:
    """CT is standardised the same in all images, because it is a measurement; other kinds by image (paper)."""
    by: Normalisation = "foreground" if kind == "ct" else "nonzero" if channel.zeros >= ZEROS_MASKED else "image"
    return Scaling(channel.name, by, channel.low, channel.high, channel.mean, channel.sd)
