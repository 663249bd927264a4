"""Draws the outlines of truth and prediction on the worst, the median and the best case of a segmentation cell."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from radapt.cohorts import Case, Cohort
from radapt.durable import atomic_path, write_json

if TYPE_CHECKING:
    from radapt.images import Recipe, Volume

FOLDER = "overlays"

LEAST_PX = 320
"""Smaller slices are enlarged by an integer factor, so that the outline does not hide the structure."""

TRUTH_RGB = (64, 200, 96)
PREDICTED_RGB = (255, 140, 0)


def write_overlays(cell: Path, cohort: Cohort, recipe: "Recipe", predictions: pd.DataFrame, cache: Path) -> None:
    """Write PNG files and `overlays.json` into `overlays/` of the cell's folder, from its `masks/`.

    Cases of the first test set are ranked by their Dice, averaged over labels. Nothing is written if no test case has
    a Dice.
    """
    from PIL import Image

    from radapt.segmentation import file_stems

    examples = outlined_cases(predictions, cohort.test_sets)
    if not examples:
        return
    row_of = {case.case: row for row, case in enumerate(cohort)}
    stems = file_stems([case.case for case in cohort])
    with atomic_path(cell / FOLDER, folder=True) as folder:
        entries = []
        for number, (rank, name, dice) in enumerate(examples):
            files = list((cell / "masks").glob(f"{stems[row_of[name]]}.*"))
            if not files:
                continue
            plane, picture = _picture(cohort.cases[row_of[name]], files[0], recipe, cache)
            Image.fromarray(picture).save(folder / f"{number}.png")
            entries.append({"case": name, "rank": rank, "dice": dice, "plane": plane, "image": f"{number}.png"})
        write_json(folder / "overlays.json", entries)


def outlined_cases(predictions: pd.DataFrame, test_sets: Sequence[str]) -> list[tuple[str, str, float]]:
    """(rank, case, Dice) of the worst, the median and the best case of the first test set with a Dice, each once."""
    for split in test_sets:
        rows = predictions[predictions["split"] == split]
        dice = rows.groupby("case", sort=True)["dice"].mean().dropna().sort_values(kind="stable")
        if len(dice):
            ranks = {"worst": 0, "median": len(dice) // 2, "best": len(dice) - 1}
            by_position = {position: rank for rank, position in reversed(ranks.items())}
            return [(rank, str(dice.index[at]), float(dice.iloc[at])) for at, rank in sorted(by_position.items())]
    return []


def _picture(case: Case, predicted_file: Path, recipe: "Recipe", cache: Path) -> tuple[int, np.ndarray]:
    """The index of the plane with the largest area of both masks, and that plane (H, W, 3) uint8 with both outlines."""
    from radapt.images import read, resampled, same_grid
    from radapt.locations import Location

    predicted = read(Location(predicted_file))
    image = next(
        volume
        for volume in (read(location, name, array_cache=cache / "arrays") for name, location in case.images.items())
        if same_grid(volume, predicted) is None
    )
    placement = recipe.whole.place(image)
    prediction = placement.masks(predicted)
    truth = (
        np.zeros_like(prediction) if case.mask is None else placement.masks(_on_grid(read(case.mask), image, resampled))
    )
    plane = int(((truth > 0) * 2 + (prediction > 0)).sum(axis=(1, 2)).argmax())
    grey = recipe.whole.apply(image)[plane]
    colour = np.moveaxis(np.repeat(grey, 3, axis=0) if len(grey) == 1 else grey, 0, -1)
    factor = -(-LEAST_PX // min(colour.shape[:2]))
    picture, true_labels, predicted_labels = (
        np.repeat(np.repeat(array, factor, axis=0), factor, axis=1)
        for array in (colour, truth[plane], prediction[plane])
    )
    picture[outline(true_labels, 2)] = TRUTH_RGB
    picture[outline(predicted_labels, 1)] = PREDICTED_RGB
    return plane, picture


def _on_grid(mask: "Volume", image: "Volume", resampled: Any) -> "Volume":
    from radapt.images import same_grid

    return mask if same_grid(image, mask) is None else resampled(mask, image, nearest=True)


def outline(labels: np.ndarray, width: int) -> np.ndarray:
    """(H, W) bool: pixels of a structure within `width` pixels of another label."""
    from scipy import ndimage

    size = 2 * width + 1
    edges = ndimage.maximum_filter(labels, size) != ndimage.minimum_filter(labels, size)
    return np.asarray(edges & (labels > 0))
