"""Peak memory of `radapt predict` over many small studies: it should not grow with their number.

Makes synthetic MRI volumes, exports a kNN on a tiny encoder with random weights, and predicts folders of studies in
processes of their own. Run:

    python benchmarks/predict_memory.py [--studies 300 1500]
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
import pandas as pd
import yaml

from radapt.deploy.export.export_model import export_model
from radapt.studies import Settings, read_study, run_study

SHAPE = (48, 48, 4)
BACKBONE = {"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}


def write_volume(path: Path, seed: int) -> None:
    """Noise with a brighter left half in every second one."""
    array = np.random.default_rng(seed).normal(100, 20, SHAPE)
    array[: SHAPE[0] // 2] += 60 * (seed % 2)
    nibabel.save(nibabel.Nifti1Image(array.astype(np.int16), np.diag([1.0, 1.0, 5.0, 1.0])), path)


def exported(folder: Path) -> Path:
    """A model of two classes."""
    (folder / "training").mkdir()
    rows = []
    for number in range(40):
        write_volume(folder / "training" / f"{number}.nii", number)
        split = ("train", "train", "val", "test")[number // 2 % 4]
        rows.append({"case": f"t{number}", "split": split, "image:t1": f"training/{number}.nii", "label": number % 2})
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    cohort = {"name": "halves", "kind": "mri", "cases": "cases.csv", "classes": ["even", "odd"]}
    (folder / "cohort.yaml").write_text(yaml.safe_dump(cohort))
    image = {"size": 48, "slices": {"axis": "axial"}}
    study = {
        "name": "memory",
        "cohorts": ["cohort.yaml"],
        "backbones": [BACKBONE],
        "protocols": ["knn"],
        "image": image,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    run_study(read_study(folder / "study.yaml"), folder / "run", Settings(cache=folder / "cache"))
    export_model(folder / "run", folder / "model", method="knn", cache=folder / "cache")
    return folder / "model"


def peak_mb(model: Path, studies: Path, out: Path) -> tuple[float, float]:
    """Peak resident memory in MB and seconds of one command."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "radapt", "predict", str(model), str(studies), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(process.stderr.read().decode() if process.stderr else "predict failed")
    return usage.ru_maxrss / 1024, time.perf_counter() - start


def main() -> None:
    """Print a line for each number of studies."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--studies", nargs="+", type=int, default=[300, 1500])
    given = options.parse_args()
    with TemporaryDirectory() as place:
        folder = Path(place)
        model = exported(folder)
        for count in given.studies:
            studies = folder / f"studies-{count}"
            for number in range(count):
                (studies / f"p{number:05}").mkdir(parents=True)
                write_volume(studies / f"p{number:05}" / "t1.nii", 1000 + number)
            peak, seconds = peak_mb(model, studies, folder / f"out-{count}")
            rows = len(pd.read_csv(folder / f"out-{count}" / "predictions.csv"))
            print(f"{rows} studies: peak {peak:.0f} MB, {1000 * seconds / rows:.0f} ms a study", flush=True)


if __name__ == "__main__":
    main()
