"""The table: its rows, its counts, what is undefined, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from radapt import metrics
from radapt.errors import DataError, RadaptError
from radapt.metrics import score
from radapt.metrics.metric import macro

COLUMNS = ["metric", "value", "ci_low", "ci_high", "n_patients", "n_scored", "n_unscored", "n_undefined"]
OVERALL = ["auroc", "average_precision", "balanced_accuracy", "mcc", "f1", "accuracy", "log_loss", "brier", "ece"]


def _table(truth: object, p: object, patients: object = None, *, resamples: int = 50, **given: object) -> pd.DataFrame:
    truth, p = np.asarray(truth), np.asarray(p, dtype=float)
    options = {"task": "binary" if p.shape[1] == 2 else "multiclass", "outputs": list("abcdef"[: p.shape[1]])}
    who = np.arange(len(truth)) if patients is None else patients
    made = np.random.default_rng(0)
    return score(truth, p, who, rng=made, resamples=resamples, **{**options, **given}).set_index("metric")  # type: ignore[arg-type]


def _toy(classes: int, cases: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    truth = rng.integers(0, classes, cases)
    logits = rng.normal(size=(cases, classes)) + np.eye(classes)[truth]
    return truth, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_rows_and_columns() -> None:
    table = _table(*_toy(3), ordered=True).reset_index()
    assert list(table.columns) == COLUMNS
    per_class = ["auroc", "average_precision", "sensitivity", "specificity", "f1"]
    named = [f"{metric}:{name}" for metric in per_class for name in "abc"]
    assert table["metric"].tolist() == [*OVERALL, "quadratic_kappa", *named]
    inside = table[table["metric"] != "ece"]  # see docs/statistics.md: resampling adds to the calibration error
    assert ((inside["ci_low"] <= inside["value"]) & (inside["value"] <= inside["ci_high"])).all()


def test_a_multiclass_number_is_the_mean_over_classes() -> None:
    truth, p = _toy(3)
    table = _table(truth, p)["value"]
    np.testing.assert_allclose(table["auroc"], roc_auc_score(truth, p, multi_class="ovr"))
    np.testing.assert_allclose(table["average_precision"], average_precision_score(np.eye(3)[truth], p))
    np.testing.assert_allclose(table["auroc:b"], roc_auc_score(truth == 1, p[:, 1]))
    np.testing.assert_allclose(table["balanced_accuracy"], table[[f"sensitivity:{name}" for name in "abc"]].mean())


def test_the_second_class_is_the_positive_one() -> None:
    truth, p = _toy(2)
    table = _table(truth, p)["value"]
    np.testing.assert_allclose(table["auroc"], roc_auc_score(truth, p[:, 1]))
    np.testing.assert_allclose(table["average_precision"], average_precision_score(truth, p[:, 1]))
    np.testing.assert_allclose(table["average_precision"], table["average_precision:b"])
    np.testing.assert_allclose(table["f1"], f1_score(truth, p.argmax(axis=1), average="macro"))
    assert table["specificity:b"] == table["sensitivity:a"]


def test_plain_functions_and_table_agree() -> None:
    truth, p = _toy(4)
    table = _table(truth, p, ordered=True)["value"]
    for name in ("balanced_accuracy", "mcc", "f1", "accuracy", "quadratic_kappa"):
        np.testing.assert_allclose(table[name], getattr(metrics, name)(truth, p.argmax(axis=1)), rtol=1e-12)
    for name in ("log_loss", "brier", "ece"):
        np.testing.assert_allclose(table[name], getattr(metrics, name)(truth, p), rtol=1e-12)


def test_every_patient_twice_keeps_every_value() -> None:
    truth, p = _toy(3)
    once, twice = _table(truth, p), _table(truth.repeat(2), p.repeat(2, axis=0))
    np.testing.assert_allclose(twice["value"], once["value"], rtol=1e-12)


def test_findings_leave_out_unknown_truths_of_that_finding_only() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, (60, 3)).astype(float)
    truth[rng.random(truth.shape) < 0.3] = np.nan
    truth[:5] = np.nan  # five cases without any truth
    p = rng.random((60, 3))
    table = _table(truth, p, np.arange(60) // 2, task="multilabel", outputs=["effusion", "mass", "nodule"])
    for index, name in enumerate(("effusion", "mass", "nodule")):
        known = ~np.isnan(truth[:, index])
        row = table.loc[f"auroc:{name}"]
        np.testing.assert_allclose(row["value"], roc_auc_score(truth[known, index], p[known, index]))
        np.testing.assert_allclose(
            table.loc[f"f1:{name}", "value"], f1_score(truth[known, index], p[known, index] > 0.5)
        )
        assert (row["n_scored"], row["n_unscored"]) == (known.sum(), 60 - known.sum())
        assert row["n_patients"] == len(np.unique((np.arange(60) // 2)[known]))
    some = ~np.isnan(truth).all(axis=1)
    assert (table.loc["auroc", "n_scored"], table.loc["auroc", "n_unscored"]) == (some.sum(), 60 - some.sum())
    by_finding = table.loc[[f"auroc:{name}" for name in ("effusion", "mass", "nodule")], "value"]
    np.testing.assert_allclose(table.loc["auroc", "value"], by_finding.mean())


def test_an_absent_finding_is_counted_and_never_averaged_in() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (40, 3)).astype(float)
    truth[:, 1] = 0  # never present
    truth[:, 2] = np.nan  # never looked for
    table = _table(truth, rng.random((40, 3)), task="multilabel")
    assert table.loc["auroc", ["n_undefined", "n_scored"]].tolist() == [2, 40]
    assert table.loc["auroc", "value"] == table.loc["auroc:a", "value"]
    assert table.loc["log_loss", "n_undefined"] == 1
    assert table.loc["auroc:b"].isna()[["value", "ci_low", "ci_high"]].all()
    assert table.loc["auroc:b", ["n_patients", "n_scored", "n_unscored", "n_undefined"]].tolist() == [0, 0, 40, 1]
    assert table.loc["specificity:b", "n_scored"] == 40
    assert table.loc["specificity:c", "n_unscored"] == 40


def test_a_split_with_one_class_has_no_ranking_but_losses() -> None:
    _, p = _toy(2, 30)
    table = _table(np.ones(30, dtype=int), p, ordered=True)
    undefined = ["auroc", "average_precision", "balanced_accuracy", "mcc", "f1", "quadratic_kappa"]
    assert table.loc[undefined, ["value", "ci_low", "ci_high"]].isna().all(axis=None)
    assert (table.loc[undefined, "n_scored"] == 0).all()
    assert (table.loc[undefined, "n_unscored"] == 30).all()
    assert (table.loc[undefined, "n_undefined"] >= 1).all()
    defined = ["accuracy", "log_loss", "brier", "ece", "sensitivity:b"]
    assert table.loc[defined].notna().all(axis=None)
    assert (table.loc[defined, "n_scored"] == 30).all()


def test_a_class_that_is_absent_is_left_out_of_means_whatever_is_predicted() -> None:
    truth, p = _toy(3)
    truth[truth == 2] = 0
    table = _table(truth, p)
    macros = table.loc[["auroc", "average_precision", "balanced_accuracy", "f1"]]
    assert (macros["n_undefined"] == 1).all()
    assert (table.loc[["mcc", "accuracy", "ece"], "n_undefined"] == 0).all()
    assert table.loc["auroc", "value"] == pytest.approx(table.loc[["auroc:a", "auroc:b"], "value"].mean())


def test_unlabelled_cases_change_nothing_but_the_count() -> None:
    truth, p = _toy(3)
    more = np.concatenate([truth, np.full(20, -1)]), np.concatenate([p, p[:20]])
    one, other = _table(truth, p), _table(*more)
    assert (other["n_unscored"] == 20).all()
    pd.testing.assert_frame_equal(one.drop(columns="n_unscored"), other.drop(columns="n_unscored"))


@pytest.mark.parametrize("cases", [0, 10])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_without_any_labelled_case_everything_is_undefined(task: str, cases: int) -> None:
    outputs = 2 if task == "binary" else 3
    truth = np.full((cases, 3), np.nan) if task == "multilabel" else np.full(cases, -1)
    p = np.full((cases, outputs), 1 / outputs)
    table = _table(truth, p, task=task, outputs=list("abc")[:outputs])
    assert table[["value", "ci_low", "ci_high"]].isna().all(axis=None)
    assert (table["n_scored"] == 0).all()
    assert (table["n_unscored"] == cases).all()
    assert (table["n_undefined"] >= 1).all()


def test_one_patient_has_values_and_no_interval() -> None:
    truth, p = _toy(2)
    table = _table(truth, p, ["only"] * 80)
    assert table["value"].notna().all()
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)
    assert (table["n_patients"] == 1).all()


def test_a_finding_known_in_one_patient_only_has_no_interval() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (40, 2)).astype(float)
    truth[:, 1] = np.nan
    truth[:2, 1] = 0, 1  # the two cases of patient 0, drawn in 63 % of the replicates, always alike
    table = _table(truth, rng.random((40, 2)), np.arange(40) // 2, task="multilabel")
    assert table.loc["auroc:b", ["n_patients", "n_scored", "n_unscored"]].tolist() == [1, 2, 38]
    assert np.isfinite(table.loc["auroc:b", "value"])
    assert table.loc["auroc:b", ["ci_low", "ci_high"]].isna().all()
    assert table.loc["auroc:a", ["ci_low", "ci_high"]].notna().all()


def test_a_class_of_one_patient_has_no_interval_and_the_mean_over_classes_has_one() -> None:
    # 'b' is drawn in 63 % of the replicates. With two such classes one is missing in most replicates, and the mean
    # over classes is then that of the other two.
    _, p = _toy(3)
    truth = np.zeros(80, dtype=int)
    truth[0] = 1
    assert _table(truth, p, resamples=500).loc["auroc"].notna().all()
    truth[1] = 2
    table = _table(truth, p, resamples=500)
    assert table.loc[["auroc", "auroc:a", "mcc", "accuracy"], "ci_low"].notna().all()
    assert table.loc[["auroc:b", "auroc:c"], "ci_low"].isna().all()


def test_a_mean_over_outputs_needs_more_than_half_of_them() -> None:
    each = np.array([[0.5, 0.7, 0.9], [0.5, np.nan, 0.9], [0.5, np.nan, np.nan]])
    np.testing.assert_allclose(macro(each, np.array([True, True, True])), [0.7, 0.7, np.nan])
    np.testing.assert_allclose(macro(each, np.array([True, True, False])), [0.6, np.nan, np.nan])
    assert np.isnan(macro(each, np.array([False, False, False]))).all()


def test_no_resamples_no_interval() -> None:
    table = _table(*_toy(2), resamples=0)
    assert table["value"].notna().all()
    assert table["ci_low"].isna().all()


def test_ties_go_to_the_first_class_and_a_finding_needs_more_than_one_half() -> None:
    half = np.full((2, 2), 0.5)
    assert _table([0, 1], half).loc["sensitivity:a", "value"] == 1
    findings = _table([[1.0, 0], [0, 1]], half, task="multilabel")
    assert findings.loc["specificity:a", "value"] == 1


def test_single_precision_is_accepted() -> None:
    truth, p = _toy(3)
    one, other = _table(truth, p), _table(truth, p.astype(np.float32))
    np.testing.assert_allclose(one["value"], other["value"], atol=1e-6)


P = np.full((4, 2), 0.5)
FINDINGS = {"task": "multilabel"}


@pytest.mark.parametrize(
    ("truth", "p", "given", "says"),
    [
        ([0, 1, 0], P, {}, r"shape \(4, 2\); expected \(3, 2\)"),
        ([0, 1, 0, 1], P, {"outputs": ["a", "b", "c"], "task": "multiclass"}, r"expected \(4, 3\)"),
        ([0, 1, 0, 1], P, {"outputs": ["a", "a"]}, "a different name"),
        ([0, 1, 0, 1], P, {"task": "binray"}, "Did you mean 'binary'"),
        ([0, 1, 0, 1], np.full((4, 3), 1 / 3), {"task": "binary"}, "2 outputs"),
        ([0, 1, 0, 2], P, {}, "Truth of case 3 .* is 2; expected 0 … 1"),
        ([0, 1, -2, 1], P, {}, "Truth of case 2"),
        ([0.5, 1, 0, 1], P, {}, "Truth of case 0"),
        (["a", "b", "a", "b"], P, {}, "Truth of case 0"),
        ([[0], [1], [0], [1]], P, {}, r"Truth of shape \(4, 1\)"),
        ([0, 1, 0, 1], P, FINDINGS, "expected .N, findings"),
        ([[0, 1], [0, 2], [1, 1], [0, 0]], P, FINDINGS, r"Truth of case 1 .* is 2.0; expected 1, 0 or NaN"),
        ([0, 1, 0, 1], [[0.5, 0.5], [np.nan, 0.5], [1, 0], [np.nan, 1]], {}, r"Case 1 .* NaN .* 1 other"),
        ([0, -1, 0, 1], [[0.5, 0.5], [np.nan, 0.5], [1, 0], [0, 1]], {}, "Case 1 .* NaN"),
        ([0, 1, 0, 1], [[0.5, 0.5], [-1, 2], [1, 0], [0, 1]], {}, r"Case 1 .* outside \[0, 1\]"),
        ([0, 1, 0, 1], [[0.5, 0.5], [0.5, 0.4], [1, 0], [0, 1]], {}, "Case 1 .* sum to 1"),
        ([[0, 1]] * 4, [[0.5, 0.5], [0.5, np.inf], [1, 0], [0, 1]], FINDINGS, r"Case 1 .* outside"),
        ([0, 1, 0, 1], P, {"patients": ["a", "b", "c"]}, "3 patients do not fit 4 cases"),
        ([0, 1, 0, 1], P, {"patients": ["a", "b", None, "c"]}, "Case 2 .* has no patient"),
        ([0, 1, 0, 1], P, {"resamples": -1}, "0 or more"),
    ],
)
def test_bad_input_is_refused(truth: object, p: object, given: dict, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        _table(truth, p, **given)
    assert isinstance(caught.value, RadaptError)
