"""Conformal sets: crepes and MAPIE are the oracles, a simulation shows the coverage, and small groups say so."""

import json
import math

import numpy as np
import pytest
from scipy.special import softmax

from radapt.deploy.certainty.conformal import ConformalSets, fewest_patients, fit_sets, quantile, scores_of
from radapt.durable import plain
from radapt.errors import UsageError

SEQUENCES = "flair", "t1c"
PATTERNS = np.array([[True, True], [True, False], [False, True]])


def drawn(n: int, seed: int = 0, classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities (n, C), class indices and presence (n, 2); with fewer sequences the classes are harder to tell."""
    rng = np.random.default_rng(seed)
    truths, patterns = rng.integers(0, classes, n), rng.integers(0, 3, n)
    logits = rng.normal(size=(n, classes)) + np.eye(classes)[truths] * (2.0 - 0.7 * patterns)[:, None]
    return softmax(2 * logits, axis=1), truths, PATTERNS[patterns]


def fitted(n: int, alpha: float = 0.1, score: str = "lac", seed: int = 0) -> ConformalSets:
    probabilities, truths, presence = drawn(n, seed)
    return fit_sets(probabilities, truths, np.arange(n), presence, sequences=SEQUENCES, alpha=alpha, score=score)  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.25])
def test_sets_by_class_and_pattern_agree_with_crepes(alpha: float) -> None:
    crepes = pytest.importorskip("crepes", reason="the oracle of this test")
    probabilities, truths, presence = drawn(600)
    test, _, test_presence = drawn(200, seed=1)
    ours = fitted(600, alpha).contain(test, test_presence)
    pattern, test_pattern = presence @ [2, 1], test_presence @ [2, 1]
    for label in range(3):
        own = truths == label
        oracle = crepes.ConformalClassifier().fit(1 - probabilities[own, label], bins=pattern[own])
        p = oracle.predict_p(1 - test[:, [label]], bins=test_pattern, all_classes=True, smoothing=False)
        assert np.array_equal(ours[:, label], p[:, 0] > alpha)


@pytest.mark.parametrize("alpha", [0.1, 0.2])
def test_the_quantile_agrees_with_mapie(alpha: float) -> None:
    mapie = pytest.importorskip("mapie.classification", reason="the oracle of this test")
    probabilities, truths, _ = drawn(300)
    test, _, _ = drawn(100, seed=1)
    classifier = mapie.SplitConformalClassifier(
        _Given(), confidence_level=1 - alpha, conformity_score="lac", prefit=True
    ).conformalize(probabilities, truths)
    _, oracle = classifier.predict_set(test)
    own = 1 - probabilities[np.arange(300), truths]
    assert np.array_equal(1 - test <= quantile(own, np.arange(300), alpha), oracle[:, :, 0])


class _Given:
    """A scikit-learn classifier whose inputs are the probabilities."""

    classes_ = np.arange(3)
    _estimator_type = "classifier"

    def __sklearn_tags__(self):
        from sklearn.base import BaseEstimator, ClassifierMixin

        return type("_", (ClassifierMixin, BaseEstimator), {})().__sklearn_tags__()

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, inputs: np.ndarray, truths: np.ndarray) -> "_Given":
        return self

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return inputs.argmax(axis=1)

    def predict_proba(self, inputs: np.ndarray) -> np.ndarray:
        return inputs


@pytest.mark.parametrize("score", ["lac", "aps"])
def test_coverage_holds_in_every_class_and_pattern(score: str) -> None:
    """Averaged over draws of calibration and test patients, each group is covered as stated."""
    covered = np.zeros((3, 3))
    counts = np.zeros((3, 3))
    for seed in range(20):
        sets = fitted(900, 0.1, score, seed)
        test, truths, presence = drawn(900, seed=1000 + seed)
        inside = sets.contain(test, presence)[np.arange(900), truths]
        group = (presence @ [2, 1] - 1, truths)
        np.add.at(covered, group, inside)
        np.add.at(counts, group, 1)
    assert (covered / counts).min() > 0.88
    if score == "lac":  # aps covers more where the least probable class, whose score is 1, is often the truth
        assert (covered / counts).max() < 0.93
    assert covered.sum() / counts.sum() > 0.895


def test_coverage_by_patient_where_one_patient_has_many_cases() -> None:
    """Patients whose cases are alike and hard, counted by case, would set the quantile for all others."""
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(40):
        cases = np.where(rng.random(200) < 0.5, 1, 20)
        units = np.repeat(np.arange(200), cases)
        score = np.repeat(rng.random(200) * np.where(cases == 1, 1.0, 0.3), cases)
        threshold = quantile(score, units, 0.1)
        hits.append(np.mean(np.where(rng.random(4000) < 0.5, 1.0, 0.3) * rng.random(4000) <= threshold))
    assert np.mean(hits) == pytest.approx(0.9, abs=0.01)


def test_the_quantile_of_nine_patients_is_their_largest_score() -> None:
    scores = np.array([0.1, 0.9, 0.3, 0.2, 0.5, 0.4, 0.6, 0.7, 0.8])
    assert quantile(scores, np.arange(9), 0.1) == 0.9
    assert math.isinf(quantile(scores[:8], np.arange(8), 0.1))
    assert math.isinf(quantile(scores[:0], np.arange(0), 0.1))
    assert [fewest_patients(alpha) for alpha in (0.1, 0.05, 0.3, 0.5, 0.9)] == [9, 19, 3, 1, 1]


def test_copies_of_a_case_change_no_quantile() -> None:
    scores = np.random.default_rng(0).random(30)
    again = np.concatenate([np.arange(30), np.repeat(4, 50)])
    assert quantile(scores[again], again, 0.1) == quantile(scores, np.arange(30), 0.1)


def test_small_groups_take_the_wider_quantile_or_their_largest_score() -> None:
    probabilities, truths, presence = drawn(120)
    presence = np.repeat([[True, True]], 120, axis=0)
    rare = np.flatnonzero(truths == 0)[:4]
    presence[rare] = [True, False]
    probabilities[rare[0]] = [0.01, 0.98, 0.01]
    sets = fit_sets(probabilities, truths, np.arange(120), presence, sequences=SEQUENCES, alpha=0.1)
    group = next(group for group in sets.groups if group.sequences == ("flair",))
    assert (group.patients, group.source, group.quantile) == (4, "class", pytest.approx(0.99))
    assert len(sets.notes("abc")) == 1
    assert sets.notes("abc")[0].startswith("a with flair: 4 patients, 9 are needed; takes the larger of its class's")
    never_seen = np.array([[False, True]])
    assert np.array_equal(sets.quantiles(never_seen)[0], [g.quantile for g in sets.groups if g.sequences is None])
    assert not sets.seen(never_seen).any()
    assert sets.seen(presence).all()


def test_a_class_without_patients_takes_the_quantile_of_all() -> None:
    probabilities, truths, presence = drawn(60)
    sets = fit_sets(probabilities, np.minimum(truths, 1), np.arange(60), presence, sequences=SEQUENCES, alpha=0.1)
    absent = next(group for group in sets.groups if group.label == 2)
    assert (absent.source, absent.patients) == ("all", 0)
    assert 0 < absent.quantile < 1


def test_too_few_patients_put_every_class_in_every_set() -> None:
    sets = fitted(8)
    test, _, presence = drawn(50, seed=1)
    assert sets.contain(test, presence).all()
    assert {group.source for group in sets.groups} == {"none"}
    assert "in every set" in sets.notes("abc")[0]


def test_a_class_with_too_few_patients_is_noted_once_where_all_have_the_same_sequences() -> None:
    probabilities, _, _ = drawn(60)
    truths, presence = np.repeat([0, 1, 2], [5, 25, 30]), np.ones((60, 2), dtype=bool)
    sets = fit_sets(probabilities, truths, np.arange(60), presence, sequences=SEQUENCES, alpha=0.1)
    (note,) = sets.notes("abc")
    assert note.startswith("a: 5 patients, 9 are needed; takes the larger of the quantile of all classes")


def test_aps_sets_are_never_empty_and_lac_sets_may_be() -> None:
    test, _, presence = drawn(2000, seed=1)
    sizes = {score: fitted(600, 0.3, score).contain(test, presence).sum(axis=1) for score in ("lac", "aps")}
    assert sizes["aps"].min() >= 0
    assert sizes["lac"].mean() < sizes["aps"].mean()
    assert np.array_equal(scores_of(np.array([[0.5, 0.2, 0.3]]), "aps"), [[0.5, 1.0, 0.8]])


def test_smaller_alpha_gives_larger_sets() -> None:
    test, _, presence = drawn(300, seed=1)
    narrow, wide = (fitted(600, alpha).contain(test, presence) for alpha in (0.2, 0.05))
    assert (wide >= narrow).all()
    assert wide.sum() > narrow.sum()


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 1.5, math.nan, "0.1", True, None])
def test_alpha_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        fitted(20, alpha)


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(UsageError, match="Did you mean 'aps'"):
        fitted(20, score="apss")


def test_json_brings_back_equal_sets() -> None:
    for n in (8, 300):
        sets = fitted(n)
        assert ConformalSets.from_json(json.loads(json.dumps(plain(sets.to_json())))) == sets
    with pytest.raises(ValueError, match="source"):
        stored = plain(sets.to_json())
        stored["groups"][0]["source"] = "guess"
        ConformalSets.from_json(stored)
