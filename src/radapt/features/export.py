"""Features as files anyone can open: an array, a table of the cases, and how both were made."""

import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from radapt import __version__
from radapt.cohorts.cohort import Cohort
from radapt.durable import atomic_path, write_json, write_parquet
from radapt.features.features import Features, SliceReduction

if TYPE_CHECKING:
    from radapt.backbones import WeightCard, WeightSource

ARRAY, TABLE, PROVENANCE = "features.npy", "cases.parquet", "embed.json"


def write_embedding(
    features: Features, out: Path, provenance: Mapping[str, Any], slices: SliceReduction = "mean"
) -> None:
    """Write `features.npy` float32 (N, M, D), `cases.parquet` with a row per case, and last `embed.json`.

    Row i of the table is entry i of the array; a missing modality is NaN. embed.json is there only if the other
    two are whole and belong to it.
    """
    (out / PROVENANCE).unlink(missing_ok=True)
    pooled = features.pooled(slices)
    with atomic_path(out / ARRAY) as part:
        shutil.copyfile(str(pooled.filename), part)  # type: ignore[attr-defined]
    write_parquet(out / TABLE, case_table(features))
    facts = {
        "pooling": slices,
        "shape": list(pooled.shape),
        "modalities": list(features.cohort.modalities),
        "segments": [segment._asdict() for segment in features.segments],
        "features": features.digest,
        **features.config,
        **provenance,
        "versions": _versions(),
    }
    write_json(out / PROVENANCE, facts)


def provenance_of(card: "WeightCard", source: "WeightSource", recipe: Any, cohort: Mapping[str, Any]) -> dict[str, Any]:
    """What embed.json says beyond the features themselves: card, weights, images and cohort."""
    return {
        "card": asdict(card),
        "weights": source.identity,
        "weights_kind": source.kind,
        "images": recipe,
        "cohort": dict(cohort),
    }


def case_table(features: Features) -> pd.DataFrame:
    """Columns case, patient, site, split, truth (class name) or truth_<finding>; per modality present_, slices_."""
    cohort = features.cohort
    columns: dict[str, Any] = {
        "case": [case.case for case in cohort],
        "patient": [case.patient for case in cohort],
        "site": [case.site for case in cohort],
        "split": [case.split for case in cohort],
        **_truth(cohort),
    }
    for place, name in enumerate(cohort.modalities):
        columns[f"present_{name}"] = features.presence[:, place]
        columns[f"slices_{name}"] = features.counts[:, place]
    return pd.DataFrame(columns)


def _truth(cohort: Cohort) -> dict[str, Any]:
    if cohort.findings:
        values = np.asarray(cohort.labels, dtype=np.float32)
        return {f"truth_{name}": values[:, place] for place, name in enumerate(cohort.findings)}
    if cohort.classes:
        return {"truth": [None if case.label is None else cohort.classes[case.label] for case in cohort]}
    return {}


def _versions() -> dict[str, str]:
    named = {name: version(name) for name in ("torch", "timm", "transformers", "nibabel", "pydicom", "numpy")}
    return {"radapt": __version__, "python": platform.python_version(), **named}
