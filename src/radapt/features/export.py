"""Features as plain files: an array, a table of the cases, and their provenance."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from radapt.cohorts import case_table
from radapt.durable import atomic_path, is_partial_name, write_json, write_parquet
from radapt.features.features import Features, SliceReduction
from radapt.versions import versions

if TYPE_CHECKING:
    from radapt.backbones import WeightCard, WeightSource

ARRAY, TABLE, PROVENANCE = "features.npy", "cases.parquet", "embed.json"


def write_embedding(
    features: Features, out: Path, provenance: Mapping[str, Any], slices: SliceReduction = "mean"
) -> None:
    """Write `features.npy` float32 (N, M, D), `cases.parquet` with a row per case, and last `embed.json`.

    Row i of the table is entry i of the array; a missing modality is NaN. embed.json exists only if the other two files
    are complete and belong to it. Parts of these files that a killed process left are removed.
    """
    (out / PROVENANCE).unlink(missing_ok=True)
    for name in (ARRAY, TABLE, PROVENANCE):
        for left in out.glob(f".{name}.*.part"):  # by a killed process
            if is_partial_name(left.name):
                left.unlink()
    pooled = features.pooled(slices)
    with atomic_path(out / ARRAY) as part:
        shutil.copyfile(str(pooled.filename), part)  # type: ignore[attr-defined]
    write_parquet(out / TABLE, _with_slices(features))
    facts = {
        "pooling": slices,
        "shape": list(pooled.shape),
        "modalities": list(features.modalities),
        **({"seen_together": list(features.joint)} if features.joint else {}),
        "segments": [segment._asdict() for segment in features.segments],
        "features": features.digest,
        **features.config,
        **provenance,
        "versions": versions(),
    }
    write_json(out / PROVENANCE, facts)


def provenance_of(card: "WeightCard", source: "WeightSource", recipe: Any, cohort: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance in embed.json beyond the features themselves: card, weights, images and cohort."""
    return {
        "card": asdict(card),
        "weights": source.identity,
        "weights_kind": source.kind,
        "images": recipe,
        "cohort": dict(cohort),
    }


def _with_slices(features: Features) -> pd.DataFrame:
    """The table of the cases with the number of slices, `slices:<modality>`, 0 where it is missing."""
    table = case_table(features.cohort)
    for column, name in enumerate(features.modalities):
        table[f"slices:{name}"] = features.counts[:, column]
    return table
