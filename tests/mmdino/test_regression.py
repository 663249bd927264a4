"""The deployed classifier: held to scikit-learn, and to what there is to learn about each class and finding."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from radapt.mmdino.inference import LinearClassifier
from radapt.mmdino.regression import STRENGTHS, fit_logistic
from radapt.training.fit_record import Candidate

N, D = 60, 5


def vectors(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, [1, 2, 0.5, 1, 4], (N, D))


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_scikit_learn_on_standardised_vectors(classes: int) -> None:
    x = vectors()
    y = np.digitize(x[:, 0] + x[:, 1], np.quantile(x[:, 0] + x[:, 1], np.arange(1, classes) / classes))
    held_out = np.arange(N) % 3 == 0
    answer, choice = fit_logistic(x, y, np.ones(N), held_out, "classes", np.full(classes, 1 / classes))
    scaled = (x - x[~held_out].mean(0)) / x[~held_out].std(0)
    model = LogisticRegression(C=choice.winner.options["strength"], max_iter=2000).fit(scaled[~held_out], y[~held_out])
    np.testing.assert_allclose(answer.probabilities(x), model.predict_proba(scaled), atol=1e-3)
    losses = []
    for strength in STRENGTHS:
        other = LogisticRegression(C=strength, max_iter=2000).fit(scaled[~held_out], y[~held_out])
        losses.append(-np.log(other.predict_proba(scaled[held_out])[np.arange(20), y[held_out]]).mean())
    assert choice.winner.options["strength"] == STRENGTHS[int(np.argmin(losses))]
    tried = [one.options["strength"] for one in choice.candidates]
    assert tried == STRENGTHS.tolist()
    np.testing.assert_allclose([one.val["log_loss"] for one in choice.candidates], losses, atol=1e-3)


def test_a_class_that_training_lacks_is_next_to_impossible() -> None:
    x, y = vectors(), np.arange(N) % 2
    answer, _ = fit_logistic(x, y, np.ones(N), np.zeros(N, bool), "classes", np.asarray([0.4, 0.4, 0.2]))
    assert answer.probabilities(x)[:, 2].max() < 0.01


def test_one_labelled_class_gives_the_prior() -> None:
    prior = np.asarray([0.7, 0.2, 0.1])
    answer, _ = fit_logistic(vectors(), np.ones(N, int), np.ones(N), np.zeros(N, bool), "classes", prior)
    np.testing.assert_allclose(answer.probabilities(vectors(1)), np.tile(prior, (N, 1)))


def test_findings_are_answered_one_by_one_from_those_that_are_known() -> None:
    x, rng = vectors(), np.random.default_rng(1)
    y = np.column_stack([(x[:, 0] > 3).astype(float), np.ones(N), rng.integers(0, 2, N).astype(float)])
    y[rng.random((N, 3)) < 0.3] = np.nan
    answer, _ = fit_logistic(x, y, np.ones(N), np.arange(N) < 15, "findings", np.asarray([0.5, 0.9, 0.5]))
    found = answer.probabilities(x)
    assert found[x[:, 0] > 4, 0].min() > found[x[:, 0] < 2, 0].max()
    np.testing.assert_allclose(found[:, 1], 0.9)


def test_weights_count_as_repeated_rows() -> None:
    x, y = vectors(), np.arange(N) % 3
    held_out = np.zeros(2 * N, bool)
    twice = np.where(np.arange(N) < 20, 2.0, 1.0)
    again = np.concatenate([np.arange(N), np.arange(20)])
    prior = np.full(3, 1 / 3)
    # The vectors are scaled by unweighted statistics, so that those are made the same first.
    x = (x - x.mean(0)) / x.std(0)
    weighted, _ = fit_logistic(x, y, twice, held_out[:N], "classes", prior)
    model = LogisticRegression(C=1.0, max_iter=2000).fit(x[again], y[again])
    np.testing.assert_allclose(weighted.probabilities(x), model.predict_proba(x), atol=1e-3)


def test_blocks_are_penalised_alike_however_many_columns_they_have() -> None:
    """A column that tells the class stands out from fifty of noise if it is a block of its own."""
    rng = np.random.default_rng(0)
    told, noise = rng.normal(size=(N, 1)), rng.normal(size=(N, 50))
    y = (told[:, 0] > 0).astype(int)
    x, prior = np.concatenate([told, noise], axis=1), np.full(2, 0.5)
    none = np.zeros(N, bool)
    plain, _ = fit_logistic(x, y, np.ones(N), none, "classes", prior)
    blocked, _ = fit_logistic(x, y, np.ones(N), none, "classes", prior, {"told": 1, "noise": 50})

    def share(answer: LinearClassifier) -> float:
        return float(answer.weight[1, 0] ** 2 / (answer.weight[1] ** 2).sum())

    assert share(blocked) > 0.9 > share(plain)


def test_what_is_held_out_chooses_what_is_read() -> None:
    """Few labels and a wide token without meaning: the marks alone are read, and nothing else decides."""
    rng = np.random.default_rng(0)
    marks, token = rng.normal(size=(N, 2)), rng.normal(size=(N, 80))
    y, prior = (marks[:, 0] > 0).astype(int), np.full(2, 0.5)
    blocks = {"CLS": 80, "amounts of marks": 2}
    x, held_out = np.concatenate([token, marks], axis=1), np.arange(N) % 3 == 0
    answer, choice = fit_logistic(x, y, np.ones(N), held_out, "classes", prior, blocks)
    assert choice.winner.options["read"] == ["amounts of marks"]
    assert len(choice.candidates) == 3 * len(STRENGTHS)
    assert choice.winner.val["log_loss"] == min(one.val["log_loss"] for one in choice.candidates)
    assert not answer.weight[:, :80].any()
    other = np.concatenate([rng.normal(size=(N, 80)), marks], axis=1)
    np.testing.assert_allclose(answer.probabilities(other), answer.probabilities(x))
    told = (token[:, 0] > 0).astype(int)
    wide = np.concatenate([np.repeat(token[:, :1], 80, axis=1), marks], axis=1)
    _, token_choice = fit_logistic(wide, told, np.ones(N), held_out, "classes", prior, blocks)
    assert token_choice.winner.options["read"] == ["CLS"]
    _, default = fit_logistic(x, y, np.ones(N), np.zeros(N, bool), "classes", prior, blocks)
    assert default.candidates == (Candidate({"strength": 1.0, "read": list(blocks)}),)
