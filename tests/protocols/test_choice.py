"""Choices with few patients: inner folds, the metric, the decision, and constants called by their name."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radapt.errors import UsageError
from radapt.metrics import balanced_accuracy, mcc, score
from radapt.metrics.constant import constant_answer
from radapt.metrics.registry import METRICS
from radapt.probes.logistic import LogisticFamily, c_values
from radapt.protocols import PROTOCOLS, FeatureProblem, FewShot, Protocol, evaluate, make
from radapt.protocols.choice import ChoiceRules, method_of
from radapt.protocols.decisions import decide, fixed_decision, smoothed, tuned_decision
from radapt.protocols.holdout import labelled
from radapt.protocols.out_of_fold import OutOfFold
from radapt.protocols.ratings import score_candidates
from radapt.training.fit_record import Decision, FitRecord

ALL = sorted(name for name, kind in PROTOCOLS.items() if kind.reads == "features" and kind is not FewShot)
QUICK: dict[str, dict[str, Any]] = {
    "mil": {"epochs": 4, "lr": (1e-2, 1e-3)},
    "logistic": {"C": (0.001, 0.1, 10.0), "blocks": 1},
    "linear": {"C": (0.001, 0.1, 10.0), "epochs": 2},
}


def quick(name: str) -> Protocol:
    return make(name, **QUICK.get(name, {}))


def small(features_of: Any, seed: int = 0, signal: float = 1.0, share: float = 0.5) -> Any:
    """30 patients in train, 16 in val, 14 in test; the first class has about `share` of them."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(60) >= share).astype(int)
    labels[:4] = labels[30:34] = labels[46:50] = [0, 1, 0, 1]
    return features_of(labels, np.repeat(["train", "val", "test"], [30, 16, 14]), signal=signal, seed=seed)


def _facts(fit: FitRecord) -> dict[str, Any]:
    """As JSON, in which NaN equals itself, but for what fitting cost."""
    return fit.to_json() | {"cost": None}


@pytest.mark.parametrize("name", ALL)
def test_nothing_of_the_test_set_changes_a_choice_by_folds(name: str, features_of: Any) -> None:
    features = small(features_of)
    tested = np.flatnonzero(features.cohort.splits == "test")
    cases, values = list(features.cohort.cases), features.values.copy()
    for i, j in zip(tested, np.roll(tested, 1), strict=True):
        cases[i] = replace(cases[i], label=features.cohort.cases[j].label)
    values[tested] = values[np.roll(tested, 3)] * 5
    moved = replace(features, cohort=replace(features.cohort, cases=tuple(cases)), values=values)
    first, again, other = (
        evaluate(each, quick(name), resamples=0, choose="cv") for each in (features, features, moved)
    )
    pd.testing.assert_frame_equal(first.predictions, again.predictions, check_exact=True)
    assert _facts(first.fit) == _facts(again.fit)
    assert first.fit.candidates == other.fit.candidates
    assert (first.fit.chosen, first.fit.decision) == (other.fit.chosen, other.fit.decision)
    cases_of = first.fit.cases
    assert (cases_of.train, cases_of.val, cases_of.refit, cases_of.val_source) == (46, 46, 46, "folds")
    assert _facts(FitRecord.from_json(first.fit.to_json())) == _facts(first.fit)


@pytest.mark.parametrize("name", ALL)
def test_val_is_shown_out_of_fold(name: str, features_of: Any) -> None:
    """Features that are noise: who had learned val's answers would know them."""
    labels = np.random.default_rng(1).integers(0, 2, 110)
    splits = np.repeat(["train", "val", "test"], [50, 40, 20])
    features = features_of(labels, splits, width=120, signal=0.0)
    fitted = quick(name).fit(FeatureProblem.of(features), np.random.default_rng(0))
    assert isinstance(fitted.before_refit, OutOfFold)
    val = np.flatnonzero(splits == "val")
    assert (fitted.before_refit.predict(val).argmax(1) == labels[val]).mean() < 0.75
    result = evaluate(features, quick(name), resamples=0)
    shown = result.predictions.query("split == 'val'")[["p_k0", "p_k1"]].to_numpy()
    assert ((shown[:, 1] > 0.5) == labels[val]).mean() < 0.75


def test_no_patient_is_in_two_inner_folds_and_each_is_held_out_once(every_task: Any) -> None:
    patients = np.arange(len(every_task.cohort)) // 3
    cases = [replace(case, patient=f"p{n}", split="train") for case, n in zip(every_task.cohort, patients, strict=True)]
    problem = FeatureProblem.of(replace(every_task, cohort=replace(every_task.cohort, cases=tuple(cases))))
    folds = problem.inner_folds(5, np.random.default_rng(0))
    assert (folds.folds, len(folds.repeats)) == (5, 3)
    for repeat in folds.repeats:
        np.testing.assert_array_equal(np.sort(np.concatenate([fold.held_out for fold in repeat])), folds.rows)
        for fold in repeat:
            assert not set(problem.patients[fold.train]) & set(problem.patients[fold.held_out])
    same = problem.inner_folds(5, np.random.default_rng(0))
    assert all(
        np.array_equal(one.held_out, two.held_out)
        for left, right in zip(folds.repeats, same.repeats, strict=True)
        for one, two in zip(left, right, strict=True)
    )


def test_unlabelled_val_cases_of_a_patient_are_held_out_with_him(features_of: Any) -> None:
    labels = np.array([0, 1] * 10 + [0, -1, 1, -1, -1] + [0, 1])
    patients = np.array([*range(20), 20, 20, 21, 21, 22, 23, 24])
    splits = np.repeat(["train", "val", "test"], [20, 5, 2])
    folds = FeatureProblem.of(features_of(labels, splits, patients=patients)).inner_folds(2, np.random.default_rng(0))
    assert folds.answered.tolist() == [*range(24)]  # 24 is of a patient without a label
    assert folds.rows.tolist() == [*range(21), 22]


@pytest.mark.parametrize(
    ("val", "rare", "expected"), [(99, 40, "cv"), (100, 40, "val"), (120, 14, "cv"), (120, 15, "val"), (0, 0, "cv")]
)
def test_auto_asks_how_much_val_there_is(val: int, rare: int, expected: str, features_of: Any) -> None:
    labels = np.array([0, 1] * 20 + [0] * rare + [1] * (val - rare) + [0, 1])
    cohort = features_of(labels, np.repeat(["train", "val", "test"], [40, val, 2])).cohort
    assert method_of(ChoiceRules(), cohort, labelled(labels), labels) == expected
    assert method_of(ChoiceRules(choose="cv"), cohort, labelled(labels), labels) == "cv"
    assert method_of(ChoiceRules(choose="val"), cohort, labelled(labels), labels) == "val"


def test_folds_choose_no_constant_where_a_val_of_16_does(features_of: Any) -> None:
    """Two in three patients are of the first class, so that the strongest penalty answers it for all. The 16 val
    patients have their labels swapped, as bad luck with few comes near to: on them nothing is better than that
    constant."""
    labels = np.array([0, 0, 1] * 45 + [0])
    splits = np.repeat(["train", "val", "test"], [60, 16, 60])
    features = features_of(labels, splits, signal=0.7, seed=5)
    cases = list(features.cohort.cases)
    for row in range(60, 76):
        cases[row] = replace(cases[row], label=1 - labels[row])
    features = replace(features, cohort=replace(features.cohort, cases=tuple(cases)))
    options: dict[str, Any] = {"C": (1e-12, 0.01, 1.0), "resamples": 0, "decision": "argmax"}
    by_val, by_folds = (evaluate(features, "logistic", choose=choose, **options) for choose in ("val", "cv"))
    assert any("answers k0 for every patient of test" in note for note in by_val.fit.notes)
    assert not any("every patient" in note for note in by_folds.fit.notes)
    found = [each.scores.query("split == 'test' and metric == 'mcc'")["value"].item() for each in (by_val, by_folds)]
    assert found[0] == 0
    assert found[1] > 0.3


def test_choosing_on_val_by_auroc_and_argmax_is_what_it_was(every_task: Any) -> None:
    """The criterion of earlier versions, written down again: macro AUROC on val, ties by log-loss, then refitted."""
    problem = FeatureProblem.of(every_task)
    train, val = problem.rows("train"), problem.rows("val")
    family, rng = LogisticFamily(c_values("default")), np.random.default_rng(0)
    found = score_candidates(problem.labels[val], family.fit(problem, train, rng).predict_all(val))
    best = int(np.lexsort((found.log_loss, -np.round(found.auroc, 12)))[0])
    both = np.sort(np.concatenate([train, val]))
    final = family.fit(problem, both, rng, only=best)
    result = evaluate(
        every_task, "logistic", resamples=0, choose="val", select_by="auroc", decision="argmax", blocks=1,
        patch_mean=False,
    )  # fmt: skip
    assert result.fit.chosen == best
    assert result.fit.winner.val == {"auroc": found.auroc[best], "log_loss": found.log_loss[best]}
    for split in ("test", "external"):
        shown = result.predictions.query(f"split == '{split}'")[[f"p_{name}" for name in problem.outputs]]
        np.testing.assert_array_equal(shown, final.predict_all(np.flatnonzero(problem.splits == split))[0])
    assert not result.scores["metric"].str.contains("argmax").any()


@pytest.mark.parametrize("name", sorted(name for name, metric in METRICS.items() if metric.overall))
def test_every_metric_can_be_chosen_by(name: str, features_of: Any) -> None:
    features = small(features_of)
    if METRICS[name].ordered_only:
        with pytest.raises(UsageError, match="ordered"):
            evaluate(features, quick("logistic"), select_by=name, resamples=0)
        features = replace(features, cohort=replace(features.cohort, ordered=True))
    fit = evaluate(features, quick("logistic"), select_by=name, resamples=0).fit
    assert METRICS[name].title in fit.criterion
    assert np.isfinite(fit.winner.val[name])
    losses = [METRICS[name].loss(each.val.get(f"{name}_smoothed", np.nan)) for each in fit.candidates]
    assert losses[fit.chosen] == min(losses)


def test_what_cannot_be_chosen_by_is_refused(binary: Any) -> None:
    with pytest.raises(UsageError, match="Did you mean 'mcc'"):
        evaluate(binary, "knn", select_by="mmc")
    with pytest.raises(UsageError, match="select_by"):
        evaluate(binary, "knn", select_by="sensitivity")
    with pytest.raises(UsageError, match="choose"):
        evaluate(binary, "knn", choose="cross")  # type: ignore[arg-type]


def test_the_strongest_penalty_within_one_standard_error(features_of: Any) -> None:
    features = small(features_of)
    best, simple = (
        evaluate(features, "logistic", resamples=0, one_standard_error=one, blocks=1, patch_mean=False).fit
        for one in (False, True)
    )
    assert simple.winner.options["C"] <= best.winner.options["C"]
    assert "one standard error" in simple.criterion


def test_a_running_mean_of_three() -> None:
    np.testing.assert_allclose(smoothed(np.array([0.0, 3.0, 0.0, 6.0])), [1.5, 1.0, 3.0, 3.0])
    found = smoothed(np.array([1.0, np.nan, 3.0]))
    assert np.isnan(found[1])
    np.testing.assert_allclose(found[[0, 2]], [1.0, 3.0])


def test_decisions_by_hand() -> None:
    labels = np.array([0] * 9 + [1])
    balanced = fixed_decision("auto", labels, 2)
    assert balanced.rule == "balanced"
    p = np.array([[0.95, 0.05], [0.9, 0.1], [0.89, 0.11]])
    assert decide(balanced, p).tolist() == [0, 0, 1]  # a tie goes to the first
    assert decide(fixed_decision("argmax", labels, 2), p).tolist() == [0, 0, 0]
    assert fixed_decision("auto", np.array([0, 1, 0, 1, 1]), 2).rule == "argmax"
    assert fixed_decision("auto", labels, 2, "balanced").rule == "argmax"  # training made them equal
    findings = np.array([[1, 0], [0, 1], [0, 1], [0, 0], [0, np.nan]])
    decision = fixed_decision("auto", findings, 2)
    assert decision.thresholds == (0.2, 0.5)
    assert decide(decision, np.array([[0.2, 0.6], [0.21, 0.5]])).tolist() == [[0, 1], [1, 0]]
    absent = fixed_decision("balanced", np.array([0, 0, 0, 1]), 3)
    assert absent.weights[2] == 0


def test_a_tuned_decision_is_at_least_as_good_on_what_it_was_tuned_on() -> None:
    rng = np.random.default_rng(0)
    for classes in (2, 3):
        truth = rng.choice(classes, 80, p=np.array([0.8, 0.2, 0.0][:classes]) if classes == 2 else [0.7, 0.2, 0.1])
        p = rng.dirichlet(np.ones(classes), 80) + np.eye(classes)[truth] * 0.3 + np.eye(classes)[0] * 0.8
        p /= p.sum(1, keepdims=True)
        start = fixed_decision("balanced", truth, classes)
        task = "binary" if classes == 2 else "multiclass"
        tuned = tuned_decision(METRICS["mcc"], truth, p, start, task, "why")
        assert tuned.rule == "tuned"
        assert mcc(truth, decide(tuned, p)) > mcc(truth, p.argmax(1))


@pytest.mark.parametrize("decision", ["balanced", "argmax", "tuned"])
def test_the_decision_is_in_the_record_the_table_and_the_scores(decision: Any, features_of: Any) -> None:
    features = small(features_of, signal=0.4, share=0.85, seed=3)
    result = evaluate(features, quick("logistic"), decision=decision, resamples=0)
    rows = result.predictions.query("split == 'test'")
    stored = result.fit.decision
    assert isinstance(stored, Decision)
    assert stored.rule == decision
    decided = decide(stored, rows[["p_k0", "p_k1"]].to_numpy())
    assert rows["decision"].tolist() == [f"k{each}" for each in decided]
    scores = result.scores.query("split == 'test'").set_index("metric")["value"]
    truth = (rows["truth"] == "k1").to_numpy().astype(int)
    plain = rows[["p_k0", "p_k1"]].to_numpy().argmax(1)
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy(truth, decided))
    assert ("mcc (argmax)" in scores) == bool((plain != decided).any())
    if "mcc (argmax)" in scores:
        assert scores["mcc (argmax)"] == pytest.approx(mcc(truth, plain))
        assert scores["sensitivity (argmax):k1"] == pytest.approx((plain[truth == 1] == 1).mean())


def test_other_numbers_have_the_same_bits_whatever_is_decided() -> None:
    rng = np.random.default_rng(0)
    truth, p = rng.integers(0, 3, 60), rng.dirichlet(np.ones(3), 60)
    common: dict[str, Any] = {"task": "multiclass", "outputs": ["a", "b", "c"], "resamples": 50}
    tables = [
        score(truth, p, np.arange(60), rng=np.random.default_rng(1), decisions=decisions, **common).set_index("metric")
        for decisions in (None, (p.argmax(1) + 1) % 3)
    ]
    plain, other = tables
    pd.testing.assert_series_equal(plain.loc["auroc"], other.loc["auroc"], check_exact=True)
    for name in ("mcc", "f1", "accuracy"):
        assert plain.loc[name].tolist() == other.loc[f"{name} (argmax)"].tolist()
        assert plain.loc[name, "value"] != other.loc[name, "value"]


def test_findings_have_a_decision_each(multilabel: Any) -> None:
    result = evaluate(multilabel, quick("logistic"), resamples=0, decision="balanced")
    assert {"decision_k0", "decision_k1", "decision_k2"} <= set(result.predictions)
    thresholds = result.fit.decision.thresholds  # type: ignore[union-attr]
    expected = result.predictions["p_k1"] > thresholds[1]
    assert (result.predictions["decision_k1"] == expected).all()


def test_a_constant_answer_is_called_that(features_of: Any) -> None:
    features = small(features_of, signal=0.0, share=0.8)
    result = evaluate(features, "logistic", C=(1e-12,), decision="argmax", resamples=0)
    assert set(result.predictions["decision"]) == {"k0"}
    assert any("answers k0 for every patient of test" in note for note in result.fit.notes)
    table = pd.DataFrame({"patient": ["a", "b"], "truth": ["x", "y"], "decision": ["x", "x"]})
    assert constant_answer(table) == "answers x for every patient"
    assert constant_answer(table.assign(truth="x")) is None
    assert constant_answer(table.assign(decision=["x", "y"])) is None
    findings = pd.DataFrame({"patient": ["a", "b"], "decision_u": [0, 0], "truth_u": [0.0, 1.0]})
    assert constant_answer(findings) == "answers u absent for every patient"


def test_a_metric_that_is_undefined_out_of_fold_falls_back_to_log_loss(features_of: Any) -> None:
    labels = np.array([[0, 1]] * 20 + [[1, np.nan]] * 20 + [[0, 1], [1, 0]], dtype=float)
    features = features_of(labels, np.repeat(["train", "test"], [40, 2]))
    fit = evaluate(features, quick("logistic"), resamples=0, select_by="mcc").fit
    assert np.isfinite(fit.winner.val["mcc"])  # over the finding that has both answers
    one = features_of(np.array([0, 1] * 20 + [1] * 12 + [0, 1]), np.repeat(["train", "val", "test"], [40, 12, 2]))
    fit = evaluate(one, quick("logistic"), resamples=0, choose="val").fit
    assert any("MCC is undefined on val" in note and "log-loss" in note for note in fit.notes)
