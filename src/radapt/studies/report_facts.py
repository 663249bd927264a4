"""Writes the facts that a report shows beside the scores: cohorts, backbones and the machine."""

import os
import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radapt.cohorts import case_table
from radapt.cohorts.case_counts import MASK, case_counts
from radapt.durable import write_json, write_parquet
from radapt.parsing.json import read_json
from radapt.remote.offline import is_offline
from radapt.studies.ledger import Ledger, slug
from radapt.versions import versions

if TYPE_CHECKING:
    from radapt.studies.cells import CellEncoder, PreparedCohort
    from radapt.studies.plan import Settings


def write_environment(folder: Path, settings: "Settings", device: str) -> None:
    """Write `environment.json`: versions and processor, without any name of the user or the machine."""

    facts = {
        **versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        **processor(device),
        "cores": os.cpu_count(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "offline": is_offline(settings.offline),
    }
    write_json(folder / "environment.json", facts)


def processor(device: str) -> dict[str, Any]:
    """The device that the encoder runs on, the GPU's name or `cpu`, and the number of threads."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return {"device": name, "threads": torch.get_num_threads()}


def cohort_folder(folder: Path, prepared: "PreparedCohort") -> Path:
    """Where a run folder holds the facts of a cohort."""
    return Ledger(folder).cohort(prepared.cohort.name)


def write_cohort_facts(folder: Path, prepared: "PreparedCohort", slices: np.ndarray | None = None) -> None:
    """Write `cohorts/<name>/cohort.json` and `cases.parquet`, which holds the split of every case.

    `slices` (N, M) holds the number of slices of every image, 0 if it is missing; it is known after extraction.
    """
    cohort = prepared.cohort
    target = cohort_folder(folder, prepared)
    table = case_table(cohort)
    if cohort.mask_labels:
        table[MASK] = [case.mask is not None for case in cohort]
    counts = case_counts(table, cohort.outputs, cohort.modalities)
    of_folds = counts.pop("fold_cases", None)
    facts = {
        "name": cohort.name,
        "kind": cohort.kind,
        "task": cohort.task,
        "outputs": cohort.outputs,
        "mask_labels": {str(value): name for value, name in cohort.mask_labels.items()},
        "ordered": cohort.ordered,
        "modalities": cohort.modalities,
        "unit": "patient" if cohort.patients_known else "image",
        "digest": prepared.digest or prepared.mask_digest,
        "split_seed": cohort.split_seed,
        "source": dict(cohort.source),
        "recipe": prepared.recipe.describe(),
        **counts,
    }
    if cohort.folds and cohort.fold_rule is not None:
        facts["folds"] = {"how": cohort.fold_rule.words, "rule": cohort.fold_rule.facts, "cases": of_folds}
    if slices is not None and (found := slices[slices > 0]).size:
        median = float(np.median(found))
        facts["slices_per_image"] = {"min": int(found.min()), "median": median, "max": int(found.max())}
    write_parquet(target / "cases.parquet", table)
    write_json(target / "cohort.json", facts)


def cohort_is_described(folder: Path, prepared: "PreparedCohort") -> bool:
    """Whether `write_cohort_facts` has already written this cohort."""
    try:
        facts = read_json(cohort_folder(folder, prepared) / "cohort.json")
    except (OSError, ValueError):
        return False
    return bool(facts.get("digest") == (prepared.digest or prepared.mask_digest))


def write_backbone_facts(folder: Path, encoder: "CellEncoder") -> None:
    """Write `backbones/<name>.json`: the weight card, the origin of the weights and the number format."""
    located = encoder.located
    facts = {
        **asdict(located.card),
        "name": encoder.entry.name,
        "architecture": located.card.architecture if located.lazy.modalities else encoder.entry.architecture,
        "modalities": list(located.lazy.modalities),
        "identity": located.lazy.identity,
        "weights": located.source.identity,
        "source_kind": located.source.kind,
        "dtype": located.lazy.dtype,
        "runtime": located.lazy.runtime,
        "device": located.device,
    }
    write_json(folder / "backbones" / f"{slug(encoder.entry.name)}.json", facts)
