"""The scores of made-up models on every subset of their sequences, for tests."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from radapt.cohorts.cohort import Case, Cohort
from radapt.locations import Location
from radapt.metrics.segmentation import NUMBERS
from radapt.protocols.subset_cases import SubsetCases, score_subset_cases
from radapt.protocols.subsets import SubsetResult, score_subsets

SEQUENCES = ("t1", "t2", "flair")
OUTPUTS = ("benign", "malignant")


@cache
def subset_tables(seed: int = 0, sequences: tuple[str, ...] = SEQUENCES, strength: float = 1.0) -> SubsetResult:
    """What a classifier to which every later sequence says more scores on 60 patients, some of another hospital."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 60)
    cases = tuple(
        Case(f"c{i}", f"p{i}", "test" if i < 40 else "external",
             {name: Location(Path(name)) for name in sequences if rng.random() < 0.8},
             site="north" if i % 2 else "south", label=int(label))
        for i, label in enumerate(truth)
    )  # fmt: skip
    cohort = Cohort("toy", "mri", cases, sequences, classes=OUTPUTS)
    noise = np.random.default_rng(seed).normal(size=(len(sequences), 60))

    def predict(rows: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        logit = np.zeros(len(rows))
        for name in names:
            at = sequences.index(name)
            logit += strength * (at + 1) / 2 * (2 * truth[rows] - 1) + noise[at, rows]
        p = 1 / (1 + np.exp(-logit))
        return np.stack([1 - p, p], axis=1)

    return score_subsets(predict, cohort, sequences, np.random.default_rng(0), 40, np.array([0.6, 0.4]))


@cache
def mask_subset_tables(labels: tuple[str, ...] = ("core", "rim")) -> SubsetResult:
    """The scores of a segmentation model whose Dice grows with every sequence, t2 the most, on 20 patients."""
    sequences = ("t1", "t2")
    cases = tuple(
        Case(f"c{i}", f"p{i}", "test", {name: Location(Path(name)) for name in sequences[: 1 + (i % 4 > 0)]})
        for i in range(20)
    )
    rows = []
    for i, case in enumerate(cases):
        for subset in [(), ("t1",)] + [("t2",), sequences] * ("t2" in case.images):
            has = {f"has_{name}": name in subset for name in sequences}
            for k, label in enumerate(labels):
                dice = (0.2 + 0.02 * i) * ("t1" in subset) + (0.4 - 0.1 * k) * ("t2" in subset)
                numbers = dict.fromkeys(NUMBERS, 1.0) | {"dice": dice, "hd95_mm": 20 - 10 * dice}
                outcome = "both" if subset else "missed"
                rows.append(
                    {"case": case.case, "patient": case.patient, **has, "label": label, **numbers, "outcome": outcome}
                )
    cohort = Cohort("toy", "mri", cases, sequences, mask_labels=dict(enumerate(labels, 1)))
    return score_subset_cases([SubsetCases(pd.DataFrame(rows))], cohort, np.random.default_rng(0), 40)
