"""The readout of a fusion against scikit-learn, and on vectors of which one knows what they say."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from radapt.mmdino.fusion.readout import JOINED, OUTSIDE, STRENGTHS, FittedReadout, Readout, fit_readout, lesion_vectors
from radapt.mmdino.fusion.token_network import FusionShape
from radapt.protocols.choice import InnerFold, InnerFolds

CASES = 90


def folds(count: int = 3, cases: int = CASES) -> InnerFolds:
    rows = np.arange(cases)
    return InnerFolds(rows, (tuple(InnerFold(rows[rows % count != f], rows[rows % count == f]) for f in range(count)),))


def said(fitted: FittedReadout, vectors: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(n, K) logits."""
    sequences, outputs, width = fitted.weight.shape
    readout = Readout(FusionShape(width, sequences, 1, outputs, 0, 32, 1, 0.0))
    readout.take(fitted)
    pairs = zip(torch.from_numpy(vectors), torch.from_numpy(present), strict=True)
    return torch.stack([readout(each, shown) for each, shown in pairs]).numpy()


def drawn(sequences: int = 2, width: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    """Vectors of noise, all present, and classes 0, 1 and 2 in turn by threes, so that every fold has all of them."""
    rng = np.random.default_rng(5)
    return (
        rng.normal(size=(CASES, sequences, width)), np.ones((CASES, sequences), bool), np.arange(CASES) // 3 % 3, rng
    )  # fmt: skip


def test_the_mean_of_tokens_is_weighted_by_the_lesion_that_the_visible_sequences_show() -> None:
    tokens = torch.tensor([[[[9.0], [1.0], [3.0]], [[9.0], [10.0], [30.0]], [[9.0], [torch.nan], [torch.nan]]]])
    lesions = torch.tensor([[[0.2, 0.8], [0.4, 0.6], [torch.nan, torch.nan]]])
    visible = torch.tensor([True, True, False])
    found = lesion_vectors(tokens, lesions, visible)
    weights = np.asarray([0.3, 0.7]) + OUTSIDE
    weights /= weights.sum()
    expected = [weights @ [1, 3], weights @ [10, 30], 0.0]
    np.testing.assert_allclose(found[:, 0].numpy(), expected, rtol=1e-6)
    even = lesion_vectors(tokens, torch.zeros(1, 3, 2), torch.tensor([True, False, False]))
    np.testing.assert_allclose(even[:, 0].numpy(), [2.0, 0.0, 0.0], rtol=1e-6)


def test_a_readout_that_is_not_fitted_has_no_opinion() -> None:
    readout = Readout(FusionShape(4, 2, 1, 3, 0, 32, 1, 0.0))
    assert readout(torch.ones(2, 4).double(), torch.tensor([True, False])).tolist() == [0, 0, 0]


def oracle(x: np.ndarray, y: np.ndarray, strengths: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Logits out of fold and of the final model, by scikit-learn's own pipeline, at the strength of the least loss."""
    best = (np.inf, np.empty(0), np.empty(0))
    for strength in strengths:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=1000))
        held = np.zeros((len(y), 3))
        for fold in folds().repeats[0]:
            held[fold.held_out] = model.fit(x[fold.train], y[fold.train]).decision_function(x[fold.held_out])
        logs = held - np.logaddexp.reduce(held, axis=1, keepdims=True)
        loss = -np.mean([logs[y == c, c].mean() for c in range(3)])
        if loss < best[0]:
            best = (float(loss), held, model.fit(x, y).decision_function(x))
    return best[1], best[2]


def test_it_stacks_logistic_regressions_as_scikit_learn_does() -> None:
    vectors, present, classes, _ = drawn()
    vectors[:, 0, 0] += classes == 1
    vectors[:, 1, 2] += 2 * (classes == 2)
    fitted = fit_readout(vectors, present, classes, folds(), "classes", 3)
    experts = [oracle(vectors[:, place], classes, STRENGTHS) for place in range(2)]
    held = np.concatenate([each[0] for each in experts], axis=1)
    best: tuple[float, float] = (np.inf, 0.0)
    for strength in JOINED:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=1000))
        out = np.zeros((CASES, 3))
        for fold in folds().repeats[0]:
            out[fold.held_out] = model.fit(held[fold.train], classes[fold.train]).decision_function(held[fold.held_out])
        logs = out - np.logaddexp.reduce(out, axis=1, keepdims=True)
        best = min(best, (float(-logs[np.arange(CASES), classes].mean()), strength))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=best[1], class_weight="balanced", max_iter=1000))
    model.fit(held, classes)
    expected = model.decision_function(np.concatenate([each[1] for each in experts], axis=1))
    np.testing.assert_allclose(said(fitted, vectors, present), expected, atol=1e-3)


def test_signs_in_two_sequences_are_read_together() -> None:
    """One sequence tells class 1 from the others, the other one class 2: only both tell all three apart."""
    vectors, present, classes, rng = drawn()
    vectors[:, 0, 0] = 4 * (classes == 1) + rng.normal(size=CASES)
    vectors[:, 1, 1] = 4 * (classes == 2) + rng.normal(size=CASES)
    fitted = fit_readout(vectors, present, classes, folds(), "classes", 3)

    def right(shown: tuple[bool, bool]) -> float:
        return float((said(fitted, vectors, np.tile(shown, (CASES, 1))).argmax(1) == classes).mean())

    assert right((True, True)) > 0.9
    assert right((True, False)) < 0.8
    assert right((False, True)) < 0.8
    assert right((False, False)) == pytest.approx(1 / 3)


def test_units_of_tokens_and_the_order_of_sequences_change_nothing() -> None:
    vectors, present, classes, _ = drawn()
    vectors[:, 0] += classes[:, None]
    present[:30, 1] = False
    before = said(fit_readout(vectors, present, classes, folds(), "classes", 3), vectors, present)
    scaled = vectors * 7 - 3
    again = said(fit_readout(scaled, present, classes, folds(), "classes", 3), scaled, present)
    np.testing.assert_allclose(again, before, atol=1e-3)
    turned, shown = vectors[:, ::-1].copy(), present[:, ::-1].copy()
    np.testing.assert_allclose(
        said(fit_readout(turned, shown, classes, folds(), "classes", 3), turned, shown), before, atol=1e-3
    )


def test_what_a_missing_sequence_holds_is_never_read() -> None:
    vectors, present, classes, _ = drawn()
    present[::4, 1] = False
    before = fit_readout(vectors, present, classes, folds(), "classes", 3)
    vectors[::4, 1] = 1e6
    after = fit_readout(vectors, present, classes, folds(), "classes", 3)
    np.testing.assert_array_equal(after.weight, before.weight)
    vectors[::4, 1] = np.nan
    assert np.isfinite(said(after, vectors, present)).all()


def test_a_sequence_of_one_class_has_no_say() -> None:
    vectors, present, classes, _ = drawn()
    present[classes != 0, 1] = False
    fitted = fit_readout(vectors, present, classes, folds(), "classes", 3)
    assert np.isnan(fitted.strengths[1]).all()
    assert np.isfinite(fitted.strengths[0]).all()
    assert not fitted.weight[1].any()
    assert not fitted.bias[1].any()


def test_findings_are_learned_apart_and_unknown_ones_are_left_out() -> None:
    vectors, present, classes, rng = drawn()
    findings = np.stack([classes == 1, rng.random(CASES) < 0.5], axis=1).astype(float)
    vectors[:, 0, 0] += 5 * findings[:, 0]
    whole = fit_readout(vectors, present, findings, folds(), "findings", 2)
    logits = said(whole, vectors, present)
    assert ((logits[:, 0] > 0) == findings[:, 0]).mean() > 0.9
    other = findings.copy()
    other[:, 1] = np.nan
    alone = fit_readout(vectors, present, other, folds(), "findings", 2)
    np.testing.assert_array_equal(said(alone, vectors, present)[:, 0], logits[:, 0])
    assert np.isnan(alone.strengths[:, 1]).all()
    assert not said(alone, vectors, present)[:, 1].any()


def test_cases_outside_the_folds_are_never_learned_from() -> None:
    vectors, present, classes, _ = drawn()
    inside = folds(cases=60)
    before = fit_readout(vectors, present, classes, inside, "classes", 3)
    classes[60:], vectors[60:] = 0, 9.0
    np.testing.assert_array_equal(fit_readout(vectors, present, classes, inside, "classes", 3).weight, before.weight)
