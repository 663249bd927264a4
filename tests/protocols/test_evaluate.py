"""Every registered protocol keeps the promises: test labels unseen, patients on one side, the same numbers twice."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radapt.errors import DataError, UsageError
from radapt.features import Pooling
from radapt.metrics.registry import METRICS
from radapt.protocols import PROTOCOLS, FeatureProblem, FewShot, Protocol, evaluate, make
from radapt.protocols.ratings import Rater, score_candidates

# A learning curve gives many results; test_fewshot.py tests it with each of these.
ALL = sorted(name for name, kind in PROTOCOLS.items() if kind.reads == "features" and kind is not FewShot)
LOGISTIC: dict[str, Any] = {"C": [1e-3, 1e-1], "blocks": 1}
QUICK: dict[str, dict[str, Any]] = {
    "mil": {"epochs": 3, "lr": (1e-2, 1e-3)},
    "logistic": LOGISTIC,
    "shuffled-labels": {"options": LOGISTIC},
}
"""At its defaults `mil` trains for minutes, and `logistic` chooses among 52 readings."""


def quick(name: str) -> Protocol:
    return make(name, **QUICK.get(name, {}))


def _relabelled(features: Any, rng: np.random.Generator) -> Any:
    """Test cases get each other's labels."""
    cohort = features.cohort
    tested = [i for i, case in enumerate(cohort) if case.split not in ("train", "val")]
    cases = list(cohort.cases)
    for i, j in zip(tested, rng.permutation(tested), strict=True):
        cases[i] = replace(cases[i], label=cohort.cases[j].label, findings=cohort.cases[j].findings)
    return replace(features, cohort=replace(cohort, cases=tuple(cases)))


@pytest.mark.parametrize("name", ALL)
def test_test_labels_change_no_prediction(name: str, every_task: Any) -> None:
    shuffled = _relabelled(every_task, np.random.default_rng(0))
    assert not np.array_equal(shuffled.cohort.labels, every_task.cohort.labels, equal_nan=True)
    options = QUICK.get(name, {}) | ({"epochs": 2} if name == "mil" else {})
    before, after = (  # choices by folds: tests/protocols/test_choice.py
        evaluate(each, make(name, **options), resamples=0, choose="val") for each in (every_task, shuffled)
    )
    columns = [column for column in before.predictions if column.startswith("p_")]
    pd.testing.assert_frame_equal(before.predictions[columns], after.predictions[columns], check_exact=True)
    assert before.fit == after.fit


@pytest.mark.parametrize("name", ALL)
def test_a_problem_holds_no_test_label(name: str, every_task: Any) -> None:
    problem = FeatureProblem.of(every_task)
    tested = ~np.isin(problem.splits, ["train", "val"])
    assert tested.any()
    for labels in (problem.labels, problem.cohort.labels, problem.features.cohort.labels):
        assert (labels[tested] == -1).all() if labels.ndim == 1 else np.isnan(labels[tested]).all()


@pytest.mark.parametrize("name", ALL)
def test_twice_the_same_and_every_case_answered(name: str, every_task: Any) -> None:
    first, second = (
        evaluate(every_task, quick(name), seed=3, resamples=50, choose="val", select_by="auroc") for _ in range(2)
    )
    pd.testing.assert_frame_equal(first.predictions, second.predictions, check_exact=True)
    pd.testing.assert_frame_equal(first.scores, second.scores, check_exact=True)
    assert first.fit == second.fit
    cohort = every_task.cohort
    assert len(first.predictions) == (cohort.splits != "train").sum()
    assert list(first.scores["split"].unique()) == ["val", "test", "external"]
    values = first.predictions[[f"p_{output}" for output in cohort.outputs]].to_numpy()
    assert ((values >= 0) & (values <= 1)).all()
    if not cohort.findings:
        np.testing.assert_allclose(values.sum(1), 1)
    found = first.scores.query("split == 'test' and metric == 'auroc'")["value"].item()
    assert found > 0.65  # the features carry the labels
    assert first.protocol == name
    best = max(each.val["auroc"] for each in first.fit.candidates)
    assert first.fit.winner.val["auroc"] == best


@pytest.mark.parametrize(("name", "repeats"), [("knn", True), ("logistic", True), ("linear", False)])
def test_with_the_cohorts_own_val_a_seed_decides_minibatches_and_resamples_only(
    name: str, repeats: bool, multiclass: Any
) -> None:
    first, second = (evaluate(multiclass, name, seed=seed, resamples=50, choose="val") for seed in (0, 1))
    assert (first.fit.candidates == second.fit.candidates) == repeats
    if repeats:
        pd.testing.assert_frame_equal(first.predictions, second.predictions, check_exact=True)
        assert first.scores["value"].equals(second.scores["value"])
    assert not first.scores["ci_low"].equals(second.scores["ci_low"])


def test_the_linear_probe_records_all_its_candidates(binary: Any) -> None:
    candidates = evaluate(binary, "linear", resamples=0).fit.candidates
    assert [each.options["kind"] for each in candidates].count("sgd") == 16
    assert [each.options["kind"] for each in candidates].count("logistic") == 13
    assert all(np.isfinite(each.val["auroc"]) and np.isfinite(each.val["log_loss"]) for each in candidates)


@pytest.mark.parametrize("name", ALL)
def test_val_is_answered_by_a_model_that_has_not_learned_it(name: str, features_of: Any) -> None:
    """Features that are noise: a model refitted on val would know its answers."""
    rng = np.random.default_rng(1)
    splits = np.repeat(["train", "val", "test"], [60, 60, 60])
    features = features_of(rng.integers(0, 2, 180), splits, width=60, signal=0.0)
    protocol = make(name, **QUICK.get(name, {}) | ({"epochs": 8, "lr": (1e-2,)} if name == "mil" else {}))
    fitted = protocol.fit(FeatureProblem.of(features), np.random.default_rng(0))
    val = np.flatnonzero(splits == "val")
    blind = (fitted.before_refit.predict(val).argmax(1) == features.cohort.labels[val]).mean()
    assert blind < 0.75
    told = evaluate(features, protocol, resamples=0).predictions.query("split == 'val'")
    assert ((told["p_k1"] > 0.5) == (told["truth"] == "k1")).mean() < 0.75


@pytest.mark.parametrize("name", ALL)
def test_without_val_patients_are_drawn_whole(name: str, features_of: Any) -> None:
    rng = np.random.default_rng(2)
    patients = rng.integers(0, 25, 100)
    splits = np.where(patients < 20, "train", "test")
    features = features_of(rng.integers(0, 3, 100), splits, patients=patients)
    problem = FeatureProblem.of(features)
    train, val = problem.choosing(np.random.default_rng(0))
    assert len(train)
    assert len(val)
    assert not set(problem.patients[train]) & set(problem.patients[val])
    assert set(problem.splits[[*train, *val]]) == {"train"}
    result = evaluate(features, quick(name), resamples=0, choose="val")
    assert set(result.predictions["split"]) == {"test"}
    assert result.fit.cases.val_source == "train"


@pytest.mark.parametrize("name", ALL)
def test_too_few_patients_to_choose_on_takes_the_default(name: str, features_of: Any) -> None:
    labels = np.array([0, 1, 0, 1, 1])
    features = features_of(labels, np.array(["train", "train", "test", "test", "test"]))
    result = evaluate(features, quick(name), resamples=0)
    assert "default" in result.fit.criterion
    assert len(result.predictions) == 3


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("modalities", ["concat", "mean"])
def test_missing_modalities(name: str, modalities: Any, features_of: Any) -> None:
    rng = np.random.default_rng(3)
    missing = rng.random((120, 3)) < 0.3
    missing[np.arange(120), rng.integers(0, 3, 120)] = False
    features = features_of(rng.integers(0, 2, 120), np.repeat(["train", "val", "test"], 40), missing=missing)
    result = evaluate(features, quick(name), pooling=Pooling(modalities=modalities), resamples=0)
    assert result.predictions["p_k1"].notna().all()
    assert any("issing" in note for note in result.fit.notes)


@pytest.mark.parametrize("name", ALL)
def test_gaps_in_the_labels(name: str, features_of: Any) -> None:
    """A class training lacks, a finding without positives, val of one class, unlabelled test cases."""
    rng = np.random.default_rng(4)
    splits = np.repeat(["train", "val", "test"], [40, 20, 20])
    labels = rng.integers(0, 2, 80)
    labels[40:60] = 1  # val
    labels[70:] = -1
    result = evaluate(features_of(labels, splits, outputs=3), quick(name), resamples=0, choose="val")
    assert (result.predictions["p_k2"] == 0).all()
    assert result.predictions["truth"].isna().sum() == 10
    assert "log-loss" in " ".join(result.fit.notes)
    scored = result.scores.query("split == 'test' and metric == 'accuracy'").iloc[0]
    assert (scored["n_scored"], scored["n_unscored"]) == (10, 10)

    findings = (rng.random((80, 3)) < 0.5).astype(float)
    findings[:60, 1] = 0
    result = evaluate(features_of(findings, splits), quick(name), resamples=0, choose="val")
    tested = result.predictions["split"] == "test"
    cases = result.fit.cases
    learned = cases.refit or cases.train  # a network is not trained again with val
    np.testing.assert_allclose(result.predictions.loc[tested, "p_k1"], 1 / (learned + 2))
    assert any("'k1'" in note for note in result.fit.notes)


TRAIN, VAL, TEST = ["train"] * 4, ["val"] * 2, ["test"] * 2
REFUSED = {
    "one-class train": ([1, 1, 1, 1, 0, 1, 0, 1], TRAIN + VAL + TEST, "only class 'k1' in split 'train'"),
    "nothing labelled in train": (
        [-1, -1, -1, -1, 0, 1, 0, 1],
        TRAIN + VAL + TEST,
        "no labelled case in split 'train'",
    ),
    "fewer cases than classes": ([0, 1, -1, -1, 2, 2, 0, 1], TRAIN + VAL + TEST, "fewer than its 3 classes"),
    "no test set": ([0, 1, 0, 1, 0, 1, 0, 1], TRAIN + VAL * 2, "no test set"),
    "test unlabelled": ([0, 1, 0, 1, 0, 1, -1, -1], TRAIN + VAL + TEST, "no labelled case in its test sets"),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_too_little_to_learn_or_evaluate_is_refused(name: str, case: str, features_of: Any) -> None:
    labels, splits, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as error:
        evaluate(features_of(np.asarray(labels), np.asarray(splits)), quick(name))
    assert "'toy'" in str(error.value)


def test_a_cohort_without_labels_is_refused(features_of: Any) -> None:
    features = features_of(np.array([0, 1, 0, 1]), np.array(["train", "train", "val", "test"]))
    bare = replace(features.cohort, classes=())
    with pytest.raises(UsageError, match="label:<finding>"):
        evaluate(replace(features, cohort=bare), "knn")


def test_findings_without_both_answers_are_refused(features_of: Any) -> None:
    labels = np.array([[1, np.nan], [1, 0], [1, 0], [0, 1]])
    with pytest.raises(DataError, match="no finding with both"):
        evaluate(features_of(labels, np.array(["train", "train", "val", "test"])), "knn")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lineer", {}, "Did you mean 'linear'"),
        ("knn", {"temprature": 1}, "Did you mean 'temperature'"),
        ("knn", {"temperature": 0}, "temperature"),
        ("knn", {"k": [5, 0]}, "'k'"),
        ("knn", {"k": []}, "'k'"),
        ("linear", {"epochs": "many"}, "epochs"),
        ("linear", {"class_weight": "balance"}, "class_weight"),
        ("logistic", {"C": [-1.0]}, "'C'"),
        ("logistic", {"name": "x"}, "no option 'name'"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(name, **options)


def test_choosing_prefers_auroc_then_log_loss_then_order() -> None:
    truth = np.array([0, 0, 1, 1])
    sure, unsure, wrong = (
        np.stack([1 - p, p], 1)
        for p in map(np.array, ([0.1, 0.1, 0.9, 0.9], [0.4, 0.4, 0.6, 0.6], [0.9, 0.1, 0.9, 0.1]))
    )
    rater = Rater(METRICS["auroc"], "binary")
    assert rater.rate(truth, np.stack([wrong, unsure, sure, sure]), truth).best == 2
    one_class = rater.rate(np.ones(4, int), np.stack([unsure, wrong * 0 + 0.5]), truth)
    assert np.isnan(one_class.auroc).all()
    assert one_class.best == 1
    findings = np.array([[0, np.nan], [1, np.nan], [1, 1]])
    found = score_candidates(findings, np.array([[[0.2, 0.5], [0.8, 0.0], [0.6, 0.9]]]))
    assert found.auroc == 1
    np.testing.assert_allclose(found.log_loss, (-np.log([0.8, 0.8, 0.6]).mean() - np.log(0.9)) / 2)
