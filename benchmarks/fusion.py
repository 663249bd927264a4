"""The cost of training on stored tokens against training the whole encoder: steps, extraction, training, and memory.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/fusion.py [--backbone dinov2-s] [--patients 110] [--slices 9]

Weights are random and cases are synthetic: neither changes the cost. A few batches of the extraction and a few steps
of `fusion`, `partial` and `full` are timed, with the same number of cases in a step, in CPU seconds of the process,
which other load on the machine hardly changes. The first two read four slices of a case in a step, `full` reads one.
Extraction and training are scaled to the cohort and the default epochs. It takes minutes, and ends with a line of JSON.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from radapt.backbones import load_backbone
from radapt.cohorts import load_cohort
from radapt.cohorts.cohort import Cohort
from radapt.images import Recipe, SliceCache
from radapt.mmdino.adapt import adapt
from radapt.mmdino.fusion.fit_fusion import fit_fusion
from radapt.mmdino.fusion.fusion_options import FusionOptions
from radapt.mmdino.fusion.fusion_task import FusionTask
from radapt.mmdino.options import options_of
from radapt.mmdino.task import AdaptTask

RECIPE = Recipe.for_kind("mri", size=224)


def write_cohort(folder: Path, patients: int, slices: int, sequences: int) -> Cohort:
    """Noise with a bright square, whose place is the class and which the mask marks; all in train but a tenth."""
    rng = np.random.default_rng(0)
    rows = []
    for patient in range(patients):
        label = patient % 3
        mask = np.zeros((slices, 128, 128), np.uint8)
        mask[:, 30 + 20 * label : 50 + 20 * label, 40:70] = 1
        np.save(folder / f"{patient}-mask.npy", mask)
        row = {"case": f"c{patient}", "label": f"k{label}", "mask": f"{patient}-mask.npy"}
        row["split"] = "test" if patient % 10 == 9 else "train"
        for sequence in range(sequences):
            volume = rng.normal(100, 20, mask.shape) + 60 * mask
            np.save(folder / f"{patient}-{sequence}.npy", volume.astype(np.float32))
            row[f"image:s{sequence}"] = f"{patient}-{sequence}.npy"
        rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    facts = {"name": "squares", "kind": "mri", "cases": "cases.csv", "classes": ["k0", "k1", "k2"]}
    (folder / "cohort.yaml").write_text(yaml.safe_dump(facts | {"mask_labels": {1: "square"}}))
    return load_cohort(folder / "cohort.yaml")


class TimedPasses:
    """Stands in for the passes of an encoder, after the first few, with tokens of the right shape."""

    def __init__(self, run: Callable[..., Any], timed: int) -> None:
        self.run, self.left, self.seconds, self.slices = run, timed, 0.0, 0
        self.kept: Any = None

    def __call__(self, images: torch.Tensor, *given: Any, **named: Any) -> Any:
        if self.left > 0 or len(images) == 1:  # one image: the shapes are asked for
            start = time.process_time()
            found = self.run(images, *given, **named)
            if len(images) == 1:
                return found
            self.kept = found
            self.seconds += time.process_time() - start
            self.slices, self.left = self.slices + len(images), self.left - 1
        return self.kept


class TimedSteps:
    """CPU seconds from the start of each step of a kind of task to its end, loading of the next batch included."""

    def __init__(self, kind: type) -> None:
        self.each: list[float] = []
        before, after = kind.before_step, kind.after_step

        def start(task: Any, step: int, total: int) -> None:
            self.started = time.process_time()
            before(task, step, total)

        def end(task: Any, step: int, total: int) -> None:
            after(task, step, total)
            self.each.append(time.process_time() - self.started)

        kind.before_step, kind.after_step = start, end  # type: ignore[attr-defined]

    def median(self) -> float:
        """Of all steps, which are then forgotten; the first epoch also reads masks."""
        found, self.each = statistics.median(self.each), []
        return found


def fit(
    given: argparse.Namespace, cohort: Cohort, cache: SliceCache, steps: TimedSteps, trained: str
) -> dict[str, float]:
    """Extraction, training and a step of a fusion or a partial training, in CPU seconds."""
    backbone = load_backbone(given.backbone, "random")
    name = "tokens" if trained == "fusion" else "block_inputs"
    passes = TimedPasses(getattr(backbone, name), given.passes)
    setattr(backbone, name, passes)
    options = options_of(trained=trained, fusion={"steps": given.steps if trained == "fusion" else 5})
    fit_fusion(cohort, backbone, options, recipe=RECIPE, cache=cache)
    step, encoded = steps.median(), given.patients * given.slices * given.sequences
    in_train = sum(case.split == "train" for case in cohort)
    every = FusionOptions()
    count = min(every.steps or 10**9, every.epochs * -(-in_train // every.batch))
    return {
        f"{trained}_extraction_seconds": round(encoded * passes.seconds / passes.slices, 1),
        f"{trained}_training_seconds": round(step * count, 1),
        f"{trained}_step_seconds": round(step, 4),
        f"{trained}_peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backbone", default="dinov2-s")
    parser.add_argument("--patients", type=int, default=110)
    parser.add_argument("--slices", type=int, default=9)
    parser.add_argument("--sequences", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25, help="Steps of `fusion` that are timed.")
    parser.add_argument("--passes", type=int, default=2, help="Batches of the extraction that are timed.")
    given = parser.parse_args()
    steps, whole = TimedSteps(FusionTask), TimedSteps(AdaptTask)
    with tempfile.TemporaryDirectory() as folder:
        cohort = write_cohort(Path(folder), given.patients, given.slices, given.sequences)
        cache = SliceCache(Path(folder) / "cache")
        found = fit(given, cohort, cache, steps, "fusion")
        found |= fit(given, cohort, cache, steps, "partial")
        full = options_of(trained="full", steps=3, batch=FusionOptions().batch, slices=1, frozen=0.0, classifier="head")
        adapt(cohort, load_backbone(given.backbone, "random"), full, recipe=RECIPE, cache=cache.folder)
    step = whole.median()
    found |= {"full_step_seconds": round(step, 2), "slices_encoded": given.patients * given.slices * given.sequences}
    for name in ("fusion", "partial"):
        ratio = step / found[f"{name}_step_seconds"]
        found |= {
            f"full_to_{name}": round(ratio, 1),
            f"full_to_{name}_per_slice": round(ratio * FusionOptions().slices, 1),
        }
    print(json.dumps({"backbone": given.backbone, "threads": torch.get_num_threads(), **found}))


if __name__ == "__main__":
    main()
