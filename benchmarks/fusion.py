"""The cost of a fusion against training the same encoder: a step of each, extraction, training, and memory.

    python benchmarks/fusion.py [--backbone dinov2-s] [--patients 110] [--slices 9] [--sequences 3]

Weights are random and cases are synthetic: neither changes the cost. Extraction and a step of `full` are timed on a few
slices and steps, and extraction is scaled to the cohort. One line of JSON at the end.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from radapt.backbones import load_backbone
from radapt.backbones.backbone import Backbone
from radapt.cohorts import load_cohort
from radapt.cohorts.cohort import Cohort
from radapt.images import Recipe, SliceCache
from radapt.mmdino.adapt import adapt
from radapt.mmdino.fusion.fit_fusion import fit_fusion
from radapt.mmdino.options import options_of


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


class Untrained:
    """Stands in for the passes of an encoder, after the first few, with tokens of the right shape."""

    def __init__(self, backbone: Backbone, timed: int) -> None:
        self.tokens, self.left, self.seconds, self.slices = backbone.tokens, timed, 0.0, 0
        self.kept = None

    def __call__(self, images: torch.Tensor, layers: tuple[int, ...] = (-1,)) -> object:
        if self.left <= 0 and self.kept is not None:
            return self.kept
        start = time.monotonic()
        self.kept = self.tokens(images, layers=layers)
        self.seconds, self.slices, self.left = (
            self.seconds + time.monotonic() - start, self.slices + len(images), self.left - 1
        )  # fmt: skip
        return self.kept


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backbone", default="dinov2-s")
    parser.add_argument("--patients", type=int, default=110)
    parser.add_argument("--slices", type=int, default=9)
    parser.add_argument("--sequences", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="Steps of `full` that are timed.")
    parser.add_argument("--passes", type=int, default=2, help="Batches of the extraction that are timed.")
    given = parser.parse_args()
    backbone = load_backbone(given.backbone, "random")
    recipe = Recipe.for_kind("mri", size=224)
    with tempfile.TemporaryDirectory() as folder:
        cohort = write_cohort(Path(folder), given.patients, given.slices, given.sequences)
        cache = SliceCache(Path(folder) / "cache")
        passes = Untrained(backbone, given.passes)
        backbone.tokens = passes  # type: ignore[method-assign, assignment]
        fusion = fit_fusion(cohort, backbone, options_of(trained="fusion"), recipe=recipe, cache=cache)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        del backbone.tokens
        batch = fusion.options.fusion.batch
        full = options_of(trained="full", steps=given.steps, batch=batch, slices=1)
        trained = adapt(cohort, backbone, full, recipe=recipe, cache=cache.folder).trained
    encoded = given.patients * given.slices * given.sequences
    step = fusion.trained.seconds / fusion.trained.steps
    found = {
        "backbone": given.backbone,
        "slices_encoded": encoded,
        "extraction_seconds": round(encoded * passes.seconds / passes.slices, 1),
        "training_seconds": round(fusion.trained.seconds, 1),
        "steps": fusion.trained.steps,
        "fusion_step_seconds": round(step, 4),
        "full_step_seconds": round(trained.seconds / trained.steps, 2),
        "ratio": round(trained.seconds / trained.steps / step, 1),
        "peak_memory_mb": round(peak),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
