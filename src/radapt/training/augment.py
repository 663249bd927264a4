"""Data augmentation of whole batches: declared per kind of image, drawn from one seed per sample, applied at once."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from radapt.errors import UsageError, suggest
from radapt.training.augmentation_draws import Draws, Range
from radapt.training.geometry import moved
from radapt.training.intensity import recoloured
from radapt.training.seeds import uniform

Kind = Literal["xray", "ct", "mri", "other"]
Strength = Literal["default", "none"]

_ANISOTROPIC = 3.0  # ratio of voxel sides beyond which volumes rotate about the long side only, as in nnU-Net
_KNOTS = 5  # control points of the elastic displacement along each axis, the outer ones on the border
_SLOTS = {name: number * 16 for number, name in enumerate(("flips", "rotation", "scale", "shift", "elastic"))}
_SLOTS |= {"brightness": 80, "contrast": 96, "gamma": 112, "noise": 128, "blur": 144, "resolution": 160}
_BENDS = 1024  # first slot of the displacements of control points


@dataclass(frozen=True)
class Augmentation:
    """The augmentations of a training batch and their ranges. None by default; `for_kind` returns those of a kind.

    Axes are those of the array: rows and columns in 2D. `spacing` holds the sides of a voxel along them, so that
    volumes rotate as the patient would; beyond a ratio of 3 they rotate about the long side only. `bounds` is the
    intensity range, which augmented images keep; with None (z-scores) intensities change relative to the range of
    each sample and channel. A constant channel (a missing modality) is left unchanged.
    """

    dims: int = 2
    flips: tuple[float, ...] = (0.0, 0.0)  # probability per axis
    rotation: Range | None = None  # degrees about the centre; volumes: about each axis
    scale: Range | None = None  # zoom factor; log-uniform
    shift: Range | None = None  # fraction of the image size, along each axis
    elastic: Range | None = None  # largest displacement of a control point, as a fraction of the image size
    brightness: Range | None = None  # factor
    contrast: Range | None = None  # factor about the mean
    gamma: Range | None = None  # exponent; log-uniform
    gamma_inverted: float = 0.0  # probability that gamma is applied to the inverted image
    noise: Range | None = None  # standard deviation, as a fraction of the intensity range
    blur: Range | None = None  # standard deviation, in voxels
    resolution: Range | None = None  # fraction of the resolution that is kept along each axis
    spacing: tuple[float, ...] | None = None
    bounds: tuple[float, float] | None = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Raises UsageError for a value that does not fit the number of axes or is out of range."""
        if self.dims not in (2, 3):
            raise UsageError(f"Augmentation with dims = {self.dims}: expected 2 or 3.")
        for name in ("flips", "spacing"):
            value = getattr(self, name)
            if value is not None and len(value) != self.dims:
                raise UsageError(f"Augmentation with {name} = {value}: expected {self.dims} numbers, one per axis.")
        for name, low in {"scale": 0.0, "gamma": 0.0, "resolution": 0.0}.items():
            value = getattr(self, name)
            if value is not None and value.low <= low:
                raise UsageError(f"Augmentation with {name} from {value.low}: expected more than 0.")
        if self.resolution is not None and self.resolution.high > 1:
            raise UsageError(f"Augmentation with resolution up to {self.resolution.high}: expected at most 1.")

    @classmethod
    def for_kind(cls, kind: Kind, dims: int = 2, strength: Strength = "default", **overrides: Any) -> "Augmentation":
        """The augmentation for a kind of image; `overrides` are fields of this class.

        CT and MRI: the ranges and probabilities of nnU-Net (Isensee et al. 2021), with the ±30° rotation of its volumes
        for planes too. Flips along every axis: switch them off (`flips`) where labels have a side. X-ray: no flips, as
        left and right matter for the diagnosis, and small rotations, as patients stand. Other: horizontal flips only.
        """
        if kind not in _KINDS:
            raise UsageError(f"Augmentation for kind {kind!r}. {suggest(kind, _KINDS)}")
        if strength not in ("default", "none"):
            raise UsageError(f"Augmentation of strength {strength!r}. {suggest(strength, ('default', 'none'))}")
        options = {field.name for field in dataclasses.fields(cls)} - {"dims"}
        for name in overrides:
            if name not in options:
                raise UsageError(f"Augmentation has no option {name!r}. {suggest(name, sorted(options))}")
        declared = dict(_KINDS[kind]) if strength == "default" else {}
        chances = {"xray": (0.0, 0.0, 0.0), "other": (0.0, 0.0, 0.5)}.get(kind, (0.5, 0.5, 0.5))
        declared["flips"] = chances[-dims:] if strength == "default" else (0.0,) * dims
        return cls(dims, **(declared | overrides))

    def draw(self, seeds: np.ndarray) -> Draws:
        """Parameters for the samples with `seeds` uint64 (B,). A seed gives the same parameters in any batch."""
        seeds = np.asarray(seeds, np.uint64)
        flips = np.stack([uniform(seeds, _SLOTS["flips"] + axis) < p for axis, p in enumerate(self.flips)], axis=1)
        gamma = np.exp(self._number(seeds, "gamma", 0.0, logarithmic=True))
        return Draws(
            seeds=seeds,
            flips=flips,
            matrix=self._matrices(seeds),
            shift=np.stack([self._number(seeds, "shift", 0.0, which=axis) for axis in range(self.dims)], axis=1),
            bends=self._bends(seeds),
            brightness=self._number(seeds, "brightness", 1.0),
            contrast=self._number(seeds, "contrast", 1.0),
            gamma=gamma,
            inverted=(gamma != 1) & (uniform(seeds, _SLOTS["gamma"] + 15) < self.gamma_inverted),
            noise=self._number(seeds, "noise", 0.0),
            blur=self._number(seeds, "blur", 0.0),
            resolution=self._number(seeds, "resolution", 1.0),
        )

    def apply(self, images: Tensor, draws: Draws, masks: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Augmented images (B, C, *S) and masks (B, *S): new tensors of the same size; the inputs are left unchanged.

        Images are float, or uint8 in 0…255, which become float32 in 0…1. Voxels from outside an image get the lower
        bound (or 0) and label 0. Masks are resampled with nearest-neighbour interpolation.
        """
        self._check(images, draws, masks)
        floats = images.float() / 255 if not images.is_floating_point() else images
        spacing = self.spacing or (1.0,) * self.dims
        fill = 0.0 if self.bounds is None else self.bounds[0]
        floats, masks = moved(floats, masks, draws, spacing, fill)
        return recoloured(floats, draws, self.bounds), masks

    def _number(
        self, seeds: np.ndarray, name: str, neutral: float, *, which: int = 0, logarithmic: bool = False
    ) -> np.ndarray:
        """(B,): one number per sample; `which` counts numbers that are drawn for the same samples."""
        drawn: Range | None = getattr(self, name)
        if drawn is None:
            return np.full(len(seeds), neutral)
        low, high = (math.log(drawn.low), math.log(drawn.high)) if logarithmic else (drawn.low, drawn.high)
        chosen = uniform(seeds, _SLOTS[name]) < drawn.chance
        return np.where(chosen, low + (high - low) * uniform(seeds, _SLOTS[name] + 1 + which), neutral)

    def _matrices(self, seeds: np.ndarray) -> np.ndarray:
        """(B, dims, dims): rotation over scale."""
        matrix = np.broadcast_to(np.eye(self.dims), (len(seeds), self.dims, self.dims))
        for number, (first, second) in enumerate(self._planes()):
            angle = np.deg2rad(self._number(seeds, "rotation", 0.0, which=number))
            matrix = matrix @ _rotations(angle, first, second, self.dims)
        return matrix / np.exp(self._number(seeds, "scale", 0.0, logarithmic=True))[:, None, None]

    def _planes(self) -> list[tuple[int, int]]:
        """The pairs of axes that images rotate in."""
        pairs = [(0, 1), (0, 2), (1, 2)] if self.dims == 3 else [(0, 1)]
        if self.dims == 2 or self.spacing is None or max(self.spacing) <= _ANISOTROPIC * min(self.spacing):
            return pairs
        long = int(np.argmax(self.spacing))
        return [plane for plane in pairs if long not in plane]

    def _bends(self, seeds: np.ndarray) -> np.ndarray:
        """(B, dims, *knots): the displacement of each knot, uniform within the drawn amplitude."""
        shape = (self.dims, *(_KNOTS,) * self.dims)
        if self.elastic is None:
            return np.zeros((len(seeds), *shape))
        amplitude = self._number(seeds, "elastic", 0.0)
        values = np.stack([uniform(seeds, _BENDS + number) for number in range(math.prod(shape))], axis=1)
        return (amplitude[:, None] * (2 * values - 1)).reshape(len(seeds), *shape)

    def _check(self, images: Tensor, draws: Draws, masks: Tensor | None) -> None:
        if images.ndim != self.dims + 2 or len(images) != len(draws):
            expected = f"{len(draws)} images with a channel axis and {self.dims} axes of voxels"
            raise UsageError(f"Augmentation of images {tuple(images.shape)}: expected {expected}.")
        if masks is not None and masks.shape != (len(images), *images.shape[2:]):
            raise UsageError(f"Augmentation of images {tuple(images.shape)} with masks {tuple(masks.shape)}.")


def _rotations(angle: np.ndarray, first: int, second: int, dims: int) -> np.ndarray:
    """(B, dims, dims): rotations by `angle` (B,) in the plane of two axes."""
    rotation = np.broadcast_to(np.eye(dims), (len(angle), dims, dims)).copy()
    rotation[:, first, first] = rotation[:, second, second] = np.cos(angle)
    rotation[:, first, second], rotation[:, second, first] = -np.sin(angle), np.sin(angle)
    return rotation


# nnU-Net v2's trainer, on images whose range is 0 to 1 here: its noise has a variance of up to 0.1 on z-scores
# whose range is about 6 standard deviations, so a standard deviation of up to 0.05 of the range.
_SCANNER: dict[str, Any] = {
    "rotation": Range(0.2, -30.0, 30.0),
    "scale": Range(0.2, 0.7, 1.4),
    "brightness": Range(0.15, 0.75, 1.25),
    "contrast": Range(0.15, 0.75, 1.25),
    "gamma": Range(0.4, 0.7, 1.5),
    "gamma_inverted": 0.25,  # nnU-Net inverts one image in ten, against three in ten without
    "noise": Range(0.1, 0.0, 0.05),
    "blur": Range(0.2, 0.5, 1.0),
    "resolution": Range(0.25, 0.5, 1.0),
}
# TorchXRayVision (Cohen et al. 2022) trains with rotations of ±45°, shifts of 15 % and scales of 0.85 to 1.15. Here
# rotations and shifts are a third of these, as patients stand upright; chosen by judgement, not tuned on any data.
_FILM: dict[str, Any] = {
    "rotation": Range(0.5, -15.0, 15.0),
    "scale": Range(0.5, 0.85, 1.15),
    "shift": Range(0.5, -0.05, 0.05),
    "brightness": Range(0.15, 0.75, 1.25),
    "contrast": Range(0.15, 0.75, 1.25),
    "gamma": Range(0.3, 0.7, 1.5),
    "noise": Range(0.1, 0.0, 0.05),
    "blur": Range(0.1, 0.5, 1.0),
}
_KINDS: dict[str, dict[str, Any]] = {"xray": _FILM, "ct": _SCANNER, "mri": _SCANNER, "other": _SCANNER}
