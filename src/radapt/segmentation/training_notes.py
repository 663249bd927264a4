"""What a reader is told of a segmentation network that was trained from scratch."""

from collections.abc import Sequence

import numpy as np

from radapt.protocols.fitted import Cost
from radapt.training import TrainResult

RISING = 0.9
"""Best weights found in the last tenth of the training say that it was too short."""


def training_notes(trained: TrainResult, chooses: bool) -> list[str]:
    """What a reader should know about how training went."""
    if not chooses:
        return ["No case to choose on: train has too few patients to draw val from, so the last weights were taken."]
    if not trained.best_epoch:
        return ["Dice was undefined on val, where no case has a label; the last weights were taken."]
    if trained.epochs > 2 and trained.best_epoch > RISING * trained.epochs:
        return [f"Val was best at the end of the {trained.steps} steps: more may do better."]
    return []


def missing_notes(modalities: Sequence[str], having: np.ndarray) -> list[str]:
    """Modalities that some of the training cases, or all, lack: `having` bool (cases, M)."""
    said = []
    for name, count in zip(modalities, having.sum(axis=0), strict=True):
        if not count:
            said.append(f"No training case has {name}; left out.")
        elif count < len(having):
            said.append(f"{name} is missing in {len(having) - int(count)} training cases; zeros stand in for it.")
    return said


def cost_of(trained: TrainResult) -> Cost:
    """What training took, counted from the live model."""
    return Cost(trained.trained_parameters, trained.parameters, trained.peak_memory_mb, trained.seconds)
