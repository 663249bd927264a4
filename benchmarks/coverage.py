"""Coverage of 90 % prediction sets for every pattern of available sequences, over random calibration and test splits.

Synthetic patients have three sequences, each with its own evidence for one of three classes of unequal frequency; some
sequences are missing. Probabilities are those of a model that is twice too sure. Patients are split at random into
calibration and test, the whole of `fit_certainty` runs on the one, and the sets are counted on the other. Run:

    python benchmarks/coverage.py [--patients 2400] [--splits 50] [--alpha 0.1] [--score lac]
"""

import argparse
from itertools import product

import numpy as np
import pandas as pd
from scipy.special import softmax

from radapt.deploy.certainty import LabelledPredictions, fit_certainty

SEQUENCES = "flair", "t1", "t1c"
EVIDENCE = np.array([1.4, 0.7, 1.0])
FREQUENCY = np.array([0.5, 0.3, 0.2])
PATTERNS = np.array([pattern for pattern in product((True, False), repeat=3) if any(pattern)])


def simulated(patients: int, rng: np.random.Generator) -> LabelledPredictions:
    """Probabilities (N, 3) by Bayes' rule from the sequences that a patient has, and then too sure by a factor of 2."""
    truths = rng.choice(3, patients, p=FREQUENCY)
    presence = PATTERNS[rng.integers(0, len(PATTERNS), patients)]
    means = EVIDENCE[:, None] * np.eye(3)[truths][:, None, :]  # (N, sequence, class)
    observed = means + rng.normal(size=means.shape)
    logits = (presence[:, :, None] * EVIDENCE[:, None] * observed).sum(axis=1) + np.log(FREQUENCY)
    return LabelledPredictions(softmax(2 * logits, axis=1), truths, np.arange(patients), presence)


def of(given: LabelledPredictions, rows: np.ndarray) -> LabelledPredictions:
    """The cases at `rows`."""
    arrays = (given.probabilities, given.truths, given.patients, given.presence)
    return LabelledPredictions(*(array[rows] for array in arrays))


def one_split(given: LabelledPredictions, alpha: float, score: str, rng: np.random.Generator) -> pd.DataFrame:
    """A row for each test patient: pattern, class, whether the set holds the truth, its size, and abstaining."""
    order = rng.permutation(len(given.truths))
    half = len(order) // 2
    fitted = fit_certainty(
        of(given, order[:half]), outputs=["a", "b", "c"], sequences=SEQUENCES, alpha=alpha, score=score, rng=rng
    )  # type: ignore[arg-type]
    test = of(given, order[half:])
    calibrated = fitted.calibrated(test.probabilities)
    inside = fitted.contain(calibrated, test.presence)
    names = [" + ".join(np.asarray(SEQUENCES)[held]) for held in test.presence]
    return pd.DataFrame(
        {
            "pattern": names,
            "class": test.truths,
            "covered": inside[np.arange(len(inside)), test.truths],
            "size": inside.sum(axis=1),
            "correct": calibrated.argmax(axis=1) == test.truths,
        }
    )


def main() -> None:
    """Print the coverage by pattern and by class, with the spread over splits."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--patients", type=int, default=2400)
    options.add_argument("--splits", type=int, default=50)
    options.add_argument("--alpha", type=float, default=0.1)
    options.add_argument("--score", choices=("lac", "aps"), default="lac")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    rng = np.random.default_rng(given.seed)
    rows = []
    for split in range(given.splits):
        found = one_split(simulated(given.patients, rng), given.alpha, given.score, rng)
        rows.append(found.assign(split=split))
    table = pd.concat(rows)
    print(f"{given.splits} splits of {given.patients} patients into halves; {given.score}, alpha {given.alpha}")
    for name in ("pattern", "class"):
        by_split = table.groupby([name, "split"])["covered"].mean().groupby(name)
        groups = table.groupby(name)
        summary = pd.DataFrame(
            {
                "coverage": 100 * groups["covered"].mean(),
                "sd over splits": 100 * by_split.std(),
                "mean size": groups["size"].mean(),
                "one class": 100 * groups["size"].apply(lambda size: (size == 1).mean()),
                "accuracy": 100 * groups["correct"].mean(),
                "accuracy of one": 100 * table[table["size"] == 1].groupby(name)["correct"].mean(),
            }
        )
        print(summary.round(1).to_string(), end="\n\n")
    print(f"all: {100 * table['covered'].mean():.1f} %")


if __name__ == "__main__":
    main()
