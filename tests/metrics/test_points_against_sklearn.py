"""scikit-learn and torchmetrics as oracles: every point metric, plain, weighted, and under many weights at once."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from radapt import metrics
from radapt.metrics.calibration import LEAST_PROBABILITY

SEEDS = range(6)


def _cohort(seed: int, classes: int, cases: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, probabilities with many ties, and weights of which a third are 0."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, cases, p=rng.dirichlet(np.full(classes, 3)))
    truth[:classes] = np.arange(classes)
    logits = rng.normal(size=(cases, classes)) + 1.5 * np.eye(classes)[truth]
    logits = np.round(logits) if seed % 2 else logits
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    weights = rng.integers(0, 3, cases) * rng.choice([1.0, 0.37], cases)
    weights[:classes] = 1
    return truth, probabilities, weights


def _log_loss(truth: np.ndarray, p: np.ndarray, w: np.ndarray | None) -> float:
    return float(sk.log_loss(truth, p, sample_weight=w, labels=np.arange(p.shape[1])))


def _brier(truth: np.ndarray, p: np.ndarray, w: np.ndarray | None) -> float:
    if p.shape[1] == 2:
        return float(sk.brier_score_loss(truth, p[:, 1], sample_weight=w))
    return float(sk.brier_score_loss(truth, p, sample_weight=w, labels=np.arange(p.shape[1]), scale_by_half=False))


# name: (ours, theirs, from probabilities or from decisions or from the first class's score)
PAIRS: dict[str, tuple[Callable, Callable, str]] = {
    "auroc": (metrics.auroc, lambda t, s, w: sk.roc_auc_score(t, s, sample_weight=w), "score"),
    "average_precision": (
        metrics.average_precision,
        lambda t, s, w: sk.average_precision_score(t, s, sample_weight=w),
        "score",
    ),
    "accuracy": (metrics.accuracy, lambda t, d, w: sk.accuracy_score(t, d, sample_weight=w), "decision"),
    "balanced_accuracy": (
        metrics.balanced_accuracy,
        lambda t, d, w: sk.balanced_accuracy_score(t, d, sample_weight=w),
        "decision",
    ),
    "mcc": (metrics.mcc, lambda t, d, w: sk.matthews_corrcoef(t, d, sample_weight=w), "decision"),
    "f1": (metrics.f1, lambda t, d, w: sk.f1_score(t, d, sample_weight=w, average="macro"), "decision"),
    "quadratic_kappa": (
        metrics.quadratic_kappa,
        lambda t, d, w: sk.cohen_kappa_score(t, d, weights="quadratic", sample_weight=w),
        "decision",
    ),
    "log_loss": (metrics.log_loss, _log_loss, "probability"),
    "brier": (metrics.brier, _brier, "probability"),
}


def _arguments(kind: str, truth: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if kind == "score":
        return (truth == 0).astype(int), p[:, 0]
    return truth, p if kind == "probability" else p.argmax(axis=1)


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("name", PAIRS)
def test_equals_scikit_learn(name: str, classes: int) -> None:
    ours, theirs, kind = PAIRS[name]
    for seed in SEEDS:
        truth, p, weights = _cohort(seed, classes)
        given = _arguments(kind, truth, p)
        np.testing.assert_allclose(ours(*given), theirs(*given, None), atol=1e-12)
        np.testing.assert_allclose(ours(*given, weights), theirs(*given, weights), atol=1e-12)


@pytest.mark.parametrize("name", [*PAIRS, "ece"])
def test_many_weights_at_once_equal_each_alone(name: str) -> None:
    ours, _, kind = PAIRS.get(name, (metrics.ece, None, "probability"))
    truth, p, weights = _cohort(0, 3)
    given = _arguments(kind, truth, p)
    stack = np.random.default_rng(1).permuted(np.tile(weights, (2, 3, 1)), axis=-1)
    together = ours(*given, stack)
    assert together.shape == (2, 3)
    np.testing.assert_allclose(together, [[ours(*given, w) for w in row] for row in stack], rtol=1e-13)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_calibration_error_equals_torchmetrics_top_label(classes: int) -> None:
    for seed in (0, 2, 4):  # without rounded probabilities: torchmetrics works in single precision
        truth, p, _ = _cohort(seed, classes)
        theirs = tm.multiclass_calibration_error(torch.tensor(p), torch.tensor(truth), classes, n_bins=15)
        np.testing.assert_allclose(metrics.ece(truth, p), theirs.item(), atol=1e-6)


def test_calibration_error_of_a_finding_equals_torchmetrics_binary() -> None:
    truth, p, _ = _cohort(0, 2)
    theirs = tm.binary_calibration_error(torch.tensor(p[:, 1]), torch.tensor(truth), n_bins=15)
    np.testing.assert_allclose(metrics.ece(truth, p[:, 1]), theirs.item(), atol=1e-6)


@pytest.mark.parametrize("classes", [3, 6])
def test_mcc_and_kappa_equal_torchmetrics(classes: int) -> None:
    truth, p, _ = _cohort(3, classes)
    pair = torch.tensor(p.argmax(axis=1)), torch.tensor(truth)
    called = p.argmax(axis=1)
    np.testing.assert_allclose(metrics.mcc(truth, called), tm.multiclass_matthews_corrcoef(*pair, classes), atol=1e-6)
    np.testing.assert_allclose(
        metrics.quadratic_kappa(truth, called),
        tm.multiclass_cohen_kappa(*pair, classes, weights="quadratic"),
        atol=1e-6,
    )


def test_confusion_matrix_equals_scikit_learn() -> None:
    truth, p, weights = _cohort(1, 4)
    called = p.argmax(axis=1)
    theirs = sk.confusion_matrix(truth, called, labels=range(4), sample_weight=weights)
    np.testing.assert_allclose(metrics.confusion_matrix(truth, called, 4, weights), theirs)


# Where we differ from scikit-learn, on purpose.


def test_one_class_in_the_truth_is_undefined_not_zero_or_one() -> None:
    ones, score = np.ones(5, dtype=int), np.linspace(0, 1, 5)
    assert np.isnan(metrics.auroc(ones, score))
    assert np.isnan(metrics.average_precision(ones, score))  # scikit-learn: 1
    assert np.isnan(metrics.average_precision(1 - ones, score))  # scikit-learn: 0
    called = np.array([0, 1, 1, 0, 1])
    for metric in (metrics.mcc, metrics.balanced_accuracy, metrics.f1, metrics.quadratic_kappa):
        assert np.isnan(metric(ones, called))  # scikit-learn: 0, 0.6, 0.375, 0
    assert metrics.accuracy(ones, called) == 0.6


def test_a_collapsed_model_keeps_a_defined_number() -> None:
    truth, called = np.array([0, 0, 1, 2, 2]), np.full(5, 2)
    assert metrics.mcc(truth, called) == 0
    assert metrics.quadratic_kappa(truth, called) == 0
    assert metrics.balanced_accuracy(truth, called) == pytest.approx(1 / 3)
    weights = np.array([0.1, 0.2, 0.3, 0.7, 0.11])
    assert metrics.mcc(truth, called, weights) == 0


def test_f1_averages_the_classes_of_the_truth_only() -> None:
    truth, called = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    assert metrics.f1(truth, called) == pytest.approx((2 / 3 + 1) / 2)
    assert sk.f1_score(truth, called, average="macro") == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_log_loss_of_a_sure_mistake_is_finite() -> None:
    assert metrics.log_loss(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(-np.log(LEAST_PROBABILITY))
    assert metrics.log_loss(np.array([0]), np.array([1.0])) == pytest.approx(15.942385)


def test_no_case_at_all_is_undefined() -> None:
    none, scores = np.zeros(0, dtype=int), np.zeros(0)
    for metric in (metrics.auroc, metrics.average_precision, metrics.log_loss, metrics.brier, metrics.ece):
        assert np.isnan(metric(none, scores))
    for metric in (metrics.accuracy, metrics.balanced_accuracy, metrics.mcc, metrics.f1, metrics.quadratic_kappa):
        assert np.isnan(metric(none, none))
