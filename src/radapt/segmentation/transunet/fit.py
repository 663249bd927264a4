"""Fitting `transunet`: one training on slices, the weights that were best on val kept."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from radapt.cases.sampling import SliceIndex
from radapt.errors import DataError
from radapt.protocols.fitted import Fitted, Segmenter
from radapt.protocols.holdout import fit_cases
from radapt.protocols.image_problem import ImageProblem
from radapt.segmentation.data import SegmentationData
from radapt.segmentation.encoder_decoder.tasks import Goal, ImageTask
from radapt.segmentation.fit_notes import BY_DEFAULT, choice_note, modality_notes, val_notes
from radapt.segmentation.image_keys import image_keys
from radapt.segmentation.modality_view import ModalityView
from radapt.segmentation.sides import has_sides
from radapt.segmentation.transunet.model import METHOD, PlaneModel, PlaneNetwork, PlaneSegmenter, make_network
from radapt.segmentation.transunet.options import TransUNetOptions
from radapt.segmentation.whole_search import WholeSearch
from radapt.training import Augmentation, Group, parameter_groups
from radapt.training.checkpoint import fit_key
from radapt.training.lr_search import TrainSetup, search_rates

CRITERION = "mean over labels of the mean Dice over val cases, on the planes"


class TransUNetTask(ImageTask):
    """Slices through a network that is one piece: all of it is trained, at one rate."""

    def groups(self) -> list[Group]:
        return parameter_groups(self.module)

    def train_mode(self) -> None:
        self.module.train()


def fit_transunet(
    options: TransUNetOptions, problem: ImageProblem, drawing: np.random.Generator, seed: int
) -> Fitted[Segmenter]:
    """Train on train, keep what was best on val. Raises DataError if no training mask has a label."""
    machine, data = problem.machine, SegmentationData(problem)
    rows, val = problem.choosing(drawing)
    having = problem.cohort.presence[rows]
    seen = ModalityView(data, tuple(int(index) for index in np.flatnonzero(having.any(axis=0))))
    slices = SliceIndex.of(rows, data.pixels)
    if not slices.pixels[:, 1:].any():
        raise DataError(
            f"Cohort {problem.cohort.name!r}: all {len(rows)} training masks are empty on the planes that are looked "
            "at, so nothing can be learned. Give training cases masks that hold a label."
        )
    goal = Goal(seen, slices, val, options.foreground, modality_dropout=options.modality_dropout)
    augmentation = augmentation_of(options, problem, data)
    search: WholeSearch[PlaneNetwork] = WholeSearch(
        TrainSetup(seed, METHOD, machine.device, machine.devices, machine.progress),
        lambda: make_network(
            options.network, problem.recipe, len(data.labels), len(seen.names) * data.colours,
            pretrained=options.weights == "pretrained", seed=seed,
        ),
        lambda network: TransUNetTask(goal, network, augmentation),  # type: ignore[arg-type]
        options.train_config(len(slices), machine.precision), len(val) > 0,
    )  # fmt: skip
    key = _key(options, problem, data, [*rows, *val], len(val), seed)
    best = search_rates(search, [options.rate], machine.checkpoints, key)
    notes = [*data.notes, *modality_notes(data.modalities, having, "zeros stand in for it")]
    notes += [*choice_note(problem, len(val)), *val_notes(best.winner, len(val) > 0)]
    record = best.record(CRITERION, fit_cases(problem, rows, val), notes, by_default=BY_DEFAULT)
    model = PlaneModel(
        best.model, options.network, problem.recipe, data.labels, seen.names, data.colours, machine.precision
    )
    segmenter = PlaneSegmenter(model, data)
    return Fitted(segmenter, segmenter, record)


def augmentation_of(options: TransUNetOptions, problem: ImageProblem, data: SegmentationData) -> Augmentation | None:
    """What suits the kind of image, mirrored along the columns (which run from right to left) where that is asked."""
    kind = problem.cohort.kind
    across = problem.recipe.axis in ("axial", "coronal")
    sided = kind == "xray" or has_sides(data.labels.values())
    flips = (0.5, 0.5) if options.mirror == "all" else (0.0, 0.0)
    if across and (options.mirror == "left-right" or (options.mirror == "auto" and not sided)):
        flips = (0.0, 0.5)
    if options.augment == "none" and not any(flips):
        return None
    return Augmentation.for_kind(kind, 2, options.augment, flips=flips)


def _key(
    options: TransUNetOptions, problem: ImageProblem, data: SegmentationData, rows: Sequence[int], val: int, seed: int
) -> str:
    labels = {str(value): name for value, name in data.labels.items()}
    return fit_key(
        protocol=METHOD, options=asdict(options), seed=seed, precision=problem.machine.precision,
        data=[image_keys(problem, rows), val, labels],
    )  # fmt: skip
