"""The ROC curve one can draw, and its thinning."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve as sk_roc_curve

from radapt.metrics import auroc, roc_curve


def _area(alarms: np.ndarray, hits: np.ndarray) -> float:
    return float(np.trapezoid(hits, alarms))


def test_a_curve_one_can_draw() -> None:
    alarms, hits = roc_curve(np.array([1, 1, 0, 0, 1]), np.array([0.9, 0.8, 0.8, 0.3, 0.1]))
    np.testing.assert_allclose(alarms, [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(hits, [0, 1 / 3, 2 / 3, 2 / 3, 1])


def test_equals_scikit_learn_while_it_is_short() -> None:
    rng = np.random.default_rng(0)
    truth, score = rng.integers(0, 2, 100), np.round(rng.random(100), 1)
    alarms, hits, _ = sk_roc_curve(truth, score, drop_intermediate=True)
    ours = roc_curve(truth, score)
    assert _area(*ours) == pytest.approx(_area(alarms, hits))
    assert _area(*ours) == pytest.approx(float(auroc(truth, score)))


@pytest.mark.parametrize("prevalence", [0.5, 0.01])
@pytest.mark.parametrize("lift", [0, 1, 4])
def test_thinning_keeps_the_area_and_the_ends(lift: float, prevalence: float) -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random(20_000) < prevalence).astype(int)
    score = rng.normal(lift * truth)
    alarms, hits = roc_curve(truth, score)
    assert len(alarms) <= 200
    assert (alarms[0], hits[0], alarms[-1], hits[-1]) == (0, 0, 1, 1)
    assert (np.diff(alarms) >= 0).all()
    assert (np.diff(hits) >= 0).all()
    assert _area(alarms, hits) == pytest.approx(float(auroc(truth, score)), abs=0.002)


def test_one_class_has_no_curve_on_its_missing_side() -> None:
    alarms, hits = roc_curve(np.ones(3, dtype=int), np.array([0.1, 0.2, 0.3]))
    assert np.isnan(alarms).all()
    assert hits[-1] == 1
    alarms, hits = roc_curve(np.zeros(0, dtype=int), np.zeros(0))
    assert np.isnan(alarms).all()
    assert np.isnan(hits).all()
