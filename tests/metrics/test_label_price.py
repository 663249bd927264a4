"""The number of labelled patients that a target needs, from a learning curve."""

import numpy as np
import pytest

from radapt.errors import DataError
from radapt.metrics.label_price import label_price

SIZES = np.array([8.0, 16.0, 32.0, 64.0, 128.0])


def curve(n: np.ndarray) -> np.ndarray:
    return 0.9 - 0.8 * n**-0.5


def test_an_exact_curve_is_continued() -> None:
    found = label_price(SIZES, curve(SIZES), np.full(5, 0.002), float(curve(np.array(500.0))))
    assert found.outcome == "more labels"
    assert found.low <= 500 <= found.high < 2000
    assert found.needed == pytest.approx(500, rel=0.2)


def test_hidden_continuations_are_held() -> None:
    rng, held = np.random.default_rng(0), []
    for _ in range(30):
        seen = curve(SIZES) + 0.01 * rng.normal(size=5)
        found = label_price(SIZES, seen, np.full(5, 0.01), float(curve(np.array(400.0))))
        held.append(found.low <= 400 <= found.high)
    assert np.mean(held) >= 0.9


def test_degenerate_outcomes() -> None:
    small = np.full(5, 0.002)
    assert label_price(SIZES, curve(SIZES), small, 0.70).outcome == "reached"
    saturated = 0.7 - 0.5 * SIZES**-1.2
    above = label_price(SIZES, saturated, small, 0.95)
    assert (above.outcome, above.needed) == ("unreachable", np.inf)
    assert above.reachable < 0.05
    assert label_price(SIZES, np.full(5, 0.6), np.full(5, 0.05), 0.62).outcome == "flat"
    few = label_price(SIZES[:2], curve(SIZES[:2]), small[:2], 0.8)
    assert few.outcome == "unknown"
    assert np.isnan(few.needed)
    with_gap = label_price(SIZES, [np.nan, *curve(SIZES[1:])], small, 0.85)
    assert with_gap.outcome == "more labels"


def test_a_loss_is_given_with_the_other_sign() -> None:
    loss = 0.2 + 0.8 * SIZES**-0.5
    found = label_price(SIZES, -loss, np.full(5, 0.002), -0.25, best=0.0)
    assert found.needed == pytest.approx(256, rel=0.2)


@pytest.mark.parametrize(("sizes", "target"), [([0, 8, 16], 0.8), ([8, 16], 0.8), ([8, 16, 32], 1.1)])
def test_what_does_not_fit_is_refused(sizes: list[float], target: float) -> None:
    with pytest.raises(DataError):
        label_price(sizes, [0.6, 0.7, 0.75], [0.01] * 3, target)


def test_curves_drawn_from_the_prior_and_weighted_by_their_fit_give_the_same_interval() -> None:
    rng, draws, error = np.random.default_rng(0), 200_000, 0.01
    seen = curve(SIZES) + error * np.array([1, -1, 0.5, -0.5, 0.3])
    a, c = rng.uniform(seen.max() - 3 * error, 1, draws), np.exp(rng.uniform(*np.log([0.1, 1.5]), draws))
    b = 8**c * rng.uniform(size=draws)  # what lacks at the smallest size, from 0 to 1
    misfit = sum(((a - b * n**-c - value) / error) ** 2 for n, value in zip(SIZES, seen, strict=True))
    mass = 8**c * np.exp(-misfit / 2)
    needed = np.where(a > 0.82, (b / np.maximum(a - 0.82, 1e-12)) ** (1 / c), np.inf)
    order = np.argsort(needed)
    below = np.cumsum(mass[order]) / mass.sum()
    found = label_price(SIZES, seen, np.full(5, error), 0.82)
    ends = needed[order][np.searchsorted(below, [0.025, 0.5, 0.975])]
    assert [found.low, found.needed, found.high] == pytest.approx(ends, rel=0.05)
    assert found.reachable == pytest.approx(mass[a > 0.82].sum() / mass.sum(), abs=0.001)


@pytest.mark.parametrize(("slope", "outcome"), [(1.5, "flat"), (1.8, "more labels")])
def test_labels_help_where_the_slope_is_sure_to_rise(slope: float, outcome: str) -> None:
    x = np.log(SIZES) - np.log(SIZES).mean()
    values = 0.6 + slope * 0.02 / np.sqrt((x**2).sum()) * x  # so many standard errors per unit of log n
    assert label_price(SIZES, values, np.full(5, 0.02), values.max() + 0.01).outcome == outcome
