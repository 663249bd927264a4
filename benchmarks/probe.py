"""Time and memory of probing stored features, relative to scikit-learn and to the encoder.

    python benchmarks/probe.py [--cases 5000] [--stored 20000] [--backbone dinov2-s]

Prints ratios, measured in one run on simulated features with a realistic spectrum:
  logistic       scikit-learn's lbfgs, one C after the other, ÷ the batched solver, same C, and their difference
  kNN            scikit-learn's brute-force cosine search ÷ ours
  probe/encoder  16 + 13 heads, selected, refitted and tested, ÷ the encoder on as many slices
  memory         peak of a process that opens a store of many cases and probes it
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, LAYERS = 384, (-4, -3, -2, -1)
SPLITS, SHARES = ("train", "val", "test"), (0.6, 0.2, 0.2)


def simulated(rng: np.random.Generator, cases: int, columns: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns correlated through a power-law spectrum, with offsets, and classes that overlap."""
    turned, _ = np.linalg.qr(rng.normal(size=(columns, columns)))
    axes = (turned * np.arange(1, columns + 1)[:, None] ** -0.7).astype(np.float32)
    values = rng.standard_normal((cases, columns), dtype=np.float32) @ axes + rng.normal(size=columns)
    logits = (values - values.mean(0)) / values.std(0) @ rng.normal(size=(columns, classes)) / columns**0.5
    return values.astype(np.float32), (2 * logits + rng.gumbel(size=(cases, classes))).argmax(1)


@dataclass(frozen=True)
class ArrayMatrix:
    """Rows of an array in memory, as a `radapt.protocols.feature_matrix.Source`."""

    values: np.ndarray

    @property
    def columns(self) -> int:
        return int(self.values.shape[1])

    def gather(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.values[rows], dtype=np.float32)


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def logistic(rng: np.random.Generator, cases: int, classes: int, name: str) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from radapt.probes.logistic import c_values
    from radapt.probes.logistic_grid import fit_logistic
    from radapt.protocols.targets import Targets

    values, labels = simulated(rng, cases + 500, WIDTH, classes)
    source, rows, queries = ArrayMatrix(values), np.arange(cases), np.arange(cases, cases + 500)
    grid = c_values(name)  # type: ignore[arg-type]

    def ours() -> np.ndarray:
        return fit_logistic(source, rows, Targets.of(labels[rows], classes), grid).predict(source, queries)

    def theirs() -> np.ndarray:
        scaled = StandardScaler().fit(values[rows].astype(np.float64)).transform(values.astype(np.float64))
        models = (LogisticRegression(C=c, tol=1e-6, max_iter=20_000) for c in grid)
        return np.stack([model.fit(scaled[rows], labels[rows]).predict_proba(scaled[queries]) for model in models])

    (fast, result), (slow, expected) = seconds(ours), seconds(theirs)
    print(f"logistic, {cases} × {WIDTH}, {classes} classes, {len(grid)} C: ", end="")
    print(f"{slow:.2f} s ÷ {fast:.2f} s = {slow / fast:.1f}, largest difference {abs(result - expected).max():.0e}")


def knn(rng: np.random.Generator, cases: int) -> None:
    from sklearn.neighbors import NearestNeighbors

    from radapt.probes.neighbours import Gallery

    values, _ = simulated(rng, cases + 2000, WIDTH, 2)
    rows, queries = np.arange(cases), np.arange(cases, cases + 2000)

    def ours() -> np.ndarray:
        gallery = Gallery.of(ArrayMatrix(values), rows, np.arange(len(values)))
        return np.concatenate([index.numpy() for _, _, index in gallery.nearest(queries, 200)])

    def theirs() -> np.ndarray:
        search = NearestNeighbors(n_neighbors=200, metric="cosine", algorithm="brute").fit(values[rows])
        return search.kneighbors(values[queries], return_distance=False)

    (fast, result), (slow, expected) = seconds(ours), seconds(theirs)
    same = np.mean([np.isin(own, other).mean() for own, other in zip(result, expected, strict=True)])
    print(f"kNN, {cases} × {WIDTH}, 2000 queries, k 200: ", end="")
    print(f"{slow:.2f} s ÷ {fast:.2f} s = {slow / fast:.1f}, same neighbours {same:.5f}")


def write_store(folder: Path, cases: int) -> None:
    """Rows of 2 × 4 × 384 numbers per case, in the format of `extract`."""
    from radapt.features.store import FeatureStore

    rng = np.random.default_rng(0)
    width = 2 * len(LAYERS) * WIDTH
    labels = np.arange(cases) % 2
    direction = rng.normal(size=width).astype(np.float32) * 0.05
    with FeatureStore(folder, width).writer() as writer:
        for case in range(cases):
            row = rng.standard_normal((1, width), dtype=np.float32) + direction * labels[case]
            writer.add(f"k{case}", row)


def probe(folder: Path, cases: int) -> None:
    """Open the store that `write_store` left, run the whole linear probe, print seconds and peak memory in MB."""
    from radapt.cohorts import Case, Cohort
    from radapt.features.features import Features, lay_out
    from radapt.features.store import FeatureStore
    from radapt.locations import Location
    from radapt.protocols import evaluate

    splits = np.random.default_rng(1).choice(SPLITS, cases, p=SHARES)
    image = {"image": Location(Path("none.png"))}
    made = tuple(Case(f"c{i}", f"p{i}", str(splits[i]), image, label=i % 2) for i in range(cases))
    cohort = Cohort("bench", "other", made, ("image",), classes=("no", "yes"))
    segments = lay_out(LAYERS, (WIDTH,) * len(LAYERS))
    store = FeatureStore(folder, segments[-1].stop)
    keys = tuple((f"k{i}",) for i in range(cases))
    features = Features(cohort, "none", "none", "float32", LAYERS, segments, {"cases": cases}, keys, store)
    features.pooled()
    spent, _ = seconds(lambda: evaluate(features, "linear", resamples=0))
    print(spent, peak_mb())


def peak_mb() -> float:
    """Peak memory of this process. `ru_maxrss` counts what the parent held when it started us; VmHWM does not."""
    status = Path("/proc/self/status")
    if status.exists():
        return float(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def probed_alone(cases: int) -> tuple[float, float]:
    """Seconds and MB of a process of its own that does nothing but `probe`."""
    with tempfile.TemporaryDirectory() as folder:
        write_store(Path(folder), cases)
        command = [sys.executable, __file__, "--probe", folder, "--cases", str(cases)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    spent, peak = done.stdout.split()[-2:]
    return float(spent), float(peak)


def encoder_rate(name: str, batch: int = 16) -> float:
    """Slices of 224 × 224 per second of the encoder alone, random weights."""
    import torch

    from radapt.backbones import load_backbone

    backbone = load_backbone(name, "random")
    images = torch.rand(batch, 3, 224, 224)
    with torch.inference_mode():
        backbone.tokens(images, layers=LAYERS)
        spent, _ = seconds(lambda: [backbone.tokens(images, layers=LAYERS) for _ in range(3)])
    return 3 * batch / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--stored", type=int, default=20_000)
    parser.add_argument("--backbone", default="dinov2-s")
    parser.add_argument("--probe", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.probe:
        probe(given.probe, given.cases)
        return
    rng = np.random.default_rng(0)
    logistic(rng, given.cases, 2, "default")
    logistic(rng, given.cases, 2, "dinov2")
    logistic(rng, given.cases, 4, "default")
    knn(rng, given.stored)
    rate, (spent, _) = encoder_rate(given.backbone), probed_alone(given.cases)
    share = spent / (given.cases / rate)
    print(f"probe of {given.cases} cases {spent:.2f} s; {given.backbone} {rate:.1f} slices/s: ", end="")
    print(f"probe/encoder {share:.3f}   (aim: below 0.03)")
    spent, peak = probed_alone(given.stored)
    print(f"{given.stored} stored cases: probe {spent:.1f} s, peak memory {peak:.0f} MB   (aim: below 1000)")


if __name__ == "__main__":
    main()
