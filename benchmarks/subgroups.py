"""How often the gap between two groups of patients is called clear where there is none, and its interval misses 0.

    python benchmarks/subgroups.py --trials 400

One to four cases per patient, with correlated scores; the group belongs to the patient, and the quality of the scores
does not depend on it.
"""

import argparse

import numpy as np

from radapt.metrics.subgroups import Groups, PredictionParts, score_groups

SIZES = ((15, 45), (30, 90), (60, 60), (100, 300))
"""Patients of the two groups."""


def draw(sizes: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Truth, probabilities (N, 2), patients and groups of correlated cases, 40 % positive."""
    patients = np.repeat(np.arange(sum(sizes)), rng.integers(1, 5, sum(sizes)))
    truth = (rng.random(sum(sizes)) < 0.4).astype(int)[patients]
    shared, own = rng.normal(size=sum(sizes))[patients], rng.normal(size=len(patients))
    score = 1.3 * truth + 0.8 * shared + 0.6 * own
    likely = 1 / (1 + np.exp(0.9 - score))
    groups = np.where(patients < sizes[0], "small", "large").astype(object)
    return truth, np.stack([1 - likely, likely], axis=1), patients, groups


def trial(metric: str, sizes: tuple[int, int], rng: np.random.Generator) -> tuple[bool, bool] | None:
    """Whether p is below 0.05, and whether the interval misses 0; None if the gap is undefined."""
    truth, likely, patients, groups = draw(sizes, rng)
    parts = PredictionParts(metric, truth, likely, patients, task="binary", outputs=["well", "ill"])
    (column,) = score_groups([parts], [Groups("group", groups, ("small", "large"))], rng=rng, resamples=500)
    gap = column.gaps[0]
    return None if np.isnan(gap.p) else (gap.p < 0.05, not gap.ci_low <= 0 <= gap.ci_high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    trials = parser.parse_args().trials
    print("| metric | patients | p < 0.05 | interval misses 0 | undefined |\n|---|---|---|---|---|")
    for metric in ("auroc", "mcc"):
        for sizes in SIZES:
            found = [trial(metric, sizes, np.random.default_rng([seed, *sizes])) for seed in range(trials)]
            known = np.array([each for each in found if each is not None], dtype=float)
            low, missed = known.mean(axis=0) * 100
            print(f"| {metric} | {sizes[0]} + {sizes[1]} | {low:.1f} % | {missed:.1f} % | {trials - len(known)} |")


if __name__ == "__main__":
    main()
