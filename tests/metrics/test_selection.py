"""The optimism of the best of several candidates: recovered where it is planted, none where nothing was chosen."""

import numpy as np
import pytest

from radapt.errors import DataError
from radapt.metrics import auroc
from radapt.metrics.selection import auroc_error, optimism_of_predictions, optimism_of_scores, proportion_error


def draw(rng: np.random.Generator, patients: int, candidates: int) -> tuple[np.ndarray, np.ndarray]:
    """Candidates of equal quality, whose true AUROC is 0.760."""
    truth = (np.arange(patients) < 0.4 * patients).astype(int)
    shared, own = rng.normal(size=patients), rng.normal(size=(candidates, patients))
    return truth, truth + np.sqrt(0.7) * shared + np.sqrt(0.3) * own


@pytest.mark.parametrize(("patients", "trials"), [(60, 40), (200, 15)])
def test_planted_optimism_is_recovered_on_average(patients: int, trials: int) -> None:
    rng = np.random.default_rng(1)
    planted, recovered, scores_only, with_val = [], [], [], []
    for _ in range(trials):
        truth, scores = draw(rng, patients, 12)
        found = optimism_of_predictions(truth, scores, np.arange(patients), splits=60, resamples=2)
        other, val_scores = draw(rng, patients, 12)
        val = np.array([auroc(other, row) for row in val_scores])
        error = auroc_error(0.76, int(truth.sum()), int((1 - truth).sum()))
        planted.append(found.scores[found.winner] - found.scores.mean())  # all have the same true AUROC
        recovered.append(found.optimism)
        scores_only.append(optimism_of_scores(found.scores, None, error).optimism)
        with_val.append(optimism_of_scores(found.scores, val, error).optimism)
    assert np.mean(planted) > 0.02
    for estimate in (recovered, scores_only, with_val):
        assert np.mean(estimate) == pytest.approx(np.mean(planted), abs=0.01)


def test_a_single_candidate_and_a_clear_winner_have_none() -> None:
    rng = np.random.default_rng(2)
    truth, scores = draw(rng, 100, 5)
    assert optimism_of_predictions(truth, scores[:1], np.arange(100)).optimism == 0
    scores[3] += 3 * truth
    found = optimism_of_predictions(truth, scores, np.arange(100), splits=50)
    assert (found.winner, found.optimism, found.again) == (3, 0, 1)
    assert found.ci_low < found.scores[3] < 1.0001


def test_a_patient_is_held_out_whole() -> None:
    """Copies of each case tell nothing new: counted as patients they would make the optimism look smaller."""
    rng = np.random.default_rng(3)
    truth, scores = draw(rng, 40, 10)
    once = optimism_of_predictions(truth, scores, np.arange(40), seed=5, splits=100)
    four_times = np.tile(np.arange(40), 4)
    again = optimism_of_predictions(np.tile(truth, 4), np.tile(scores, 4), four_times, seed=5, splits=100)
    assert again.optimism == pytest.approx(once.optimism)
    assert (again.n_patients, again.ci_low) == (40, pytest.approx(once.ci_low))


def test_the_interval_is_that_of_the_winner_without_the_optimism() -> None:
    truth, scores = draw(np.random.default_rng(6), 60, 12)
    found = optimism_of_predictions(truth, scores, np.arange(60), splits=60)
    alone = optimism_of_predictions(truth, scores[[found.winner]], np.arange(60))
    assert found.optimism > 0.02
    assert alone.ci_low - found.ci_low == pytest.approx(found.optimism, abs=0.01)
    assert alone.ci_high - found.ci_high == pytest.approx(found.optimism, abs=0.01)


def test_the_same_seed_gives_the_same_number() -> None:
    truth, scores = draw(np.random.default_rng(4), 50, 6)
    first, second = (optimism_of_predictions(truth, scores, np.arange(50), seed=9, splits=300) for _ in range(2))
    assert (first.optimism, first.ci_low, first.again) == (second.optimism, second.ci_low, second.again)


def test_wrong_input_is_refused() -> None:
    truth, scores = draw(np.random.default_rng(5), 20, 3)
    with pytest.raises(DataError, match="expected one row per candidate"):
        optimism_of_predictions(truth, scores[0], np.arange(20))
    with pytest.raises(DataError, match="Patients with a positive case: 1; expected"):
        optimism_of_predictions((np.arange(20) < 1).astype(int), scores, np.arange(20))
    with pytest.raises(DataError, match="Score is NaN"):
        optimism_of_predictions(truth, np.where(np.arange(20) == 3, np.nan, scores), np.arange(20))


def test_standard_errors() -> None:
    # Hanley and McNeil 1982, table 1: 0.85 with 50 and 50 has a standard error near 0.04.
    assert auroc_error(0.85, 50, 50) == pytest.approx(0.0385, abs=0.001)
    assert auroc_error(1.0, 10, 10) == 0
    assert proportion_error(0.8, 100) == pytest.approx(0.04)


def test_scores_alone_give_bounds() -> None:
    test = np.array([0.80, 0.79, 0.78, 0.77])
    lead = 0.80 - test.mean()
    noisy = optimism_of_scores(test, None, 0.05)
    assert (noisy.source, noisy.low, noisy.high) == ("patients", 0, pytest.approx(lead))
    precise = optimism_of_scores(test, None, 0.005)
    assert precise.high < 0.25 * lead
    unknown = optimism_of_scores(test)
    assert np.isnan(unknown.optimism)
    assert (unknown.low, unknown.high) == (0, pytest.approx(lead))
    assert optimism_of_scores(np.array([0.8])).source == "single"


def test_val_tells_signal_from_noise() -> None:
    test = np.array([0.70, 0.72, 0.74, 0.76, 0.78, 0.80])
    real = optimism_of_scores(test, test - 0.02, 0.1)
    assert (real.source, real.optimism) == ("val", pytest.approx(0, abs=1e-12))
    luck = optimism_of_scores(test, np.array([0.75, 0.75, 0.76, 0.76, 0.75, 0.75]), 0.1)
    assert luck.optimism == pytest.approx(0.80 - test.mean(), abs=0.005)


def test_an_outstanding_candidate_is_no_luck() -> None:
    test = np.array([0.90, 0.75, 0.76, 0.74, 0.75, 0.755, 0.745])
    assert optimism_of_scores(test, None, 0.05).source == "clear"
    assert optimism_of_scores(test, None, 0.05).optimism == 0
