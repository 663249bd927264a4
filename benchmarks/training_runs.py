"""False positives between training runs of one recipe (A/A), with and without the runs in the interval.

    python benchmarks/training_runs.py [--pairs 200] [--runs 5] [--patients 120] [--seed 0]

Each pair is a study of its own: stored features of synthetic patients, 1 to 4 cases each, a train set and a test set.
One recipe, a linear classifier trained by stochastic gradient descent on a random half of the train patients, is run
with 2 × `runs` seeds. The first half of the runs stands for one method, the second for another: they do not differ.
Prints how often the interval of `radapt compare` over patients excludes 0, for one run each and for means over runs,
how often the interval over training runs does too, and the parts of the variance of one run.
"""

import argparse

import numpy as np

from radapt.metrics.bootstrap import multiplicities
from radapt.metrics.comparison import Draws, compare_pairs, over_training, paired_predictions, variance_parts

FEATURES, STEPS, BATCH = 32, 300, 16
OUTPUTS = ("no", "yes")


def cases(rng: np.random.Generator, patients: int, direction: np.ndarray) -> tuple[np.ndarray, ...]:
    """Features (N, D), truth (N,) and patients (N,)."""
    unit = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    truth = (rng.random(patients) < 0.4)[unit].astype(int)
    own = rng.normal(size=(patients, FEATURES))[unit]
    return own + 0.7 * rng.normal(size=(len(unit), FEATURES)) + np.outer(truth, direction), truth, unit


def run(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, unit: np.ndarray, test: np.ndarray) -> np.ndarray:
    """(N, 2) predictions on `test` of one training run on half of the patients, drawn as minibatches are."""
    chosen = rng.permutation(unit.max() + 1)[: (unit.max() + 1) // 2]
    rows = np.flatnonzero(np.isin(unit, chosen))
    weights, bias = 0.01 * rng.normal(size=x.shape[1]), 0.0
    for _ in range(STEPS):
        batch = rng.choice(rows, BATCH)
        error = 1 / (1 + np.exp(-(x[batch] @ weights + bias))) - y[batch]
        weights -= 0.1 * (x[batch].T @ error / BATCH + 0.01 * weights)
        bias -= 0.1 * error.mean()
    positive = 1 / (1 + np.exp(-(test @ weights + bias)))
    return np.stack([1 - positive, positive], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--runs", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--patients", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("| runs each | one run each, patients alone | patients alone | training runs too | SD patients | SD runs |")
    print("|---|---|---|---|---|---|")
    for runs in given.runs:
        counts, parts = np.zeros(3, dtype=int), []
        for number in range(given.pairs):
            rng = np.random.default_rng([given.seed, runs, number])
            direction = rng.normal(size=FEATURES) * 1.4 / np.sqrt(FEATURES)
            x, y, unit = cases(rng, given.patients, direction)
            test, truth, patients = cases(rng, given.patients, direction)
            sets = [run(rng, x, y, unit, test) for _ in range(2 * runs)]
            pairs = [
                paired_predictions("auroc", truth, (a, b), patients, task="binary", outputs=OUTPUTS)
                for a, b in zip(sets[:runs], sets[runs:], strict=True)
            ]
            draws = Draws(number, resamples=1000, permutations=99)
            one, found = compare_pairs(pairs[:1], draws), compare_pairs(pairs, draws)
            nothing, every = np.zeros((given.patients, 1)), np.ones((given.patients, 1))
            times = multiplicities(rng, given.patients, 500).T
            values = [
                np.array([pair.values(np.concatenate(side))[0] for pair in pairs])
                for side in ((every, nothing), (nothing, every))
            ]
            drawn = np.stack([pair.values(np.concatenate([times, 0 * times])) for pair in pairs])
            parts.append(variance_parts(values[0], drawn, given.patients))
            wider = over_training(found, values[0].tolist(), values[1].tolist())
            counts += [
                not one.ci_low <= 0 <= one.ci_high,
                not found.ci_low <= 0 <= found.ci_high,
                wider is not None and wider.excludes_zero and not found.ci_low <= 0 <= found.ci_high,
            ]
        shares = " | ".join(f"{count} of {given.pairs}" for count in counts)
        spread = [np.sqrt(np.mean(np.square([getattr(part, name) for part in parts]))) for name in ("patients", "runs")]
        print(f"| {runs} | {shares} | {spread[0]:.4f} | {spread[1]:.4f} |", flush=True)


if __name__ == "__main__":
    main()
