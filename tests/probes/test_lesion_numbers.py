"""The control that measures the lesion: what it finds, and whose masks it reads."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import radapt
from radapt.backbones import load_backbone
from radapt.backbones.backbone import Backbone
from radapt.cohorts.cohort import Case, Cohort
from radapt.images import Recipe, Volume
from radapt.locations import Location
from radapt.protocols import Machine, Result
from radapt.protocols.load_model import load_model

SIZE, PLANES, CASES = 64, 3, 24


@pytest.fixture(scope="module")
def vit() -> Backbone:
    return load_backbone("timm:test_vit", "random")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Grey heads with a white square, which is larger where the label is 1; masks of test cases cannot be read."""
    folder, rng, made = tmp_path_factory.mktemp("lesions"), np.random.default_rng(0), []
    (folder / "broken.npy").write_bytes(b"nothing")
    for number in range(CASES):
        label = number // 4 % 2
        head = rng.integers(60, 90, (PLANES, SIZE, SIZE)).astype(np.uint8)
        mask, side = np.zeros_like(head), 16 + 16 * label
        top, left = (int(8 * draw) for draw in rng.integers(0, 4, 2))
        mask[:, top : top + side, left : left + side] = 1
        head[mask > 0] = 230
        np.save(folder / f"{number}.npy", head)
        np.save(folder / f"{number}-mask.npy", mask)
        split = "test" if number % 4 == 3 else "train"
        place = Location(folder / ("broken.npy" if split == "test" else f"{number}-mask.npy"))
        images = {"t1": Location(folder / f"{number}.npy")}
        made.append(Case(f"c{number}", f"p{number}", split, images, label=label, mask=place))
    return Cohort("heads", "other", tuple(made), ("t1",), classes=("small", "large"), mask_labels={1: "lesion"})


def ran(cohort: Cohort, vit: Backbone, cache: Path, folder: Path | None = None, **options: Any) -> Result:
    return radapt.train(
        cohort, "lesion-numbers", vit, size=SIZE, cache=cache, resamples=0, machine=Machine(folder=folder), **options
    )


def test_it_measures_lesions_where_no_mask_may_be_read(cohort: Cohort, vit: Backbone, tmp_path: Path) -> None:
    found = ran(cohort, vit, tmp_path / "cache", tmp_path)
    scores = found.scores
    auroc = scores.loc[(scores["metric"] == "auroc") & (scores["split"] == "test"), "value"].iloc[0]
    assert auroc == 1.0
    notes = " ".join(note for fit in found.fits for note in fit.notes)
    assert "a segmenter trained on the masks of 18 training cases" in notes
    assert "no other mask was read" in notes
    model = load_model(tmp_path / "model", cache=tmp_path / "cache")
    model.save(tmp_path / "whole")
    tested = found.predictions[found.predictions["split"] == "test"].set_index("case")["p_large"]
    for each in (model, load_model(tmp_path / "whole", cache=tmp_path / "other")):
        again = each.predict(cohort).set_index("case")["p_large"]
        np.testing.assert_array_equal(again.loc[tested.index], tested)


def test_without_masks_in_train_it_answers_with_the_class_frequencies(
    cohort: Cohort, vit: Backbone, tmp_path: Path
) -> None:
    blank = replace(cohort, cases=tuple(replace(case, mask=None) for case in cohort))
    found = ran(blank, vit, tmp_path / "cache", texture=False)
    assert found.predictions["p_large"].nunique() == 1
    assert any("No training case has a mask" in note for fit in found.fits for note in fit.notes)


def test_voxels_of_planes_are_measured_in_mm() -> None:
    volume = Volume.from_planes(np.zeros((20, 40, 80)), spacing_mm=(5.0, 2.0, 1.0))
    placed = Recipe.for_kind("other", size=160, every=2).place(volume)
    np.testing.assert_allclose(placed.voxel_mm(), [10.0, 0.5, 0.5])
