"""The parts of an evaluation: coverage bands, Holm's correction, metadata."""

import numpy as np
import pytest
from scipy.stats import binom

from radapt.cohorts import Case, Cohort
from radapt.deploy.evaluation.coverage import coverage_of, coverage_table
from radapt.deploy.evaluation.model_drift import holm
from radapt.deploy.export.metadata_summary import summarise_metadata


def test_a_band_holds_right_sets_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    drawn = [
        coverage_of("all", rng.random(80) < 0.9, np.ones(80), np.arange(80), 0.9).verdict == "inside"
        for _ in range(400)
    ]
    assert 0.92 < np.mean(drawn) < 0.99


def test_sets_that_hold_too_little_are_below() -> None:
    inside = np.arange(100) < 70
    found = coverage_of("all", inside, np.ones(100), np.arange(100), 0.9)
    assert (found.covered, found.verdict, found.patients) == (0.7, "below", 100)
    assert found.low == binom.ppf(0.025, 100, 0.9) / 100
    assert coverage_of("all", np.ones(100), np.ones(100), np.arange(100), 0.9).verdict == "above"


def test_a_patient_of_many_cases_counts_once() -> None:
    inside = np.array([1.0, 0, 0, 0])
    assert coverage_of("all", inside, np.ones(4), np.array([0, 1, 1, 1]), 0.9).covered == 0.5


def test_coverage_of_findings_leaves_unknown_truths_out() -> None:
    held = np.array([[[True, False], [True, True]], [[False, True], [False, True]]])
    truths = np.array([[0, np.nan], [0, 1]])
    found = coverage_table(held, truths, np.arange(2), [("x",)] * 2, ["effusion", "nodule"], 0.9)
    assert [(each.group, each.patients, each.covered) for each in found] == [("effusion", 2, 0.5), ("nodule", 1, 1.0)]


def test_holm() -> None:
    assert holm(np.array([0.01, np.nan, 0.04, 0.03])) == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)
    assert len(holm(np.array([]))) == 0


def test_metadata_become_quantiles_and_counts_and_name_nobody() -> None:
    cases = tuple(
        Case(
            f"c{row}", f"p{row // 2}", "train", {},
            metadata={
                "age": str(40 + row // 2), "sex": "MF"[row // 2 % 2], "id": f"x{row}", "rare": "no" if row else "yes",
            },
        )
        for row in range(80)
    )  # fmt: skip
    found = {each.column: each for each in summarise_metadata(Cohort("toy", "mri", cases, ("flair",)))}
    assert set(found) == {"age", "sex", "rare"}
    assert found["age"].patients == 40
    assert found["age"].quantiles[0] == pytest.approx(np.quantile(np.arange(40, 80), 0.025))
    assert found["sex"].counts == {"F": 20, "M": 20}
    assert found["rare"].counts == {"no": 39}
