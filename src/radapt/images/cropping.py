"""The part of a plane inside a box, enlarged to a whole picture."""

import numpy as np

_AT_ONCE = 64  # planes that are resampled together


def cropped(
    planes: np.ndarray, boxes: np.ndarray, size: tuple[int, int] | None = None, which: np.ndarray | None = None
) -> np.ndarray:
    """uint8 (k, C, h, w): the planes at `which` (k,) of n, by default all, cropped to their `boxes` and enlarged.

    `planes` is uint8 (n, C, H, W), `boxes` (n, 4) are y0, x0, y1, x1 in pixels, `size` is (h, w), by default that of
    the planes. A box is widened around its centre to the proportions of the picture, so that nothing is stretched; what
    lies beyond the plane is black. Bilinear, for pictures not smaller than the planes. At the same size a box of the
    whole plane leaves it unchanged.
    """
    rows = np.arange(len(planes)) if which is None else which
    groups = np.split(rows, range(_AT_ONCE, len(rows), _AT_ONCE))
    parts = [_resampled(planes[some], boxes[some], size or planes.shape[2:]) for some in groups]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _resampled(planes: np.ndarray, boxes: np.ndarray, picture: tuple[int, ...]) -> np.ndarray:
    import torch  # not needed to read a recipe

    (height, width), plane, count = picture, np.asarray(planes.shape[2:], np.float64), len(planes)
    size = np.asarray([height, width], np.float64)
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    side = np.max((high - low) / size, axis=1, keepdims=True) * size
    offset = (low + high) / 2 - plane / 2

    def on_grid(pixels: np.ndarray) -> torch.Tensor:  # (k, 2) y, x in pixels -> (k, 1, 1, 2) x, y in half sides
        return torch.from_numpy((2 * pixels / plane)[:, ::-1].astype(np.float32)).view(count, 1, 1, 2)

    # A pixel at (v, u) of the picture, in shares of its sides from -0.5 to 0.5, comes from centre + (v, u) · side.
    v = (torch.arange(height) + 0.5) / height - 0.5
    u = (torch.arange(width) + 0.5) / width - 0.5
    down, across = on_grid(side * np.asarray([1.0, 0.0])), on_grid(side * np.asarray([0.0, 1.0]))
    grid = (v[:, None, None] * down + u[:, None] * across) + on_grid(offset)
    floats = torch.from_numpy(np.ascontiguousarray(planes)).float() / 255
    crops = torch.nn.functional.grid_sample(floats, grid, "bilinear", "zeros", align_corners=False)
    rounded: np.ndarray = (crops * 255).round().to(torch.uint8).numpy()
    return rounded
