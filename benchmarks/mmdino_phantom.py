"""Results of the adaptation on phantom cohorts with a quarter of the labels, where the truth is known.

    python benchmarks/mmdino_phantom.py --out FOLDER [--seeds 0 1 2] [--steps 1200] [--patients 180] [--rows adapted …]

Each seed has its own cohort (hospital A for training, half as many patients of hospital B as external test), a quarter
of its labels, and a small vision transformer without pretraining, trained with the options for it. All rows
train for the same number of steps:

    supervised only    labels alone
    concatenation      sequences concatenated to one wide image, self-supervised, labels in the last step only
    labels and masks   labels and masks of the labelled patients
    adapted            the default for a CPU: also unlabelled patients and their masks

Prints MCC at the external hospital with its 95 % interval by patient, the mean over the subsets without one sequence,
and the cost of absence of one. An interrupted run resumes; finished cells are not run again. About 40 minutes per seed
on one core.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from radapt.cohorts import Fractions, ScanOptions, scan, write_cohort
from radapt.durable import write_text
from radapt.phantom import write_bids
from radapt.studies import Settings, read_study, run_study

VIT, LABELS = "vit-nano", 0.25
ADAPTED, SUPERVISED = "adapted", "supervised only"

OPTIONS: dict[str, object] = {
    "batch": 8, "global_size": 64, "local_size": 32, "slices": 16, "lr": 0.008, "warmup": 0.03, "frozen": 0.0,
    "layer_decay": 1.0, "patch_lr_scale": 1.0, "drop_path": 0.0, "weight_decay_end": 0.04,
}  # fmt: skip
"""Options of all rows. An encoder without pretraining needs a higher learning rate, in all layers and from the start.
In so few steps it does not overfit, so it is hardly regularised."""

PRESETS: dict[str, tuple[str, dict[str, object]]] = {
    ADAPTED: (
        "cpu",
        {"local_crops": 2, "dino": 0.1, "ibot": 0.0, "koleo": 0.01, "consistency": 0.1, "supervised": 0.2},
    ),
    SUPERVISED: ("supervised", {}),
}
"""From scratch, self-distillation needs thousands of steps to help, and at full weight it would outweigh the masks in
the first hundreds of steps, as would the labels of a few patients."""

MASKED = {"lesion_loss_weight": 5.0, "supervised": PRESETS[ADAPTED][1]["supervised"]}
ROWS: dict[str, tuple[str, dict[str, object]]] = {
    SUPERVISED: PRESETS[SUPERVISED],
    "concatenation": ("concatenation", {"local_crops": 2, "prototypes": 256, "head_hidden": 512}),
    "labels and masks": ("supervised", MASKED),
    ADAPTED: PRESETS[ADAPTED],
}


def cohort_of(folder: Path, seed: int, patients: int) -> Path:
    """The file of a phantom cohort, which is made if it is not there."""
    file = folder / "cohort.yaml"
    if not file.exists():
        workers = min(os.cpu_count() or 1, 8)
        bids = write_bids(folder / "patients", patients=patients, external=patients // 2, seed=seed, workers=workers)
        options = ScanOptions(
            name=f"phantom{seed}", kind="mri", label=("subtype",), site="hospital", external=("B=external",), seed=seed,
            fractions=Fractions(val=0.15, test=0.25),
        )  # fmt: skip
        write_cohort(scan(bids, "bids", options), file)
    return file


def study_of(folder: Path, cohort: Path, seed: int, steps: int, rows: list[str]) -> Path:
    def entry(title: str) -> dict[str, Any]:
        preset, more = ROWS[title]
        options = {"preset": preset, **OPTIONS, **more, "steps": steps}
        draw = {"fractions": [LABELS], "shots": [], "repeats": 1, "protocol": "mmdino", "options": options}
        return {"title": title, "fewshot": draw}

    study = {
        "name": f"phantom{seed}", "cohorts": [str(cohort.resolve())], "seeds": [seed], "image": {"size": 128},
        "backbones": [{"name": VIT, "weights": "random"}], "protocols": [entry(title) for title in rows],
    }  # fmt: skip
    write_text(folder / "study.yaml", yaml.safe_dump(study, sort_keys=False))
    return folder / "study.yaml"


def said(run: Path, seed: int) -> None:
    results = pd.read_parquet(run / "results.parquet").drop_duplicates("cell")
    for cell, title in zip(results["cell"], results["protocol"], strict=True):
        scores, shares = (external(run / "cells" / cell / name) for name in ("subsets.parquet", "shapley.parquet"))
        count = scores["n_sequences"].max()
        whole = scores[scores["n_sequences"] == count].iloc[0]
        less = scores.loc[scores["n_sequences"] == count - 1, "value"].mean()
        cost = shares[(shares["quantity"] == "absence") & shares["modality"].isna()].iloc[0]
        print(
            f"seed {seed}  {title:17} MCC {interval(whole)}  one less {less:5.2f}  its cost {interval(cost)}",
            flush=True,
        )


def external(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    return table[(table["metric"] == "mcc") & (table["split"] == "external") & table["site"].isna()]


def interval(row: pd.Series) -> str:
    return f"{row['value']:5.2f} [{row['ci_low']:5.2f}, {row['ci_high']:5.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--patients", type=int, default=180)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    given = parser.parse_args()
    for seed in given.seeds:
        folder = given.out / str(seed)
        cohort = cohort_of(folder, seed, given.patients)
        study = study_of(folder, cohort, seed, given.steps, given.rows)
        run_study(read_study(study), folder / "run", Settings(cache=given.out / "cache", offline=True))
        said(folder / "run", seed)


if __name__ == "__main__":
    main()
