"""Features of planes with neighbours as channels, and of planes along all three axes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from radapt.cohorts.cohort import Case, Cohort
from radapt.features import extract, patch_pca
from radapt.images import Recipe, SliceCache
from radapt.locations import Location


def cohort_of(folder: Path) -> Cohort:
    """A stack of planes, and a picture with one plane."""
    rng = np.random.default_rng(0)
    cases = []
    for number, shape in enumerate([(3, 8, 8), (1, 8, 8)]):
        path = folder / f"{number}.npy"
        np.save(path, rng.integers(0, 256, shape, dtype=np.uint8))
        cases.append(Case(f"c{number}", f"p{number}", "train", {"image": Location(path)}, label=number))
    return Cohort("toy", "other", tuple(cases), ("image",), classes=("no", "yes"))


def test_neighbours_reach_the_encoder_as_channels(toy_backbone: Callable[..., Any], tmp_path: Path) -> None:
    cohort, backbone = cohort_of(tmp_path), toy_backbone()
    features = extract(cohort, backbone, size=8, neighbours=1, layers=(-1,), batch=4, cache=tmp_path / "cache")
    for number in (0, 1):
        array = np.load(tmp_path / f"{number}.npy")
        last = len(array) - 1
        around = [[max(at - 1, 0), at, min(at + 1, last)] for at in range(len(array))]
        tokens = backbone.tokens(torch.from_numpy(array[around]), layers=(-1,)).layers[0]
        expected = torch.cat([tokens.cls, tokens.patches.mean((1, 2))], dim=1).numpy()
        np.testing.assert_allclose(features.slices(number, "image"), expected, rtol=1e-5, atol=1e-6)


def test_triplanar_rows_are_those_of_each_axis(toy_backbone: Callable[..., Any], tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path)

    def rows(axis: str, number: int) -> np.ndarray:
        found = extract(cohort, toy_backbone(), size=16, axis=axis, layers=(-1,), batch=4, cache=tmp_path / "cache")
        return np.array(found.slices(number, "image"))

    axes = [rows(axis, 0) for axis in ("axial", "coronal", "sagittal")]
    np.testing.assert_array_equal(rows("triplanar", 0), np.concatenate(axes))
    np.testing.assert_array_equal(rows("triplanar", 1), rows("axial", 1))


def test_pictures_of_patches_can_be_made_of_either(toy_backbone: Callable[..., Any], tmp_path: Path) -> None:
    case = cohort_of(tmp_path).cases[0]
    for options in ({"neighbours": 1}, {"axis": "triplanar"}):
        recipe = Recipe.for_kind("other", size=32, **options)  # type: ignore[arg-type]
        planes = SliceCache(tmp_path / "cache").planes(case.images["image"], recipe)
        found = patch_pca(_Patches(toy_backbone()), planes, np.random.default_rng(0))
        assert found.shape == (len(planes), 32, 32, 3)


class _Patches:
    """The toy backbone as pictures ask it."""

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone

    def tokens(self, images: torch.Tensor) -> Any:
        return self._backbone.tokens(images).layers[0]
