"""Learning curves: nested draws, any protocol that classifies, val never mixed in, and means with both chances."""

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radapt.backbones import load_backbone
from radapt.cohorts.label_draws import restrict
from radapt.errors import UsageError
from radapt.metrics import score_repeats
from radapt.protocols import PROTOCOLS, FeatureProblem, FewShot, Machine, evaluate, learning_curve, make, train
from radapt.training.fit_record import FitCases
from toy_images import discs, image_cohort

BASES = sorted(name for name, kind in PROTOCOLS.items() if kind.reads == "features" and kind is not FewShot)
LOGISTIC: dict[str, Any] = {"C": [1e-3, 1e-1], "blocks": 1}
QUICK: dict[str, dict[str, Any]] = {
    "mil": {"epochs": 2, "lr": 1e-2},
    "logistic": LOGISTIC,
    "shuffled-labels": {"options": LOGISTIC},
}
"""Options of protocols that would otherwise train for long."""


def small(base: str) -> dict[str, Any]:
    return {"protocol": base, "options": QUICK.get(base, {}), "shots": [1, 4], "repeats": 2}


@pytest.mark.parametrize("base", BASES)
def test_every_protocol_on_features_can_be_repeated(base: str, every_task: Any) -> None:
    result = evaluate(every_task, "fewshot", **small(base), resamples=20, seed=5)
    sizes = [(k, repeat) for k in (1, 4) for repeat in (0, 1)]
    for table in (result.predictions, result.scores):
        assert list(table.columns[:3]) == ["shots", "fraction", "repeat"]
        assert table["shots"].dtype == "Int64"
        assert table["fraction"].isna().all()
        assert list(table.groupby(["shots", "repeat"]).groups) == sizes
    draws = make("fewshot", **small(base)).draws(every_task.cohort, 5)
    assert [(fit.draw.shots, fit.draw.repeat) for fit in result.fits] == sizes
    for draw, fit in zip(draws, result.fits, strict=True):
        assert fit.draw.patients == len(draw.patients)
        limited = replace(every_task, cohort=restrict(every_task.cohort, draw))
        alone = evaluate(limited, base, seed=5, resamples=20, refit=False, **QUICK.get(base, {}))
        assert fit.cases == alone.fit.cases
        mine = (result.predictions["shots"] == draw.shots) & (result.predictions["repeat"] == draw.repeat)
        pd.testing.assert_frame_equal(
            result.predictions[mine].iloc[:, 3:].reset_index(drop=True), alone.predictions, check_exact=True
        )


def test_more_shots_do_better_and_shares_stand_beside(multiclass: Any) -> None:
    result = evaluate(multiclass, "fewshot", shots=[1, 8], fractions=[0.25, 1.0], repeats=3, resamples=0)
    found = result.scores.query("split == 'test' and metric == 'auroc'")
    means = found.groupby(["shots", "fraction"], dropna=False)["value"].mean()
    assert means[1].item() < means[8].item()
    assert found["fraction"].value_counts().to_dict() == {0.25: 3, 1.0: 1}
    whole = evaluate(multiclass, "logistic", resamples=0, refit=False)
    mine = result.predictions[result.predictions["fraction"] == 1.0].iloc[:, 3:].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, whole.predictions, check_exact=True)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("choose", ["val", "default"])
def test_val_is_never_learned_from(base: str, choose: str, multiclass: Any) -> None:
    protocol = make("fewshot", **{**small(base), "shots": [2], "repeats": 1}, choose=choose)
    draw = protocol.draws(multiclass.cohort, 0)[0]
    limited = replace(multiclass, cohort=restrict(multiclass.cohort, draw))
    cases = evaluate(multiclass, protocol, resamples=0).fit.cases
    assert (cases.train, cases.refit) == (8, None)
    assert (cases.val > 0) == (choose == "val")
    fitted = protocol.fit(FeatureProblem.of(limited, refit=False), np.random.default_rng(0))
    rows = np.flatnonzero(multiclass.cohort.splits == "test")
    np.testing.assert_array_equal(fitted.final.predict(rows), fitted.before_refit.predict(rows))


@pytest.mark.parametrize("base", BASES)
def test_at_defaults_the_labels_of_val_change_nothing(base: str, binary: Any) -> None:
    cohort = binary.cohort
    cases = tuple(replace(case, label=1 - case.label) if case.split == "val" else case for case in cohort)
    turned = replace(binary, cohort=replace(cohort, cases=cases))
    options = {**small(base), "choose": "default"}
    one, two = (evaluate(each, "fewshot", resamples=0, **options) for each in (binary, turned))
    columns = [name for name in one.predictions if name.startswith("p_")]
    pd.testing.assert_frame_equal(one.predictions[columns], two.predictions[columns], check_exact=True)
    assert all(fit.cases.val == 0 for fit in one.fits)


def test_without_val_of_its_own_some_of_the_drawn_patients_serve_and_are_learned_from_in_the_end(binary: Any) -> None:
    cohort = binary.cohort
    cases = tuple(case for case in cohort if case.split != "val")
    kept = np.flatnonzero(cohort.splits != "val")
    bare = replace(binary, cohort=replace(cohort, cases=cases), values=binary.values[kept])
    few, many = evaluate(bare, "fewshot", shots=[1, 16], repeats=1, resamples=0).fits
    assert few.cases == FitCases(2, 0, "none")
    assert "too few patients" in few.criterion
    assert many.cases.train + many.cases.val == many.cases.refit == 32
    assert many.cases.val > 0


def test_every_backbone_and_protocol_gets_the_same_patients(multiclass: Any) -> None:
    other = replace(multiclass, values=multiclass.values[..., ::-1].copy())
    results = [
        evaluate(features, "fewshot", resamples=0, **small(base))
        for features in (multiclass, other)
        for base in ("knn", "logistic")
    ]
    draws = [[fit.draw.patients for fit in result.fits] for result in results]
    assert all(each == draws[0] for each in draws)
    first, second = (make("fewshot", protocol=base).draws(multiclass.cohort, 3) for base in ("knn", "logistic"))
    assert first == second


def test_what_was_not_chosen_is_said(binary: Any) -> None:
    fit = evaluate(binary, "fewshot", shots=[1], repeats=1, choose="default", resamples=0).fit
    assert "val was not looked at" in fit.criterion
    assert fit.winner.options["C"] == 0.01  # the middle of the grid


def test_a_class_with_too_few_patients_is_said(features_of: Any) -> None:
    labels = np.array([0] * 20 + [1] * 3 + [0, 1] * 5)
    splits = np.array(["train"] * 23 + ["test"] * 10)
    result = evaluate(features_of(labels, splits), "fewshot", shots=[2, 4], repeats=1, resamples=0)
    small, large = (fit.draw for fit in result.fits)
    assert small.notes == ()
    assert large.notes == ("'k1' has 3 labelled training patients, fewer than 4; all are kept.",)
    assert large.patients == 7


def test_the_curve_is_the_mean_over_repeats_with_both_chances(every_task: Any) -> None:
    cohort = every_task.cohort
    result = evaluate(every_task, "fewshot", shots=[2], fractions=[0.5], repeats=4, resamples=0)
    curve = learning_curve(result, cohort, resamples=200)
    assert list(curve.columns[:4]) == ["shots", "fraction", "split", "metric"]
    plain = curve[~curve["metric"].str.contains("argmax", regex=False)]  # where a decision is another one
    assert len(plain) == 2 * 3 * plain["metric"].nunique()
    cells = result.scores.query("split == 'test' and metric == 'auroc' and shots == 2")
    row = curve.query("split == 'test' and metric == 'auroc' and shots == 2").iloc[0]
    assert row["value"] == pytest.approx(cells["value"].mean())
    assert row["sd"] == pytest.approx(cells["value"].std())
    assert row["n_repeats"] == 4
    assert row["ci_low"] < row["value"] < row["ci_high"]
    cases = np.flatnonzero(cohort.splits == "test")
    answers = result.predictions.query("split == 'test' and shots == 2").groupby("repeat")
    probabilities = [each[[f"p_{name}" for name in cohort.outputs]].to_numpy() for _, each in answers]
    table = score_repeats(
        cohort.labels[cases], probabilities, cohort.patients[cases], task=cohort.task, outputs=cohort.outputs,
        rng=np.random.default_rng(0), resamples=200,
    )  # fmt: skip
    assert row["ci_low"] == table.set_index("metric").loc["auroc", "ci_low"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shots": []}, "neither shots nor fractions"),
        ({"shots": [0]}, "'shots'"),
        ({"shots": [1.5]}, "'shots'"),
        ({"fractions": [0.0]}, "'fractions'"),
        ({"fractions": [1.1]}, "'fractions'"),
        ({"repeats": 0}, "'repeats'"),
        ({"protocol": "logistik"}, "Did you mean 'logistic'"),
        ({"protocol": "fewshot"}, "cannot repeat itself"),
        ({"protocol": "knn", "options": {"kk": [1]}}, "no option 'kk'"),
        ({"options": {"C": [-1.0]}}, "'logistic'"),
        ({"choose": "test"}, "'choose'"),
        ({"shot": [1]}, "Did you mean 'shots'"),
    ],
)
def test_wrong_options_are_answered_before_anything_runs(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make("fewshot", **options)


def test_options_are_plain_values_in_one_order() -> None:
    made = make("fewshot", shots=[4, 1, 4], fractions=[1, 0.1], options={"class_weight": "balanced"})
    assert asdict(made)["shots"] == (1, 4)  # type: ignore[call-overload]
    assert asdict(made)["fractions"] == (0.1, 1.0)  # type: ignore[call-overload]
    assert isinstance(made, FewShot)
    assert asdict(made.base)["class_weight"] == "balanced"  # type: ignore[call-overload]
    assert asdict(make("fewshot", choose="default").base) != asdict(make("fewshot").base)  # type: ignore[attr-defined]


@pytest.mark.parametrize("choose", ["val", "default"])
def test_protocols_that_train_on_images_are_repeated_in_folders_of_their_own(choose: str, tmp_path: Path) -> None:
    made = np.random.default_rng(0)
    labels = [number % 2 for number in range(24)]
    splits = [("train", "train", "val", "test")[number // 2 % 4] for number in range(24)]
    images = [{"image": discs(made, label)} for label in labels]
    cohort = image_cohort(tmp_path / "images", images, labels, splits)
    options = {"epochs": 2, "batch": 4, "lr": [1e-3, 3e-3]}
    protocol = make("fewshot", protocol="bitfit", options=options, shots=[1, 2], repeats=1, choose=choose)
    assert (protocol.reads, protocol.uses_backbone) == ("images", True)
    backbone, machine = load_backbone("timm:test_vit", "random"), Machine(folder=tmp_path / "cell")
    result = train(cohort, protocol, backbone, size=16, cache=tmp_path / "cache", resamples=0, machine=machine)
    assert set(zip(result.scores["shots"], result.scores["repeat"], strict=True)) == {(1, 0), (2, 0)}
    assert {each.name for each in (tmp_path / "cell").iterdir()} == {"1-shots-repeat-0", "2-shots-repeat-0"}
    for fit in result.fits:
        assert (fit.cases.train, fit.cases.val) == (2 * fit.draw.shots, 6 if choose == "val" else 0)
    assert result.cost is not None
    assert 0 < result.cost.trained < result.cost.parameters
    with pytest.raises(UsageError, match=r"radapt\.train"):
        evaluate(SimpleNamespace(cohort=cohort), protocol)  # type: ignore[arg-type]
