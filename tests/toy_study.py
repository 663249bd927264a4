"""A cohort one can draw: two sequences of small volumes, with a bright disc where the patient is ill."""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from radapt.durable import write_text


def write_cohort(folder: Path, *, patients: int = 36, seed: int = 0, name: str = "discs") -> Path:
    """Write cohort.yaml, cases.csv and `.npy` volumes (5, 16, 16); every third patient lacks the sequence `b`."""
    rng = np.random.default_rng(seed)
    rows, grid = [], np.hypot(*np.mgrid[-8:8, -8:8])
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for patient in range(patients):
        ill = patient % 2
        row = {"case": f"c{patient}", "patient": f"p{patient}", "label": ["healthy", "ill"][ill]}
        row["split"] = ["train", "train", "train", "val", "test", "elsewhere"][(patient // 2) % 6]
        row["site"] = "other" if row["split"] == "elsewhere" else "home"
        for sequence in ("a", "b"):
            volume = rng.normal(100, 20, (5, 16, 16)) + 40 * ill * (grid < 4)
            path = f"images/{patient}-{sequence}.npy"
            np.save(folder / path, volume.astype(np.float32))
            row[f"image:{sequence}"] = "" if sequence == "b" and patient % 3 == 0 else path
        rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    facts = {"name": name, "kind": "other", "cases": "cases.csv", "classes": ["healthy", "ill"]}
    write_text(folder / "cohort.yaml", yaml.safe_dump(facts))
    return folder / "cohort.yaml"


def write_study(folder: Path, paths: list[Path], **changes: object) -> Path:
    study = {
        "name": "toy",
        "cohorts": [str(path) for path in paths],
        "backbones": [
            {"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"},
            {"name": "cnn", "as": "timm:test_resnet", "weights": "random", "dtype": "float32"},
        ],
        "protocols": ["knn", "linear"],
        "image": {"size": 32},
        "controls": "none",
        "choose": "val",
        "resamples": 200,
    } | changes
    write_text(folder / "study.yaml", yaml.safe_dump(study, sort_keys=False))
    return folder / "study.yaml"
