"""Pictures of a segmentation cell: the outlines of truth and prediction on a slice of the worst, a middling and the
best case of its first test set."""

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
"""Smaller slices are enlarged by a whole number, so that an outline does not hide what it goes around."""

TRUTH_RGB = (64, 200, 96)
PREDICTED_RGB = (255, 140, 0)


def write_overlays(cell: Path, cohort: Cohort, recipe: "Recipe", predictions: pd.DataFrame, cache: Path) -> None:
    """Write PNG files and `overlays.json` into the folder `overlays` of the cell's folder, from its `masks`.

    Cases are ranked by their Dice, averaged over labels. Nothing is written where no test case has one.
    """
    from PIL import Image

    from radapt.segmentation import file_stems

    chosen = _chosen(predictions, cohort)
    if not chosen:
        return
    place = {case.case: at for at, case in enumerate(cohort)}
    stems = file_stems([case.case for case in cohort])
    with atomic_path(cell / FOLDER, folder=True) as part:
        listed = []
        for number, (rank, name, dice) in enumerate(chosen):
            files = list((cell / "masks").glob(f"{stems[place[name]]}.*"))
            if not files:
                continue
            plane, picture = _picture(cohort.cases[place[name]], files[0], recipe, cache)
            Image.fromarray(picture).save(part / f"{number}.png")
            listed.append({"case": name, "rank": rank, "dice": dice, "plane": plane, "image": f"{number}.png"})
        write_json(part / "overlays.json", listed)


def _chosen(predictions: pd.DataFrame, cohort: Cohort) -> list[tuple[str, str, float]]:
    """(rank, case, Dice) of the worst, the median and the best case, each once."""
    for split in cohort.test_sets:
        rows = predictions[predictions["split"] == split]
        dice = rows.groupby("case", sort=True)["dice"].mean().dropna().sort_values(kind="stable")
        if len(dice):
            ranks = {"worst": 0, "median": len(dice) // 2, "best": len(dice) - 1}
            first = {at: rank for rank, at in reversed(ranks.items())}
            return [(rank, str(dice.index[at]), float(dice.iloc[at])) for at, rank in sorted(first.items())]
    return []


def _picture(case: Case, predicted_file: Path, recipe: "Recipe", cache: Path) -> tuple[int, np.ndarray]:
    """The number of the plane that shows most of the structures, and the plane (H, W, 3) uint8 with both outlines."""
    from radapt.images import read, resampled, same_grid
    from radapt.locations import Location

    predicted = read(Location(predicted_file))
    image = next(
        volume
        for volume in (read(where, name, array_cache=cache / "arrays") for name, where in case.images.items())
        if same_grid(volume, predicted) is None
    )
    placement = recipe.place(image)
    found = placement.masks(predicted)
    true = np.zeros_like(found) if case.mask is None else placement.masks(_like(read(case.mask), image, resampled))
    plane = int(((true > 0) * 2 + (found > 0)).sum(axis=(1, 2)).argmax())
    grey = recipe.apply(image)[plane]
    colour = np.moveaxis(np.repeat(grey, 3, axis=0) if len(grey) == 1 else grey, 0, -1)
    times = -(-LEAST_PX // min(colour.shape[:2]))
    picture, true_map, found_map = (
        np.repeat(np.repeat(each, times, axis=0), times, axis=1) for each in (colour, true[plane], found[plane])
    )
    picture[_outline(true_map, 2)] = TRUTH_RGB
    picture[_outline(found_map, 1)] = PREDICTED_RGB
    return plane, picture


def _like(mask: "Volume", image: "Volume", resampled: Any) -> "Volume":
    from radapt.images import same_grid

    return mask if same_grid(image, mask) is None else resampled(mask, image, nearest=True)


def _outline(labels: np.ndarray, width: int) -> np.ndarray:
    """(H, W) bool: pixels of a structure within `width` pixels of another label."""
    from scipy import ndimage

    size = 2 * width + 1
    edges = ndimage.maximum_filter(labels, size) != ndimage.minimum_filter(labels, size)
    return np.asarray(edges & (labels > 0))
