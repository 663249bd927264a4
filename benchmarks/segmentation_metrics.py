"""Metrics of a segmented brain volume: radapt against HD95 and surface Dice of MONAI, on one thread.

The volume has the size of a BraTS case (240 × 240 × 155) with three nested structures of the size of a tumour and
irregular borders; the prediction is a smooth deformation of the truth. MONAI measures HD95 and surface Dice from
precomputed one-hot maps; radapt measures these two, and then all metrics (Dice, IoU, ASSD, volumes and lesions too),
from the label maps. Metrics that both compute are compared. Run:

    python benchmarks/segmentation_metrics.py [--repeats 5] [--error 0.3]
"""

import argparse
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from radapt.metrics import case_numbers
from radapt.metrics.label_maps import label_pairs, prepared
from radapt.metrics.surfaces import Border, hd95, surface_dice, surface_distances

SHAPE = (240, 240, 155)
SPACING = (1.0, 1.0, 1.0)
LABELS = {1: "necrosis", 2: "oedema", 3: "enhancing"}
TOLERANCE_MM = 2.0


def unevenness(rng: np.random.Generator) -> np.ndarray:
    """A smooth random field over the volume, of standard deviation about 0.1."""
    coarse = rng.normal(size=(12, 12, 8))
    return 0.15 * ndimage.zoom(coarse, np.array(SHAPE) / coarse.shape, order=3)


def tumour(field: np.ndarray) -> np.ndarray:
    """Three nested structures around one centre: 45 × 38 × 30 mm from it to the outermost border."""
    grid = np.ogrid[tuple(slice(size) for size in SHAPE)]
    radius = np.sqrt(sum(((x - c) / r) ** 2 for x, c, r in zip(grid, (110, 130, 80), (45, 38, 30), strict=True)))
    return np.select([radius + field < bound for bound in (0.4, 0.7, 1.0)], [1, 3, 2], 0).astype(np.uint8)


def best_seconds(work: Callable[[], object], repeats: int) -> float:
    """The shortest of several runs: what the work itself takes, least disturbed by others."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def surfaces_only(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """HD95 and surface Dice (2, labels), as `case_numbers` computes them."""
    truth, predicted, spacing = prepared(truth, predicted, SPACING)
    scores = []
    for pair in label_pairs(truth, predicted, list(LABELS)):
        borders = [Border.of(pair.masks(box)[side], box) for side, box in enumerate(pair.boxes) if box]
        pred_to_truth_mm, truth_to_pred_mm = surface_distances(borders[0], borders[1], spacing)
        scores.append(
            (hd95(pred_to_truth_mm, truth_to_pred_mm), surface_dice(pred_to_truth_mm, truth_to_pred_mm, TOLERANCE_MM))
        )
    return np.array(scores).T


def monai_surfaces(truth: np.ndarray, predicted: np.ndarray) -> Callable[[], np.ndarray]:
    """A function that computes HD95 and surface Dice (2, labels) with MONAI from precomputed one-hot maps."""
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    torch.set_num_threads(1)
    values: Sequence[int] = list(LABELS)
    y, y_pred = (
        torch.from_numpy(np.stack([labels == value for value in values])[None]) for labels in (truth, predicted)
    )

    def measure() -> np.ndarray:
        distances = compute_hausdorff_distance(y_pred, y, include_background=True, percentile=95, spacing=SPACING)
        tolerances = [TOLERANCE_MM] * len(values)
        dice = compute_surface_dice(y_pred, y, tolerances, include_background=True, spacing=SPACING)
        return np.stack([distances[0].numpy(), dice[0].numpy()])

    return measure


def main() -> None:
    """Print seconds, ratios and the largest difference."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--error", type=float, default=0.3, help="size of the deformation, 0.3: Dice about 0.9")
    given = options.parse_args()
    warnings.simplefilter("ignore")
    field = unevenness(np.random.default_rng(1))
    truth, predicted = tumour(field), tumour(field + given.error * unevenness(np.random.default_rng(2)))
    measure = monai_surfaces(truth, predicted)
    numbers = case_numbers(truth, predicted, LABELS, SPACING, tolerance_mm=TOLERANCE_MM)
    ours, expected = numbers[["hd95_mm", "nsd"]].to_numpy().T, measure()
    difference = (np.abs(ours - expected) / np.maximum(np.abs(expected), 1)).max()
    theirs = best_seconds(measure, given.repeats)
    two = best_seconds(lambda: surfaces_only(truth, predicted), given.repeats)
    everything = best_seconds(lambda: case_numbers(truth, predicted, LABELS, SPACING), given.repeats)
    print(f"{' × '.join(map(str, SHAPE))} voxels, {len(LABELS)} labels, Dice {numbers['dice'].round(3).tolist()}")
    print(f"MONAI, HD95 + surface Dice    {theirs * 1000:7.0f} ms")
    print(f"radapt, HD95 + surface Dice   {two * 1000:7.0f} ms   {theirs / two:5.1f} × faster")
    print(f"radapt, all numbers           {everything * 1000:7.0f} ms   {theirs / everything:5.1f} × faster")
    print(f"largest difference            {difference:.1e} (relative above 1; MONAI counts in single precision)")


if __name__ == "__main__":
    main()
