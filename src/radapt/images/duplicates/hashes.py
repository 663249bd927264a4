"""Perceptual hashes of planes: the directions of their texture, ring by ring of the Fourier power spectrum.

The power spectrum does not change under a shift, so that a crop hardly changes it; a flip or a quarter turn changes the
signs of the angular harmonics only; broad rings and few harmonics tolerate a few degrees and percent. See
`design/near-duplicates.md`.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import rfft2

from radapt.images.volume import AXES, Volume

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

VERSION = 1
"""Raised when the same pixels give another hash."""

SIDE_PX = 64
RINGS = np.geomspace(2.5, 16.0, 10)
"""Radii of the rings, in cycles per side."""

HARMONICS = 8
SIZE = 1 + len(RINGS) * 2 * HARMONICS
"""Bytes of a hash: the number of rings that the plane resolves, 0 for one without structure, then their harmonics."""

MOST_PLANES = 32
"""Of a stack; a longer one is hashed at this many evenly spaced planes."""

TURNS = (0, 1, 2, 3)
"""Classes of flips and quarter turns that the power spectrum tells apart: bit 0 mirrors, bit 1 turns by 90°."""

_RESOLVED = 0.41  # cycles per pixel up to which a plane's frequencies survive resizing
_ANGLES = 24
_BROAD_PX, _FLOOR = 6.0, 0.25  # structure larger than this is removed; least local contrast, as a share of the mean
_RING_WIDTH, _ANGLE_WIDTH, _CYCLE_WIDTH = 0.07, 0.06, 0.7
_FLAT = 0.02  # contrast below which a pixel shows nothing, as a share of the range
_LEAST_SHOWN = 0.04  # of the pixels of a plane with structure
_LEAST_WEIGHT = 1e-30  # below, float32 has numbers that processors multiply forty times as slowly, and that add nothing
_SCALE = 1500.0  # of the int8 values
_BATCH = 64
_LARGEST_STEP = 16  # of blocks of bytes whose sums fit in 16 bits


@dataclass(frozen=True, eq=False)
class SmallPlanes:
    """The planes of an image that are hashed, float32 (n, SIDE_PX, SIDE_PX), and how many rings these resolve.

    A single plane is (1, H, W), at most four times as large, and resized together with others of its shape.
    """

    planes: np.ndarray
    resolved: int


def plane_hashes(volume: Volume) -> np.ndarray:
    """int8 (n, SIZE): the hashes of at most `MOST_PLANES` planes of `volume`, in order.

    The planes are those along the axis with the fewest. A plane without structure has a hash of zeros.
    """
    return hashes_of([small_planes(volume)])[0]


def small_planes(volume: Volume) -> SmallPlanes:
    """The planes of `volume` that are hashed, made small."""
    planes = hashed_planes(volume)
    resolved = _resolved(min(planes.shape[1:3]))
    if len(planes) == 1 and max(planes.shape[1:3]) < 2 * min(planes.shape[1:3]):
        return SmallPlanes(_block_means(planes, SIDE_PX), resolved)
    small = [resized(planes[first : first + _BATCH], SIDE_PX) for first in range(0, len(planes), _BATCH)]
    return SmallPlanes(np.concatenate(small), resolved)


@lru_cache(maxsize=64)
def _resolved(side_px: int) -> int:
    """How many rings a plane of that size resolves."""
    return int((_RESOLVED * side_px >= RINGS).sum())


def hashes_of(images: Sequence[SmallPlanes]) -> list[np.ndarray]:
    """`plane_hashes` of several images: of many single pictures at once in a third of the time."""
    resolved = np.repeat([image.resolved for image in images], [len(image.planes) for image in images])
    # The matrices are too small for several threads, which on a busy machine would spend most of their time waiting.
    with _linear_algebra().limit(limits=1, user_api="blas"):
        planes = np.concatenate(_of_one_size([image.planes for image in images]))
        hashes = np.concatenate(
            [
                _hashes(planes[first : first + _BATCH], resolved[first : first + _BATCH])
                for first in range(0, len(planes), _BATCH)
            ]
        )
    return np.split(hashes, np.cumsum([len(image.planes) for image in images])[:-1])


@cache
def _linear_algebra() -> "ThreadpoolController":
    """The libraries behind matrix products, whose threads can be limited."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _of_one_size(stacks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Stacks (n, SIDE_PX, SIDE_PX), those of another shape resized, all of one shape at once."""
    sized = list(stacks)
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for at, stack in enumerate(stacks):
        by_shape[stack.shape[1:]].append(at)
    for shape, places in by_shape.items():
        if shape == (SIDE_PX, SIDE_PX):
            continue
        small = _interpolated(np.concatenate([stacks[at] for at in places]), SIDE_PX)
        for at, plane in zip(places, small, strict=True):
            sized[at] = plane[None]
    return sized


def hashed_planes(volume: Volume) -> np.ndarray:
    """The planes (n, H, W) or (n, H, W, 3) of a volume that are hashed; a copy only of a long stack."""
    shape = volume.to_ras().array.shape[:3]
    axis = min(("axial", "coronal", "sagittal"), key=lambda name: shape[AXES[name]])
    planes = volume.planes(axis)
    if len(planes) <= MOST_PLANES:
        return planes
    return planes[np.linspace(0, len(planes) - 1, MOST_PLANES).round().astype(int)]


def grey(planes: np.ndarray) -> np.ndarray:
    """float32 (n, H, W) of grey or colour planes."""
    grey_planes = planes.astype(np.float32, order="C")
    return grey_planes.mean(axis=3) if planes.ndim == 4 else grey_planes


def _block_means(planes: np.ndarray, side: int) -> np.ndarray:
    """float32: means of blocks of k × k pixels of planes (n, H, W), with the largest k that leaves twice the `side`.

    Bytes are added as whole numbers, in a third of the time and with the same result.
    """
    planes = grey(planes) if planes.ndim == 4 else planes
    step = min(planes.shape[1:]) // (2 * side)
    if step < 2:
        return grey(planes)
    whole = planes.dtype == np.uint8 and step <= _LARGEST_STEP
    if not whole:
        planes = grey(planes)
    height, width = (size // step * step for size in planes.shape[1:])
    number: Any = np.uint16 if whole else np.float32
    rows = planes[:, :height:step].astype(number)
    for row in range(1, step):
        rows += planes[:, row:height:step]
    blocks = rows[:, :, :width:step].copy()
    for column in range(1, step):
        blocks += rows[:, :, column:width:step]
    means = blocks.astype(np.float32)
    means *= 1 / (step * step)
    return means


def resized(planes: np.ndarray, side: int) -> np.ndarray:
    """Grey or colour planes → float32 (n, side, side), stretched; antialiased where it shrinks."""
    return _interpolated(_block_means(planes, side), side)


def _interpolated(planes: np.ndarray, side: int) -> np.ndarray:
    """float32 (n, H, W) → (n, side, side); every plane is resized as it would be alone."""
    height, width = planes.shape[1:]
    result: np.ndarray = _resizing(height, side) @ planes @ _resizing(width, side).T
    return result


@lru_cache(maxsize=64)
def _resizing(size: int, side: int) -> np.ndarray:
    """float32 (side, size): bicubic interpolation along one axis as a matrix, antialiased where it shrinks.

    The same up to rounding as torch's `interpolate`, in a tenth of the time and without importing it.
    """
    scale = size / side
    width = max(scale, 1.0)
    centres = scale * (np.arange(side) + 0.5)
    pixels = np.arange(size)
    away = np.abs(pixels + 0.5 - centres[:, None]) / width
    near = (1.5 * away - 2.5) * away**2 + 1  # Keys' cubic with a = -0.5 (IEEE ASSP 1981)
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    weights = np.where(away < 1, near, np.where(away < 2, far, 0.0))
    resizing: np.ndarray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return resizing


def turn_signs() -> np.ndarray:
    """float32 (4, SIZE - 1): what each of `TURNS` multiplies the harmonics of a hash with."""
    order = np.arange(1, HARMONICS + 1)
    mirrored = np.concatenate([np.ones(HARMONICS), -np.ones(HARMONICS)])
    turned = np.tile((-1.0) ** order, 2)
    signs = [mirrored ** (turn & 1) * turned ** (turn >> 1) for turn in TURNS]
    return np.tile(np.stack(signs), len(RINGS)).astype(np.float32)


def fits_hashes(hashes: np.ndarray) -> bool:
    """Whether an array has the type and shape of hashes."""
    return bool(hashes.dtype == np.int8 and hashes.ndim == 2 and hashes.shape[1] == SIZE and len(hashes))


def _hashes(small: np.ndarray, resolved: np.ndarray) -> np.ndarray:
    values, shown = _harmonics(small)
    hashes = np.zeros((len(small), SIZE), np.int8)
    hashes[shown, 0] = resolved[shown]
    hashes[shown, 1:] = np.clip(np.rint(values * _SCALE), -127, 127).reshape(len(small), -1)[shown]
    return hashes


def _harmonics(small: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted harmonics (n, rings, 2 · harmonics) of square planes, and (n,) whether a plane has structure."""
    rising = np.sort(small.reshape(len(small), -1), axis=1)
    low, high = (rising[:, round(share * (SIDE_PX**2 - 1))][:, None, None] for share in (0.01, 0.99))
    span = np.maximum(high - low, 1e-6 * np.maximum(np.abs(high), 1e-30))
    # In place, because the passes over memory take most of the time.
    levels = small - low
    levels /= span
    np.clip(levels, 0, 1, out=levels)
    broad, broader = _gaussian(_BROAD_PX), _gaussian(1.5 * _BROAD_PX)
    fine = levels
    fine -= broad @ levels @ broad.T
    contrast = broader @ (fine * fine) @ broader.T
    np.sqrt(np.maximum(contrast, 0, out=contrast), out=contrast)
    shown = np.count_nonzero(np.abs(fine) > _FLAT, axis=(1, 2)) >= _LEAST_SHOWN * SIDE_PX**2
    contrast += _FLOOR * contrast.mean(axis=(1, 2), keepdims=True)
    contrast += 1e-3
    fine /= contrast
    fine -= fine.mean(axis=(1, 2), keepdims=True)
    window = np.sin(np.pi * (np.arange(SIDE_PX) + 0.5) / SIDE_PX, dtype=np.float32) ** 2
    fine *= window[:, None]
    fine *= window
    spectrum = rfft2(fine)
    power = spectrum.real**2 + spectrum.imag**2
    rings = (power.reshape(len(power), -1) @ _ring_weights()).reshape(len(power), len(RINGS), _ANGLES)
    rings /= np.maximum(rings.mean(axis=2, keepdims=True), 1e-12)
    harmonics = np.fft.rfft(rings**0.25, axis=2)[:, :, 1 : HARMONICS + 1] / _ANGLES
    return np.concatenate([harmonics.real, harmonics.imag], axis=2) / _tolerance(), shown


@cache
def _gaussian(sigma_px: float) -> np.ndarray:
    """(SIDE_PX, SIDE_PX): a Gaussian blur along one axis as a matrix."""
    at = np.arange(SIDE_PX)
    weights = np.exp(-0.5 * ((at - at[:, None]) / sigma_px) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@cache
def _ring_weights() -> np.ndarray:
    """(frequencies of `rfft2`, rings × angles): a Gaussian around each point of the rings."""
    rows, columns = np.fft.fftfreq(SIDE_PX, 1 / SIDE_PX)[:, None], np.arange(SIDE_PX // 2 + 1)
    radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    weights = []
    for ring in RINGS:
        width = np.hypot(ring * _RING_WIDTH, _CYCLE_WIDTH)
        angle_width = np.hypot(_ANGLE_WIDTH, _CYCLE_WIDTH / ring)
        for step in range(_ANGLES):
            apart = (angle - np.pi * step / _ANGLES + np.pi / 2) % np.pi - np.pi / 2
            near = np.exp(-0.5 * ((radius - ring) / width) ** 2 - 0.5 * (apart / angle_width) ** 2)
            near[radius == 0] = 0
            weights.append((near / near.sum()).ravel())
    table = np.stack(weights, axis=1)
    table[table < _LEAST_WEIGHT] = 0
    return table.astype(np.float32)


@cache
def _tolerance() -> np.ndarray:
    """(rings, 2 · harmonics): about how much a harmonic changes when a picture is cropped or rotated a little."""
    order = np.tile(np.arange(HARMONICS), 2)
    change = 1.5 * np.exp(-2.1 * order / RINGS[:, None])
    tolerance: np.ndarray = np.hypot(change, 0.14)
    return tolerance
