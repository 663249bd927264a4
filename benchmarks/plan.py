"""How well `radapt run --plan` foresees a run: the plan of a study, then the study itself, in a cache of its own.

Prints what was planned and what was taken for each cell and each extraction, and the share of cells that were foreseen
within a factor of 1.5 or a second. Without a study it makes one: 28 cells of probes, trainings and controls on 90 drawn
patients. With --cpu both are processor time, for a machine that others use as well.

    python benchmarks/plan.py [STUDY] [--cpu]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from radapt.parsing.json import read_json
from radapt.studies import Ledger, Settings, estimate, plan_study, read_study, run_study
from radapt.studies.costs.text import duration

FACTOR, SHORT = 1.5, 1.0
"""A cell counts as foreseen within this factor, or within so many seconds."""

PATIENTS, SIZE = 90, 32
ENCODERS = ({"name": "vit", "as": "vit-nano", "weights": "random"},
            {"name": "cnn", "as": "timm:test_resnet", "weights": "random"})  # fmt: skip
PROTOCOLS = (
    "knn", "linear", "logistic", {"mil": {"epochs": 15}}, {"finetune": {"epochs": 5}}, {"bitfit": {"epochs": 5}},
    {"partial": {"blocks": 1, "epochs": 5}}, {"lora": {"epochs": 5}},
    {"scratch": {"network": "resnet18", "epochs": 2, "lr": [0.001, 0.0003]}},
    {"mmdino": {"trained": "fusion", "fusion": {"epochs": 10, "members": 2}}},
    {"segment": {"decoder": "linear", "epochs": 15}, "title": "segment linear"},
    {"segment": {"decoder": "conv", "epochs": 15}, "title": "segment conv"}, {"unet": {"steps": 40}},
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, nargs="?")
    parser.add_argument("--cpu", action="store_true")
    given = parser.parse_args()
    if given.cpu:
        time.perf_counter = time.monotonic = time.process_time
    with tempfile.TemporaryDirectory() as folder:
        study = read_study(given.study or synthetic_study(Path(folder, "patients")))
        ledger, settings = Ledger(Path(folder, "run")), Settings(cache=Path(folder, "cache"), offline=True)
        begun = time.perf_counter()
        costs = estimate(plan_study(study, settings), ledger, settings)
        planning = time.perf_counter() - begun
        begun = time.perf_counter()
        outcome = run_study(study, ledger.folder, settings)
        whole = time.perf_counter() - begun
        good = known = 0
        for cost in costs:
            for cell in cost.cells:
                planned, taken = cost.unfinished[cell.id], _seconds(ledger, cell.id)
                known += 1
                if planned is None or taken is None:
                    print(f"{cell.title}: planned {planned}, taken {taken}")
                    continue
                ratio = taken / planned.seconds
                good += 1 / FACTOR <= ratio <= FACTOR or abs(taken - planned.seconds) < SHORT
                print(f"{cell.title}: planned {planned.seconds:.2f} s, taken {taken:.2f} s, ratio {ratio:.2f}")
        total = sum(cost.seconds for cost in costs)
        encoding = sum(cost.encoding.seconds for cost in costs if cost.encoding)
        cells = sum(_seconds(ledger, cell.id) or 0.0 for cost in costs for cell in cost.cells)
        print(f"outside cells: planned {encoding:.1f} s, taken {whole - cells:.1f} s")
        print(f"all: planned {total:.1f} s, taken {whole:.1f} s, ratio {whole / total:.2f}")
        print(f"{good} of {known} cells within a factor of {FACTOR} or {SHORT:g} s; planning took {duration(planning)}")
        if outcome.failures:
            print(outcome.reasons())


def synthetic_study(folder: Path) -> Path:
    """A study on noise with a bright disc in half the patients, and its mask."""
    folder.mkdir()
    rng, grid = np.random.default_rng(0), np.hypot(*np.mgrid[-SIZE / 2 : SIZE / 2, -SIZE / 2 : SIZE / 2])
    rows = []
    for patient in range(PATIENTS):
        ill = patient % 2
        mask = ((grid < (9 if ill else 5)) * 1).astype(np.uint8)
        np.save(folder / f"{patient}.npy", (rng.normal(100, 25, mask.shape) + 40 * mask).astype(np.float32))
        np.save(folder / f"{patient}-mask.npy", mask)
        split = ("train", "train", "val", "test")[patient // 2 % 4]
        rows.append({"case": f"c{patient}", "image": f"{patient}.npy", "mask": f"{patient}-mask.npy"}
                    | {"label": ("small", "large")[ill], "split": split, "age": 40 + patient % 30})  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    cohort = {"name": "discs", "kind": "other", "cases": "cases.csv", "classes": ["small", "large"]}
    (folder / "cohort.yaml").write_text(yaml.safe_dump(cohort | {"mask_labels": {1: "disc"}}), encoding="utf-8")
    study = {"name": "plan", "cohorts": ["cohort.yaml"], "backbones": [*ENCODERS], "protocols": [*PROTOCOLS]}
    study |= {"image": {"size": SIZE}, "resamples": 200, "seeds": [0]}
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return folder / "study.yaml"


def _seconds(ledger: Ledger, cell: str) -> float | None:
    return float(read_json(ledger.cell(cell) / "done.json")["seconds"]) if ledger.is_done(cell) else None


if __name__ == "__main__":
    main()
