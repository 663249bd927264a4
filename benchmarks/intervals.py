"""Coverage of the intervals and false positives of the tests of `radapt compare`, on simulated patients.

    python benchmarks/intervals.py [--trials 300] [--patients 30 60 120] [--seed 0]

Patients have 1 to 10 cases each, whose results share a part of the patient's own. Two methods of the same quality are
compared by mean Dice (skewed: most cases good, some failed), AUROC and MCC; so the true difference is 0, the interval
should hold it in 95 % of trials, and p should be below 0.05 in 5 %. Prints a table in Markdown; the standard error of a
share of 300 trials is 1.3 %.
"""

import argparse
from collections.abc import Callable
from time import perf_counter

import numpy as np

from radapt.metrics.comparison import Draws, Pair, compare_pairs, delong, paired_means, paired_predictions

Trial = tuple[Pair, float]


def dice(rng: np.random.Generator, patients: int) -> Trial:
    """A Dice near 0.9 with a tail to 0; the p-value of DeLong's test does not apply."""
    unit = _patients(rng, patients)
    shared, noise = rng.normal(size=patients), rng.normal(size=(2, len(unit)))
    methods = rng.normal(size=(2, patients))
    first, second = (
        1 / (1 + np.exp(-(2.5 + shared[unit] + 0.7 * m[unit] + n))) for m, n in zip(methods, noise, strict=True)
    )
    return paired_means(first, second, unit), float("nan")


def predictions(metric: str) -> Callable[[np.random.Generator, int], Trial]:
    def trial(rng: np.random.Generator, patients: int) -> Trial:
        unit = _patients(rng, patients)
        sick = rng.random(patients) < 0.4
        truth = sick[unit].astype(int)
        sets = []
        shared = rng.normal(size=patients)
        for _ in range(2):
            logit = (
                1.5 * truth
                - 0.6
                + 0.7 * shared[unit]
                + 0.7 * rng.normal(size=patients)[unit]
                + rng.normal(size=len(unit))
            )
            positive = 1 / (1 + np.exp(-logit))
            sets.append(np.stack([1 - positive, positive], axis=1))
        pair = paired_predictions(metric, truth, (sets[0], sets[1]), unit, task="binary", outputs=["0", "1"])
        tested = delong(truth, sets[0][:, 1], sets[1][:, 1], unit).p if metric == "auroc" else float("nan")
        return pair, tested

    return trial


def _patients(rng: np.random.Generator, patients: int) -> np.ndarray:
    return np.repeat(np.arange(patients), rng.integers(1, 11, patients))


KINDS = {"mean Dice": dice, "AUROC": predictions("auroc"), "MCC": predictions("mcc")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--patients", type=int, nargs="+", default=[30, 60, 120])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("| metric | patients | interval holds 0 | percentile interval does | p < 0.05 | DeLong | seconds |")
    print("|---|---|---|---|---|---|---|")
    for name, trial in KINDS.items():
        for patients in given.patients:
            rng, start = np.random.default_rng([given.seed, patients]), perf_counter()
            held, plain, positive, tested = [], [], [], []
            for number in range(given.trials):
                pair, exact = trial(rng, patients)
                found = compare_pairs([pair], Draws(number, resamples=1000, permutations=999))
                held.append(found.ci_low <= 0 <= found.ci_high)
                plain.append(_percentile_holds(pair, number))
                positive.append(found.p < 0.05)
                tested.append(exact)
            exact = f"{100 * np.mean(np.array(tested) < 0.05):.1f} %" if np.isfinite(tested).all() else "–"
            shares = " | ".join(f"{100 * np.mean(each):.1f} %" for each in (held, plain, positive))
            print(f"| {name} | {patients} | {shares} | {exact} | {perf_counter() - start:.0f} |", flush=True)


def _percentile_holds(pair: Pair, seed: int) -> bool:
    units = pair.units
    weights = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=1000).T.astype(float)
    nothing = np.zeros_like(weights)
    first, second = (pair.values(np.concatenate(each)) for each in ((weights, nothing), (nothing, weights)))
    low, high = np.nanquantile(first - second, [0.025, 0.975])
    return bool(low <= 0 <= high)


if __name__ == "__main__":
    main()
