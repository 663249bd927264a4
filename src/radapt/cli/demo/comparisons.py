"""What the demo shows: three differences at the other hospital, each with its interval, paired by patient."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from radapt.cli.demo.study import ADAPTED, METRIC, PROBES, RANDOM_WEIGHTS, SPLIT
from radapt.metrics.paired_scores import score_paired

if TYPE_CHECKING:
    from radapt.cohorts.cohort import Cohort
    from radapt.studies import Settings


@dataclass(frozen=True)
class Comparison:
    """The difference in `METRIC` of two models on the same patients, with its 95 % interval by patient."""

    better: str
    worse: str
    values: tuple[float, float]
    difference: float
    interval: tuple[float, float]
    patients: int

    @property
    def text(self) -> str:
        """One line; it says so if the interval includes 0."""
        low, high = self.interval
        sure = "" if low > 0 or high < 0 else "; the interval includes 0"
        return (
            f"{self.better} {self.values[0]:.2f}, {self.worse} {self.values[1]:.2f}: "
            f"{self.difference:+.2f} [{low:+.2f}, {high:+.2f}], {self.patients} patients{sure}"
        )


def comparisons(run: Path, cohort: "Cohort", settings: "Settings") -> dict[str, list[Comparison]]:
    """By the title of the question: a probe of pretrained weights against the same of random ones, adapted against the
    best frozen probe, all sequences against the best single one. What the cells of the run cannot answer is left
    out."""
    results = pd.read_parquet(run / "results.parquet")
    results = results[(results["split"] == SPLIT) & (results["metric"] == METRIC)].dropna(subset="value")
    results = results.sort_values("value", ascending=False, kind="stable")
    ranked, random = results[results["control"] == ""], results[results["control"] == RANDOM_WEIGHTS]
    found = {
        "Pretrained weights against random ones": _against_random(run, cohort, ranked, random),
        "Adapted against the best frozen probe": _against_frozen(run, cohort, ranked),
        "All available sequences against the best single one": _against_one(run, cohort, ranked, settings),
    }
    return {title: rows for title, rows in found.items() if rows}


def _against_random(run: Path, cohort: "Cohort", ranked: pd.DataFrame, random: pd.DataFrame) -> list[Comparison]:
    """The probe that the control repeats, on the encoder whose network it is, against the control."""
    rows = []
    for _, control in random.iterrows():
        same = ranked[ranked["protocol"] == control["protocol"]]
        same = same[[str(control["backbone"]).startswith(f"{name} ") for name in same["backbone"]]]
        if len(same):
            rows.append(_compared(run, cohort, same.iloc[0], control))
    return rows


def _against_frozen(run: Path, cohort: "Cohort", results: pd.DataFrame) -> list[Comparison]:
    """Every adaptation against the best probe of the same encoder."""
    rows = []
    for encoder in results["backbone"].unique():
        own = results[results["backbone"] == encoder]
        adapted, frozen = own[own["protocol"] == ADAPTED], own[own["protocol"].isin(PROBES)]
        if len(adapted) and len(frozen):
            rows.append(_compared(run, cohort, adapted.iloc[0], frozen.iloc[0]))
    return rows


def _against_one(run: Path, cohort: "Cohort", results: pd.DataFrame, settings: "Settings") -> list[Comparison]:
    """The best adaptation with all sequences against itself with each one, on the patients who have that one."""
    from radapt.devices import pick_device
    from radapt.protocols import load_model

    adapted = results[results["protocol"] == ADAPTED]
    if not len(adapted):
        return []
    row = adapted.iloc[0]
    folder, device = run / "cells" / row["cell"] / "model", pick_device(settings.device)
    model = load_model(folder, cache=settings.cache, device=device, offline=settings.offline)
    everything = _predictions(run, row["cell"], cohort)
    rows = []
    for column, name in enumerate(cohort.modalities):
        cases = [case for case in everything.index if cohort.presence[case, column]]
        alone = model.predict(cohort, rows=cases, modalities=[name])
        single = alone[list(everything.columns)].set_axis(cases)
        rows.append(_difference(cohort, everything.loc[cases], single, ("all", f"{name} alone")))
    return sorted(rows, key=lambda each: each.difference)[:1]


def _compared(run: Path, cohort: "Cohort", better: pd.Series, worse: pd.Series) -> Comparison:
    first, second = (_predictions(run, row["cell"], cohort) for row in (better, worse))
    names = [f"{row['backbone']} {row['protocol']}" for row in (better, worse)]
    return _difference(cohort, first, second, (names[0], names[1]))


def _predictions(run: Path, cell: str, cohort: "Cohort") -> pd.DataFrame:
    """The probabilities of the labelled cases of the split, indexed by their rows in the cohort."""
    table = pd.read_parquet(run / "cells" / cell / "predictions.parquet")
    rows = {case.case: row for row, case in enumerate(cohort) if case.split == SPLIT}
    table = table[table["case"].isin(rows) & table["truth"].notna()]
    return table[[f"p_{name}" for name in cohort.outputs]].set_axis(table["case"].map(rows).to_numpy())


def _difference(cohort: "Cohort", first: pd.DataFrame, second: pd.DataFrame, names: Sequence[str]) -> Comparison:
    cases = first.index.to_numpy()
    paired = score_paired(
        cohort.labels[cases], [table.loc[cases].to_numpy() for table in (first, second)], cohort.patients[cases],
        task=cohort.task, outputs=cohort.outputs, rng=np.random.default_rng(0), keep=[METRIC],
    )  # fmt: skip
    value, intervals = paired.combined(METRIC, lambda sets: sets[:1] - sets[1:])
    one, other = paired.values[METRIC]
    return Comparison(
        names[0], names[1], (float(one), float(other)), float(value[0]), intervals[0], paired.patients[METRIC]
    )
