"""What an adaptation writes down about itself, for its report: `adapt.json` (docs/contract.md)."""

from typing import TYPE_CHECKING, Any

import numpy as np

from radapt.cohorts.cohort import Cohort
from radapt.protocols.holdout import labelled
from radapt.protocols.image_problem import Machine
from radapt.versions import versions

if TYPE_CHECKING:
    from radapt.mmdino.adapt import Adapted
    from radapt.mmdino.fusion.fit_fusion import Fusion

FACTS = "adapt.json"

_OF_TRAINING = (
    "steps", "epochs", "seconds", "peak_memory_mb", "trained_parameters", "parameters", "stopped", "good_step",
    "history", "checks",
)  # fmt: skip


def adaptation_facts(
    adapted: "Adapted | Fusion",
    cohort: Cohort,
    *,
    preset: str,
    backbone: str,
    weights: str,
    machine: Machine,
    seed: int | None = None,
) -> dict[str, Any]:
    """What `adapt.json` says of an adaptation to the training cases of `cohort`; `weights` says which it began from."""
    facts: dict[str, Any] = {
        "cohort": cohort.name,
        "backbone": backbone,
        "weights": weights,
        "preset": preset,
        "options": adapted.options.plain(),
        "recipe": adapted.recipe.describe(),
        "modalities": list(adapted.modalities),
        "outputs": list(adapted.outputs),
        "precision": machine.precision,
        "device": machine.device,
        "fit": adapted.record.to_json(),
        "notes": list(adapted.record.notes),
        "counts": _counts(adapted, cohort),
        "source": dict(cohort.source),
        "versions": versions(),
        "trained": {name: getattr(adapted.trained, name) for name in _OF_TRAINING},
    }
    return facts if seed is None else facts | {"seed": seed}


def _counts(adapted: "Adapted | Fusion", cohort: Cohort) -> dict[str, Any]:
    seen = cohort.splits == "train"
    columns = {name: place for place, name in enumerate(cohort.modalities)}
    known = labelled(cohort.labels) if len(cohort.outputs) else np.zeros(len(cohort), dtype=bool)
    return {
        "cases": int(seen.sum()),
        "patients": len(set(cohort.patients[seen])),
        "labelled": int((seen & known).sum()),
        "with": {name: int(cohort.presence[seen, columns[name]].sum()) for name in adapted.modalities},
    }
