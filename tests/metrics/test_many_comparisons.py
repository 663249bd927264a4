"""Many pairs at once give what each pair gives alone."""

from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest

from radapt.errors import DataError
from radapt.metrics.comparison import (
    Draws,
    LabelMapSets,
    PredictionSets,
    compare_many,
    compare_pairs,
    paired_label_maps,
    paired_predictions,
)
from radapt.metrics.segmentation import NUMBERS

DRAWS = Draws(seed=3, resamples=200, permutations=300)
PAIRS = [((0, 1), (2, 2)), ((2,), (0,))]


def predictions(task: str, outputs: int, cases: int = 60) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng([cases, outputs])
    if task == "multilabel":
        truth = (rng.random((cases, outputs)) < 0.4).astype(float)
        truth[rng.random(truth.shape) < 0.1] = np.nan
        return truth, [np.round(rng.random(truth.shape), 2) for _ in range(3)]
    truth = rng.integers(-1, outputs, cases)
    found = [rng.dirichlet(np.ones(outputs), cases) for _ in range(3)]
    found[1][:20] = np.eye(outputs)[np.maximum(truth[:20], 0)]  # better than the others, with ties
    return truth, found


@pytest.mark.parametrize(("task", "outputs"), [("binary", 2), ("multiclass", 3), ("multilabel", 3)])
def test_predictions(task: str, outputs: int) -> None:
    truth, sets = predictions(task, outputs)
    patients, names = np.arange(len(truth)) // 2, [f"c{i}" for i in range(outputs)]
    rng = np.random.default_rng(1)
    shape = (3, *(truth.shape if task == "multilabel" else (len(truth),)))
    decided = rng.integers(0, 2 if task == "multilabel" else outputs, shape)
    rows = ["auroc", "mcc", "brier", "ece", "auroc:c1", "sensitivity:c1", "mcc (argmax)", "average_precision"]
    found = compare_many(
        PredictionSets(truth, sets, patients, task=task, outputs=names, decisions=list(decided)), PAIRS, rows, DRAWS
    )
    for row in rows:
        for number, (first, second) in enumerate(PAIRS):
            pairs = [
                paired_predictions(
                    row, truth, (sets[a], sets[b]), patients, task=task, outputs=names,
                    decisions=(decided[a], decided[b]),
                )
                for a, b in zip(first, second, strict=True)
            ]  # fmt: skip
            alone = compare_pairs(pairs, DRAWS)
            together = found[row][number]
            assert np.isnan(together.p) == (row == "average_precision")
            if row != "average_precision":
                assert astuple(together) == pytest.approx(astuple(alone), abs=1e-12)
            assert together.ci_low == pytest.approx(alone.ci_low, abs=1e-12)


def label_maps(seed: int, patients: int = 20) -> pd.DataFrame:
    rng, rows = np.random.default_rng(seed), []
    for case in range(2 * patients):
        for label in ("core", "rim"):
            lacks = label == "rim" and case % 3 == 0
            outcome = str(rng.choice(["empty", "false_alarm"] if lacks else ["both", "missed"], p=[0.8, 0.2]))
            numbers = dict.fromkeys(NUMBERS, 0.0 if outcome != "both" else float(rng.random()))
            if outcome == "empty":
                numbers = dict.fromkeys(NUMBERS, float("nan"))
            rows.append({"case": f"c{case}", "patient": f"p{case // 2}", "label": label, "outcome": outcome, **numbers})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("metric", ["dice", "dice:rim", "false_alarm:rim", "volume_error_abs_ml"])
def test_label_maps(metric: str) -> None:
    tables = [label_maps(seed) for seed in range(3)]
    found = compare_many(LabelMapSets(tables, labels=["core", "rim"]), PAIRS, [metric], DRAWS)[metric]
    for (first, second), together in zip(PAIRS, found, strict=True):
        pairs = [
            paired_label_maps(metric, tables[a], tables[b], labels=["core", "rim"])
            for a, b in zip(first, second, strict=True)
        ]
        assert astuple(together) == pytest.approx(astuple(compare_pairs(pairs, DRAWS)), abs=1e-12)


def test_few_patients_have_every_exchange_counted_and_one_has_no_interval() -> None:
    truth, sets = predictions("binary", 2, cases=8)
    for patients, exact in ((np.arange(8), True), (np.zeros(8), True)):
        given = PredictionSets(np.abs(truth), sets, patients, task="binary", outputs=["a", "b"], metrics=["accuracy"])
        found = compare_many(given, [((0,), (1,))], ["accuracy"], DRAWS)["accuracy"][0]
        assert found.exact == exact
    assert np.isnan(found.ci_low)
    assert found.p == 1


def test_what_cannot_be_compared() -> None:
    truth, sets = predictions("binary", 2)
    given = PredictionSets(truth, sets, np.arange(60), task="binary", outputs=["a", "b"])
    with pytest.raises(DataError, match="2 and 1 sets"):
        compare_many(given, [((0, 1), (2,))], ["mcc"])
    with pytest.raises(DataError, match="0 resamples"):
        compare_many(given, PAIRS, ["mcc"], Draws(resamples=0))
    assert compare_many(given, PAIRS, ["no metric"], DRAWS) == {}
    with pytest.raises(DataError, match="in one of two tables"):
        LabelMapSets([label_maps(0), label_maps(0, 19)], labels=["core", "rim"])
    with pytest.raises(DataError, match="at least one table"):
        LabelMapSets([], labels=["core"])
    with pytest.raises(DataError, match="at least one set"):
        PredictionSets(truth, [], np.arange(60), task="binary", outputs=["a", "b"])
