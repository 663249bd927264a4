"""How often a planted shortcut is flagged, and a column that is none.

    python benchmarks/shortcuts.py --trials 200

Patients with one to three images each; the label shifts the features. A column is told by the features, or not, and
follows the label, or not; it is a shortcut if both.
"""

import argparse

import numpy as np

from radapt.metrics.subgroups import Groups
from radapt.probes.shortcuts import LabelledCases, ProbedCases, Shortcut, find_shortcuts

WIDTH, PATIENTS = 64, 300
READ = 1.2
"""Distance of the two groups' means in the features, in standard deviations of one direction."""

FOLLOWS = 0.22
"""Share of the patients with the label in one group and in the other: 0.5 ± this."""


class Matrix:
    """Features in memory."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        self.columns = values.shape[1]

    def gather(self, rows: np.ndarray) -> np.ndarray:
        return self._values[rows]


def draw(read: float, follows: float, findings: int, rng: np.random.Generator) -> Shortcut:
    """One study of 300 patients. With `findings` the label is the first of several that go together."""
    patients = np.repeat(np.arange(PATIENTS), rng.integers(1, 4, PATIENTS))
    group = rng.integers(0, 2, PATIENTS)
    label = (rng.random(PATIENTS) < np.where(group == 1, 0.5 + follows, 0.5 - follows)).astype(int)
    directions = rng.normal(size=(2, WIDTH)) / np.sqrt(WIDTH)
    shared = rng.normal(size=(PATIENTS, WIDTH))
    values = shared + np.outer(group - 0.5, read * directions[0]) * 3 + np.outer(label - 0.5, directions[1]) * 5
    images = (values[patients] + 0.5 * rng.normal(size=(len(patients), WIDTH))).astype(np.float32)
    labels, outputs = label[patients], ("well", "ill")
    if findings:
        others = rng.random((PATIENTS, findings - 1)) < 0.2 + 0.2 * label[:, None]
        labels = np.concatenate([label[:, None], others], axis=1).astype(float)[patients]
        outputs = tuple(f"finding {at}" for at in range(findings))
    cases = ProbedCases(lambda rows: Matrix(images), np.arange(len(patients)), LabelledCases(labels, outputs, patients))
    views = np.where(group[patients] == 1, "AP", "PA").astype(object)
    (found,) = find_shortcuts(cases, [Groups("view", views, ("AP", "PA"))], rng=rng, resamples=500)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    trials = parser.parse_args().trials
    print("| the features tell it | the label follows it | labels | read, mean AUROC | label, mean AUROC | flagged |")
    print("|---|---|---|---|---|---|")
    for read, follows in ((READ, FOLLOWS), (READ, 0.0), (0.0, FOLLOWS), (0.0, 0.0)):
        for findings in (0, 6):
            found = [draw(read, follows, findings, np.random.default_rng([seed, findings])) for seed in range(trials)]
            means = [np.mean([getattr(one, name) for one in found]) for name in ("readable", "label")]
            flagged = sum(one.is_shortcut for one in found)
            kind = f"{findings} findings" if findings else "2 classes"
            told = "yes" if read else "no", "yes" if follows else "no", kind
            print(f"| {' | '.join(told)} | {means[0]:.2f} | {means[1]:.2f} | {flagged} of {trials} |", flush=True)


if __name__ == "__main__":
    main()
