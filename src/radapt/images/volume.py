"""A volume: voxels, their geometry, and 2D planes in radiological display order.

World coordinates are RAS in mm: x grows to the patient's right, y to the front, z to the head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations
from typing import Literal

import numpy as np

from radapt.errors import DataError, UsageError, suggest
from radapt.images.window import Window

Axis = Literal["axial", "coronal", "sagittal"]

AXES: dict[str, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The RAS axis each kind of plane is stacked along."""

TIE_DECIMALS = 6
"""Sums of direction cosines closer than this are equal, so that 45° obliques do not depend on rounding."""

IMAGE_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
"""An image without geometry: columns run to the patient's left, rows to the back, pages to the head; 1 mm."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels and their geometry.

    `array` is (X, Y, Z) grey or (X, Y, Z, 3) colour in the stored numeric type; `affine` (4, 4) maps voxel indices to
    RAS mm and may be oblique, flipped or sheared. `modality` is its name in the cohort (`t1`, `ct`). `window` is the
    display window of the file in the units of `array`, or None.

    Raises DataError if the shapes are wrong or the affine is not invertible.
    """

    array: np.ndarray
    affine: np.ndarray
    modality: str | None = None
    window: Window | None = None

    def __post_init__(self) -> None:
        if self.array.ndim not in (3, 4) or (self.array.ndim == 4 and self.array.shape[3] != 3):
            raise DataError(f"A volume is (X, Y, Z) or (X, Y, Z, 3); this one is {self.array.shape}.")
        affine = np.asarray(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not _is_usable(affine.tobytes()):
            raise DataError(
                f"The geometry is unusable: the voxel-to-mm matrix {np.round(affine, 4).tolist()} must be 4 × 4, "
                "finite and invertible. Set the voxel size and orientation in the image's header."
            )
        object.__setattr__(self, "affine", affine)

    @classmethod
    def from_planes(
        cls,
        planes: np.ndarray,
        spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
        modality: str | None = None,
        window: Window | None = None,
    ) -> "Volume":
        """A volume without orientation whose axial planes are exactly `planes` (n, H, W) or (n, H, W, 3).

        `spacing_mm` is (between planes, between rows, between columns).
        """
        between, row, column = spacing_mm
        affine = IMAGE_AFFINE @ np.diag([column, row, between, 1.0])
        order = (2, 1, 0) if planes.ndim == 3 else (2, 1, 0, 3)
        return cls(planes.transpose(order), affine, modality, window)

    @classmethod
    def blank(cls, shape: Sequence[int], affine: np.ndarray) -> "Volume":
        """A grid of (X, Y, Z) zeros, read-only, which takes no memory whatever its shape."""
        x, y, z = (int(size) for size in shape[:3])
        return cls(np.broadcast_to(np.zeros((), np.uint8), (x, y, z)), affine)

    @property
    def grid(self) -> "Volume":
        """Shape and affine without the voxels (see `blank`)."""
        return Volume.blank(self.array.shape, self.affine)

    @property
    def is_colour(self) -> bool:
        return self.array.ndim == 4

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance in mm between neighbours along each of the array's three axes."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def flat_axis(self) -> Axis | None:
        """The axis of an image with a single plane, such as an X-ray or one slice; None for a stack."""
        shape = self.to_ras().array.shape[:3]
        flat = [name for name, axis in AXES.items() if shape[axis] == 1]
        return flat[0] if len(flat) == 1 else None  # type: ignore[return-value]

    def to_ras(self) -> "Volume":
        """The same voxels with axes permuted and flipped to run closest to right, front and head.

        Nothing is resampled; the array is a view. The choice depends on the directions in space, never on the storage
        order of the file.
        """
        return self._ras

    @cached_property
    def _ras(self) -> "Volume":
        order, flips, affine = _ras_axes(self.affine.tobytes(), self.array.shape[:3])
        array = self.array.transpose(*order, *range(3, self.array.ndim))[flips]
        ras = Volume(array, affine.copy(), self.modality, self.window)
        ras.__dict__["_ras"] = ras
        return ras

    def stored_like(self, like: "Volume") -> "Volume":
        """The same voxels with axes permuted and flipped to run closest to the axes of `like`.

        Nothing is resampled; the array is a view. Grids with the same voxels become equal in shape and affine, at any
        angle to the patient.
        """
        turn = np.linalg.inv(like.affine[:3, :3]) @ self.affine[:3, :3]
        turn *= np.asarray(like.spacing_mm)[:, None] / np.asarray(self.spacing_mm)
        order = max(permutations(range(3)), key=lambda axes: np.abs(turn[range(3), axes]).sum())
        flipped = tuple(axis for axis in range(3) if turn[axis, order[axis]] < 0)
        array, affine = self.array.transpose(*order, *range(3, self.array.ndim)), self.affine[:, [*order, 3]]
        for axis in flipped:
            affine[:, 3] += affine[:, axis] * (array.shape[axis] - 1)
            affine[:, axis] *= -1
        return Volume(np.flip(array, flipped), affine, self.modality, self.window)

    def planes(self, axis: str = "axial") -> np.ndarray:
        """2D planes (n, H, W) or (n, H, W, 3) in radiological display order; a view, nothing is resampled.

        axial: row 0 is the front, column 0 the patient's right, planes from the feet to the head.
        coronal: row 0 is the head, column 0 the patient's right, planes from back to front.
        sagittal: row 0 is the head, column 0 the front, planes from the patient's left to right.
        """
        array = self.to_ras().array
        channel = (3,) if self.is_colour else ()
        match check_axis(axis):
            case "axial":
                return array[::-1, ::-1].transpose(2, 1, 0, *channel)
            case "coronal":
                return array[::-1, :, ::-1].transpose(1, 2, 0, *channel)
            case _:
                return array[:, ::-1, ::-1].transpose(0, 2, 1, *channel)

    def plane_spacing_mm(self, axis: str = "axial") -> tuple[float, float]:
        """(between rows, between columns) in mm of the planes of `planes(axis)`."""
        x, y, z = self.to_ras().spacing_mm
        return {"axial": (y, x), "coronal": (z, x), "sagittal": (z, y)}[check_axis(axis)]


def check_axis(axis: str) -> Axis:
    """`axis` if it names a plane; UsageError otherwise."""
    if axis not in AXES:
        raise UsageError(f"There is no plane called {axis!r}. {suggest(axis, AXES)}")
    return axis  # type: ignore[return-value]


@lru_cache(maxsize=1024)
def _is_usable(content: bytes) -> bool:
    """Whether the bytes of a float64 affine (4, 4) are a finite, invertible matrix."""
    affine = np.frombuffer(content).reshape(4, 4)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    # Decided on directions, so that the unit of the spacing does not matter.
    return bool(
        np.isfinite(affine).all() and (lengths > 0).all() and abs(np.linalg.det(affine[:3, :3] / lengths)) >= 1e-6
    )


@lru_cache(maxsize=1024)
def _ras_axes(content: bytes, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[slice, slice, slice], np.ndarray]:
    """The order of the array axes that run closest to R, A and S, their flips, and the affine then.

    `content` is that of a float64 affine (4, 4), `shape` is (X, Y, Z); most images of a cohort share a few.
    """
    order = _closest_axes(content)
    affine = np.frombuffer(content).reshape(4, 4)[:, [*order, 3]]
    flips = [slice(None)] * 3
    for axis in range(3):
        if affine[axis, axis] < 0:
            affine[:, 3] += affine[:, axis] * (shape[order[axis]] - 1)
            affine[:, axis] *= -1
            flips[axis] = slice(None, None, -1)
    return order, (flips[0], flips[1], flips[2]), affine


@lru_cache(maxsize=1024)
def _closest_axes(content: bytes) -> tuple[int, ...]:
    """The array axes that run closest to R, A and S, of the bytes of a float64 affine."""
    affine = np.frombuffer(content).reshape(4, 4)
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)

    def nearness(order: tuple[int, ...]) -> tuple[float, ...]:
        chosen = directions[:, list(order)]
        # A tie (45°) is decided by the directions without their signs, which do not depend on the file.
        signed = chosen * np.where(np.diag(chosen) < 0, -1.0, 1.0)
        return (round(float(np.abs(np.diag(chosen)).sum()), TIE_DECIMALS), *np.round(signed.T.ravel(), TIE_DECIMALS))

    usable = [order for order in permutations(range(3)) if np.abs(np.diag(directions[:, list(order)])).min() > 1e-6]
    return max(usable or permutations(range(3)), key=nearness)
