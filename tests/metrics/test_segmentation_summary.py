"""From cases to a test set: means, shares, what is left out and counted, and intervals by patient."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from radapt.errors import DataError
from radapt.metrics import case_numbers, multiplicities, summarise
from radapt.metrics.bootstrap import Range, metric_interval
from radapt.metrics.score import COLUMNS
from radapt.metrics.segmentation import NUMBERS
from radapt.metrics.segmentation_summary import SUMMARY


def _lesions(truth: int, found: int, false: int) -> dict[str, float]:
    return {"lesions_truth": truth, "lesions_found": found, "lesions_false": false}


def _row(case: str, patient: str, label: str, outcome: str = "both", **numbers: float) -> dict:
    base = dict.fromkeys(NUMBERS, np.nan)
    base |= {"dice": 0.0, "hd95_mm": 100.0} if outcome in ("missed", "false_alarm") else {}
    return {"case": case, "patient": patient, "label": label, "outcome": outcome} | base | numbers


def _cases() -> pd.DataFrame:
    return pd.DataFrame(
        [
            _row("1", "p", "a", dice=0.9, hd95_mm=2.0, volume_error_ml=1.0, **_lesions(3, 2, 1)),
            _row("1", "p", "b", "empty"),
            _row("2", "p", "a", dice=0.7, hd95_mm=4.0, volume_error_ml=-3.0, **_lesions(1, 1, 0)),
            _row("2", "p", "b", "missed", **_lesions(2, 0, 0)),
            _row("3", "q", "a", "false_alarm", **_lesions(0, 0, 2)),
            _row("3", "q", "b", dice=0.5, hd95_mm=8.0, **_lesions(1, 1, 0)),
            _row("4", "r", "a", "unlabelled"),
            _row("4", "r", "b", "unlabelled"),
        ]
    )  # fmt: skip


def _table(
    cases: pd.DataFrame, labels: tuple[str, ...] = ("a", "b"), resamples: int = 200, seed: int = 0
) -> pd.DataFrame:
    return summarise(cases, labels=labels, rng=np.random.default_rng(seed), resamples=resamples).set_index("metric")


def test_columns_and_order() -> None:
    table = summarise(_cases(), labels=["a", "b"], rng=np.random.default_rng(0), resamples=10)
    assert tuple(table.columns) == COLUMNS
    assert table["metric"].tolist() == [*SUMMARY, *(f"{name}:{label}" for name in SUMMARY for label in ("a", "b"))]


def test_values_by_hand() -> None:
    value = _table(_cases())["value"]
    assert value["dice:a"] == pytest.approx((0.9 + 0.7 + 0) / 3)
    assert value["dice:b"] == pytest.approx((0 + 0.5) / 2)
    assert value["dice"] == pytest.approx((1.6 / 3 + 0.25) / 2)  # labels weigh the same, however many cases have them
    assert value["hd95_mm:b"] == pytest.approx((100 + 8) / 2)
    assert value["volume_error_ml:a"] == pytest.approx(-1)
    assert value["volume_error_abs_ml:a"] == pytest.approx(2)
    assert value["missed:a"] == 0
    assert value["missed:b"] == pytest.approx(1 / 2)  # of two cases that have it
    assert value["false_alarm:a"] == 1  # of the one labelled case without it
    assert value["false_alarm:b"] == 0
    assert value["lesion_sensitivity:a"] == pytest.approx(3 / 4)
    assert value["lesion_sensitivity:b"] == pytest.approx(1 / 3)
    assert value["lesions_false:a"] == pytest.approx((1 + 0 + 2) / 3)
    assert value["lesions_false:b"] == 0  # the case where neither has b counts: nothing false was drawn


def test_cases_that_enter_and_cases_that_do_not_are_counted() -> None:
    counts = _table(_cases())[["n_patients", "n_scored", "n_unscored", "n_undefined"]]
    assert counts.loc["dice:a"].tolist() == [2, 3, 1, 0]
    assert counts.loc["dice:b"].tolist() == [2, 2, 2, 0]
    assert counts.loc["dice"].tolist() == [2, 3, 1, 0]
    assert counts.loc["missed:b"].tolist() == [2, 2, 2, 0]
    assert counts.loc["lesions_false:b"].tolist() == [2, 3, 1, 0]


def test_a_label_in_no_case_is_undefined_and_counted() -> None:
    absent = [
        _row(case, "p" if case in "12" else "q", "c", "empty" if case != "4" else "unlabelled") for case in "1234"
    ]
    table = _table(pd.concat([_cases(), pd.DataFrame(absent)]), ("a", "b", "c"))
    assert np.isnan(table.loc["dice:c", "value"])
    assert table.loc["dice:c", ["n_patients", "n_scored", "n_unscored", "n_undefined"]].tolist() == [0, 0, 4, 1]
    assert table.loc["dice", "value"] == _table(_cases()).loc["dice", "value"]
    assert table.loc["dice", "n_undefined"] == 1
    assert table.loc["false_alarm:c", "value"] == 0  # defined: three cases without it, none drawn


def test_without_any_labelled_case_everything_is_undefined() -> None:
    table = _table(_cases().query("outcome == 'unlabelled'"))
    assert table["value"].isna().all()
    assert (table["n_scored"] == 0).all()
    assert table["ci_low"].isna().all()


def test_intervals_equal_a_loop_over_repeated_cases() -> None:
    rng = np.random.default_rng(1)
    rows = []
    for case in range(40):
        truth, predicted = (rng.choice(3, (6, 5), p=[0.6, 0.3, 0.1]).astype(np.uint8) for _ in range(2))
        rows.append(case_numbers(truth, predicted, {1: "a", 2: "b"}, (1, 2)).assign(case=case, patient=case // 3))
    cases = pd.concat(rows)
    found = _table(cases, resamples=30, seed=9)
    drawn = multiplicities(np.random.default_rng(9), 14, 30)
    each = []
    for times in drawn:
        repeated = cases.iloc[np.repeat(np.arange(len(cases)), times[cases["patient"]])]
        mean = repeated.groupby("label")[["dice", "hd95_mm"]].mean()
        lesions = repeated.groupby("label")[["lesions_found", "lesions_truth"]].sum()
        each.append(
            {
                "dice:a": mean.loc["a", "dice"],
                "dice": mean["dice"].mean(),
                "hd95_mm": mean["hd95_mm"].mean(),
                "lesion_sensitivity:b": lesions.loc["b", "lesions_found"] / lesions.loc["b", "lesions_truth"],
            }
        )
    for name, values in pd.DataFrame(each).items():
        range_ = Range(high=np.inf) if name == "hd95_mm" else Range()
        expected = metric_interval(found.loc[name, "value"], values.to_numpy(), 14, range_)
        np.testing.assert_allclose(found.loc[name, ["ci_low", "ci_high"]].astype(float), expected, rtol=1e-12)


def test_a_structure_that_is_never_missed_may_still_be_missed_next_time() -> None:
    rows = [_row(str(case), str(case), "a", "both") for case in range(30)]
    table = _table(pd.DataFrame(rows), ("a",), resamples=50)
    assert table.loc["missed", "value"] == 0
    assert table.loc["missed", "ci_high"] == pytest.approx(1 - 0.025 ** (1 / 30))


def test_the_same_seed_gives_the_same_table_and_rows_may_come_in_any_order() -> None:
    pd.testing.assert_frame_equal(_table(_cases()), _table(_cases()))
    shuffled = _cases().sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(
        _table(shuffled, resamples=0).drop(columns=["ci_low", "ci_high"]),
        _table(_cases(), resamples=0).drop(columns=["ci_low", "ci_high"]),
        rtol=1e-12,
    )


def test_patients_without_truth_do_not_thin_out_the_replicates() -> None:
    labelled = _cases().query("outcome != 'unlabelled'")
    pd.testing.assert_frame_equal(
        _table(labelled)[["value", "ci_low", "ci_high"]], _table(_cases())[["value", "ci_low", "ci_high"]]
    )


def test_one_patient_has_no_interval() -> None:
    table = _table(_cases().query("patient == 'p'"))
    assert table.loc["dice:a", "value"] == pytest.approx(0.8)
    assert table["ci_low"].isna().all()


def test_a_missed_structure_never_raises_the_score() -> None:
    # MONAI issue 9095: dropping the case would turn 0.6 into 0.7.
    found = pd.DataFrame([_row("1", "p", "a", dice=0.7), _row("2", "q", "a", dice=0.5)])
    missed = pd.DataFrame([_row("1", "p", "a", dice=0.7), _row("2", "q", "a", "missed")])
    assert _table(missed, ("a",)).loc["dice", "value"] < _table(found, ("a",)).loc["dice", "value"]


@pytest.mark.parametrize(
    ("change", "labels", "message"),
    [
        (lambda t: t.drop(columns="patient"), ["a", "b"], r"lacks the column\(s\) patient"),
        (lambda t: t.drop(columns=["dice", "outcome"]), ["a", "b"], "dice, outcome"),
        (lambda t: t.iloc[:0], ["a", "b"], "no cases"),
        (lambda t: pd.concat([t, t.iloc[:1]]), ["a", "b"], "Case '1' and label 'a'.*one row for every case and label"),
        (lambda t: t.iloc[1:], ["a", "b"], "Case '1' and label 'a'"),
        (lambda t: t, ["a"], "label 'b'"),
        (lambda t: t, ["a", "a"], "a different name"),
        (lambda t: t, [], "at least one"),
        (lambda t: t.replace({"outcome": {"both": "bth"}}), ["a", "b"], "'bth' is unknown. Did you mean 'both'"),
        (lambda t: t.replace({"patient": {"q": None}}), ["a", "b"], "has no patient"),
    ],
)
def test_what_does_not_fit_is_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame], labels: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        summarise(change(_cases()), labels=labels, rng=np.random.default_rng(0))


def test_negative_resamples_are_refused() -> None:
    with pytest.raises(DataError, match="0 or more"):
        _table(_cases(), resamples=-1)
