"""The facts a report shows beside the numbers: cohorts, backbones and the machine."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from radapt import __version__
from radapt.cohorts import Cohort
from radapt.durable import write_json, write_parquet
from radapt.studies.ledger import slug

if TYPE_CHECKING:
    from radapt.studies.plan import Encoder, Prepared, Settings

_PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "nibabel",
    "pydicom",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
)


def write_environment(folder: Path, settings: "Settings", device: str) -> None:
    """Write `environment.json`: versions and processor, and nothing that names the user or the machine."""
    import torch

    from radapt.backbones import is_offline

    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    facts = {
        "radapt": __version__,
        "python": platform.python_version(),
        **versions,
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "offline": is_offline(settings.offline),
    }
    write_json(folder / "environment.json", facts)


def write_cohort_facts(folder: Path, prepared: "Prepared", slices: np.ndarray | None = None) -> None:
    """Write `cohorts/<name>/cohort.json` and `cases.parquet`, the latter with the split every case is in.

    `slices` (N, M) counts those of every image, 0 for a missing one; known once features are there.
    """
    cohort = prepared.cohort
    place = folder / "cohorts" / slug(cohort.name)
    patients = set(cohort.patients)
    facts = {
        "name": cohort.name,
        "kind": cohort.kind,
        "task": cohort.task,
        "outputs": cohort.outputs,
        "ordered": cohort.ordered,
        "modalities": cohort.modalities,
        "n_cases": len(cohort),
        "n_patients": len(patients),
        "digest": prepared.digest,
        "split_seed": cohort.split_seed,
        "source": dict(cohort.source),
        "recipe": prepared.recipe.describe(),
        "splits": {split: _split_facts(cohort, split) for split in ("train", "val", *cohort.test_sets)},
        "sites": _counts([case.site or "" for case in cohort]),
    }
    if slices is not None and (counts := slices[slices > 0]).size:
        middle = float(np.median(counts))
        facts["slices_per_image"] = {"min": int(counts.min()), "median": middle, "max": int(counts.max())}
    write_parquet(place / "cases.parquet", case_table(cohort))
    write_json(place / "cohort.json", facts)


def write_backbone_facts(folder: Path, encoder: "Encoder") -> None:
    """Write `backbones/<name>.json`: the weight card, where the weights came from, and the number format."""
    from radapt.backbones import card

    facts = {
        **asdict(card(encoder.entry.architecture)),
        "name": encoder.entry.name,
        "architecture": encoder.entry.architecture,
        "identity": encoder.identity,
        "weights": encoder.source.identity,
        "source_kind": encoder.source.kind,
        "dtype": encoder.dtype,
        "device": encoder.device,
    }
    write_json(folder / "backbones" / f"{slug(encoder.entry.name)}.json", facts)


def case_table(cohort: Cohort) -> pd.DataFrame:
    """One row per case: keys, split, truth in words, and which modalities it has; no paths, no metadata."""
    table = pd.DataFrame(
        {
            "case": [case.case for case in cohort],
            "patient": cohort.patients,
            "site": [case.site for case in cohort],
            "split": cohort.splits,
        }
    )
    for index, finding in enumerate(cohort.findings):
        table[f"label:{finding}"] = cohort.labels[:, index]
    if cohort.classes:
        table["label"] = [None if case.label is None else cohort.classes[case.label] for case in cohort]
    for index, modality in enumerate(cohort.modalities):
        table[f"has:{modality}"] = cohort.presence[:, index]
    return table


def _split_facts(cohort: Cohort, split: str) -> dict[str, Any]:
    rows = cohort.splits == split
    labels = cohort.labels[rows]
    known = ~np.isnan(labels) if cohort.findings else labels >= 0
    return {
        "cases": int(rows.sum()),
        "patients": len(set(cohort.patients[rows])),
        "labelled": int(known.any(axis=1).sum() if cohort.findings else known.sum()),
        "outputs": {name: _output_facts(cohort, labels, index) for index, name in enumerate(cohort.outputs)},
        "missing": dict(zip(cohort.modalities, (~cohort.presence[rows]).sum(axis=0).tolist(), strict=True)),
    }


def _output_facts(cohort: Cohort, labels: np.ndarray, index: int) -> dict[str, int]:
    if cohort.findings:
        truth = labels[:, index]
        positive, negative = int((truth == 1).sum()), int((truth == 0).sum())
    else:
        positive, negative = int((labels == index).sum()), int(((labels != index) & (labels >= 0)).sum())
    return {"positive": positive, "negative": negative, "unknown": len(labels) - positive - negative}


def _counts(words: list[str]) -> Mapping[str, int]:
    names, counts = np.unique(np.asarray(words, dtype=str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))
