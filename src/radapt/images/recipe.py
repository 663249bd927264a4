"""Recipes: declared preprocessing from a volume to 8-bit planes, with a digest."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from radapt.digests import digest
from radapt.errors import DataError, UsageError, suggest
from radapt.images.cropping import cropped
from radapt.images.foreground import dark_levels, foreground, shown
from radapt.images.framing import Framing
from radapt.images.intensity_limits import (
    CT_WINDOWS_HU,
    Limits,
    foreground_limits,
    grey_levels,
    percentile_limits,
    range_limits,
)
from radapt.images.placement import Placement, PlaneStack
from radapt.images.volume import AXES, Volume, check_axis

VERSION = 2
"""Raised when the same bytes and options give other planes, through a change of a recipe or a reader."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "xray": {"percentiles": (0.5, 99.5), "display_window": False},
    "ct": {"windows": ("lung", "soft-tissue", "bone")},
    "mri": {"percentiles": (0.5, 99.5)},
    "other": {"percentiles": None},
}
"""The options of each kind of image, with their defaults."""

FITS = ("resize", "pad")

ADDED: dict[str, Any] = {"neighbours": 0, "fit": "resize", "border": 0, "look": "whole"}
"""Options that came after the first caches were written, with their defaults: the digest has them only where used."""

Look = Literal["whole", "foreground", "lesion"]
LOOKS: tuple[Look, ...] = ("whole", "foreground", "lesion")

DEFAULT_LOOK: dict[str, Look] = {"ct": "foreground", "mri": "foreground"}
"""What studies and feature extraction look at, by kind; others: whole. A film is framed by the radiographer."""

TRIPLANAR = "triplanar"
"""The axis option for axial, coronal and sagittal planes, in this order."""

LARGEST_PX = 4096
BATCH_BYTES = 32 << 20
"""Planes are scaled and resized in batches of about this size, so that memory does not grow with the volume."""


@dataclass(frozen=True)
class Recipe:
    """How a volume becomes planes: uint8 (n, C, H, W) with C = 1, or 3 for colour, three CT windows and `neighbours`.

    `size` is (H, W) in pixels. Planes are centred on a canvas of that size with the grey level `border`. With `fit`
    `resize` they are made as large as fits and keep their aspect ratio in mm; with `pad` they keep their pixels, unless
    they are larger than the canvas. `axis` selects the planes
    of a stack, `triplanar` those of all three axes; an image with a single plane gives that plane. `every` keeps each
    k-th plane of an axis, `count` at most that many, evenly spaced. With `neighbours` k ≥ 1 (2.5D) the channels are the
    plane k before, the plane itself and the plane k after, whether these are kept or not; the first and the last plane
    replace those beyond. Intensity limits are measured over the whole volume, so they do not depend on the planes kept.

    `look` says what of each plane is kept. whole: all of it. foreground: the square around the body or brain, enlarged
    to `size`; a plane with less than a tenth of the foreground of the plane that shows most is left out, and an image
    without any foreground stays whole. lesion: as foreground, unless a lesion was found (see `LesionFeatures`).

    xray: black and white at two `percentiles`, or with `display_window=True` the window of the file if it has one.
    ct: one or three `windows`, each a name of `CT_WINDOWS_HU` or (black, white) in HU; 8-bit images count as windowed.
    mri: two `percentiles` of the foreground. other: 8-bit values unchanged, else the range, or `percentiles`. Colour is
    never rescaled by percentiles or windows. A constant image becomes black, except unchanged 8-bit values.
    """

    kind: str
    size: tuple[int, int] = (224, 224)
    axis: str = "axial"
    every: int = 1
    count: int | None = None
    percentiles: tuple[float, float] | None = None
    windows: tuple[tuple[float, float], ...] = ()
    display_window: bool = False
    neighbours: int = 0
    fit: str = "resize"
    border: int = 0
    look: Look = "whole"

    @classmethod
    def for_kind(
        cls,
        kind: str,
        size: int | Sequence[int] = 224,
        axis: str = "axial",
        every: int = 1,
        count: int | None = None,
        neighbours: int = 0,
        fit: str = "resize",
        border: int = 0,
        look: str | None = "whole",
        **overrides: Any,
    ) -> "Recipe":
        """The recipe for a kind of image (`xray`, `ct`, `mri`, `other`) with overrides of its options.

        With `look` None it is the default of the kind (see `DEFAULT_LOOK`). Raises UsageError for an unknown kind, look
        or option, an option of another kind, values out of range, and neighbours together with three CT windows, which
        need the same channels.
        """
        if kind not in DEFAULTS:
            raise UsageError(f"There is no recipe for {kind!r}. {suggest(str(kind), DEFAULTS)}")
        options = dict(DEFAULTS[kind])
        for name, value in overrides.items():
            if name not in options:
                known = [*options, "size", "axis", "every", "count", "neighbours", *ADDED]
                raise UsageError(f"The recipe for {kind} has no option {name!r}. {suggest(name, known)}")
            options[name] = value
        if "windows" in options:
            options["windows"] = _windows(options["windows"])
        if options.get("percentiles") is not None:
            options["percentiles"] = _percentiles(options["percentiles"])
        if not isinstance(options.get("display_window", False), bool):
            raise UsageError(f"display_window must be true or false, not {options['display_window']!r}.")
        _whole("every", every)
        if count is not None:
            _whole("count", count)
        _neighbours(neighbours, options.get("windows", ()))
        if fit not in FITS:
            raise UsageError(f"There is no fit {fit!r}. {suggest(str(fit), FITS)}")
        if type(border) is not int or not 0 <= border <= 255:
            raise UsageError(f"border must be a grey level from 0 (black) to 255 (white), not {border!r}.")
        framing: dict[str, Any] = {"neighbours": neighbours, "fit": fit, "border": border}
        return cls(kind, _size(size), _axis(axis), every, count, **framing, **options).looking(look)

    def looking(self, look: str | None) -> "Recipe":
        """The same recipe with another `look`; None: the default of the kind. Raises UsageError for an unknown one."""
        wanted = DEFAULT_LOOK.get(self.kind, "whole") if look is None else look
        for known in LOOKS:
            if known == wanted:
                return replace(self, look=known)
        raise UsageError(f"There is no look {look!r}. {suggest(str(look), LOOKS)}")

    @property
    def whole(self) -> "Recipe":
        """The same recipe with whole planes, for masks and for images that have to stay aligned with others."""
        return replace(self, look="whole")

    @property
    def digest(self) -> str:
        """32 hex digits that change whenever the planes of any image may change."""
        facts = {"version": VERSION, **asdict(self)}
        for name, default in ADDED.items():
            if facts[name] == default:
                del facts[name]  # caches written before this option existed stay valid
        return digest(facts)

    def describe(self) -> str:
        """The recipe in one line, for reports and `config.json`."""
        planes = f"{self.axis} planes"
        if self.every > 1:
            planes += f", every {self.every}th"
        if self.count is not None:
            planes += f", at most {self.count}"
        if self.axis == TRIPLANAR and (self.every > 1 or self.count is not None):
            planes += " of each axis"
        if self.neighbours:
            planes += f", with the planes {self.neighbours} before and after as channels"
        if self.look != "whole":
            planes += f", cropped to the {self.look}"
        framed = "padded to " if self.fit == "pad" else ""
        around = f" on grey level {self.border}" if self.border else ""
        return f"{self.kind}: {planes}, {framed}{self.size[0]} × {self.size[1]} px{around}, {self._greys()}"

    def apply(self, volume: Volume) -> np.ndarray:
        """The planes of `volume`, uint8 (n, C, H, W), n ≥ 1. Deterministic."""
        if self.neighbours and volume.is_colour:
            raise DataError(
                "The image is in colour, which leaves no channel for neighbouring planes; leave out neighbours, or "
                "save the image in grey."
            )
        stacks = self._stacks(volume)
        channels = self._channels(volume.planes(stacks[0].axis), volume)
        parts = [self._planes(volume, stack, channels) for stack in stacks]
        planes = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.look == "whole":
            return planes
        axes = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        boxes, kept = shown(foreground(planes, self.dark_levels(planes.shape[1])), axes, self.size)
        return cropped(planes, boxes, which=np.concatenate(kept))

    def grey(self, volume: Volume) -> Volume:
        """The grey levels of the voxels, uint8 on the grid of `volume`; of three CT windows those of the middle one.

        Raises DataError for an image in colour.
        """
        if volume.is_colour:
            raise DataError("An image in colour has no grey levels; save it in grey.")
        limits = self._channels(volume.array, volume)
        levels = _levels(volume.array, (limits[len(limits) // 2],), volume)[:, 0]
        return Volume(np.rint(levels).astype(np.uint8), volume.affine, volume.modality)

    def place(self, volume: Volume) -> Placement:
        """The position in `volume` of the planes that `apply` makes. Uses shape and affine only.

        Raises UsageError for cropped planes, whose position depends on the voxels.
        """
        if self.look != "whole":
            raise UsageError(f"Planes with look {self.look!r} have no fixed place in the image; use Recipe.whole.")
        return Placement(volume.grid, self._stacks(volume))

    def dark_levels(self, channels: int) -> np.ndarray:
        """(C,) int: grey levels of the planes above which a pixel of a channel is foreground (see `dark_levels`)."""
        return dark_levels(self.kind, self.windows, channels, centre_only=self.neighbours > 0)

    def _planes(self, volume: Volume, stack: PlaneStack, channels: tuple[Limits | None, ...]) -> np.ndarray:
        """The kept planes of one axis, (n, C, H, W)."""
        if not self.neighbours:
            return self._framed(volume, stack, stack.kept, channels)
        around = stack.kept[:, None] + self.neighbours * np.arange(-1, 2)  # (n, 3)
        needed, index = np.unique(np.clip(around, 0, stack.total - 1), return_inverse=True)
        return self._framed(volume, stack, needed, channels)[:, 0][index.reshape(around.shape)]

    def _framed(
        self, volume: Volume, stack: PlaneStack, kept: np.ndarray, channels: tuple[Limits | None, ...]
    ) -> np.ndarray:
        planes = volume.planes(stack.axis)
        if len(kept) < len(planes):
            planes = planes[kept]
        step = max(1, BATCH_BYTES // (4 * planes[0].size * len(channels)))
        batches = [planes[start : start + step] for start in range(0, len(planes), step)]
        return np.concatenate([stack.framing.apply(_levels(batch, channels, volume), self.border) for batch in batches])

    def _stacks(self, volume: Volume) -> tuple[PlaneStack, ...]:
        axes = ("axial", "coronal", "sagittal") if self.axis == TRIPLANAR else (self.axis,)
        return tuple(self._stack(volume, axis) for axis in ((volume.flat_axis,) if volume.flat_axis else axes))

    def _stack(self, volume: Volume, axis: str) -> PlaneStack:
        total, *shape = volume.planes(axis).shape[:3]
        frame = Framing.pad if self.fit == "pad" else Framing.fit
        framing = frame((shape[0], shape[1]), volume.plane_spacing_mm(axis), self.size)
        return PlaneStack(check_axis(axis), self._kept(total), total, (shape[0], shape[1]), framing)

    def _kept(self, total: int) -> np.ndarray:
        indices = np.arange((total - 1) % self.every // 2, total, self.every)
        if self.count is None or self.count >= len(indices):
            return indices
        return indices[((np.arange(self.count) + 0.5) * len(indices) / self.count).astype(int)]

    def _channels(self, planes: np.ndarray, volume: Volume) -> tuple[Limits | None, ...]:
        """Intensity limits of each channel; None stands for the display window of the file."""
        if planes.dtype == np.uint8 and (volume.is_colour or self.kind == "ct"):
            return ((0.0, 255.0),)
        if volume.is_colour:
            return (range_limits(planes),)
        if self.display_window and volume.window is not None:
            return (None,)
        if self.windows:
            return self.windows
        if self.percentiles is None:
            return ((0.0, 255.0),) if planes.dtype == np.uint8 else (range_limits(planes),)
        measure = foreground_limits if self.kind == "mri" else percentile_limits
        return (measure(planes, self.percentiles),)

    def _greys(self) -> str:
        if self.windows:
            names = {limits: name for name, limits in CT_WINDOWS_HU.items()}
            return " | ".join(f"{names.get(w, 'window')} {w[0]:g} to {w[1]:g} HU" for w in self.windows)
        if self.percentiles is None:
            return "8-bit values as stored, others by their range"
        where = " of the foreground" if self.kind == "mri" else ""
        own = "the file's display window, else " if self.display_window else ""
        return f"{own}percentiles {self.percentiles[0]:g} to {self.percentiles[1]:g}{where}"


def _levels(batch: np.ndarray, channels: tuple[Limits | None, ...], volume: Volume) -> np.ndarray:
    """(n, C, h, w) float32 grey levels in [0, 255] of (n, h, w) or (n, h, w, 3) planes."""
    colours = 3 if volume.is_colour else len(channels)
    levels = np.empty((len(batch), colours, *batch.shape[1:3]), dtype=np.float32)
    for index in range(colours):
        values = batch[..., index] if volume.is_colour else batch
        limits = channels[0] if volume.is_colour else channels[index]
        if limits is not None:
            grey_levels(values, limits, levels[:, index])
        elif volume.window is not None:
            levels[:, index] = 255 * volume.window.apply(values)
    return levels


def _size(given: Any) -> tuple[int, int]:
    sizes = [given, given] if isinstance(given, int) else list(given) if isinstance(given, list | tuple) else []
    if len(sizes) != 2 or any(type(side) is not int or not 1 <= side <= LARGEST_PX for side in sizes):
        raise UsageError(f"size must be pixels or [height, width] from 1 to {LARGEST_PX}, not {given!r}.")
    return sizes[0], sizes[1]


def _axis(given: Any) -> str:
    known = [*AXES, TRIPLANAR]
    if given not in known:
        raise UsageError(f"There is no plane called {given!r}. {suggest(str(given), known)}")
    return str(given)


def _neighbours(given: Any, windows: Sequence[Any]) -> None:
    if type(given) is not int or given < 0:
        raise UsageError(f"neighbours must be a whole number of planes, 0 for none, not {given!r}.")
    if given and len(windows) > 1:
        raise UsageError(
            "neighbours and three CT windows cannot be combined, because both fill the three channels; choose one "
            "window, such as windows: [soft-tissue], or leave out neighbours."
        )


def _whole(name: str, given: Any) -> None:
    if type(given) is not int or given < 1:
        raise UsageError(f"{name} must be a whole number from 1, not {given!r}.")


def _percentiles(given: Any) -> tuple[float, float]:
    pair = _pair(given)
    if pair is None or not 0 <= pair[0] < pair[1] <= 100:
        raise UsageError(f"percentiles must be two rising numbers from 0 to 100, not {given!r}.")
    return pair


def _windows(given: Any) -> tuple[tuple[float, float], ...]:
    listed = [given] if isinstance(given, str) or _pair(given) else given
    if not isinstance(listed, list | tuple) or len(listed) not in (1, 3):
        raise UsageError(f"windows must be one or three CT windows, not {given!r}. {suggest('', CT_WINDOWS_HU)}")
    return tuple(_window(item) for item in listed)


def _window(given: Any) -> tuple[float, float]:
    if isinstance(given, str):
        if given not in CT_WINDOWS_HU:
            raise UsageError(f"There is no CT window {given!r}. {suggest(given, CT_WINDOWS_HU)}")
        low, high = CT_WINDOWS_HU[given]
        return float(low), float(high)
    pair = _pair(given)
    if pair is None or not pair[0] < pair[1]:
        raise UsageError(f"A CT window is a name or [black, white] in HU with black < white, not {given!r}.")
    return pair


def _pair(given: Any) -> tuple[float, float] | None:
    if not isinstance(given, list | tuple) or len(given) != 2:
        return None
    if any(isinstance(item, bool) or not isinstance(item, int | float) or item != item for item in given):
        return None
    return float(given[0]), float(given[1])
