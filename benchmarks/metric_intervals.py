"""Coverage of the intervals of single metrics, on simulated patients.

    python benchmarks/metric_intervals.py [--trials 1000] [--patients 30 60 120 500] [--most 10] [--gain 1.5]

Patients have 1 to `most` cases each, whose results share a part of the patient's own. `gain` sets the AUROC, `ill` the
share of ill patients. The truth is the metric in a population of 400,000 patients. Prints, in Markdown, how often the
interval of `radapt.metrics.score` and `summarise` holds it, how often it lies above and below, and how often the plain
percentile interval holds it; trials with fewer than two patients of a kind have no interval and are left out. The
standard error of a share of 1,000 trials is 0.7 %.
"""

import argparse
from collections.abc import Callable
from time import perf_counter

import numpy as np

from radapt.metrics.bootstrap import metric_interval, multiplicities, percentile_interval
from radapt.metrics.panel import SingleLabel
from radapt.metrics.registry import METRICS
from radapt.metrics.score import range_of
from radapt.metrics.validation import checked
from radapt.metrics.weighted import Tally, ratio

NAMES = ("auroc", "accuracy", "balanced_accuracy", "mcc")
DICE = "mean Dice"
RESAMPLES = 1000
Numbers = dict[str, np.ndarray]


class Cohort:
    """Patients with predictions of an illness and the Dice of a structure."""

    def __init__(self, rng: np.random.Generator, patients: int, most: int, gain: float, ill: float) -> None:
        self.patients = patients
        unit = np.repeat(np.arange(patients), rng.integers(1, most + 1, patients))
        truth = (rng.random(patients) < ill)[unit].astype(int)
        own, noise = rng.normal(size=(2, patients)), rng.normal(size=(2, len(unit)))
        positive = 1 / (1 + np.exp(-(gain * (truth - 0.5) + 0.7 * own[0][unit] + noise[0])))
        dice = 1 / (1 + np.exp(-(2.2 + own[1][unit] + 0.7 * noise[1])))
        given = checked(truth, np.stack([1 - positive, positive], axis=1), unit, "binary", 2)
        self.panel = SingleLabel(given, ["0", "1"], [METRICS[name] for name in NAMES])
        slot = np.zeros(len(unit), dtype=np.int64)
        self._sums = Tally(slot, dice, unit, slots=1, units=patients)
        self._counts = Tally(slot, 1.0, unit, slots=1, units=patients)

    def numbers(self, weights: np.ndarray) -> Numbers:
        found = {name: values for name, values in self.panel.numbers(weights).items() if name in NAMES}
        return found | {DICE: ratio(self._sums.totals(weights)[0], self._counts.totals(weights)[0])}

    def interval(self, name: str, value: float, drawn: np.ndarray) -> tuple[float, float]:
        if name == DICE:
            return metric_interval(value, drawn, self.patients)
        return metric_interval(value, drawn, self.patients, range_of(name), self.panel.fewest(name))


def population(cohort: Callable[[np.random.Generator, int], Cohort]) -> dict[str, float]:
    rng, parts = np.random.default_rng(99), []
    for _ in range(20):
        parts.append(cohort(rng, 20_000).numbers(np.ones((20_000, 1))))
    return {name: float(np.mean([part[name][0] for part in parts])) for name in parts[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--patients", type=int, nargs="+", default=[30, 60, 120, 500])
    parser.add_argument("--most", type=int, default=10, help="The most cases of a patient.")
    parser.add_argument("--gain", type=float, default=1.5, help="1.5: an AUROC of 0.81; 3: one of 0.96.")
    parser.add_argument("--ill", type=float, default=0.4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    def cohort(rng: np.random.Generator, patients: int) -> Cohort:
        return Cohort(rng, patients, given.most, given.gain, given.ill)

    true = population(cohort)
    print(f"1–{given.most} cases, {100 * given.ill:g} % ill: {', '.join(f'{k} {v:.3f}' for k, v in true.items())}")
    print("| metric | patients | interval holds the truth | lies above | lies below | percentile interval holds it |")
    print("|---|---|---|---|---|---|")
    for patients in given.patients:
        rng, start = np.random.default_rng([given.seed, patients]), perf_counter()
        held: dict[str, list[tuple[bool, ...]]] = {name: [] for name in true}
        for _ in range(given.trials):
            one = cohort(rng, patients)
            values = one.numbers(np.ones((patients, 1)))
            drawn = one.numbers(multiplicities(rng, patients, RESAMPLES).T.astype(float))
            for name, aim in true.items():
                low, high = one.interval(name, float(values[name][0]), drawn[name])
                if np.isnan(low):
                    continue
                plain_low, plain_high = percentile_interval(drawn[name])
                held[name].append((low <= aim <= high, low > aim, high < aim, plain_low <= aim <= plain_high))
        for name, rows in held.items():
            shares = " | ".join(f"{100 * share:.1f} %" for share in np.mean(rows, axis=0))
            print(f"| {name} | {patients} | {shares} |", flush=True)
        print(f"<!-- {patients} patients: {perf_counter() - start:.0f} s -->", flush=True)


if __name__ == "__main__":
    main()
