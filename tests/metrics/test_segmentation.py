"""Numbers of segmented cases on toys one can draw, with spacing that differs per axis; degenerate cases; bad input."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import distance_transform_edt

from radapt.errors import DataError
from radapt.metrics import case_numbers
from radapt.metrics import surfaces as surfaces_module
from radapt.metrics.segmentation import NUMBERS

LABELS = {1: "liver", 5: "spleen"}


def _picture(*rows: str) -> np.ndarray:
    """A label map from rows of digits and dots."""
    return np.array([[0 if pixel == "." else int(pixel) for pixel in row] for row in rows], dtype=np.uint8)


def _one(truth: np.ndarray, predicted: np.ndarray, spacing: tuple[float, ...], **options: object) -> pd.Series:
    return case_numbers(truth, predicted, {1: "liver"}, spacing, **options).iloc[0]  # type: ignore[arg-type]


def test_a_single_pixel_a_row_and_a_column_away() -> None:
    # 2 mm between rows, 5 mm between columns: a swapped axis gives other digits.
    truth = _picture("1....", ".....", ".....")
    predicted = _picture(".....", ".....", "..1..")
    row = _one(truth, predicted, (2.0, 5.0), tolerance_mm=10.0)
    far = np.hypot(2 * 2.0, 2 * 5.0)
    assert row[["dice", "iou", "nsd"]].tolist() == [0, 0, 0]
    assert row["outcome"] == "both"
    assert row[["hd95_mm", "assd_mm"]].tolist() == pytest.approx([far, far])
    assert _one(truth, predicted, (2.0, 5.0), tolerance_mm=11.0)["nsd"] == 1
    assert row[["volume_truth_ml", "volume_predicted_ml", "volume_error_ml"]].tolist() == pytest.approx(
        [0.01, 0.01, 0]
    )  # 2 × 5 × 1 mm³


def test_a_square_and_the_same_square_one_column_wider() -> None:
    truth = _picture("......", ".111..", ".111..", ".111..", "......")
    predicted = _picture("......", ".1111.", ".1111.", ".1111.", "......")
    row = _one(truth, predicted, (1.0, 3.0), tolerance_mm=1.0)
    assert row["dice"] == pytest.approx(2 * 9 / (9 + 12))
    assert row["iou"] == pytest.approx(9 / 12)
    # Borders: the truth's 8 pixels around its middle; the prediction's 10 around its two middles. From the truth all
    # but its pixel (2, 3) lie on the prediction's border, and that pixel is 1 mm from (1, 3). From the prediction the
    # three pixels of column 4 are 3 mm from column 3.
    pred_to_truth_mm, truth_to_pred_mm = [0] * 7 + [3] * 3, [0] * 7 + [1]
    assert row["assd_mm"] == pytest.approx((sum(pred_to_truth_mm) + sum(truth_to_pred_mm)) / 18)
    assert row["hd95_mm"] == pytest.approx(
        max(np.percentile(pred_to_truth_mm, 95), np.percentile(truth_to_pred_mm, 95))
    )
    assert row["nsd"] == pytest.approx((7 + 8) / 18)


def test_volumes_in_ml_and_their_signed_error() -> None:
    truth, predicted = np.zeros((10, 10, 4), np.uint8), np.zeros((10, 10, 4), np.uint8)
    truth[:5, :, :2] = 1
    predicted[:4, :, :2] = 1
    row = _one(truth, predicted, (0.5, 2.0, 3.0))
    assert row["volume_truth_ml"] == pytest.approx(100 * 3 / 1000)
    assert row["volume_error_ml"] == pytest.approx(-20 * 3 / 1000)


def test_lesions_touch_at_corners_and_are_found_by_one_voxel() -> None:
    truth = _picture(
        "11.......",
        "..1...1..",  # the first lesion continues across a corner; the second is never touched
        ".........",
        "1...11111",
    )
    predicted = _picture(
        "1........",
        ".........",
        "....1....",  # a corner away from nothing of the truth but adjacent to it: adjacency is no overlap
        "......1.1",  # two predicted components find one lesion
    )
    row = _one(truth, predicted, (1, 1))
    assert row[["lesions_truth", "lesions_found", "lesions_predicted", "lesions_false"]].tolist() == [4, 2, 4, 1]


def test_lesions_in_3d_are_connected_by_a_corner() -> None:
    truth = np.zeros((3, 3, 3), np.uint8)
    truth[0, 0, 0] = truth[1, 1, 1] = truth[2, 2, 2] = 1
    assert _one(truth, truth, (1, 1, 1))["lesions_truth"] == 1


def test_several_labels_in_one_pass_equal_each_alone() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = (rng.choice([0, 1, 5], size=(9, 8, 7), p=[0.6, 0.2, 0.2]) for _ in range(2))
    together = case_numbers(truth, predicted, LABELS, (1.0, 0.7, 2.5), tolerance_mm={1: 1.0, 5: 2.0})
    assert together["label"].tolist() == ["liver", "spleen"]
    for value, mm in ((1, 1.0), (5, 2.0)):
        alone = case_numbers(
            np.where(truth == value, value, 0), np.where(predicted == value, value, 0), {value: LABELS[value]},
            (1.0, 0.7, 2.5), tolerance_mm=mm,
        )  # fmt: skip
        row = together[together["label"] == LABELS[value]].reset_index(drop=True)
        pd.testing.assert_frame_equal(row, alone)


def test_absent_missed_and_falsely_drawn_structures_are_all_reported() -> None:
    empty, drawn = np.zeros((30, 40, 5), np.uint8), np.zeros((30, 40, 5), np.uint8)
    drawn[3:6, 4:6, 2] = 1
    drawn[20, 20, 4] = 1
    diagonal = np.sqrt((30 * 1.0) ** 2 + (40 * 2.0) ** 2 + (5 * 4.0) ** 2)
    missed, false_alarm = _one(drawn, empty, (1, 2, 4)), _one(empty, drawn, (1, 2, 4))
    for row, outcome in ((missed, "missed"), (false_alarm, "false_alarm")):
        assert row["outcome"] == outcome
        assert row[["dice", "iou", "nsd"]].tolist() == [0, 0, 0]
        assert row[["hd95_mm", "assd_mm"]].tolist() == pytest.approx([diagonal, diagonal])
    assert missed["volume_error_ml"] == pytest.approx(-7 * 8 / 1000)
    assert missed[["lesions_truth", "lesions_found", "lesions_predicted", "lesions_false"]].tolist() == [2, 0, 0, 0]
    assert false_alarm[["lesions_truth", "lesions_found", "lesions_predicted", "lesions_false"]].tolist() == [
        0,
        0,
        2,
        2,
    ]
    neither = _one(empty, empty, (1, 2, 4))
    assert neither["outcome"] == "empty"
    assert neither[list(NUMBERS)].isna().all()


def test_no_distance_within_the_image_reaches_that_of_a_missed_structure() -> None:
    truth, predicted = np.zeros((6, 7, 8), np.uint8), np.zeros((6, 7, 8), np.uint8)
    truth[0, 0, 0] = predicted[-1, -1, -1] = 1
    far = _one(truth, predicted, (1, 2, 3))["hd95_mm"]
    assert far < _one(truth, np.zeros_like(truth), (1, 2, 3))["hd95_mm"]


def test_one_slice_of_a_volume_is_measured_as_a_picture() -> None:
    # As a volume every pixel of it would be border: a good surface score for free.
    rng = np.random.default_rng(1)
    truth, predicted = ((rng.random((20, 30)) < 0.5).astype(np.uint8) for _ in range(2))
    picture = _one(truth, predicted, (1.5, 0.5))
    for axis in range(3):
        spacing = tuple(np.insert([1.5, 0.5], axis, 1.0))
        slice_ = _one(np.expand_dims(truth, axis), np.expand_dims(predicted, axis), spacing)
        pd.testing.assert_series_equal(slice_, picture)


def test_an_image_of_one_voxel() -> None:
    voxel = np.ones((1, 1, 1), np.uint8)
    assert _one(voxel, voxel, (1, 1, 1))[["dice", "hd95_mm", "nsd"]].tolist() == [1, 0, 1]


def test_the_tolerance_is_2_mm_unless_given() -> None:
    truth, two_mm, three_mm = _picture("1111", *["...."] * 3), np.zeros((4, 4), int), np.zeros((4, 4), int)
    two_mm[2], three_mm[3] = 1, 1
    assert _one(truth, two_mm, (1.0, 1.0))["nsd"] == 1
    assert _one(truth, three_mm, (1.0, 1.0))["nsd"] == 0


def test_borders_at_the_tolerance_count_despite_rounding() -> None:
    truth = _picture("1....", ".....")
    predicted = _picture("...1.", ".....")
    assert 3 * 0.7 != 2.1
    assert _one(truth, predicted, (1.0, 0.7), tolerance_mm=2.1)["nsd"] == 1


@pytest.mark.parametrize("kind", ["near", "far", "noise"])
def test_both_searches_find_the_nearest_border(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    truth = np.zeros((24, 20, 16), np.uint8)
    truth[4:14, 4:14, 4:12] = 1
    predicted = np.roll(truth, 1 if kind == "near" else 8, axis=0)
    if kind == "noise":
        predicted = (rng.random(truth.shape) < 0.3).astype(np.uint8)
    tables = []
    for cost in (0.0, np.inf):  # always the distance transform, always the tree
        monkeypatch.setattr(surfaces_module, "VOXEL_COST", cost)
        tables.append(case_numbers(truth, predicted, {1: "a"}, (1.0, 0.8, 2.3)))
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    borders = [
        mask & (distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1] <= 1) for mask in (truth > 0, predicted > 0)
    ]
    pred_to_truth_mm = distance_transform_edt(~borders[0], sampling=(1.0, 0.8, 2.3))[borders[1]]
    truth_to_pred_mm = distance_transform_edt(~borders[1], sampling=(1.0, 0.8, 2.3))[borders[0]]
    row = tables[0].iloc[0]
    assert row["hd95_mm"] == pytest.approx(
        max(np.percentile(pred_to_truth_mm, 95), np.percentile(truth_to_pred_mm, 95)), rel=1e-12
    )
    distances_mm = np.concatenate([pred_to_truth_mm, truth_to_pred_mm])
    assert row["assd_mm"] == pytest.approx(distances_mm.mean(), rel=1e-12)


MAP = np.array([[0, 1], [5, 0]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("truth", "predicted", "options", "message"),
    [
        (MAP, MAP[:1], {}, r"shapes \(2, 2\) and \(1, 2\); expected one shape"),
        (MAP[0], MAP[0], {}, "2D or 3D"),
        (MAP[:0], MAP[:0], {}, "at least one voxel"),
        (MAP / 2, MAP, {}, "The truth holds values of type float64.*whole numbers"),
        (MAP, MAP.astype(complex), {}, "The prediction holds values of type complex128"),
        (MAP, MAP, {"spacing_mm": (1, 1, 1)}, "expected one positive number of mm per axis"),
        (MAP, MAP, {"spacing_mm": (1, 0)}, "positive"),
        (MAP, MAP, {"spacing_mm": (1, np.nan)}, "positive"),
        (MAP, MAP * 2, {}, r"prediction has 2 voxels of value 2, 10; expected 0 .* labels 1, 5"),
        (MAP, MAP, {"labels": {1: "liver"}}, r"truth has 1 voxel of value 5"),
        (-MAP.astype(np.int16), MAP, {}, r"truth has 2 voxels of value -5, -1"),
        (MAP.astype(np.int64) * 10**12, MAP, {}, "truth has 2 voxels of value 1000000000000"),
        (MAP, MAP, {"labels": {}}, "at least one whole number"),
        (MAP, MAP, {"labels": {0: "background", 1: "a"}}, "0 is the background"),
        (MAP, MAP, {"labels": {1: "a", 5: "a"}}, "a name of its own"),
        (MAP, MAP, {"labels": {1: "a", 70_000: "b"}}, "from 1 to 65535"),
        (MAP, MAP, {"tolerance_mm": -1.0}, "0 mm or more"),
        (MAP, MAP, {"tolerance_mm": np.nan}, "0 mm or more"),
        (MAP, MAP, {"tolerance_mm": {1: 1.0}}, r"No surface tolerance for label\(s\) \[5\]"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_reasons(
    truth: np.ndarray, predicted: np.ndarray, options: dict, message: str
) -> None:
    given = {"labels": LABELS, "spacing_mm": (1.0, 1.0)} | options
    with pytest.raises(DataError, match=message):
        case_numbers(truth, predicted, **given)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int64, np.uint64])
def test_the_type_of_the_label_map_does_not_matter(dtype: type) -> None:
    expected = case_numbers(MAP, MAP.T, LABELS, (1, 1))
    pd.testing.assert_frame_equal(case_numbers(MAP.astype(dtype), MAP.T.astype(dtype), LABELS, (1, 1)), expected)


def test_a_boolean_mask_is_label_1() -> None:
    assert _one(MAP == 1, MAP == 1, (1, 1))["dice"] == 1


def test_the_given_maps_are_left_as_they_were() -> None:
    truth, predicted = MAP.copy(), MAP.T.copy()
    case_numbers(truth, predicted, LABELS, (1, 1))
    np.testing.assert_array_equal(truth, MAP)
    np.testing.assert_array_equal(predicted, MAP.T)
