"""Intensity augmentation of a batch, sample by sample, as scanners and their settings vary."""

import numpy as np
import torch
from torch import Tensor

from radapt.training.augmentation_draws import Draws
from radapt.training.seeds import mixed

_REACH = 3.0  # standard deviations at which a blur ends
_SMALLEST = 1e-7  # of the range of a channel that is not constant


def recoloured(images: Tensor, draws: Draws, bounds: tuple[float, float] | None) -> Tensor:
    """Images (B, C, *S) float, augmented in place in the order of nnU-Net: noise first, gamma last.

    Intensities are scaled to 0…1: by `bounds`, to which the result is clipped, or by the range of each channel.
    Constant channels are left unchanged.
    """
    changed = (draws.noise != 0) | (draws.blur != 0) | (draws.resolution != 1) | (draws.gamma != 1)
    changed |= (draws.brightness != 1) | (draws.contrast != 1)
    chosen = _rows(changed, images)
    if not len(chosen):
        return images
    before = images[chosen]
    axes = tuple(range(2, images.ndim))
    lowest, highest = before.amin(axes, keepdim=True), before.amax(axes, keepdim=True)
    low, span = (
        (lowest, (highest - lowest).clamp_min(_SMALLEST)) if bounds is None else (bounds[0], bounds[1] - bounds[0])
    )
    unit = (before - low) / span
    unit = _changed(unit, draws, changed, clamp=bounds is not None)
    images[chosen] = torch.where(highest > lowest, unit * span + low, before)
    return images


def _changed(unit: Tensor, draws: Draws, changed: np.ndarray, *, clamp: bool) -> Tensor:
    """(b, C, *S) in 0…1; each step changes only the samples it was drawn for."""
    noise, blur, resolution = draws.noise[changed], draws.blur[changed], draws.resolution[changed]
    rows = _rows(noise != 0, unit)
    if len(rows):
        some = unit[rows]
        unit[rows] = some + _column(noise[noise != 0], some) * normal(draws.seeds[changed][noise != 0], some)
    rows = _rows(blur != 0, unit)
    if len(rows):
        unit[rows] = blurred(unit[rows], blur[blur != 0])
    if (draws.brightness[changed] != 1).any():
        unit = unit * _column(draws.brightness[changed], unit)
    if (draws.contrast[changed] != 1).any():
        mean = unit.mean(tuple(range(2, unit.ndim)), keepdim=True)
        unit = (unit - mean) * _column(draws.contrast[changed], unit) + mean
    rows = _rows(resolution != 1, unit)
    if len(rows):
        unit[rows] = coarser(unit[rows], resolution[resolution != 1])
    rows = _rows(draws.gamma[changed] != 1, unit)
    if len(rows):
        power = draws.gamma[changed] != 1
        turned = _column(draws.inverted[changed][power], unit) > 0
        some = torch.where(turned, 1 - unit[rows], unit[rows]).clamp(0, 1) ** _column(draws.gamma[changed][power], unit)
        unit[rows] = torch.where(turned, 1 - some, some)
    return unit.clamp(0, 1) if clamp else unit


def normal(seeds: np.ndarray, like: Tensor) -> Tensor:
    """Standard normal numbers (b, C, *S) that depend on the seed of each sample alone: a hashed counter.

    The hash is lowbias32 (Wellons 2018); its 32 bits become a normal number by the inverse of the distribution.
    """
    start = (mixed(seeds, np.int64(0)) >> np.uint64(32)).astype(np.uint32).view(np.int32)
    step = (mixed(seeds, np.int64(1)) >> np.uint64(32)).astype(np.uint32).view(np.int32)
    counter = torch.arange(like[0].numel(), dtype=torch.int32, device=like.device)
    bits = _hash(counter[None] + torch.from_numpy(start).to(like.device)[:, None])  # (b, n)
    bits = _hash(bits ^ torch.from_numpy(step).to(like.device)[:, None])
    # 24 bits, as float32 has: from 2⁻²⁴ to 1 − 2⁻²⁴ around 0.5, so never infinite.
    share = (_shifted(bits, 8).to(torch.float32) + 0.5) * 2.0**-24
    return (2**0.5 * torch.erfinv((2 * share - 1).clamp(-1 + 2.0**-23, 1 - 2.0**-23))).view_as(like).to(like.dtype)


def blurred(images: Tensor, sigma: np.ndarray) -> Tensor:
    """Gaussian blur of each image (b, C, *S) with its own `sigma` (b,), in voxels; edge values are repeated."""
    reach = int(np.ceil(_REACH * sigma.max()))
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets[None] / sigma[:, None]) ** 2) * (
        np.abs(offsets[None]) <= np.ceil(_REACH * sigma[:, None])
    )
    columns = _column(weights / weights.sum(1, keepdims=True), images)
    for axis in range(2, images.ndim):
        size = images.shape[axis]
        index = torch.arange(-reach, size + reach, device=images.device).clamp(0, size - 1)
        padded = images.index_select(axis, index)
        images = columns[0] * padded.narrow(axis, 0, size)
        for number in range(1, len(offsets)):
            images = torch.addcmul(images, columns[number].expand_as(images), padded.narrow(axis, number, size))
    return images


def coarser(images: Tensor, share: np.ndarray) -> Tensor:
    """Each image (b, C, *S) sampled at the fraction `share` (b,) of its resolution and interpolated back.

    Coarse samples take the nearest voxel; interpolation between them is linear.
    """
    zoom = torch.from_numpy(share).to(images.device)[:, None]
    for axis in range(2, images.ndim):
        size = images.shape[axis]
        at = (torch.arange(size, dtype=torch.float64, device=images.device) + 0.5) * zoom - 0.5  # (b, size)
        first = at.floor()
        lower = _nearest(first, zoom, size)
        upper = _nearest(first + 1, zoom, size)
        shape = [len(images), *(1,) * (images.ndim - 1)]
        shape[axis] = size
        weight = (at - first).to(images.dtype).view(shape)
        low = images.gather(axis, lower.view(shape).expand_as(images))
        images = torch.lerp(low, images.gather(axis, upper.view(shape).expand_as(images)), weight)
    return images


def _nearest(coarse: Tensor, zoom: Tensor, size: int) -> Tensor:
    """Index of the voxel nearest to a coarse sample, clipped to the image."""
    last = (size * zoom).floor() - 1
    inside = torch.minimum(coarse.clamp_min(0), last.clamp_min(0))
    return ((inside + 0.5) / zoom - 0.5).round().long().clamp(0, size - 1)


def _hash(value: Tensor) -> Tensor:
    value = (value ^ _shifted(value, 16)) * 0x7FEB352D
    value = (value ^ _shifted(value, 15)) * (0x846CA68B - 2**32)
    return value ^ _shifted(value, 16)


def _shifted(value: Tensor, bits: int) -> Tensor:
    """Logical (unsigned) right shift of int32."""
    return (value >> bits) & ((1 << (32 - bits)) - 1)


def _rows(chosen: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(np.flatnonzero(chosen)).to(like.device)


def _column(values: np.ndarray, like: Tensor) -> Tensor:
    """(b,) → (b, 1, 1, …) or (b, n) → (n, b, 1, 1, …), as many axes as `like` has."""
    tensor = torch.from_numpy(np.asarray(values, np.float64).T.copy()).to(like.device, like.dtype)
    return tensor.view(*tensor.shape, *(1,) * (like.ndim - 1))
