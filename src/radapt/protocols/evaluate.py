"""One protocol on one cohort through one backbone: predictions for every case that was not trained on, and scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError, UsageError
from radapt.features import Features, Pooling
from radapt.metrics import score
from radapt.protocols.problem import Problem, labelled
from radapt.protocols.protocol import Fitted, Protocol
from radapt.protocols.registry import make


@dataclass(frozen=True)
class Result:
    """What an evaluation found.

    `predictions`: a row per case of val and of each test set, unlabelled ones too: case, patient, site, split,
    `truth` (class name) and `p_<class>`, or `truth_<finding>` (1, 0, empty) and `p_<finding>`. Val is answered by the
    chosen candidate before it was refitted with val.
    `scores`: `split` and the columns of `radapt.metrics.score`. Those of val were chosen on, and are optimistic.
    `chosen`: what was chosen, among what, and why.
    """

    predictions: pd.DataFrame
    scores: pd.DataFrame
    chosen: Mapping[str, Any]


def evaluate(
    features: Features,
    protocol: str | Protocol = "linear",
    *,
    seed: int = 0,
    pooling: Pooling | None = None,
    resamples: int = 2000,
    **options: Any,
) -> Result:
    """Fit `protocol` on train, choose on val, and test once.

    `options` are the protocol's own. `seed` decides every draw: the same call gives the same result. Intervals are
    bootstrapped by patient, and two calls with one seed resample the same patients, so that they can be paired.

    Raises UsageError for an unknown protocol or option, DataError if train has too little to learn from or no test
    set has a labelled case.
    """
    if isinstance(protocol, Protocol) and options:
        raise UsageError(f"Options {', '.join(options)} were given beside a ready protocol; set them when making it.")
    ready = protocol if isinstance(protocol, Protocol) else make(protocol, **options)
    problem = Problem.of(features, pooling)
    _check_tests(features.cohort)
    fitting, scoring = np.random.default_rng(seed).spawn(2)
    fitted = ready.fit(problem, fitting)
    splits = [word for word in ("val", *features.cohort.test_sets) if (features.cohort.splits == word).any()]
    found = [_judge(features.cohort, fitted, split, scoring, resamples) for split in splits]
    predictions = pd.concat([table for table, _ in found], ignore_index=True)
    scores = pd.concat([table for _, table in found], ignore_index=True)
    return Result(predictions, scores, {"protocol": ready.name, **fitted.chosen})


def _judge(
    cohort: Cohort, fitted: Fitted, split: str, rng: np.random.Generator, resamples: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = np.flatnonzero(cohort.splits == split)
    probabilities = fitted.predict_val(rows) if split == "val" else fitted.predict(rows)
    scores = score(
        cohort.labels[rows],
        probabilities,
        cohort.patients[rows],
        task=cohort.task,
        outputs=cohort.outputs,
        ordered=cohort.ordered,
        rng=rng.spawn(1)[0],
        resamples=resamples,
    )
    scores.insert(0, "split", split)
    return predictions_table(cohort, rows, probabilities), scores


def predictions_table(cohort: Cohort, rows: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Probabilities (n, outputs) of the cases at `rows` as the contract's table."""
    cases = [cohort.cases[row] for row in rows]
    table: dict[str, Any] = {
        "case": [case.case for case in cases],
        "patient": [case.patient for case in cases],
        "site": pd.Series([case.site for case in cases], dtype=object),
        "split": [case.split for case in cases],
    }
    if cohort.findings:
        for number, finding in enumerate(cohort.findings):
            table[f"truth_{finding}"] = cohort.labels[rows, number].astype(np.float64)
    else:
        names = [None if case.label is None else cohort.classes[case.label] for case in cases]
        table["truth"] = pd.Series(names, dtype=object)
    for number, output in enumerate(cohort.outputs):
        table[f"p_{output}"] = probabilities[:, number]
    return pd.DataFrame(table)


def _check_tests(cohort: Cohort) -> None:
    if not cohort.test_sets:
        raise DataError(
            f"Cohort {cohort.name!r} has no test set, so there is nothing to judge on. Give some patients the split "
            "'test', or leave the split column empty and radapt draws one."
        )
    tested = ~np.isin(cohort.splits, ("train", "val"))
    if not labelled(cohort.labels[tested]).any():
        raise DataError(
            f"Cohort {cohort.name!r} has no labelled case in its test sets ({', '.join(cohort.test_sets)}), so "
            "there is nothing to judge by. Label some of their cases, or give labelled patients the split 'test'."
        )
