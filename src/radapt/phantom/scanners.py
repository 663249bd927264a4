"""Two scanners and their effects on the signal: bias field, gain, noise, and storage order of voxels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from radapt.phantom.sequences import InversionRecovery, Sequence, SpinEcho, SpoiledGradientEcho
from radapt.phantom.shapes import Array

MODALITIES = ("T1w", "ce-gad_T1w", "T2w", "FLAIR")
"""BIDS suffixes of the four sequences; `ce-gad` is T1w after contrast agent."""


@dataclass(frozen=True)
class Scanner:
    """A scanner and its protocol.

    `shape` and `voxel_mm` are along right, anterior and superior; `orientation` names the direction of each stored
    axis, as in nibabel. `snr` is the signal of white matter divided by the noise of either channel.
    """

    hospital: str
    name: str
    field_t: float
    protocol: Mapping[str, Sequence]
    shape: tuple[int, int, int]
    voxel_mm: tuple[float, float, float]
    orientation: str
    snr: float
    gain: float
    bias: float  # spread of the logarithm of the bias field


HOSPITAL_A = Scanner(
    hospital="A",
    name="phantom-1.5T",
    field_t=1.5,
    protocol={
        "T1w": SpinEcho(tr_ms=520, te_ms=12),
        "ce-gad_T1w": SpinEcho(tr_ms=520, te_ms=12),
        "T2w": SpinEcho(tr_ms=4500, te_ms=98),
        "FLAIR": InversionRecovery(tr_ms=9000, te_ms=115, ti_ms=2470),
    },
    shape=(96, 112, 22),
    voxel_mm=(2.0, 2.0, 6.0),
    orientation="LAS",
    snr=28.0,
    gain=1800.0,
    bias=0.06,
)

HOSPITAL_B = Scanner(
    hospital="B",
    name="phantom-3T",
    field_t=3.0,
    protocol={
        "T1w": SpoiledGradientEcho(tr_ms=240, te_ms=2.5, flip_deg=70),
        "ce-gad_T1w": SpoiledGradientEcho(tr_ms=240, te_ms=2.5, flip_deg=70),
        "T2w": SpinEcho(tr_ms=6000, te_ms=85),
        "FLAIR": InversionRecovery(tr_ms=10000, te_ms=130, ti_ms=2680),
    },
    shape=(104, 124, 26),
    voxel_mm=(1.8, 1.8, 5.0),
    orientation="PSL",
    snr=18.0,
    gain=5200.0,
    bias=0.14,
)


@dataclass(frozen=True)
class Setting:
    """The setting of one examination: position of the head, coil loading, receiver gain."""

    turn: Array  # (3, 3) rotation from the grid to the head's frame
    shift_mm: Array  # (3,) the grid's centre in the head's frame
    pose: Array  # (3, 3) rotation from the grid to the scanner's world
    place_mm: Array  # (3,) the grid's centre in the scanner's world
    bias: Array  # (9,) coefficients of the logarithm of the bias field
    gain: float
    snr: float

    @classmethod
    def draw(cls, rng: np.random.Generator, scanner: Scanner) -> "Setting":
        return cls(
            turn=_rotation(np.radians(rng.normal(0, (3.0, 1.5, 2.0)))),
            shift_mm=np.asarray((0.0, 0.0, 8.0)) + rng.normal(0, (1.5, 2.0, 2.0)),
            pose=_rotation(np.radians(rng.normal(0, (6.0, 2.0, 2.0)))),
            place_mm=rng.normal(0, (4.0, 12.0, 18.0)),
            bias=rng.normal(0, scanner.bias, 9) * (1, 1, 1, 0.7, 0.7, 0.7, 0.5, 0.5, 0.5),
            gain=float(scanner.gain * np.exp(rng.normal(0, 0.15))),
            snr=float(scanner.snr * np.exp(rng.normal(0, 0.12))),
        )


def grid(scanner: Scanner, coarser: float = 1.0) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Shape and voxel size along right, anterior, superior, with voxels `coarser` times as large in each direction."""
    shape = tuple(max(round(count / coarser), 4) for count in scanner.shape)
    voxel = tuple(size * count / new for size, count, new in zip(scanner.voxel_mm, scanner.shape, shape, strict=True))
    return (shape[0], shape[1], shape[2]), (voxel[0], voxel[1], voxel[2])


def bias_field(setting: Setting, shape: tuple[int, int, int]) -> Array:
    """(X, Y, Z) float32 smooth positive field around 1: the exponential of a quadratic over the field of view."""
    x, y, z = (np.linspace(-1, 1, count, dtype=np.float32) for count in shape)
    x, y, z = x[:, None, None], y[None, :, None], z[None, None, :]
    terms = (x, y, z, x * x - 0.33, y * y - 0.33, z * z - 0.33, x * y, y * z, z * x)
    field = sum(np.float32(weight) * term for weight, term in zip(setting.bias, terms, strict=True))
    return np.exp(np.broadcast_to(field, shape))


def add_rician(signal: Array, sigma: float, rng: np.random.Generator) -> Array:
    """The magnitude of `signal` with Gaussian noise of deviation `sigma` in both channels, float32.

    Where there is no signal the mean is sigma sqrt(pi / 2), the mean square 2 sigma² (Gudbjartsson and Patz, Magn
    Reson Med 1995;34:910).
    """
    real = rng.standard_normal(signal.shape, np.float32)
    imaginary = rng.standard_normal(signal.shape, np.float32)
    real *= np.float32(sigma)
    imaginary *= np.float32(sigma)
    real += signal
    return np.sqrt(real * real + imaginary * imaginary)


def store(array: Array, affine: Array, orientation: str) -> tuple[Array, Array]:
    """An array with axes right, anterior, superior, and its affine, in the storage order of a scanner's orientation."""
    axes = ["LR", "PA", "IS"]
    order = [next(index for index, pair in enumerate(axes) if letter in pair) for letter in orientation]
    moved = np.transpose(array, order)
    change = np.zeros((4, 4))
    change[3, 3] = 1.0
    for new, (old, letter) in enumerate(zip(order, orientation, strict=True)):
        if letter in "LPI":
            moved = np.flip(moved, new)
            change[old, new], change[old, 3] = -1.0, array.shape[old] - 1
        else:
            change[old, new] = 1.0
    return moved, affine @ change


def _rotation(angles: Array) -> Array:
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.asarray([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.asarray([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.asarray([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
