"""Whether two planes are one picture: an affine registration, then the correlation of fine detail.

Anatomy alone makes films of two patients alike once they are registered, but only down to the size of ribs and vessels.
Fine detail, with the contrast around each pixel divided out, correlates only if both planes show the same exposure.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # loads ndimage when it is used: where no two hashes are alike, nothing needs it

from radapt.images.duplicates.hashes import grey, resized

MOST_PX = 256
"""Larger planes are compared at this size, which JPEG compression and halving leave intact."""

LEAST_CORRELATION = {32: 0.8, 96: 0.75}
"""Of fine detail in one picture, by the side in pixels that is compared, linear in between. One exposure gives above
0.9; two patients give below 0.5, but more the less detail there is."""

STACK_CORRELATION = {96: 0.95, 192: 0.8}
"""Of planes of stacks, of which the best of many pairs are taken: small smooth ones of two patients reach 0.92."""

_LEAST_PX = 32
_SEARCH_PX = 64
_DETAIL_PX = (1.0, 4.0)  # Gaussian widths between which detail is compared
_BROAD_PX = 6.0
_STEPS, _FINE_STEPS = 12, 3
_LEAST_RESEMBLANCE = 0.5  # at `_LEAST_PX`, where one picture gives above 0.7 and mostly 0.9, two mostly below 0.3
_MARGIN, _MARGIN_PX = 0.04, 3  # of the side and at least, where resizing and rotation leave edges
_LEAST_OVERLAP = 0.6
_MOST_SCALE, _MOST_ANGLE_DEG, _MOST_SHIFT = 1.2, 10.0, 0.2


@dataclass(frozen=True)
class Match:
    """How the second plane becomes the first.

    `correlation` of fine detail is in [-1, 1]; -1 if no registration is plausible. `turn` counts as in `turned`.
    `scale` is how much larger the second shows things, `angle_deg` the rotation, `shift` the larger displacement as a
    share of the side. `side_px` is the size at which they were compared.
    """

    correlation: float
    turn: int = 0
    scale: float = 1.0
    angle_deg: float = 0.0
    shift: float = 0.0
    side_px: int = MOST_PX

    @property
    def is_same(self) -> bool:
        """Whether the two planes are one picture."""
        return self._reaches(LEAST_CORRELATION)

    @property
    def is_same_of_stacks(self) -> bool:
        """Whether the two planes, each of a stack, are one picture."""
        return self._reaches(STACK_CORRELATION)

    def _reaches(self, least_by_side: dict[int, float]) -> bool:
        sides, least = zip(*least_by_side.items(), strict=True)
        return self.correlation >= float(np.interp(self.side_px, sides, least))

    def words(self) -> str:
        """What was done to the picture, apart from encoding and contrast."""
        turn, scale = _TURNS[self.turn], self.scale if self.scale >= 1 else 1 / self.scale
        done = [turn] if turn else []
        if abs(self.angle_deg) >= 0.7:
            done.append(f"rotated by {abs(self.angle_deg):.0f}°")
        if scale >= 1.015 or self.shift >= 0.015:
            done.append(f"cropped to {100 / scale:.0f} %" if scale >= 1.015 else f"moved by {100 * self.shift:.0f} %")
        return ", ".join(done) or "re-encoded, resized or other contrast"


_TURNS = (
    "",
    "mirrored",
    "upside down",
    "turned by 180°",
    "transposed",
    "turned by 90°",
    "turned by 270°",
    "transposed",
)


def turned(plane: np.ndarray, turn: int) -> np.ndarray:
    """The plane in one of eight positions: bit 0 mirrors left and right, bit 1 top and bottom, bit 2 transposes."""
    plane = plane.T if turn & 4 else plane
    plane = plane[:, ::-1] if turn & 1 else plane
    return plane[::-1] if turn & 2 else plane


class Compared:
    """A plane prepared for comparisons: resized and locally normalised, at several sizes."""

    def __init__(self, plane: np.ndarray) -> None:
        stack = grey(plane[None])
        low, high = np.percentile(stack, [0.5, 99.5])
        self.plane = np.clip((stack - low) / max(high - low, 1e-6 * max(abs(high), 1e-30)), 0, 1)
        self.side = int(np.clip(min(self.plane.shape[1:]), _LEAST_PX, MOST_PX))

    def at(self, side: int) -> np.ndarray:
        return resized(self.plane, side)[0]


def compare(first: Compared, second: Compared, turns: tuple[int, ...] = tuple(range(8))) -> Match:
    """The best match of two planes over the `turns` of the second."""
    start = normalised(first.at(_SEARCH_PX), _BROAD_PX)
    other = normalised(second.at(_SEARCH_PX), _BROAD_PX)
    peaks = {turn: _phase_shift(start, turned(other, turn)) for turn in turns}
    likely = sorted(turns, key=lambda turn: -peaks[turn][0])[:2]
    found = {turn: coarse for turn in likely if (coarse := _coarse(first, second, turn, peaks[turn][1]))}
    if not found:
        return Match(-1.0, likely[0])
    turn = max(found, key=lambda turn: found[turn][0])
    return _fine(first, second, turn, found[turn][1])


def normalised(plane: np.ndarray, broad_px: float) -> np.ndarray:
    """The plane without broad structure, divided by the contrast around each pixel."""
    fine = plane - scipy.ndimage.gaussian_filter(plane, broad_px, mode="nearest")
    contrast = np.sqrt(scipy.ndimage.gaussian_filter(fine * fine, 1.5 * broad_px, mode="nearest"))
    result: np.ndarray = fine / (contrast + 0.25 * contrast.mean() + 1e-3)
    return result


def _phase_shift(first: np.ndarray, second: np.ndarray) -> tuple[float, np.ndarray]:
    """The height of the peak of the correlation, and the shift (rows, columns) in sides that takes second to first."""
    side = len(first)
    window = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    spectra = [np.fft.rfft2(plane * window[:, None] * window) for plane in (first, second)]
    cross = spectra[0] * spectra[1].conj()
    peaks = np.fft.irfft2(cross / np.sqrt(np.abs(cross) + 1e-12), s=first.shape)
    reach = round(_MOST_SHIFT * side)
    near = np.roll(peaks, (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    at = np.array(np.unravel_index(int(near.argmax()), near.shape))
    return float(near.max() / (peaks.std() + 1e-12)), (at - reach) / side


def _coarse(first: Compared, second: Compared, turn: int, shift: np.ndarray) -> tuple[float, np.ndarray] | None:
    """The correlation at a small size, and the affine (2, 3) from the first's coordinates to the second's, in sides.

    None for planes that do not resemble each other at the least size, where a comparison costs a tenth.
    """
    matrix = np.concatenate([np.eye(2), -shift[:, None]], axis=1)
    for level in (_LEAST_PX, _SEARCH_PX):
        a, b = _level(first, second, turn, level)
        matrix = _refined(a, b, matrix, _STEPS)
        match = _scored(a, b, matrix, turn)
        if level == _LEAST_PX and match.correlation < _LEAST_RESEMBLANCE:
            return None
    return match.correlation, matrix


def _fine(first: Compared, second: Compared, turn: int, matrix: np.ndarray) -> Match:
    side = min(first.side, second.side)
    for level in sorted({min(2 * _SEARCH_PX, side), side}):
        matrix = _refined(*_level(first, second, turn, level), matrix, _FINE_STEPS)
    return _scored(_detail(first.at(side)), _detail(turned(second.at(side), turn)), matrix, turn)


def _level(first: Compared, second: Compared, turn: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    broad_px = _BROAD_PX * max(1.0, side / (2 * _SEARCH_PX))
    return normalised(first.at(side), broad_px), normalised(turned(second.at(side), turn), broad_px)


def _detail(plane: np.ndarray) -> np.ndarray:
    return normalised(scipy.ndimage.gaussian_filter(plane, _DETAIL_PX[0], mode="nearest"), _DETAIL_PX[1])


def _warped(plane: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    side = len(plane)
    centre = (side - 1) / 2
    linear = matrix[:, :2]
    offset = centre + matrix[:, 2] * side - linear @ [centre, centre]
    result: np.ndarray = scipy.ndimage.affine_transform(plane, linear, offset, order=1, mode="constant", cval=np.nan)
    return result


def _refined(first: np.ndarray, second: np.ndarray, matrix: np.ndarray, steps: int) -> np.ndarray:
    """The affine (2, 3) after Gauss-Newton steps that lower the squared difference of the standardised planes."""
    side = len(first)
    at = ((np.arange(side) - (side - 1) / 2) / side).astype(np.float32)
    rows, columns = np.broadcast_to(at[:, None], first.shape), np.broadcast_to(at, first.shape)
    for _ in range(steps):
        moved = _warped(second, matrix)
        slopes = np.gradient(moved)
        inside = np.isfinite(moved) & np.isfinite(slopes[0]) & np.isfinite(slopes[1])
        if inside.mean() < _LEAST_OVERLAP / 2:
            return matrix
        target, source = first[inside], moved[inside]
        gain = 1 / (source.std() + 1e-6)
        error = (target - target.mean()) / (target.std() + 1e-6) - (source - source.mean()) * gain
        down, across = slopes[0][inside] * (gain * side), slopes[1][inside] * (gain * side)
        y, x = rows[inside], columns[inside]
        # A shift in the first's frame is a shift in the second's up to the linear part, which is near the identity.
        jacobian = np.stack([down * y, down * x, down, across * y, across * x, across])
        normal = jacobian @ jacobian.T
        normal[np.diag_indices(6)] += 1e-4 * normal.trace() / 6
        step = np.linalg.solve(normal, jacobian @ error).reshape(2, 3)
        step *= min(1.0, 0.1 / max(float(np.abs(step).max()), 1e-9))
        matrix = matrix + step
        if np.abs(step).max() < 0.02 / side:
            break
    return matrix


def _scored(first: np.ndarray, second: np.ndarray, matrix: np.ndarray, turn: int) -> Match:
    linear = matrix[:, :2]
    scale = float(np.sqrt(max(np.linalg.det(linear), 1e-6)))
    left, sizes, right = np.linalg.svd(linear)
    rotation = left @ right
    angle = float(np.degrees(np.arctan2(rotation[1, 0], rotation[0, 0])))
    plausible = sizes.min() > 1 / _MOST_SCALE and sizes.max() < _MOST_SCALE and abs(angle) < _MOST_ANGLE_DEG
    moved = _warped(second, matrix)
    margin = max(_MARGIN_PX, round(_MARGIN * len(first)))
    inside = np.isfinite(moved)
    if not plausible or inside.mean() < _LEAST_OVERLAP:
        return Match(-1.0, turn)
    inside[:margin] = inside[-margin:] = inside[:, :margin] = inside[:, -margin:] = False
    correlation = float(np.corrcoef(first[inside], moved[inside])[0, 1])
    shift = float(np.abs(matrix[:, 2]).max())
    return Match(correlation if np.isfinite(correlation) else -1.0, turn, 1 / scale, angle, shift, len(first))
