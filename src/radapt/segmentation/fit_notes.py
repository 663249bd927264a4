"""What a reader should know about the fit of a segmentation network."""

from collections.abc import Sequence

import numpy as np

from radapt.protocols.image_problem import ImageProblem
from radapt.training.fit_record import Candidate

RISING = 0.9
"""Best weights in the last tenth of the training say that it was too short."""

BY_DEFAULT = "no case to choose on, so the last weights were taken"
"""In place of a criterion, where one training had no val."""


def choice_note(problem: ImageProblem, val: int) -> list[str]:
    """Where inner folds would choose with so few patients, that this protocol chose on `val` cases all the same."""
    if problem.method != "cv" or not val:
        return []
    return [f"Chosen on val ({val} cases): a network for masks is not trained on inner folds, which would cost hours."]


def val_notes(winner: Candidate, chooses: bool) -> list[str]:
    """How the training of the network that answers went on val."""
    if not chooses:
        return ["No case to choose on: train has too few patients to draw val from, so the last weights were taken."]
    if winner.best_epoch is None:
        return ["Dice was undefined on val, where no case has a label; the last weights were taken."]
    epochs = winner.epochs or 0
    if epochs > 2 and winner.best_epoch > RISING * epochs:
        return [f"Val was best at the end of the {winner.steps} steps: more may do better."]
    return []


def modality_notes(modalities: Sequence[str], having: np.ndarray, stand_in: str) -> list[str]:
    """Modalities that some of the training cases, or all, lack: `having` bool (cases, M)."""
    said = []
    for name, count in zip(modalities, having.sum(axis=0), strict=True):
        if not count:
            said.append(f"No training case has {name}; left out.")
        elif count < len(having):
            said.append(f"{name} is missing in {len(having) - int(count)} training cases; {stand_in}.")
    return said
