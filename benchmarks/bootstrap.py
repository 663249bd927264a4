"""Bootstrap intervals by patient on a test set of the size of ChestX-ray14: radapt against a loop over scikit-learn.

Both compute AUROC and average precision of every finding for bootstrap replicates by patient; radapt also computes its
other metrics. The loop runs a few replicates and is extrapolated. Run:

    python benchmarks/bootstrap.py [--cases 25596] [--patients 2797] [--findings 14] [--resamples 2000] [--loop 4]
"""

import argparse
import resource
import sys
import time

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from radapt.metrics import multiplicities, score, units_of


def simulated(rng: np.random.Generator, cases: int, patients: int, findings: int) -> tuple[np.ndarray, ...]:
    """Truth (N, F), probabilities (N, F) and patients (N,): findings in 0.3 to 20 % of cases, AUROC about 0.76."""
    prevalence = np.geomspace(0.003, 0.2, findings)
    truth = (rng.random((cases, findings)) < prevalence).astype(float)
    probabilities = 1 / (1 + np.exp(2 - rng.normal(truth)))
    return truth, probabilities, rng.integers(0, patients, cases)


def loop_seconds(truth: np.ndarray, probabilities: np.ndarray, patients: np.ndarray, replicates: int) -> float:
    """Seconds for `replicates` bootstrap replicates by patient in a straightforward implementation."""
    rng = np.random.default_rng(0)
    unit, units = units_of(patients)
    start = time.perf_counter()
    for times in multiplicities(rng, units, replicates):
        rows = np.repeat(np.arange(len(truth)), times[unit])
        for finding in range(truth.shape[1]):
            roc_auc_score(truth[rows, finding], probabilities[rows, finding])
            average_precision_score(truth[rows, finding], probabilities[rows, finding])
    return time.perf_counter() - start


def peak_mib() -> float:
    """The peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Print seconds, the ratio and the memory that the intervals add."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("cases", 25_596), ("patients", 2_797), ("findings", 14), ("resamples", 2000), ("loop", 4)):
        options.add_argument(f"--{name}", type=int, default=default)
    given = options.parse_args()
    truth, probabilities, patients = simulated(np.random.default_rng(0), given.cases, given.patients, given.findings)
    names = [f"finding {index}" for index in range(given.findings)]
    before = peak_mib()
    start = time.perf_counter()
    score(
        truth, probabilities, patients,
        task="multilabel", outputs=names, rng=np.random.default_rng(0), resamples=given.resamples,
    )  # fmt: skip
    ours, memory = time.perf_counter() - start, peak_mib() - before
    theirs = loop_seconds(truth, probabilities, patients, given.loop) / given.loop * given.resamples
    print(f"{given.cases} cases of {given.patients} patients, {given.findings} findings, {given.resamples} resamples")
    print(f"radapt, all numbers       {ours:8.1f} s, {memory:.0f} MiB above the data and libraries")
    print(f"loop, AUROC and AP only   {theirs:8.1f} s (extrapolated from {given.loop} resamples)")
    print(f"ratio                     {theirs / ours:8.0f} ×")


if __name__ == "__main__":
    main()
