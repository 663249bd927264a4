"""Scores in groups of the cases: equal to those of the groups alone, with gaps that are tested by patient."""

import numpy as np
import pandas as pd
import pytest

from radapt.errors import DataError
from radapt.metrics import auroc, score
from radapt.metrics.subgroups import Groups, PredictionParts, score_groups


def films(seed: int = 0, patients: int = 120, loss_in_ap: float = 0.0) -> tuple[np.ndarray, ...]:
    """Two films of each patient: truth, probabilities (N, 2), patients, views."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), 2)
    truth = rng.integers(0, 2, patients)[patient]
    view = np.where(rng.random(2 * patients) < 0.4, "AP", "PA").astype(object)
    logit = 1.5 * truth * np.where(view == "AP", 1 - loss_in_ap, 1) + rng.normal(size=2 * patients)
    likely = 1 / (1 + np.exp(0.75 - logit))
    return truth, np.stack([1 - likely, likely], axis=1), patient, view


def parts(truth: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, metric: str = "auroc") -> PredictionParts:
    return PredictionParts(metric, truth, probabilities, patients, task="binary", outputs=["well", "ill"])


def scored(sets: list[PredictionParts], *columns: Groups, resamples: int = 300):
    return score_groups(sets, columns, rng=np.random.default_rng(1), resamples=resamples)


def test_a_group_has_the_score_of_its_cases_alone() -> None:
    truth, likely, patient, view = films()
    (column,) = scored([parts(truth, likely, patient)], Groups("view", view, ("AP", "PA")))
    for group in column.groups:
        own = view == group.name
        assert group.value == pytest.approx(float(auroc(truth[own], likely[own, 1])))
        assert group.calibration == pytest.approx((likely[own, 1] - truth[own]).mean())
        assert (group.n_cases, group.n_patients) == (own.sum(), len(set(patient[own])))
        assert group.ci_low < group.value < group.ci_high
    (gap,) = column.gaps
    assert (gap.group, gap.against) == ("AP", "PA")
    assert gap.difference == pytest.approx(column.groups[0].value - column.groups[1].value)


def test_a_planted_gap_is_found_and_seeds_are_averaged() -> None:
    first, second = films(1, loss_in_ap=1.0), films(1, loss_in_ap=1.0)
    groups = Groups("view", first[3], ("AP", "PA"))
    (column,) = scored([parts(*first[:3]), parts(*second[:3])], groups)
    assert column.gaps[0].holm < 0.01
    assert column.gaps[0].ci_high < 0
    (alone,) = scored([parts(*first[:3])], groups)
    assert alone.groups == column.groups


def test_few_patients_have_a_value_but_no_interval_and_no_test() -> None:
    truth, likely, patient, _ = films()
    site = np.where(patient < 9, "small", np.where(patient < 60, "A", "B")).astype(object)
    (column,) = scored([parts(truth, likely, patient)], Groups("site", site, ("A", "B", "small")))
    few = column.groups[2]
    assert few.few
    assert not few.has_interval
    assert [gap.group for gap in column.gaps] == ["A"]  # against B alone


def test_of_more_groups_each_is_compared_with_all_others_and_p_is_adjusted_over_columns() -> None:
    truth, likely, patient, view = films()
    site = np.asarray(["A", "B", "C"], dtype=object)[patient % 3]
    columns = Groups("site", site, tuple("ABC")), Groups("view", view, ("AP", "PA"))
    found = scored([parts(truth, likely, patient)], *columns)
    gaps = [gap for column in found for gap in column.gaps]
    assert [gap.against for gap in gaps] == ["all others"] * 3 + ["PA"]
    own = site == "A"
    expected = float(auroc(truth[own], likely[own, 1])) - float(auroc(truth[~own], likely[~own, 1]))
    assert gaps[0].difference == pytest.approx(expected)
    assert min(gap.holm for gap in gaps) == pytest.approx(min(1.0, 4 * min(gap.p for gap in gaps)))


def test_findings_are_those_that_every_tested_group_has() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 3)) < 0.3).astype(float)
    view = np.where(np.arange(200) % 2, "AP", "PA").astype(object)
    truth[view == "PA", 2] = 0  # never in PA films
    likely = rng.random((200, 3))
    sets = [PredictionParts("auroc", truth, likely, np.arange(200), task="multilabel", outputs=list("abc"))]
    (column,) = scored(sets, Groups("view", view, ("AP", "PA")))
    own = view == "AP"
    table = score(
        truth[own, :2], likely[own, :2], np.arange(own.sum()), task="multilabel", outputs=list("ab"),
        rng=np.random.default_rng(0), resamples=0,
    ).set_index("metric")  # fmt: skip
    assert column.n_outputs == 2
    assert column.groups[0].value == pytest.approx(table.loc["auroc", "value"])


def test_a_group_without_common_findings_is_not_tested() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((300, 2)) < 0.4).astype(float)
    age = np.asarray(["young", "middle", "old"], dtype=object)[np.arange(300) % 3]
    truth[age == "young"] = 0
    outputs = ["a", "b"]
    sets = [PredictionParts("auroc", truth, rng.random((300, 2)), np.arange(300), task="multilabel", outputs=outputs)]
    (column,) = scored(sets, Groups("age", age, ("young", "middle", "old")))
    assert [group.few for group in column.groups] == [True, False, False]
    assert [(gap.group, gap.against) for gap in column.gaps] == [("middle", "old")]


def test_a_group_of_one_class_is_undefined_and_untested() -> None:
    truth, likely, patient, _ = films()
    copy = np.where(truth == 1, "ill", "well").astype(object)
    (column,) = scored([parts(truth, likely, patient)], Groups("diagnosis", copy, ("ill", "well")))
    assert all(np.isnan(group.value) for group in column.groups)
    assert np.isnan(column.gaps[0].p)


def test_sets_of_other_patients_are_refused() -> None:
    truth, likely, patient, view = films()
    sets = [parts(truth, likely, patient), parts(truth, likely, np.arange(len(truth)))]
    with pytest.raises(DataError, match="same patients"):
        scored(sets, Groups("view", view, ("AP", "PA")))
    with pytest.raises(DataError, match="no metric 'auroc:ill'"):
        parts(truth, likely, patient, "auroc:ill")


def test_the_same_draws_give_the_same_table() -> None:
    truth, likely, patient, view = films()
    groups = Groups("view", view, ("AP", "PA"))
    tables = [pd.DataFrame(scored([parts(truth, likely, patient)], groups)[0].groups) for _ in range(2)]
    pd.testing.assert_frame_equal(*tables)
