"""Calibration, coverage and abstention on the predictions of finished runs.

Fitted on val and counted on test; with folds, fitted on nine tenths of the patients (out of fold) and counted on the
other tenth, in turn. Run:

    python benchmarks/certainty.py RUN… [--alpha 0.1] [--protocols logistic linear knn]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binom

from radapt.deploy.certainty import LabelledPredictions, fit_certainty
from radapt.metrics import ece, units_of
from radapt.metrics.refusal import gain_share

PARTS = 10


def parts_of(table: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit on and rows to count on."""
    splits = set(table["split"])
    if {"val", "test"} <= splits:
        return [tuple(np.flatnonzero(table["split"] == split) for split in ("val", "test"))]  # type: ignore[list-item]
    if splits != {"oof"}:
        return []
    unit, units = units_of(table["patient"].to_numpy())
    part = (np.random.default_rng(0).permutation(units) % PARTS)[unit]
    return [(np.flatnonzero(part != number), np.flatnonzero(part == number)) for number in range(PARTS)]


def numbers_of(table: pd.DataFrame, alpha: float) -> dict[str, float]:
    """One row of the table: empty if there is nothing to fit on."""
    names = [name.removeprefix("p_") for name in table if name.startswith("p_")]
    table = table[table["truth"].isin(names)]
    truths = np.asarray([names.index(truth) for truth in table["truth"]], dtype=np.int64)
    given, patients = table[[f"p_{name}" for name in names]].to_numpy(), table["patient"].to_numpy()
    one = np.ones((len(table), 1), dtype=bool)
    calibrated, inside = np.full(given.shape, np.nan), np.zeros(given.shape, dtype=bool)
    parts = parts_of(table)
    for fit, count in parts:
        cases = LabelledPredictions(given[fit], truths[fit], patients[fit], one[fit])
        fitted = fit_certainty(cases, outputs=names, sequences=["image"], alpha=alpha, rng=np.random.default_rng(0))
        calibrated[count] = fitted.calibrated(given[count])
        inside[count] = fitted.contain(calibrated[count], one[count])
    if not parts:
        return {}
    rows = np.concatenate([count for _, count in parts])
    best = calibrated[rows].argmax(axis=1)
    correct = (best == truths[rows]).astype(float)
    decided = np.asarray([names.index(word) for word in table["decision"]])[rows] if "decision" in table else best
    right = (decided == truths[rows]).astype(float)
    doubt = 1 - np.take_along_axis(calibrated[rows], decided[:, None], axis=1)[:, 0]
    covered, single = inside[rows, truths[rows]], inside[rows].sum(axis=1) == 1
    people = len(set(patients[rows]))
    return {
        "patients": people,
        "accuracy": correct.mean(),
        "ECE before": float(ece(truths[rows], given[rows])),
        "ECE after": float(ece(truths[rows], calibrated[rows])),
        "coverage": covered.mean(),
        "by chance from": binom.ppf(0.025, people, 1 - alpha) / people,
        "to": binom.ppf(0.975, people, 1 - alpha) / people,
        "one class": single.mean(),
        "accuracy of one": correct[single].mean() if single.any() else np.nan,
        "accuracy decided": right.mean(),
        "oracle's gain by 1 - max": gain_share(right, 1 - calibrated[rows].max(axis=1), patients[rows]),
        "by doubt": gain_share(right, doubt, patients[rows]),
    }


def main() -> None:
    """Print a row for each cell."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    options.add_argument("--alpha", type=float, default=0.1)
    options.add_argument("--protocols", nargs="+", default=["logistic", "linear", "knn"])
    given = options.parse_args()
    found = {}
    for path in sorted(path for run in given.runs for path in run.glob("cells/*/predictions.parquet")):
        cell = json.loads(path.with_name("cell.json").read_text(encoding="utf-8"))
        table = pd.read_parquet(path)
        if cell["protocol"] in given.protocols and "truth" in table:
            name = f"{cell['cohort']} · {cell['backbone']} · {cell['protocol']} · {path.parent.name[:4]}"
            found[name] = numbers_of(table, given.alpha)
    print(pd.DataFrame({name: row for name, row in found.items() if row}).T.round(3).to_string())


if __name__ == "__main__":
    main()
