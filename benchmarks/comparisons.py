"""How long all pairs of many methods take, against comparing them one pair at a time.

    python benchmarks/comparisons.py [--methods 20] [--cases 5000] [--resamples 2000]

Binary predictions of 2 cases for each patient; AUROC and MCC. One pair alone is timed, and its time multiplied by the
number of pairs. Times are those of the processor, on one thread unless OMP_NUM_THREADS says more.
"""

import argparse
import time
from itertools import combinations

import numpy as np

from radapt.metrics.comparison import Draws, PredictionSets, compare_many, compare_pairs, paired_predictions

OUTPUTS = ["no", "yes"]
METRICS = ["auroc", "mcc"]


def probabilities(truth: np.ndarray, skill: float, rng: np.random.Generator) -> np.ndarray:
    positive = 1 / (1 + np.exp(-(skill * truth + rng.normal(size=len(truth)))))
    return np.stack([1 - positive, positive], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("methods", 20), ("cases", 5000), ("resamples", 2000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, given.cases)
    patients = np.arange(given.cases) // 2
    sets = [probabilities(truth, 1 + 0.02 * number, rng) for number in range(given.methods)]
    pairs = list(combinations(range(given.methods), 2))
    draws = Draws(resamples=given.resamples, permutations=given.resamples)

    start, wall = time.process_time(), time.perf_counter()
    together = PredictionSets(truth, sets, patients, task="binary", outputs=OUTPUTS, metrics=METRICS)
    found = compare_many(together, [((a,), (b,)) for a, b in pairs], METRICS, draws)
    many, walled = time.process_time() - start, time.perf_counter() - wall

    start = time.process_time()
    for metric in METRICS:
        pair = paired_predictions(metric, truth, (sets[0], sets[1]), patients, task="binary", outputs=OUTPUTS)
        alone = compare_pairs([pair], draws)
        assert abs(alone.p - found[metric][0].p) < 1e-12
        assert abs(alone.ci_low - found[metric][0].ci_low) < 1e-12
    one = (time.process_time() - start) * len(pairs)
    print(
        f"{given.methods} methods, {given.cases:,} cases, {len(pairs)} pairs, {' and '.join(METRICS)}, "
        f"{given.resamples:,} resamples and permutations: {many:.1f} s of the processor ({walled:.1f} s passed); "
        f"pair by pair {one:.0f} s, {one / many:.0f} times as long; the numbers are the same"
    )


if __name__ == "__main__":
    main()
