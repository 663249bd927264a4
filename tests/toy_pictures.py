"""Pictures of the same anatomy with details of their own, and what people do to pictures."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom


def picture(seed: int, side: int = 128) -> np.ndarray:
    """uint8 (side, side · 0.9): two dark lungs in a bright chest, with ribs; vessels and noise differ by `seed`."""
    rng = np.random.default_rng(seed)
    shape = side, round(side * 0.9)
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    lungs = sum(np.exp(-(((x - at) / 0.35) ** 4) - ((y / (0.7 + 0.05 * rng.normal())) ** 4)) for at in (-0.45, 0.45))
    ribs = np.sin(18 * y + 3 * np.abs(x) + rng.normal())
    vessels = sum(gaussian_filter(rng.normal(size=shape), width) * width for width in (1.5, 3, 6, 10))
    levels = 170 - 90 * lungs + 12 * ribs + 45 * vessels + 20 * y
    return np.clip(levels, 0, 255).astype(np.uint8)


def stack(seed: int, planes: int = 8, side: int = 72) -> np.ndarray:
    """float32 (planes, side, side): a volume whose planes differ, as those of a head do."""
    rng = np.random.default_rng(seed)
    texture = gaussian_filter(rng.normal(size=(planes, side, side)), (0.7, 2, 2))
    broad = gaussian_filter(rng.normal(size=(planes, side, side)), (1, 6, 6))
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    return ((np.hypot(y, x) < 0.8) * (300 + 900 * texture + 2500 * broad)).astype(np.float32)


def jpeg(plane: np.ndarray, quality: int = 60) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(plane).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def half(plane: np.ndarray) -> np.ndarray:
    height, width = plane.shape
    return np.asarray(Image.fromarray(plane).resize((width // 2, height // 2), Image.Resampling.BILINEAR))


def crop(plane: np.ndarray) -> np.ndarray:
    """95 % of each side, from a corner."""
    height, width = plane.shape
    return np.ascontiguousarray(plane[: round(0.95 * height), round(0.05 * width) :])


def rotate(plane: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(plane).rotate(3, Image.Resampling.BILINEAR))


def contrast(plane: np.ndarray) -> np.ndarray:
    return np.clip(1.15 * plane.astype(float) - 12, 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "jpeg": jpeg,
    "half": half,
    "crop": crop,
    "rotate": rotate,
    "contrast": contrast,
    "mirror": lambda plane: plane[:, ::-1].copy(),
    "upside down": lambda plane: plane[::-1].copy(),
    "quarter turn": lambda plane: np.rot90(plane).copy(),
    "three quarter turn": lambda plane: np.rot90(plane, 3).copy(),
    "transposed": lambda plane: plane.T.copy(),
    "enlarged": lambda plane: np.clip(zoom(plane.astype(float), 1.4, order=1), 0, 255).astype(np.uint8),
}
