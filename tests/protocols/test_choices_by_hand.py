"""Decisions, ratings and fold scores of a few cases, computed by hand."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from radapt.cohorts.fold_groups import FoldGroups
from radapt.errors import DataError
from radapt.metrics.registry import METRICS
from radapt.protocols.choice import ChoiceRules, InnerFold, InnerFolds, inner_folds, method_of
from radapt.protocols.cross_validation import FoldScores, Pooled, pooled
from radapt.protocols.decisions import decide, fixed_decision, shares, tuned_decision
from radapt.protocols.holdout import check_learnable, labelled, train_and_val
from radapt.protocols.out_of_fold import OutOfFold
from radapt.protocols.ratings import Rater, Ratings, score_candidates
from radapt.protocols.targets import Targets
from radapt.protocols.whole_groups import deal_groups
from radapt.training.fit_record import Decision

NAN = float("nan")


def test_shares_of_training() -> None:
    labels = np.array([0, 1, 1, -1, 1])
    np.testing.assert_allclose(shares(labels, 3), [1 / 4, 3 / 4, 0])
    np.testing.assert_allclose(shares(labels, 3, "balanced"), [1 / 2, 1 / 2, 0])
    assert shares(np.array([-1, 1]), 2).tolist() == [0, 1]  # of a single labelled case
    assert not shares(np.full(3, -1), 2).any()
    findings = np.array([[1, 0, NAN], [0, 0, NAN], [0, NAN, NAN], [NAN, NAN, NAN]])
    np.testing.assert_allclose(shares(findings, 3), [1 / 3, 0, 1 / 2])
    np.testing.assert_allclose(shares(findings, 3, "balanced"), [1 / 2, 1 / 2, 1 / 2])


def test_balanced_weights_are_equal_shares_over_own_shares() -> None:
    decision = fixed_decision("auto", np.repeat([0, 1, 2], [6, 3, 1]), 4)
    np.testing.assert_allclose(decision.weights, [10 / 18, 10 / 9, 10 / 3, 0])
    assert decide(decision, np.array([[0.5, 0.3, 0.2, 0.0], [0.7, 0.3, 0.0, 0.0]])).tolist() == [2, 0]
    assert fixed_decision("auto", np.repeat([0, 1, 2], [4, 3, 3]), 3).rule == "argmax"  # 0.3 × 3 = 0.9 of a share
    assert fixed_decision("auto", np.repeat([0, 1], [61, 39]), 2).rule == "balanced"
    assert fixed_decision("tuned", np.repeat([0, 1], [5, 5]), 2).rule == "balanced"
    assert "in proportion to its share of training: the rarest has less than 80%" in decision.why
    assert fixed_decision("argmax", np.array([0, 1]), 2).why.endswith("above 0.5: as asked")
    assert fixed_decision("balanced", np.array([0, 1]), 2, why="so").why == "so"
    of_two_candidates = np.array([[[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], [[0.2, 0.3, 0.5], [0.4, 0.5, 0.1]]])
    assert decide(fixed_decision("argmax", np.arange(3), 3), of_two_candidates).tolist() == [[0, 2], [2, 1]]


def test_each_finding_is_balanced_on_its_own() -> None:
    #                    30 %, 70 %, 40 %, never and always
    columns = [np.arange(10) < count for count in (3, 7, 4, 0, 10)]
    findings = np.stack(columns, axis=1).astype(float)
    assert fixed_decision("auto", findings, 5).thresholds == (0.3, 0.7, 0.5, 0.5, 0.5)
    assert fixed_decision("balanced", findings, 5).thresholds == (0.3, 0.7, 0.4, 0.5, 0.5)
    equal = fixed_decision("auto", findings, 5, "balanced")
    assert (equal.rule, equal.thresholds) == ("argmax", (0.5,) * 5)


# Thresholds between these probabilities: 0.15, 0.3, 0.45, 0.65 with balanced accuracies 2/3, 5/6, 7/12, 3/4. Averaged
# with their neighbours 3/4, 25/36, 13/18 and 2/3: the first is best, not the second, which one case makes.
TRUTH, SECOND = np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.5, 0.4, 0.8])
START = Decision("balanced", "", weights=(0.5, 0.5))


def test_a_threshold_is_tuned_with_its_neighbours() -> None:
    probabilities = np.stack([1 - SECOND, SECOND], axis=1)
    metric = METRICS["balanced_accuracy"]
    tuned = tuned_decision(metric, TRUTH, probabilities, START, "binary", "why")
    np.testing.assert_allclose(tuned.weights, (0.15, 0.85))
    assert (tuned.rule, tuned.why) == ("tuned", "why")
    unlabelled = np.append(TRUTH, -1), np.append(probabilities, [[0.01, 0.99]], axis=0)
    assert tuned_decision(metric, *unlabelled, START, "binary").weights == tuned.weights
    assert tuned_decision(metric, TRUTH * 0, probabilities, START, "binary") is START  # undefined for one class


def test_findings_get_a_threshold_each() -> None:
    truth = np.stack([TRUTH, np.full(5, NAN), np.where(TRUTH == 1, 1.0, 0.0)], axis=1)
    truth[0, 2] = NAN  # of the third finding 0.1 is left out: thresholds 0.3, 0.45, 0.65 with 3/4, 1/2, 3/4
    start = Decision("balanced", "", thresholds=(0.5, 0.37, 0.5))
    probabilities = np.stack([SECOND] * 3, axis=1)
    found = tuned_decision(METRICS["balanced_accuracy"], truth, probabilities, start, "multilabel")
    # Averaged 5/8, 2/3, 5/8: the middle one.
    np.testing.assert_allclose(found.thresholds, (0.15, 0.37, 0.45))


def test_weights_of_several_classes_agree_with_a_search_in_loops() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 60, p=[0.6, 0.3, 0.1])
    p = rng.dirichlet(np.ones(3), 60) + 0.3 * np.eye(3)[truth] + [0.6, 0.0, 0.0]
    p /= p.sum(axis=1, keepdims=True)
    factors, weights = np.exp(np.linspace(-2, 2, 17)), np.array([0.6, 1.0, 2.5])
    start = Decision("balanced", "", weights=tuple(weights))
    for _ in range(2):
        for c in range(3):
            tried = [np.where(np.arange(3) == c, weights * factor, weights) for factor in factors]
            values = [balanced_accuracy_score(truth, (p * one).argmax(1)) for one in tried]
            means = [np.mean(values[max(0, at - 1) : at + 2]) for at in range(17)]
            weights = tried[int(np.argmax(means))]
    found = tuned_decision(METRICS["balanced_accuracy"], truth, p, start, "multiclass")
    np.testing.assert_allclose(found.weights, weights / weights.mean())


def test_the_best_rating() -> None:
    accuracy, brier = METRICS["accuracy"], METRICS["brier"]
    losses = np.array([0.5, 0.4, 0.3, 0.2])

    def best(metric: Any, *values: float) -> int:
        return Ratings(metric, np.array(values), np.zeros(4), losses).best

    assert best(accuracy, 0.7, 0.8, 0.8, 0.1) == 2  # a tie: lower log-loss
    assert best(accuracy, 0.7, 0.8, 0.8 - 1e-14, NAN) == 2  # rounding is a tie too
    assert best(accuracy, 0.7, 0.8 + 1e-9, 0.8, NAN) == 1
    assert best(brier, 0.7, 0.8, 0.8, 0.1) == 3
    assert best(accuracy, NAN, NAN, NAN, NAN) == 3
    assert Ratings(accuracy, np.array([0.5, 0.5]), np.zeros(2), np.array([NAN, 9.0])).best == 1
    ratings = Ratings.mean([Ratings(accuracy, np.array([v, NAN]), losses[:2], losses[2:]) for v in (0.25, 0.75)])
    assert ratings.value[0] == 0.5
    assert np.isnan(ratings.value[1])


def test_one_number_orders_as_the_best_does() -> None:
    def number(value: float, loss: float, name: str = "accuracy") -> float:
        return Ratings(METRICS[name], np.array([value]), np.zeros(1), np.array([loss])).number

    assert number(0.8, 2.0) > number(0.8, 3.0) > number(0.79, 0.1)
    assert number(0.1, 9.0, "brier") > number(0.2, 0.1, "brier")
    assert number(NAN, 3.0) == -0.75


def test_areas_and_losses_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = np.tile([0, 1, 2], 7)
    p = rng.dirichlet(np.ones(3), (2, 21))
    found = score_candidates(truth, p)
    np.testing.assert_allclose(found.auroc, [roc_auc_score(truth, one, multi_class="ovr") for one in p])
    np.testing.assert_allclose(found.log_loss, [log_loss(truth, one) for one in p])
    two = p[..., :2] / p[..., :2].sum(axis=2, keepdims=True)
    np.testing.assert_allclose(score_candidates(truth % 2, two).auroc, [roc_auc_score(truth % 2, o[:, 1]) for o in two])
    findings = np.where(rng.random((21, 3)) < 0.3, NAN, rng.integers(0, 2, (21, 3)))
    findings[:, 2] = NAN  # a finding that is unknown counts for nothing
    known = [np.isfinite(findings[:, f]) for f in (0, 1)]
    found = score_candidates(findings, p)
    for name, oracle in (("auroc", roc_auc_score), ("log_loss", log_loss)):
        by_hand = [np.mean([oracle(findings[k, f], one[k, f]) for f, k in enumerate(known)]) for one in p]
        np.testing.assert_allclose(getattr(found, name), by_hand)
    findings[:, 2] = np.append(np.zeros(20), NAN)  # one that no case has counts in the log-loss alone
    again = score_candidates(findings, p)
    np.testing.assert_allclose(again.auroc, found.auroc)
    np.testing.assert_allclose(again.log_loss, (2 * found.log_loss - np.log(1 - p[:, :20, 2]).mean(axis=1)) / 3)


def test_candidates_are_rated_by_their_metric() -> None:
    truth, second = np.array([0, 0, 0, 1]), np.array([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.4, 0.3]])
    p = np.stack([1 - second, second], axis=2)

    def values(name: str, rule: Any = "argmax") -> np.ndarray:
        return Rater(METRICS[name], "binary", rule).rate(truth, p, truth).value

    np.testing.assert_allclose(values("auroc"), [1, 2 / 3])
    np.testing.assert_allclose(values("log_loss"), [log_loss(truth, one) for one in second])
    np.testing.assert_allclose(values("accuracy"), [3 / 4, 3 / 4])  # class 0 for all
    np.testing.assert_allclose(values("accuracy", "balanced"), [3 / 4, 3 / 4])  # class 1 above 1/4
    np.testing.assert_allclose(values("balanced_accuracy", "balanced"), [5 / 6, 5 / 6])
    # Averaged with neighbours the thresholds 0.35 and 0.15 are best.
    np.testing.assert_allclose(values("balanced_accuracy", "tuned"), [1, 2 / 3])


def test_answers_of_folds_are_put_where_their_cases_are() -> None:
    labels = np.array([[0, 1], [1, 1], [0, 0], [0, 1], [0, 1], [1, 0]], float)
    learned = [np.array([0, 1, 2, 3, 4]), np.array([5, 1, 2])]  # 20 % and 2/3 have the first finding
    parts = [np.full((2, 1, 2), 0.3), np.full((2, 2, 2), 0.6)]
    found = pooled(
        Rater(METRICS["mcc"], "multilabel", "balanced"), labels, learned, parts, [np.array([1]), np.array([2, 0])], 3
    )
    np.testing.assert_array_equal(found.probabilities[0], [[0.6, 0.6], [0.3, 0.3], [0.6, 0.6]])
    np.testing.assert_array_equal(found.decisions[1], [[0, 1], [1, 0], [0, 1]])  # thresholds 2/3, 1/3 and 1/5, 4/5


def test_what_can_be_learned_from(features_of: Any) -> None:
    def check(labels: np.ndarray) -> None:
        check_learnable(features_of(labels, np.full(len(labels), "train"), outputs=3).cohort)

    check(np.array([0, 1, 1, -1]))  # as many labelled cases as classes
    with pytest.raises(DataError, match="has 2 labelled cases in split 'train', fewer than its 3 classes"):
        check(np.array([0, 1, -1]))
    with pytest.raises(DataError, match="only class 'k1'"):
        check(np.array([1, 1, 1]))
    check(np.array([[1, NAN, 1], [NAN, 1, 1], [NAN, 0, 1]]))
    with pytest.raises(DataError, match="no finding with both a positive and a negative case"):
        check(np.array([[1, 0, NAN], [1, 0, NAN]]))


def fold_scores(right: np.ndarray, paths: list[list[int]], repeats: int = 1) -> FoldScores:
    """Candidates (G, 6) that are right or wrong about six cases, in three folds of two; further repeats all right."""
    truth = np.array([0, 1, 0, 1, 0, 1])
    folds = tuple(InnerFold(np.setdiff1d(np.arange(6), held), held) for held in np.arange(6).reshape(2, 3).T)
    decisions = [np.where(ones, truth, 1 - truth) for ones in (right, *[np.ones_like(right)] * (repeats - 1))]
    answers = tuple(Pooled(np.stack([0.6 - 0.2 * d, 0.4 + 0.2 * d], axis=-1), d) for d in decisions)
    inner = InnerFolds(np.arange(6), (folds,) * repeats)
    return FoldScores(Rater(METRICS["accuracy"], "binary"), inner, truth, np.ones(6, bool), answers, paths)


def test_the_standard_error_of_a_score_is_the_jackknife_over_folds() -> None:
    """Wrong about cases 2 and 4. Without the folds {0, 3}, {1, 4} and {2, 5}: 2/4, 3/4 and 3/4 are right."""
    right = np.array([[True, True, False, True, False, True]])
    spread = np.array([-2, 1, 1]) / 12
    expected = np.sqrt(2 / 3 * (spread**2).sum())
    assert fold_scores(right, [[0]]).standard_error(0) == pytest.approx(expected)
    twice = fold_scores(right, [[0]], repeats=2)
    assert twice.standard_error(0) == pytest.approx(expected / 2)
    np.testing.assert_allclose(twice.ratings.value, [(4 / 6 + 1) / 2])
    np.testing.assert_allclose(twice.predictions(0)[:3], [[0.6, 0.4], [0.4, 0.6], [0.5, 0.5]])


def test_one_standard_error_takes_the_first_of_the_path() -> None:
    def of_right(*counts: int) -> np.ndarray:  # wrong about the last cases
        return np.arange(6) < np.asarray(counts)[:, None]

    # Averaged with neighbours 9/12, 14/18 and 10/12; the last one's error is 1/6.
    scores = fold_scores(of_right(4, 5, 5), [[0, 1, 2]])
    np.testing.assert_allclose(scores.smooth.value, [9 / 12, 14 / 18, 10 / 12])
    assert scores.standard_error(2) == pytest.approx(1 / 6)
    assert (scores.choose(), scores.choose(one_standard_error=True)) == (2, 0)
    assert "neighbours on the grid: the best, ties" in scores.criterion()
    assert "the most strongly regularised within one standard error" in scores.criterion(one_standard_error=True)
    assert fold_scores(of_right(1, 6, 5), [[0, 1, 2]]).choose(one_standard_error=True) == 2  # 7/12 and 12/18 are < 9/12
    assert fold_scores(of_right(5, 4, 5), [[0], [1], [2]]).choose(one_standard_error=True) == 0
    assert fold_scores(of_right(5, 4, 6), [[0, 1], [2]]).choose(one_standard_error=True) == 2  # on its own path


def test_cases_of_inner_folds_are_answered_by_models_that_had_not_seen_them() -> None:
    class Final:
        def predict(self, rows: np.ndarray) -> np.ndarray:
            return np.stack([rows, -rows], axis=1).astype(float)

    stored = np.array([[0.2, 0.8], [0.4, 0.6], [0.9, 0.1]])
    model = OutOfFold(Final(), np.array([2, 5]), np.array([2, 5, 7]), stored)  # type: ignore[arg-type]
    found = model.predict(np.array([7, 9, 2, 3, 5, 0]))
    np.testing.assert_array_equal(found, [[0.9, 0.1], [9, -9], [0.2, 0.8], [3, -3], [0.4, 0.6], [0, 0]])
    np.testing.assert_array_equal(model.predict(np.array([5])), stored[1:2])


def test_a_fifth_of_the_training_patients_is_held_out_where_there_is_no_val(features_of: Any) -> None:
    labels, patients = np.tile([0, 0, 1, 1], 10), np.repeat(np.arange(20), 2)
    cohort = features_of(labels, np.full(40, "train"), patients=patients).cohort
    usable = np.arange(40) >= 4
    train, val = train_and_val(labels, usable, cohort, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(np.concatenate([train, val])), np.arange(4, 40))
    assert not set(patients[train]) & set(patients[val])
    assert np.bincount(labels[val]).tolist() == [4, 4]  # 2 of 9 patients of each class, two cases each
    own = features_of(labels, np.repeat(["train", "val", "test"], [20, 10, 10]), patients=patients).cohort
    train, val = train_and_val(labels, usable, own, np.random.default_rng(0))
    assert (train.tolist(), val.tolist()) == ([*range(4, 20)], [*range(20, 30)])


@pytest.mark.parametrize(
    ("counts", "folds"),
    [((9, 7), 5), ((9, 3), 3), ((9, 2), 2), ((9, 9, 1), 2), ((9, 1), 0), ((1, 1), 0), ((9,), 5), ((1,), 0)],
)
def test_folds_are_as_many_as_the_rarest_class_has_patients(
    counts: tuple[int, ...], folds: int, features_of: Any
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    cohort = features_of(labels, np.full(len(labels), "train"), outputs=3).cohort
    usable = labelled(labels)
    assert method_of(ChoiceRules(), cohort, usable, labels) == ("cv" if folds else "none")
    if folds:
        assert inner_folds(cohort, usable, labels, 5, 1, np.random.default_rng(0)).folds == folds


def test_val_is_enough_by_the_median_finding(features_of: Any) -> None:
    def method(*positives: int) -> str:
        val = np.stack([np.arange(110) < count for count in positives], axis=1)
        labels = np.concatenate([val[:20], val]).astype(float)
        cohort = features_of(labels, np.repeat(["train", "val"], [20, 110])).cohort
        return method_of(ChoiceRules(), cohort, labelled(labels), labels)

    assert method(3, 15, 60) == "val"
    assert method(3, 14, 60) == "cv"
    assert method(3, 96, 60) == "cv"  # 14 negative ones


def test_groups_are_left_out_in_turn_up_to_twice_the_folds() -> None:
    def deal(groups: int, labels: np.ndarray | None = None) -> Any:
        names = np.repeat([f"g{number}" for number in range(groups)], 2)
        own = np.tile([0, 1], groups) if labels is None else labels
        rows, rng = np.arange(len(names)), np.random.default_rng(0)
        return deal_groups(FoldGroups("site", names), rows, own, rows.astype(str), 2, 3, rng)

    (in_turn,) = deal(4).dealt
    np.testing.assert_array_equal(in_turn, np.repeat(np.arange(4), 2))
    assert [int(fold.max()) + 1 for fold in deal(5).dealt] == [2, 2, 2]
    assert len(deal(3).dealt) == 1
    findings = np.full((6, 2), NAN)
    findings[:, 0] = [1, 0, 1, 0, 0, 0]
    assert deal(3, findings).dealt  # each group leaves a positive and a negative case
    findings[:, 0] = [1, 0, 0, 0, 0, 0]
    assert "no finding with both answers would be left" in deal(3, findings).problem
    findings[:, 1] = [0, 0, 1, 0, 0, 1]
    assert deal(3, findings).dealt  # without the first group the second finding has both
    classes = np.array([0, 2, 1, 0, 0, 1])
    assert "not every class would be left" in deal(3, classes).problem


def test_targets_of_classes_and_findings() -> None:
    three = Targets.of(np.array([0, 2, 2, 5]), 6, "balanced")
    assert (three.link, three.learned.tolist()) == ("softmax", [0, 2, 5])
    np.testing.assert_allclose(three.weights, np.repeat([[4 / 3], [2 / 3], [2 / 3], [4 / 3]], 3, axis=1))
    np.testing.assert_allclose(three.totals, [4, 4, 4])
    np.testing.assert_allclose(three.prior_logits, np.log([1 / 3] * 3))
    logits = np.log([[1, 2, 1], [1, 1, 8], [3, 3, 3]])  # of as many cases as columns
    expected = np.array([[1, 2, 1], [0.4, 0.4, 3.2], [4 / 3] * 3]) / 4
    np.testing.assert_allclose(three.probabilities(logits)[:, [0, 2, 5]], expected)
    assert not three.probabilities(logits)[:, [1, 3, 4]].any()
    two = Targets.of(np.array([1, 1, 1, 4]), 5)
    np.testing.assert_allclose(two.prior_logits, [-np.log(3)])
    np.testing.assert_allclose(two.curvature, [3 / 16])
    assert Targets.of(np.append(np.zeros(99_999, int), 1), 2).curvature == 1e-4  # and not 1e-5
    np.testing.assert_allclose(two.probabilities(np.array([[np.log(3)]])), [[0, 0.25, 0, 0, 0.75]])
    findings = Targets.of(np.array([[1, 0], [0, 0], [0, 0], [NAN, NAN]]), 2, "balanced")
    np.testing.assert_allclose(findings.weights, [[1.5], [0.75], [0.75], [0]])
    np.testing.assert_allclose(findings.constant, [2 / 5, 1 / 5])
    np.testing.assert_allclose(findings.probabilities(np.array([[0.0]])), [[0.5, 0.2]])
    assert findings.notes(("a", "b")) == ("Nothing to learn about 'b' in training; predicted as 0.2.",)
    assert Targets.from_encoding(two.encoding).encoding == two.encoding
