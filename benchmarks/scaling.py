"""Time and memory of what grows with a study: cases, findings and cells. Each size runs in a process of its own.

    python benchmarks/scaling.py [--cases 1000 10000 100000 1000000] [--findings 30 300] [--cells 10 100 400]

Simulated patients with two cases each, stored features of 384 numbers, no images:
  cohort     load_cohort of a table with so many cases
  intervals  every metric of two classes with intervals from 2,000 resamples by patient
  findings   the same for so many findings in 10,000 cases
  probe      a linear probe on stored features, without intervals
  cells      a study of so many probes (seeds of kNN on 200 pictures) run, and run again when all is there

Prints a table with seconds of the processor, peak memory in MB, and, beside the size before it in the same row, how
much more both are.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np

from probe import peak_mb

WIDTH = 384
FINDING_CASES = 10_000
PICTURES = 200


def cohort(size: int, folder: Path) -> Callable[[], object]:
    import pandas as pd
    from PIL import Image

    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "a.png")
    at = np.arange(size)
    table = {"case": at, "patient": at // 2, "split": np.where(at // 2 % 4 == 0, "test", "train"), "image": "a.png"}
    pd.DataFrame(table | {"label": at % 2}).to_csv(folder / "cases.csv", index=False)
    (folder / "cohort.yaml").write_text("name: many\nkind: xray\ncases: cases.csv\nclasses: ['0', '1']\n")
    from radapt.cohorts import load_cohort

    return lambda: load_cohort(folder / "cohort.yaml")


def intervals(size: int, folder: Path) -> Callable[[], object]:
    from radapt.metrics import score

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, size)
    positive = 1 / (1 + np.exp(-rng.normal(truth)))
    probabilities, patients = np.stack([1 - positive, positive], axis=1), np.arange(size) // 2
    return lambda: score(truth, probabilities, patients, task="binary", outputs=["no", "yes"], rng=rng)


def findings(size: int, folder: Path) -> Callable[[], object]:
    from radapt.metrics import score

    rng = np.random.default_rng(0)
    truth = (rng.random((FINDING_CASES, size)) < 0.1).astype(float)
    probabilities = 1 / (1 + np.exp(2 - rng.normal(truth)))
    names, patients = [f"finding {number}" for number in range(size)], np.arange(FINDING_CASES) // 2
    return lambda: score(truth, probabilities, patients, task="multilabel", outputs=names, rng=rng)


def probe(size: int, folder: Path) -> Callable[[], object]:
    from radapt.cohorts import Case, Cohort
    from radapt.features.features import Features, lay_out
    from radapt.features.store import FeatureStore
    from radapt.locations import Location
    from radapt.protocols import evaluate

    rng = np.random.default_rng(0)
    segments = lay_out((-1,), (WIDTH,))
    with FeatureStore(folder, segments[-1].stop).writer() as writer:
        for number in range(size):
            writer.add(f"k{number}", rng.standard_normal((1, segments[-1].stop), dtype=np.float32) + number % 2 / 20)
    stored = FeatureStore(folder, segments[-1].stop)
    image = {"image": Location(Path("none.png"))}
    splits = rng.choice(["train", "val", "test"], size // 2 + 1, p=[0.6, 0.2, 0.2])
    made = tuple(Case(f"c{i}", f"p{i // 2}", str(splits[i // 2]), image, label=i % 2) for i in range(size))
    many = Cohort("many", "other", made, ("image",), classes=("no", "yes"))
    keys = tuple((f"k{i}",) for i in range(size))
    features = Features(many, "none", "none", "float32", (-1,), segments, {"cases": size}, keys, stored)
    return lambda: evaluate(features, "linear", resamples=0)


def cells(size: int, folder: Path) -> Callable[[], object]:
    import pandas as pd
    import yaml
    from PIL import Image

    from radapt.studies import Settings, read_study, run_study

    rng = np.random.default_rng(0)
    rows = []
    for number in range(PICTURES):
        grey = rng.integers(0, 200, (32, 32), dtype=np.uint8) + np.uint8(20 * (number % 2))
        Image.fromarray(grey).save(folder / f"{number}.png")
        split = ("train", "train", "val", "test")[number // 2 % 4]
        rows.append({"case": f"c{number}", "split": split, "image": f"{number}.png", "label": number % 2})
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    (folder / "cohort.yaml").write_text("name: many\nkind: xray\ncases: cases.csv\nclasses: ['0', '1']\n")
    study = {
        "name": "many",
        "cohorts": ["cohort.yaml"],
        "backbones": [{"name": "vit", "as": "timm:test_vit", "weights": "random"}],
        "protocols": ["knn"],
        "image": {"size": 32},
        "seeds": list(range(size)),
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    read = read_study(folder / "study.yaml")
    return lambda: run_study(read, folder / "run", Settings(cache=folder / "cache"))


STAGES = {stage.__name__: stage for stage in (cohort, intervals, findings, probe, cells)}


def measured(stage: str, size: int) -> list[tuple[float, float]]:
    """Seconds of the processor and peak MB, of cells also those of running again."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--stage", stage, "--size", str(size), "--folder", folder]
        runs = 2 if stage == "cells" else 1
        done = [subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(runs)]
    if failed := next((each for each in done if each.returncode), None):
        raise SystemExit(failed.stderr)
    return [(float(each.stdout.split()[-2]), float(each.stdout.split()[-1])) for each in done]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="*", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--findings", type=int, nargs="*", default=[30, 300])
    parser.add_argument("--cells", type=int, nargs="*", default=[10, 100, 400])
    for name in ("stage", "size", "folder"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        work = STAGES[given.stage](int(given.size), Path(given.folder))
        start = time.process_time()
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            work()
        print(time.process_time() - start, peak_mb())
        return
    print("| | size | seconds | × | peak MB | × |\n|---|---|---|---|---|---|")
    for stage in STAGES:
        before: dict[str, tuple[float, float]] = {}
        for size in {"findings": given.findings, "cells": given.cells}.get(stage, given.cases):
            names = [stage, f"{stage}, again"]
            for name, (spent, peak) in zip(names, measured(stage, size), strict=False):
                more = (
                    ["", ""]
                    if name not in before
                    else [f"{spent / before[name][0]:.1f}", f"{peak / before[name][1]:.1f}"]
                )
                before[name] = spent, peak
                print(f"| {name} | {size:,} | {spent:.2f} | {more[0]} | {peak:.0f} | {more[1]} |", flush=True)


if __name__ == "__main__":
    main()
