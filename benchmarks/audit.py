"""Optimism that `radapt audit` recovers, where it was planted: the best of equal or nearly equal candidates.

    python benchmarks/audit.py [--trials 100] [--candidates 20] [--seed 0]

Each trial draws candidates whose true AUROC is known, one case per patient, 40 % positive. "Planted" is the winner's
AUROC on these patients minus its true one, less the mean of this over candidates (easy or hard patients: 0 on average,
and no selection); "recovered" is the estimate from predictions, "scores" that from test scores
and the number of patients, "with val" that from test and val scores. Prints a table in Markdown.
"""

import argparse

import numpy as np
from scipy.special import ndtr

from radapt.metrics import auroc
from radapt.metrics.selection import auroc_error, optimism_of_predictions, optimism_of_scores

SITUATIONS = (("equal", 0.5, 0.0), ("equal, alike", 0.8, 0.0), ("spread of 0.03", 0.8, 0.12), ("one better", 0.8, -1.0))
"""Name, correlation of the candidates' scores within a case, spread of their true separation; -1: one stands out."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--patients", type=int, nargs="+", default=[40, 100, 300])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("| candidates | patients | planted | recovered | scores | with val | interval holds the truth |")
    print("|---|---|---|---|---|---|---|")
    for name, correlation, spread in SITUATIONS:
        for patients in given.patients:
            rng = np.random.default_rng([given.seed, patients])
            rows = [_trial(rng, patients, given.candidates, correlation, spread) for _ in range(given.trials)]
            *means, held = np.mean(rows, axis=0)
            numbers = " | ".join(f"{value:.3f}" for value in means)
            print(f"| {name} | {patients} | {numbers} | {100 * held:.0f} % |", flush=True)


def _trial(
    rng: np.random.Generator, patients: int, candidates: int, correlation: float, spread: float
) -> tuple[float, ...]:
    separation = 1.0 + max(spread, 0.0) * rng.normal(size=candidates)
    if spread < 0:
        separation[0] += 1.0
    true = ndtr(separation / np.sqrt(2))
    truth, scores = _draw(rng, patients, separation, correlation)
    found = optimism_of_predictions(truth, scores, np.arange(patients), splits=100, resamples=200)
    other, val_scores = _draw(rng, patients, separation, correlation)
    val = np.array([auroc(other, row) for row in val_scores])
    positives = int(truth.sum())
    error = auroc_error(float(found.scores.mean()), positives, patients - positives)
    guess, told = optimism_of_scores(found.scores, None, error), optimism_of_scores(found.scores, val, error)
    winner = true[found.winner]
    planted = found.scores[found.winner] - winner - np.mean(found.scores - true)
    return planted, found.optimism, guess.optimism, told.optimism, float(found.ci_low <= winner <= found.ci_high)


def _draw(
    rng: np.random.Generator, patients: int, separation: np.ndarray, correlation: float
) -> tuple[np.ndarray, np.ndarray]:
    truth = (np.arange(patients) < 0.4 * patients).astype(int)
    shared, own = rng.normal(size=patients), rng.normal(size=(len(separation), patients))
    return truth, separation[:, None] * truth + np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own


if __name__ == "__main__":
    main()
