"""Label maps scored where the masks were drawn, written where the images lie, missing masks and all."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import DataError
from radapt.images import Recipe, Volume, read
from radapt.locations import Location
from radapt.protocols.fitted import Fitted, Segmenter
from radapt.protocols.image_problem import ImageProblem, Machine
from radapt.protocols.protocol import Protocol
from radapt.protocols.train import train
from radapt.segmentation import SegmentationData, SegmentationScorer, check_mask_tests, score_segmentation
from radapt.segmentation.scoring import file_stems
from toy_record import toy_record

AFFINE = np.array([[-0.8, 0, 0, 10], [0, 0.9, 0.1, -5], [0, -0.1, 2.5, 7], [0, 0, 0, 1.0]])
SHAPE = (16, 18, 5)
SPLITS = ("train", "train", "val", "test", "test", "elsewhere")


class Drawn(Segmenter):
    """A model that answers by a function of the row."""

    def __init__(self, draw: Callable[[int], Volume]) -> None:
        self.pattern, self.asked = draw, []

    def segment(self, row: int) -> Volume:
        self.asked.append(row)
        return self.pattern(row)


def save(folder: Path, name: str, array: np.ndarray, affine: np.ndarray = AFFINE) -> Location:
    nib.save(nib.Nifti1Image(array, affine), folder / f"{name}.nii.gz")
    return Location(folder / f"{name}.nii.gz")


def box(row: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:9, 4 : 8 + row, 1:4] = 1
    mask[5:7, 5:7, 2] = 2
    return mask


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    cases = []
    for row, split in enumerate(SPLITS):
        image = save(tmp_path, f"i{row}", box(row) * np.uint8(50))
        mask = save(tmp_path, f"m{row}", box(row))
        cases.append(Case(f"c/{row}", f"p{row}", split, {"image": image}, site="here", mask=mask))
    return Cohort("toy", "other", tuple(cases), ("image",), mask_labels={1: "core", 2: "rim"})


def problem_of(cohort: Cohort, folder: Path, out: Path | None = None) -> ImageProblem:
    recipe = Recipe.for_kind(cohort.kind, size=32)
    return ImageProblem.of(cohort, "segmentation", recipe, folder / "cache", machine=Machine(folder=out))


def score_toy(cohort: Cohort, folder: Path, final: Segmenter, before: Segmenter | None = None, out: Path | None = None):
    fitted = Fitted(final, before or final, toy_record())
    return score_segmentation(cohort, "toy", fitted, np.random.default_rng(0), 50, problem_of(cohort, folder, out))


def truth_of(cohort: Cohort) -> Drawn:
    return Drawn(lambda row: read(cohort.cases[row].mask))


def test_every_case_of_val_and_of_each_test_set_by_label(cohort, tmp_path):
    model = truth_of(cohort)
    result = score_toy(cohort, tmp_path, model)
    found = result.predictions
    assert list(found.columns[:7]) == ["case", "patient", "site", "split", "label", "dice", "iou"]
    assert list(found.columns)[-1] == "outcome"
    assert list(zip(found["case"], found["label"], strict=True)) == [
        (f"c/{row}", label) for row in (2, 3, 4, 5) for label in ("core", "rim")
    ]
    assert model.asked == [2, 3, 4, 5]
    assert (found["dice"] == 1).all()
    assert (found["hd95_mm"] == 0).all()
    voxel_ml = float(np.prod(np.linalg.norm(AFFINE[:3, :3], axis=0))) / 1000
    rims = found[found["label"] == "rim"]
    np.testing.assert_allclose(rims["volume_truth_ml"], 4 * voxel_ml, rtol=1e-5)
    scores = result.scores
    assert list(dict.fromkeys(scores["split"])) == ["val", "test", "elsewhere"]
    dice = scores[scores["metric"] == "dice"]
    assert (dice["value"] == 1).all()
    assert dice["n_scored"].tolist() == [1, 2, 1]
    assert (result.protocol, result.fit) == ("toy", toy_record())
    assert result.cost.trained == 1


def test_a_missed_structure_counts(cohort, tmp_path):
    def without_rim(row: int) -> Volume:
        mask = read(cohort.cases[row].mask)
        return Volume(np.where(mask.array == 2, 0, mask.array).astype(np.uint8), mask.affine)

    found = score_toy(cohort, tmp_path, Drawn(without_rim)).predictions
    rims = found[found["label"] == "rim"]
    assert (rims["dice"] == 0).all()
    assert (rims["outcome"] == "missed").all()
    assert (rims["hd95_mm"] > 10).all()


def test_val_is_answered_before_the_refit(cohort, tmp_path):
    final, before = truth_of(cohort), truth_of(cohort)
    score_toy(cohort, tmp_path, final, before)
    assert before.asked == [2]
    assert final.asked == [3, 4, 5]


def test_cases_without_a_mask_are_written_and_said(cohort, tmp_path):
    cases = [replace(case, mask=None) if row in (4, 5) else case for row, case in enumerate(cohort)]
    result = score_toy(replace(cohort, cases=tuple(cases)), tmp_path, truth_of(cohort), out=tmp_path / "out")
    found = result.predictions.set_index("case")
    assert (found.loc[["c/4", "c/5"], "outcome"] == "unlabelled").all()
    assert found.loc[["c/4", "c/5"], "dice"].isna().all()
    assert (found.loc["c/3", "dice"] == 1).all()
    dice = result.scores[result.scores["metric"] == "dice"].set_index("split")
    assert dice.loc["test", "n_scored"] == 1
    assert dice.loc["test", "n_unscored"] == 1
    assert np.isnan(dice.loc["elsewhere", "value"])
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 4


def test_label_maps_are_written_in_the_grid_of_the_image(cohort, tmp_path):
    score_toy(cohort, tmp_path, truth_of(cohort), out=tmp_path / "out")
    stems = file_stems([case.case for case in cohort])
    files = sorted(path.name for path in (tmp_path / "out" / "masks").iterdir())
    assert files == sorted(f"{stems[row]}.nii.gz" for row in (2, 3, 4, 5))
    for row in (2, 3, 4, 5):
        found = nib.load(tmp_path / "out" / "masks" / f"{stems[row]}.nii.gz")
        np.testing.assert_array_equal(np.asanyarray(found.dataobj), box(row))
        np.testing.assert_allclose(found.affine, AFFINE, atol=1e-6)


def test_nothing_is_written_without_a_folder(cohort, tmp_path):
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    score_toy(cohort, tmp_path, truth_of(cohort))
    assert {path for path in tmp_path.rglob("*") if "cache" not in path.parts} == before


def test_one_label_map_is_held_at_a_time(cohort, tmp_path):
    made: list[weakref.ref[np.ndarray]] = []

    def draw(row: int) -> Volume:
        assert not [alive for alive in made if alive() is not None]
        array = box(row)
        made.append(weakref.ref(array))
        return Volume(array, read(cohort.cases[row].mask).affine)

    score_toy(cohort, tmp_path, Drawn(draw), out=tmp_path / "out")
    assert len(made) == 4


def test_names_of_files():
    assert file_stems(["a", "b.1", "C_2-x"]) == ["a", "b.1", "C_2-x"]
    odd = file_stems(["a/b", "a-b", "a b", "..", "é", "X", "x", ""])
    assert len({stem.lower() for stem in odd}) == 8
    assert all(set(stem) <= set("abcdefghijklmnopqrstuvwxyzX0123456789.-") and stem[0] != "." for stem in odd)
    assert file_stems(["a/b"]) == file_stems(["a/b", "c"])[:1]
    long = file_stems(["x" * 300 + end for end in "ab"])
    assert len(set(long)) == 2
    assert max(map(len, long)) < 120  # with .nii.gz and what writers add, below the 255 of file systems


def test_a_prediction_on_another_image_is_scored_where_the_mask_was_drawn(cohort, tmp_path):
    """The mask of the test case lies on `b`, but nobody may look: training masks lie on `a`."""
    fine = AFFINE @ np.diag([0.5, 0.5, 1, 1])
    fine[:3, 3] -= 0.25 * AFFINE[:3, 0] + 0.25 * AFFINE[:3, 1]
    cases = []
    for row, case in enumerate(cohort):
        b = save(tmp_path, f"b{row}", np.repeat(np.repeat(box(row), 2, 0), 2, 1) * np.uint8(50), fine)
        mask = save(tmp_path, f"f{row}", np.repeat(np.repeat(box(row), 2, 0), 2, 1), fine) if row == 3 else case.mask
        cases.append(replace(case, images={"a": case.images["image"], "b": b}, mask=mask))
    both = replace(cohort, cases=tuple(cases), modalities=("a", "b"))
    data = SegmentationData(problem_of(both, tmp_path))
    assert data.grid(3).array.shape == SHAPE
    model = Drawn(lambda row: Volume(box(row), data.grid(row).affine))
    found = score_toy(both, tmp_path, model, out=tmp_path / "out").predictions.set_index(["case", "label"])
    assert (found["dice"] == 1).all()
    np.testing.assert_allclose(
        found.loc[("c/3", "rim"), "volume_truth_ml"], found.loc[("c/4", "rim"), "volume_truth_ml"]
    )
    stem = file_stems([case.case for case in both])[3]
    assert nib.load(tmp_path / "out" / "masks" / f"{stem}.nii.gz").shape == SHAPE


def test_pictures_are_answered_with_pictures(tmp_path):
    rng, cases = np.random.default_rng(0), []
    for row, split in enumerate(SPLITS):
        mask = np.zeros((30, 21), np.uint8)
        mask[4:20, 5 : 9 + row] = 255
        Image.fromarray(rng.integers(0, 255, mask.shape).astype(np.uint8)).save(tmp_path / f"i{row}.png")
        Image.fromarray(mask).save(tmp_path / f"m{row}.png")
        images = {"image": Location(tmp_path / f"i{row}.png")}
        cases.append(Case(f"c{row}", f"p{row}", split, images, mask=Location(tmp_path / f"m{row}.png")))
    cohort = Cohort("films", "xray", tuple(cases), ("image",), mask_labels={1: "lung"})

    def lung(row: int) -> Volume:
        return Volume.from_planes(np.asarray(Image.open(tmp_path / f"m{row}.png"))[None] // 255)

    found = score_toy(cohort, tmp_path, Drawn(lung), out=tmp_path / "out").predictions
    assert (found["dice"] == 1).all()
    for row in (2, 3, 4, 5):
        with Image.open(tmp_path / "out" / "masks" / f"c{row}.png") as written:
            np.testing.assert_array_equal(np.asarray(written), lung(row).planes()[0])


def shifted(cohort: Cohort, row: int, folder: Path) -> Cohort:
    away = AFFINE.copy()
    away[0, 3] += 0.4
    cases = list(cohort.cases)
    cases[row] = replace(cases[row], mask=save(folder, f"away{row}", box(row), away))
    return replace(cohort, cases=tuple(cases))


def test_all_test_masks_that_cannot_be_used_are_named_before_training(cohort, tmp_path):
    bad = shifted(shifted(cohort, 3, tmp_path), 5, tmp_path)
    for look in (
        lambda: check_mask_tests(bad, problem_of(bad, tmp_path)),
        lambda: score_toy(bad, tmp_path, truth_of(bad)),
        lambda: train(bad, Oracle(), size=32, cache=tmp_path / "cache"),
    ):
        with pytest.raises(DataError, match=r"(?s)2 of 6 masked cases of toy.*case c/3.*0\.5 of a voxel.*case c/5"):
            look()


def test_cases_that_no_model_could_answer_are_named_before_training(cohort, tmp_path):
    cases = list(cohort.cases)
    (tmp_path / "broken.nii.gz").write_bytes(b"nothing")
    cases[4] = replace(cases[4], images={"image": Location(tmp_path / "broken.nii.gz")}, mask=None)
    cases[5] = replace(cases[5], images={"t2": cases[5].images["image"]})
    bad = replace(cohort, cases=tuple(cases), modalities=("image", "t2"))
    for look in (
        lambda: check_mask_tests(bad, problem_of(bad, tmp_path)),
        lambda: train(bad, Oracle(), size=32, cache=tmp_path / "cache"),
    ):
        with pytest.raises(
            DataError, match=r"(?s)2 of 4 cases of toy.*case c/4: .*broken.*case c/5: it has t2; .*image\."
        ):
            look()


def test_undeclared_labels_are_those_of_train_and_no_others(cohort, tmp_path):
    found = score_toy(replace(cohort, mask_labels={}), tmp_path, truth_of(cohort)).predictions
    assert set(found["label"]) == {"1", "2"}
    mask = box(3)
    mask[0, 0, 0] = 3
    cases = list(cohort.cases)
    cases[3] = replace(cases[3], mask=save(tmp_path, "three", mask))
    with pytest.raises(DataError, match=r"case c/3: .*holds 3, the masks of train hold 1, 2\."):
        score_toy(replace(cohort, cases=tuple(cases), mask_labels={}), tmp_path, truth_of(cohort))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda mask: Volume(mask.array[1:], mask.affine), "in the grid of none of its images|do not|shape"),
        (lambda mask: Volume(mask.array * np.uint8(7), mask.affine), "7"),
    ],
)
def test_label_maps_that_are_none(cohort, tmp_path, wrong, message):
    model = Drawn(lambda row: wrong(read(cohort.cases[row].mask)))
    with pytest.raises(DataError, match=message):
        score_toy(cohort, tmp_path, model, out=tmp_path / "out")


def test_a_cohort_without_masked_tests_is_refused(cohort):
    cases = tuple(replace(case, mask=None) if case.split not in ("train", "val") else case for case in cohort)
    with pytest.raises(DataError, match="no case with a mask in a test set"):
        check_mask_tests(replace(cohort, cases=cases))


@dataclass(frozen=True)
class Oracle(Protocol[ImageProblem]):
    """Reads the mask out of the image, through planes and back: what the geometry alone costs."""

    name: ClassVar[str] = "oracle"
    aim: ClassVar = "segmentation"
    reads: ClassVar = "images"
    scorer: ClassVar = SegmentationScorer()
    uses_backbone: ClassVar[bool] = False

    def fit(self, problem: ImageProblem, rng: np.random.Generator) -> Fitted[Segmenter]:
        data = SegmentationData(problem)

        def draw(row: int) -> Volume:
            planes, _ = data.planes(row)
            classes = np.rint(planes[:, 0, 0] / 127.5).astype(int)  # grey spreads the labels 0, 1, 2 over 0 … 255
            return data.draw(row, np.moveaxis(np.eye(3, dtype=np.float32)[classes], -1, 1), logarithms=False).mask

        return Fitted(Drawn(draw), Drawn(draw), replace(toy_record(), notes=tuple(data.notes)))


def test_through_train_from_planes_to_millimetres(cohort, tmp_path):
    cases = []
    for row, case in enumerate(cohort):
        image = save(tmp_path, f"grey{row}", np.where(box(row) == 2, 255, box(row) * 127).astype(np.uint8))
        cases.append(replace(case, images={"image": image}))
    bright = replace(cohort, cases=tuple(cases))
    result = train(bright, Oracle(), size=54, cache=tmp_path / "cache", resamples=50)
    core = result.predictions[result.predictions["label"] == "core"]
    assert (core["dice"] > 0.9).all()
    again = train(bright, Oracle(), size=54, cache=tmp_path / "cache", resamples=50)
    pd.testing.assert_frame_equal(again.predictions, result.predictions)
    pd.testing.assert_frame_equal(again.scores, result.scores)
