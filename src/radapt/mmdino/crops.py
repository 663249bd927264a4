"""Multi-crop for self-distillation: a few large and several small crops of a slice, each with its own augmentation."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from radapt.errors import UsageError, suggest
from radapt.training import Augmentation, Draws, Range
from radapt.training.augment import Kind
from radapt.training.intensity import recoloured
from radapt.training.seeds import derived, mixed, uniform

Strength = Literal["scanners", "default", "none"]
STRENGTHS = ("scanners", "default", "none")

ASPECT = (3 / 4, 4 / 3)
"""Aspect ratios, width to height, of crops (Szegedy et al. 2015; DINO)."""

STEP_PX = 1.5
"""Largest step between the source positions of neighbouring crop pixels. Beyond it bilinear interpolation would skip
pixels, so several points are averaged for each."""

_SEEDS = {name: np.int64(derived("radapt.mmdino.crops", name)) for name in ("global", "local", "place", "modality")}
_SEEDS["shade"] = np.int64(derived("radapt.mmdino.crops", "shade"))
_KNOTS = 4  # along each axis of a shading: slower than any anatomy in a crop

# Scanners of other hospitals: brightness and contrast as in DINO's colour jitter (in 0.8 of the crops, by ±0.4), blur
# in half of them; gamma, noise and resolution with wider ranges than nnU-Net's. Set by judgement, not tuned on data.
_SCANNERS: dict[str, Any] = {
    "brightness": Range(0.8, 0.6, 1.4),
    "contrast": Range(0.8, 0.6, 1.4),
    "gamma": Range(0.5, 0.5, 2.0),
    "gamma_inverted": 0.25,
    "noise": Range(0.3, 0.0, 0.05),
    "blur": Range(0.5, 0.1, 1.0),
    "resolution": Range(0.2, 0.5, 1.0),
}
SHADING = Range(0.3, 0.1, 0.4)
"""The bias field of a receive coil: brightness varies slowly over the crop, by up to ±10 to 40 %. MRI only. BrainWeb
(Cocosco et al. 1997) simulates ±10 and ±20 % over a whole head."""


@dataclass(frozen=True, eq=False)
class CropDraws:
    """The crops drawn for B samples, crop-major: crop k of sample b at k · B + b."""

    large: "Views"
    small: "Views"


@dataclass(frozen=True, eq=False)
class Views:
    """K crops of each of B samples: their geometry, and the seeds of their intensity augmentation."""

    seeds: np.ndarray  # (K·B,) uint64
    centre: np.ndarray  # (K·B, 2) y, x in pixels of the plane
    side: np.ndarray  # (K·B, 2) height and width in pixels of the plane
    matrix: np.ndarray  # (K·B, 2, 2) rotation and flips, from the crop to the plane


@dataclass(frozen=True)
class MultiCrop:
    """Large and small crops of slices, as DINO takes them (Caron et al. 2021); sizes and scales are MM-DINOv2's.

    A crop covers a share of the area of the sample's box, drawn uniformly from its scale, with an aspect ratio from 3/4
    to 4/3. It lies inside the box; in a box too narrow for that, it is centred and extends beyond. Rotations and flips
    are those of supervised training for this `kind` of image: no flips for X-ray. All modalities of a crop share its
    geometry and have independent intensity augmentations, of a `strength`: `scanners` imitates other scanners and
    settings, `default` is that of supervised training, `none` switches it off.
    """

    kind: Kind = "mri"
    global_size: int = 98
    global_scale: tuple[float, float] = (0.5, 1.0)
    globals: int = 2
    local_size: int = 56
    local_scale: tuple[float, float] = (0.2, 0.5)
    locals: int = 8
    strength: Strength = "scanners"

    def __post_init__(self) -> None:
        """Raises UsageError for what is out of range."""
        if self.strength not in STRENGTHS:
            raise UsageError(f"There are no crops of strength {self.strength!r}. {suggest(self.strength, STRENGTHS)}")
        for name in ("global_scale", "local_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                raise UsageError(f"{name} = ({low}, {high}): expected rising shares above 0, at most 1.")
        for name, least in {"global_size": 1, "local_size": 1, "globals": 1, "locals": 0}.items():
            if getattr(self, name) < least:
                raise UsageError(f"{name} = {getattr(self, name)}: expected at least {least}.")
        Augmentation.for_kind(self.kind)

    @cached_property
    def geometry(self) -> Augmentation:
        """Rotations and flips."""
        whole = Augmentation.for_kind(self.kind, strength="none" if self.strength == "none" else "default")
        return Augmentation(flips=whole.flips, rotation=whole.rotation)

    @cached_property
    def intensity(self) -> Augmentation:
        """Changes of grey values."""
        if self.strength == "scanners":
            return Augmentation(**_SCANNERS)
        whole = Augmentation.for_kind(self.kind, strength=self.strength)
        return replace(whole, flips=(0.0, 0.0), rotation=None, scale=None, shift=None, elastic=None)

    def draw(self, seeds: np.ndarray, boxes: np.ndarray | Tensor) -> CropDraws:
        """Crops for the samples with `seeds` uint64 (B,) and `boxes` (B, 4): y0, x0, y1, x1 in pixels of the plane."""
        seeds = np.asarray(seeds, np.uint64)
        given = np.asarray(boxes, np.float64)
        if given.shape != (len(seeds), 4) or not (given[:, 2:] > given[:, :2]).all():
            raise UsageError(f"Crops of boxes {given.shape}: expected {len(seeds)} boxes y0, x0, y1, x1, none empty.")
        return CropDraws(
            self._views(mixed(seeds, _SEEDS["global"]), given, self.globals, self.global_scale),
            self._views(mixed(seeds, _SEEDS["local"]), given, self.locals, self.local_scale),
        )

    def apply(self, planes: Tensor, draws: CropDraws) -> tuple[Tensor, Tensor]:
        """Large and small crops, float32 in [0, 1], of planes (B, M, C, H, W) uint8, or float in [0, 1].

        (G·B, M, C, s, s) and (S·B, M, C, l, l), crop-major, on the device of the planes. Outside of a plane
        crops are black. Absent modalities stay black, since a constant channel stays constant.
        """
        count = len(draws.large.seeds) // self.globals
        if planes.ndim != 5 or len(planes) != count:
            raise UsageError(f"Crops of planes {tuple(planes.shape)}: expected (B, M, C, H, W) of {count} samples.")
        floats = planes.float() / 255 if not planes.is_floating_point() else planes.float()
        return (
            self._taken(floats, draws.large, self.global_size, self.global_scale[1]),
            self._taken(floats, draws.small, self.local_size, self.local_scale[1]),
        )

    def placed(self, maps: Tensor, draws: CropDraws) -> Tensor:
        """The large crops of maps float (B, L, H, W), such as lesion masks: (G·B, L, s, s), 0 outside of the plane."""
        points = _points(maps, self.global_size, self.global_scale[1])
        return _sampled(maps[:, :, None], draws.large, self.global_size, points)[:, :, 0]

    def _views(self, own: np.ndarray, boxes: np.ndarray, count: int, scale: tuple[float, float]) -> Views:
        seeds = np.concatenate([mixed(own, np.int64(number)) for number in range(count)] or [own[:0]])
        place = mixed(seeds, _SEEDS["place"])
        low, high = np.tile(boxes, (count, 1))[:, :2], np.tile(boxes, (count, 1))[:, 2:]
        side = _sides(high - low, scale, uniform(place, 0), uniform(place, 1))
        free = np.maximum(high - low - side, 0)
        drawn = np.stack([uniform(place, 2), uniform(place, 3)], axis=1)
        centre = (low + high) / 2 + free * (drawn - 0.5)
        moved = self.geometry.draw(place)
        return Views(seeds, centre, side, moved.matrix * np.where(moved.flips, -1.0, 1.0)[:, None, :])

    def _taken(self, planes: Tensor, views: Views, size: int, share: float) -> Tensor:
        """(K·B, M, C, s, s)."""
        crops = _sampled(planes, views, size, _points(planes, size, share))
        flat = crops.flatten(0, 1)  # (K·B·M, C, s, s)
        seeds = np.stack([mixed(views.seeds, _SEEDS["modality"] + np.int64(m)) for m in range(planes.shape[1])], axis=1)
        draws = self.intensity.draw(seeds.ravel())
        if self.strength == "scanners" and self.kind == "mri":
            flat = _shaded(flat, draws)
        return recoloured(flat, draws, (0.0, 1.0)).view_as(crops)


def whole(planes: Tensor, boxes: Tensor, size: int) -> Tensor:
    """A sample's box without augmentation: float32 (B, M, C, s, s) from planes uint8 (B, M, C, H, W).

    The square around the box, so that nothing is stretched, resampled in the same way as crops.
    """
    given = squares(boxes.double().cpu()).numpy()
    side = given[:, 2:] - given[:, :2]
    turns = np.broadcast_to(np.eye(2), (len(given), 2, 2))
    views = Views(np.zeros(len(given), np.uint64), (given[:, :2] + given[:, 2:]) / 2, side, turns)
    floats = planes.float() / 255 if not planes.is_floating_point() else planes.float()
    return _sampled(floats, views, size, _points(floats, size, 1.0))


def squares(boxes: Tensor) -> Tensor:
    """The square around each of `boxes` (B, 4), with the same centre and the longer side."""
    half = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return torch.cat([middle - half, middle + half], dim=1)


def _sides(box: np.ndarray, scale: tuple[float, float], share: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """(n, 2) height and width of crops of boxes (n, 2), from two random numbers in [0, 1) for each.

    The aspect ratio is log-uniform over those that fit the box; where none from 3/4 to 4/3 fits, it is the nearest one.
    """
    area = (scale[0] + (scale[1] - scale[0]) * share) * box.prod(axis=1)
    fitting = np.log(np.stack([area / box[:, 0] ** 2, box[:, 1] ** 2 / area]))
    low, high = np.clip(fitting, *np.log(ASPECT))
    aspect = np.exp(low + (high - low) * shape)
    return np.sqrt(np.stack([area / aspect, area * aspect], axis=1))


def _points(planes: Tensor, size: int, share: float) -> int:
    """Points along each axis that are averaged for a crop pixel; the same for every batch of planes of this size."""
    return max(1, math.ceil(max(planes.shape[-2:]) * math.sqrt(share) / size / STEP_PX))


def _sampled(planes: Tensor, views: Views, size: int, points: int) -> Tensor:
    """(K·B, M, C, s, s) from planes float (B, M, C, H, W), averaging `points`² interpolated points for each pixel."""
    batch, modalities, channels, height, width = planes.shape
    count = len(views.seeds) // max(batch, 1)

    def on_grid(pixels: np.ndarray) -> Tensor:  # (K·B, 2) y, x in pixels → (B, K, 1, 1, 2) x, y in half sides
        shares = torch.from_numpy((2 * pixels / (height, width))[:, ::-1].astype(np.float32))
        return shares.to(planes.device).view(count, batch, 1, 1, 2).transpose(0, 1)

    # A pixel at (v, u) of the crop, in shares of its sides, comes from centre + matrix · (v · height, u · width).
    middle = on_grid(views.centre - np.asarray([height, width]) / 2)
    down, across = (
        on_grid(views.matrix[:, :, 0] * views.side[:, :1]),
        on_grid(views.matrix[:, :, 1] * views.side[:, 1:]),
    )
    at = (torch.arange(size, device=planes.device) + 0.5) / size - 0.5
    spread = (at[:, None, None] * down + at[:, None] * across).contiguous()  # (B, K, s, s, 2)
    flat = planes.flatten(1, 2)  # (B, M·C, H, W)
    crops = flat.new_zeros(batch, modalities * channels, count * size, size)  # crops of a sample, stacked vertically
    offsets = ((np.arange(points) + 0.5) / points - 0.5) / size
    for y, x in product(offsets.tolist(), offsets.tolist()):
        grid = (spread + (middle + y * down + x * across)).view(batch, count * size, size, 2)
        crops += F.grid_sample(flat, grid, "bilinear", "zeros", align_corners=False)
    crops = crops.view(batch, modalities, channels, count, size, size) / points**2
    return crops.permute(3, 0, 1, 2, 4, 5).reshape(count * batch, modalities, channels, size, size)


def _shaded(images: Tensor, draws: Draws) -> Tensor:
    """Multiplies images (n, C, s, s) in place by a slowly varying field, the same for all channels of an image."""
    own = mixed(draws.seeds, _SEEDS["shade"])
    chosen = np.flatnonzero(uniform(own, 0) < SHADING.chance)
    own = own[chosen]
    strength = SHADING.low + (SHADING.high - SHADING.low) * uniform(own, 1)
    knots = np.stack([uniform(own, 2 + number) for number in range(_KNOTS**2)], axis=1)
    field = torch.from_numpy(strength[:, None] * (2 * knots - 1)).to(images.device, images.dtype)
    # Cubic interpolation along one axis is a matrix; here that of a square.
    unit = torch.eye(_KNOTS, device=images.device, dtype=images.dtype)[None, None]
    cubic = F.interpolate(unit, (images.shape[-1], _KNOTS), mode="bicubic", align_corners=True)[0, 0]  # (s, knots)
    factor = torch.exp(cubic @ field.view(-1, 1, _KNOTS, _KNOTS) @ cubic.T)
    rows = torch.from_numpy(chosen).to(images.device)
    images[rows] = (images[rows] * factor).clamp(0, 1)
    return images
