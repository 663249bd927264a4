"""Spatial augmentation of a batch, sample by sample: flips are exact, everything else is one interpolation."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from radapt.training.augmentation_draws import Draws


def moved(
    images: Tensor, masks: Tensor | None, draws: Draws, spacing: Sequence[float], fill: float
) -> tuple[Tensor, Tensor | None]:
    """Images (B, C, *S) float and masks (B, *S) transformed as drawn, as new tensors; outside is `fill` and label 0."""
    images = images.clone()
    masks = None if masks is None else masks.clone()
    for axis in range(draws.flips.shape[1]):
        chosen = _where(draws.flips[:, axis], images)
        if len(chosen):
            images[chosen] = images[chosen].flip(2 + axis)
            if masks is not None:
                masks[chosen] = masks[chosen].flip(1 + axis)
    bent = (draws.matrix != np.eye(draws.matrix.shape[1])).any((1, 2)) | (draws.shift != 0).any(1)
    bent |= draws.bends.reshape(len(bent), -1).any(1)
    chosen = _where(bent, images)
    if len(chosen):
        grid = _grid(images.shape[2:], draws, bent, spacing).to(images.device, images.dtype)
        images[chosen] = F.grid_sample(images[chosen] - fill, grid, "bilinear", "zeros", align_corners=False) + fill
        if masks is not None:
            # float32 holds every label below 2²⁴ exactly.
            labels = F.grid_sample(masks[chosen, None].float(), grid.float(), "nearest", "zeros", align_corners=False)
            masks[chosen] = labels[:, 0].to(masks.dtype)
    return images, masks


def _where(chosen: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(np.flatnonzero(chosen)).to(like.device)


def _grid(size: Sequence[int], draws: Draws, chosen: np.ndarray, spacing: Sequence[float]) -> Tensor:
    """(b, *S, dims): the source of each voxel of the chosen samples, −1 to 1, last axis first, for `grid_sample`."""
    # Half the image sides in mm: the matrix is in mm, the grid in units of half a side.
    half = np.asarray(size) * np.asarray(spacing) / 2
    matrix = draws.matrix[chosen] * half[None, None, :] / half[None, :, None]
    affine = np.concatenate([matrix, 2 * draws.shift[chosen][:, :, None]], axis=2)[:, ::-1]  # (b, dims, dims + 1)
    affine = np.concatenate([affine[:, :, -2::-1], affine[:, :, -1:]], axis=2)
    theta = torch.from_numpy(np.ascontiguousarray(affine)).float()
    grid = F.affine_grid(theta, [len(theta), 1, *size], align_corners=False)
    bends = draws.bends[chosen]
    if bends.any():
        knots = torch.from_numpy(np.ascontiguousarray(2 * bends[:, ::-1])).float()
        mode = "bicubic" if len(size) == 2 else "trilinear"
        smooth = F.interpolate(knots, tuple(size), mode=mode, align_corners=True)
        grid = grid + smooth.movedim(1, -1)
    return grid
