"""One segmentation model on every subset of sequences: what it is asked, and scores that can be worked out by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from radapt.cohorts.cohort import Case, Cohort
from radapt.images import Recipe, Volume, read
from radapt.locations import Location
from radapt.metrics.score import COLUMNS
from radapt.protocols.fitted import Fitted, SubsetSegmenter
from radapt.protocols.image_problem import ImageProblem
from radapt.protocols.scoring import Result
from radapt.protocols.subset_cases import SubsetCases, score_subset_cases
from radapt.segmentation import score_segmentation
from toy_record import toy_record

AFFINE = np.diag([-0.8, 0.9, 2.5, 1.0])
SHAPE = (16, 18, 4)
NAMES = ("a", "b")
SPLITS = ("train", "val", "test", "test", "test")

Draw = Callable[[np.ndarray, tuple[str, ...]], np.ndarray]


def core_from_a_rim_from_b(mask: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    return np.where(((mask == 1) & ("a" in names)) | ((mask == 2) & ("b" in names)), mask, 0)


def half_a_core_without_b(mask: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """All of the core from both sequences, the half of it from a, nothing from b."""
    core = (mask == 1) & ("a" in names)
    if "b" not in names:
        core[:, :, ::2] = False
    return core.astype(np.uint8)


class Toy(SubsetSegmenter):
    """A model that turns the mask of a case into its label map, by the sequences it is given."""

    modalities = NAMES
    evaluates_subsets = True

    def __init__(self, cohort: Cohort, draw: Draw) -> None:
        self.cohort, self.pattern, self.asked = cohort, draw, []

    def segment(self, row: int) -> Volume:
        return self.segment_from(row, self.modalities)

    def segment_from(self, row: int, modalities: tuple[str, ...]) -> Volume:
        self.asked.append((row, modalities))
        mask = read(self.cohort.cases[row].mask)
        given = tuple(name for name in modalities if name in self.cohort.cases[row].images)
        return Volume(self.pattern(mask.array, given).astype(np.uint8), mask.affine)


def truth(row: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:9, 4 : 8 + row] = 1
    mask[11:14, 5:9] = 2
    return mask


def save(folder: Path, name: str, array: np.ndarray) -> Location:
    nib.save(nib.Nifti1Image(array, AFFINE), folder / f"{name}.nii.gz")
    return Location(folder / f"{name}.nii.gz")


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Test case 4 lacks b."""
    cases = []
    for row, split in enumerate(SPLITS):
        images = {name: save(tmp_path, f"{name}{row}", truth(row) * np.uint8(50)) for name in NAMES[: 1 + (row < 4)]}
        mask = save(tmp_path, f"mask{row}", truth(row))
        cases.append(Case(f"c{row}", f"p{row}", split, images, mask=mask, site="north" if row < 4 else "south"))
    return Cohort("toy", "other", tuple(cases), NAMES, mask_labels={1: "core", 2: "rim"})


def scored(cohort: Cohort, folder: Path, draw: Draw = core_from_a_rim_from_b) -> tuple[Result, Toy]:
    problem = ImageProblem.of(cohort, "segmentation", Recipe.for_kind("other", size=32), folder / "cache")
    model = Toy(cohort, draw)
    rng = np.random.default_rng(0)
    return score_segmentation(cohort, "toy", Fitted(model, model, toy_record()), rng, 200, problem), model


def values(table: pd.DataFrame, metric: str, by: str) -> dict[str, float]:
    own = table[(table["metric"] == metric) & table["site"].isna()]
    return dict(zip(own[by].fillna("sum"), own["value"], strict=True))


def test_dice_of_each_structure_is_that_of_the_sequences_that_show_it(cohort: Cohort, tmp_path: Path) -> None:
    complete = replace(cohort, cases=cohort.cases[:4])
    subsets = scored(complete, tmp_path)[0].subsets
    assert subsets is not None
    assert values(subsets.scores, "dice:core", "subset") == {"a + b": 1, "a": 1, "b": 0, "": 0}
    assert values(subsets.scores, "dice:rim", "subset") == {"a + b": 1, "b": 1, "a": 0, "": 0}
    assert values(subsets.scores, "dice", "subset") == {"a + b": 1, "a": 0.5, "b": 0.5, "": 0}
    diagonal = float(np.linalg.norm(np.array(SHAPE) * np.abs(np.diag(AFFINE))[:3]))
    hd95 = {"a + b": 0, "a": 0, "b": pytest.approx(diagonal), "": pytest.approx(diagonal)}
    assert values(subsets.scores, "hd95_mm:core", "subset") == hd95
    assert values(subsets.shapley, "dice:core", "modality") == pytest.approx({"a": 1, "b": 0, "sum": 1})
    assert values(subsets.shapley, "dice:rim", "modality") == pytest.approx({"a": 0, "b": 1, "sum": 1})
    assert values(subsets.shapley, "dice", "modality") == pytest.approx({"a": 0.5, "b": 0.5, "sum": 1})
    assert values(subsets.absence, "dice:core", "modality") == pytest.approx({"a": 1, "b": 0, "sum": 0.5})
    assert set(subsets.shapley["metric"]) == {"dice", "dice:core", "dice:rim"}
    assert set(subsets.scores["split"]) == {"test"}


def test_sequences_that_help_each_other_share_what_they_bring(cohort: Cohort, tmp_path: Path) -> None:
    """From a alone the half of the core is found, Dice 2/3; from both all of it; from b nothing."""
    complete = replace(cohort, cases=cohort.cases[:4])
    subsets = scored(complete, tmp_path, half_a_core_without_b)[0].subsets
    assert subsets is not None
    assert values(subsets.scores, "dice:core", "subset") == pytest.approx({"a + b": 1, "a": 2 / 3, "b": 0, "": 0})
    assert values(subsets.shapley, "dice:core", "modality") == pytest.approx({"a": 5 / 6, "b": 1 / 6, "sum": 1})
    assert values(subsets.absence, "dice:core", "modality") == pytest.approx({"a": 1, "b": 1 / 3, "sum": 2 / 3})


def test_a_case_without_a_sequence_is_asked_once_and_counted(cohort: Cohort, tmp_path: Path) -> None:
    result, model = scored(cohort, tmp_path)
    subsets = result.subsets
    assert subsets is not None
    assert model.asked == [
        (1, NAMES), (2, NAMES), (2, ("b",)), (2, ("a",)), (3, NAMES), (3, ("b",)), (3, ("a",)), (4, ("a",)),
    ]  # fmt: skip
    assert values(subsets.scores, "dice:rim", "subset") == pytest.approx({"a + b": 2 / 3, "b": 2 / 3, "a": 0, "": 0})
    without = subsets.scores[subsets.scores["site"].isna()].drop_duplicates("subset").set_index("subset")["n_without"]
    assert without.to_dict() == {"a + b": 0, "a": 0, "b": 1, "": 3}
    assert subsets.shapley.query("metric == 'dice' and site.isna()")["n_with"].tolist() == [3, 2, 3]
    south = subsets.scores.query("site == 'south' and metric == 'dice:rim'").set_index("subset")["value"]
    assert south.to_dict() == {"a + b": 0, "a": 0, "b": 0, "": 0}
    assert subsets.scores.query("site == 'south' and metric == 'dice:rim'")["ci_low"].isna().all()


def test_all_sequences_have_the_ordinary_scores(cohort: Cohort, tmp_path: Path) -> None:
    result, _ = scored(cohort, tmp_path, half_a_core_without_b)
    assert result.subsets is not None
    table = result.subsets.scores
    assert table.columns.tolist() == [
        "split", "site", "subset", "n_sequences", "has_a", "has_b", *COLUMNS, "n_without"
    ]  # fmt: skip
    whole = table[table["site"].isna() & (table["n_sequences"] == 2)].reset_index(drop=True)
    ordinary = result.scores[result.scores["split"] == "test"].reset_index(drop=True)
    names = ["metric", "value", "n_patients", "n_scored", "n_unscored", "n_undefined"]
    pd.testing.assert_frame_equal(whole[names], ordinary[names], check_exact=True)
    again, _ = scored(cohort, tmp_path, half_a_core_without_b)
    assert again.subsets is not None
    pd.testing.assert_frame_equal(again.subsets.scores, table, check_exact=True)
    result.subsets.write(tmp_path)
    assert pd.read_parquet(tmp_path / "shapley.parquet").columns.tolist() == [
        "quantity", "split", "site", "modality", "metric", "value", "ci_low", "ci_high", "n_patients", "n_with"
    ]  # fmt: skip


def test_a_structure_that_no_case_has_is_undefined_and_not_averaged(cohort: Cohort, tmp_path: Path) -> None:
    for row in (2, 3, 4):
        save(tmp_path, f"mask{row}", np.where(truth(row) == 1, 1, 0).astype(np.uint8))
    subsets = scored(cohort, tmp_path)[0].subsets
    assert subsets is not None
    assert np.isnan(list(values(subsets.scores, "dice:rim", "subset").values())).all()
    assert np.isnan(list(values(subsets.shapley, "dice:rim", "modality").values())).all()
    assert values(subsets.shapley, "dice", "modality") == pytest.approx({"a": 1, "b": 0, "sum": 1})


@pytest.mark.parametrize("why", ["one sequence", "not wanted"])
def test_no_table_is_made_of_one_sequence_or_if_none_is_wanted(
    cohort: Cohort, tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, _ = scored(cohort, tmp_path)
    monkeypatch.setattr(Toy, "evaluates_subsets", False)
    result, model = scored(cohort, tmp_path)
    assert result.subsets is None
    assert [row for row, _ in model.asked] == [1, 2, 3, 4]
    pd.testing.assert_frame_equal(result.scores, before.scores, check_exact=True)
    pd.testing.assert_frame_equal(result.predictions, before.predictions, check_exact=True)


def test_models_of_folds_that_read_other_sequences_are_scored_together(cohort: Cohort) -> None:
    """The model of the first two cases reads a and b, that of the third a alone."""

    def rows(case: str, dice: float, **has: bool) -> dict[str, object]:
        numbers = dict.fromkeys(
            ("iou", "hd95_mm", "assd_mm", "nsd", "volume_truth_ml", "volume_predicted_ml", "volume_error_ml",
             "lesions_truth", "lesions_found", "lesions_predicted", "lesions_false"), 1.0,
        )  # fmt: skip
        return {"case": case, "patient": case, **has, "label": "core", "dice": dice, **numbers, "outcome": "both"}

    both = [
        rows(case, dice, has_a=a, has_b=b)
        for case in ("c2", "c3")
        for dice, a, b in ((0.8, True, True), (0.5, True, False), (0.3, False, True), (0.0, False, False))
    ]
    alone = [rows("c4", 0.6, has_a=True), rows("c4", 0.0, has_a=False)]
    parts = [SubsetCases(pd.DataFrame(alone)), SubsetCases(pd.DataFrame(both))]
    assert [part.modalities for part in parts] == [("a",), ("a", "b")]
    found = score_subset_cases(parts, cohort, np.random.default_rng(0), 20).scores
    expected = {"a + b": (0.8 + 0.8 + 0.6) / 3, "a": (0.5 + 0.5 + 0.6) / 3, "b": 0.2, "": 0}
    assert values(found, "dice", "subset") == pytest.approx(expected)
    assert found.query("subset == 'b' and metric == 'dice' and site.isna()")["n_without"].item() == 1
