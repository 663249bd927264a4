"""Fitting `transunet`: one training on slices, the weights that were best on val kept."""

from typing import TYPE_CHECKING, Any

import numpy as np

from radapt.cases.sampling import SliceIndex
from radapt.classification.candidates import CHECKPOINT_S
from radapt.digests import digest
from radapt.errors import DataError
from radapt.protocols.fitted import Cost, Fitted, Segmenter
from radapt.protocols.image_problem import ImageProblem
from radapt.segmentation.data import SegmentationData
from radapt.segmentation.encoder_decoder.tasks import Goal, ImageTask
from radapt.segmentation.modality_view import ModalityView
from radapt.segmentation.sides import has_sides
from radapt.segmentation.training_notes import cost_of, missing_notes, training_notes
from radapt.segmentation.transunet.model import PlaneSegmenter, make_model
from radapt.training import Augmentation, Group, TrainResult, parameter_groups, train
from radapt.versions import __version__

if TYPE_CHECKING:
    from radapt.segmentation.transunet.protocol import TransUNetProtocol

CRITERION = "mean over labels of the mean Dice over val cases, on the planes"


class TransUNetTask(ImageTask):
    """Slices through a network that is one piece: all of it is trained, at one rate."""

    def groups(self) -> list[Group]:
        return parameter_groups(self.module)

    def train_mode(self) -> None:
        self.module.train()


def fitted(
    protocol: "TransUNetProtocol", problem: ImageProblem, drawing: np.random.Generator, seed: int
) -> Fitted[Segmenter]:
    """Train on train, keep what was best on val. Raises DataError if no training mask has a label."""
    machine, data = problem.machine, SegmentationData(problem)
    rows, val = problem.choosing(drawing)
    seen = ModalityView(data, tuple(int(index) for index in np.flatnonzero(problem.cohort.presence[rows].any(axis=0))))
    slices = SliceIndex.of(rows, data.pixels)
    if not slices.pixels[:, 1:].any():
        raise DataError(
            f"Cohort {problem.cohort.name!r}: all {len(rows)} training masks are empty on the planes that are looked "
            "at, so nothing can be learned. Give training cases masks that hold a label."
        )
    model = make_model(
        protocol.network, problem.recipe, data.labels, seen.names, data.colours, machine.precision,
        pretrained=protocol.weights == "pretrained", seed=seed,
    )  # fmt: skip
    goal = Goal(seen, slices, val, protocol.foreground, modality_dropout=protocol.modality_dropout)
    task = TransUNetTask(goal, model.network, augmentation_of(protocol, problem, data))  # type: ignore[arg-type]
    key = _key(protocol, problem, data, np.concatenate([rows, val]), len(val), seed)
    checkpoint = machine.checkpoints and machine.checkpoints / f"{key}.pt"
    trained = train(
        task, protocol.regime(len(slices), machine.precision), seed=seed, device=machine.device,
        devices=machine.devices, checkpoint=checkpoint, interval_s=CHECKPOINT_S, progress=machine.progress,
        label=protocol.name,
    )  # fmt: skip
    chosen = _chosen(protocol, problem, data, (rows, val), trained)
    if machine.folder is not None:
        model.save(machine.folder, protocol.facts(), chosen)
    segmenter = PlaneSegmenter(model, data)
    cost: Cost = cost_of(trained)
    return Fitted(segmenter, segmenter, chosen, cost)


def augmentation_of(
    protocol: "TransUNetProtocol", problem: ImageProblem, data: SegmentationData
) -> Augmentation | None:
    """What suits the kind of image, mirrored along the columns (which run from right to left) where that is asked."""
    kind = problem.cohort.kind
    across = problem.recipe.axis in ("axial", "coronal")
    sided = kind == "xray" or has_sides(data.labels.values())
    flips = (0.5, 0.5) if protocol.mirror == "all" else (0.0, 0.0)
    if across and (protocol.mirror == "left-right" or (protocol.mirror == "auto" and not sided)):
        flips = (0.0, 0.5)
    if protocol.augment == "none" and not any(flips):
        return None
    return Augmentation.for_kind(kind, 2, protocol.augment, flips=flips)


def _key(
    protocol: "TransUNetProtocol", problem: ImageProblem, data: SegmentationData, rows: np.ndarray, val: int, seed: int
) -> str:
    """Names all that decides the training, so that a checkpoint of another one is never gone on from."""
    cases = [problem.cohort.cases[int(row)] for row in rows]
    places = [place for case in cases for place in (*case.images.values(), case.mask) if place is not None]
    images = [problem.slices.key(place, problem.recipe) for place in places]
    labels = {str(value): name for value, name in data.labels.items()}
    return digest([__version__, protocol.facts(), images, val, labels, problem.machine.precision, seed])


def _chosen(
    protocol: "TransUNetProtocol",
    problem: ImageProblem,
    data: SegmentationData,
    rows: tuple[np.ndarray, np.ndarray],
    trained: TrainResult,
) -> dict[str, Any]:
    own, chooses = len(problem.rows("val")) > 0, len(rows[1]) > 0
    having = problem.cohort.presence[rows[0]]
    looks = [
        {"epoch": one["epoch"], "val_dice": one["score"]} for one in trained.history if one["score"] == one["score"]
    ]
    notes = [*data.notes, *missing_notes(data.modalities, having), *training_notes(trained, chooses), *trained.notes]
    return {
        "winner": {"network": protocol.network, "weights": protocol.weights, "best_epoch": trained.best_epoch},
        "criterion": CRITERION if chooses else "no case to choose on, so the last weights were taken",
        "candidates": looks if chooses else [],
        "cases": {"train": len(rows[0]), "val": len(rows[1])},
        "val": ("the cohort's" if own else "drawn by patient inside train") if chooses else "none",
        "trained": trained.trained_parameters,
        "parameters": trained.parameters,
        "notes": list(dict.fromkeys(notes)),
        "history": trained.history,
    }  # fmt: skip
