"""`radapt export`: the winner of a run as a model folder that needs nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from radapt.backbones.adapted import is_adapted
from radapt.backbones.lazy import LazyBackbone, find_backbone
from radapt.cachedir import cache_folder
from radapt.cohorts import Cohort
from radapt.deploy.assessment import SEED, TrainingVectors, fit_assessor, novelty_of
from radapt.deploy.certainty import ALPHA, check_alpha
from radapt.deploy.deployed_model import NOVELTY_LAYERS
from radapt.deploy.deployment import CARD, MEMBERS, Deployment, EncoderFacts, MetadataSummary, Selection
from radapt.deploy.encoder_copy import copy_encoder
from radapt.deploy.ensemble import mean_decision
from radapt.deploy.export.candidates import RunCell
from radapt.deploy.export.convert_networks import convert_networks
from radapt.deploy.export.licence_chain import inherited, licence_chain
from radapt.deploy.export.metadata_summary import summarise_metadata
from radapt.deploy.export.model_card import model_card
from radapt.deploy.export.training_facts import (
    RunCohort,
    calibration_cases,
    evaluation_scores,
    mask_cases,
    study_cohort,
    words_of_labels,
)
from radapt.deploy.export.winner import choose_cell
from radapt.deploy.masks.mask_certainty import MaskCertainty, check_least_dice, fit_mask_certainty
from radapt.deploy.sequences import ModelSequence
from radapt.durable import atomic_path, write_text
from radapt.errors import RadaptError, UsageError, suggest
from radapt.features import extract
from radapt.features.case_vectors import VECTORS, CaseVectors
from radapt.progress import ProgressMaker, silent
from radapt.protocols.load_model import LoadedModel, load_model
from radapt.runtimes.runtime import RUNTIMES, Runtime, check_runtime

_KINDS = {"xray": "X-ray images", "ct": "CT studies", "mri": "MRI studies", "other": "images"}


@dataclass(frozen=True)
class Exported:
    """A model folder that was written, and what it says."""

    folder: Path
    deployment: Deployment
    selection: Selection

    def summary(self) -> str:
        """Why this model, what it inherits, and where it is."""
        terms = ", ".join(self.deployment.inherits) or "nothing"
        lines = [self.selection.why, f"The model inherits: {terms}.", *self.deployment.notes]
        return "\n".join([*lines, f"Model: {self.folder}"])


def export_model(
    run: Path | str,
    out: Path | str,
    *,
    method: str | None = None,
    cell: str | None = None,
    cohort: str | None = None,
    intended_use: str = "",
    alpha: float = ALPHA,
    runtime: str = "pytorch",
    least_dice: float | None = None,
    cache: Path | str | None = None,
    offline: bool = False,
    progress: ProgressMaker = silent,
) -> Exported:
    """Write the winner of the run folder `run`, or what is asked for, as a model folder `out` (see `choose_cell`).

    The folder is complete or not there. Features of the training cases are taken from the cache, or made again, if
    their images are still where the study found them; else the folder has none, which it says.

    Calibration and prediction sets of coverage 1 - `alpha` are fitted on predictions that the study has made for cases
    that its models did not learn from; so is the prediction of the Dice of masks, whose lower bound holds with the same
    coverage. A model of masks abstains where a Dice below `least_dice` is predicted, by default below what is predicted
    for the worst 5 % of these cases.

    With `runtime` onnx or openvino the folder holds the networks for that runtime as well, which then predicts; they
    are compared with PyTorch first (see `convert_networks`).

    Raises UsageError if `out` is not empty, nothing can be chosen, the encoder is gone, or `alpha` or `least_dice` is
    out of range, and for networks that cannot be converted or differ from PyTorch.
    """
    written_for = _checked_format(runtime)
    run, out = Path(run), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already and is left alone. Give a new folder with --out.")
    check_alpha(alpha)
    check_least_dice(least_dice)
    chosen, selection = choose_cell(run, method=method, cell=cell, cohort=cohort)
    root = cache_folder(cache)
    members = {_name(path): load_model(path, cache=root, offline=offline, progress=progress) for path in chosen.models}
    with atomic_path(out, folder=True) as part:
        deployment, learned = _write(
            part, run, chosen, selection, members, root, progress, intended_use, alpha, least_dice
        )
        if written_for != "pytorch":
            with TemporaryDirectory() as working:
                converted = convert_networks(part, written_for, learned, Path(working), progress)
            said = converted.parity.sentence(written_for)
            deployment = replace(deployment, runtime=converted, notes=(*deployment.notes, said))
            deployment.write(part)
    return Exported(out, deployment, selection)


def _name(path: Path) -> str:
    return path.name


def _write(
    part: Path,
    run: Path,
    chosen: RunCell,
    selection: Selection,
    members: dict[str, LoadedModel],
    cache: Path,
    progress: ProgressMaker,
    intended_use: str,
    alpha: float,
    least_dice: float | None,
) -> tuple[Deployment, Cohort | None]:
    """The record, and the training cases where they are still there."""
    first = next(iter(members.values()))
    path = _copy(first, part)
    for name, member in members.items():
        member.save(part / MEMBERS / name, portable=True)
    described, card = RunCohort.of(run, chosen.cohort), first.card
    cohort, why = study_cohort(run, chosen, cache)
    vectors, notes = _vectors(first, part / MEMBERS / next(iter(members)), cohort, described, cache, progress, why)
    if vectors is not None:
        vectors.save(part / VECTORS)
    cases = calibration_cases(chosen, described, card.outputs, first.modalities)
    training = None if vectors is None else described.of_training(vectors)
    assessor, said = (None, ()) if cases is None else fit_assessor(cases, first.modalities, training, alpha)
    masks, of_masks = _mask_certainty(chosen, card.aim, training, alpha, least_dice)
    encoder = _encoder_facts(first, path)
    chain = licence_chain(encoder, chosen.cohort, described.source)
    deployment = Deployment(
        name=f"{chosen.cohort} · {chosen.method}",
        method=chosen.method,
        aim=card.aim,
        kind=card.kind,
        sequences=tuple(ModelSequence.of(name) for name in first.modalities),
        members=tuple(members),
        decision=mean_decision([each.decision for each in members.values()]) if card.outputs else None,
        selection=selection,
        scores=evaluation_scores(chosen),
        training=replace(described.training(), metadata=_metadata(cohort, described)),
        encoder=encoder,
        licences=chain,
        inherits=inherited(chain),
        notes=(*notes, *said, *of_masks, *unnamed_structures(card.mask_labels)),
        assessment=None if assessor is None else assessor.record,
        mask_certainty=None if masks is None else masks.record,
    )
    deployment = replace(deployment, intended_use=intended_use or intended_use_of(deployment))
    structures = tuple(card.mask_labels.values())
    write_text(part / CARD, model_card(deployment, card.outputs, structures, masks))
    deployment.write(part)
    return deployment, cohort and _learned(cohort, described)


def _checked_format(name: str) -> Runtime:
    if name not in RUNTIMES:
        raise UsageError(f"Unknown format {name!r}. {suggest(name, RUNTIMES)}")
    return check_runtime(name)


def _learned(cohort: Cohort, described: RunCohort) -> Cohort:
    """The cases that were learned from, with images."""
    learned = set(described.cases["case"][described.learned])
    return cohort.select(np.flatnonzero([case.case in learned and bool(case.images) for case in cohort]))


def _mask_certainty(
    chosen: RunCell, aim: str, training: TrainingVectors | None, alpha: float, least_dice: float | None
) -> tuple[MaskCertainty | None, tuple[str, ...]]:
    """What predicts the Dice of masks, with notes; None for a model of classes, and where nothing was measured."""
    if aim != "segmentation":
        return None, ()
    cases = mask_cases(chosen)
    if cases is None:
        return None, (
            "No Dice of masks is predicted: the run has no val and no folds, or was made before it was kept.",
        )
    rng = np.random.default_rng(SEED)
    novelty = None if training is None else novelty_of(training, rng)
    return fit_mask_certainty(cases, alpha=alpha, least_dice=least_dice, novelty=novelty, rng=rng)


def _metadata(cohort: Cohort | None, described: RunCohort) -> tuple[MetadataSummary, ...]:
    """Of the training patients; none if the cohort file is gone."""
    if cohort is None:
        return ()
    learned = set(described.cases["case"][described.learned])
    return summarise_metadata(cohort.select(np.flatnonzero([case.case in learned for case in cohort])))


def _copy(model: LoadedModel, part: Path) -> str | None:
    """The path of the encoder's copy in the folder; None where there is nothing to copy."""
    encoder = model.encoder
    if encoder is None:
        return None
    if not isinstance(encoder, LazyBackbone):
        raise UsageError("The encoder was given as a loaded backbone; export needs one whose weights are in a file.")
    return copy_encoder(encoder, part)


def _encoder_facts(model: LoadedModel, path: str | None) -> EncoderFacts | None:
    encoder = model.encoder
    if encoder is None or encoder.card is None:
        return None
    card, source = encoder.card, encoder.source
    origin = "unknown" if source is None else source.kind
    # Weights that a file names may be any; the card's licence is that of the weights it describes.
    licence = card.licence if origin in ("package", "hub") else "Apache-2.0" if origin == "random" else ""
    return EncoderFacts(encoder.name, encoder.identity, path, licence, card.pretraining, origin)


def _vectors(
    model: LoadedModel,
    folder: Path,
    cohort: Cohort | None,
    described: RunCohort,
    cache: Path,
    progress: ProgressMaker,
    why: str,
) -> tuple[CaseVectors | None, tuple[str, ...]]:
    """The features of the training cases; None, and why, where there are none."""
    if model.card.reads == "images" and model.encoder is None and not is_adapted(folder):
        return None, ("It has no encoder, so the folder holds no features of training cases.",)
    if cohort is None:
        return None, (f"The folder holds no features of its training cases: {why}.",)
    chosen = _learned(cohort, described)
    try:
        features = _features(model, folder, chosen, cache, progress)
    except RadaptError as error:
        return None, (f"The folder holds no features of its training cases: {error}",)
    rows = np.arange(len(chosen))
    return CaseVectors.of(features, rows, words_of_labels(chosen, rows)), ()


def _features(model: LoadedModel, folder: Path, cohort: Cohort, cache: Path, progress: ProgressMaker):  # type: ignore[no-untyped-def]
    if model.card.reads == "features":
        return model.features(cohort)
    encoder = model.encoder or find_backbone(str(folder), offline=True).lazy
    return extract(cohort, encoder, recipe=model.card.recipe, layers=NOVELTY_LAYERS, cache=cache, progress=progress)


def unnamed_structures(labels: Mapping[int, str]) -> tuple[str, ...]:
    """What to do about structures of a mask that are only known by their value; nothing if all have names."""
    values = [value for value, name in labels.items() if name == str(value)]
    if not values:
        return ()
    return (
        f"Structures without a name: {', '.join(map(str, values))}. Name them in the cohort file, such as mask_labels: "
        f"{{{values[0]}: lung}}, and run the study again.",
    )


def intended_use_of(deployment: Deployment) -> str:
    """What the model card says unless the user says it."""
    facts = deployment.training
    people = ""
    if facts is not None:
        alike = "of patients like the" if facts.unit == "patient" else "like the"
        people = f" {alike} {facts.patients} of cohort {facts.cohort} that it learned from"
    read = ", ".join(each.name for each in deployment.sequences)
    return (
        f"Research use only; not a medical device. For {_KINDS[deployment.kind]}{people}"
        f"{f', with {read}' if len(deployment.sequences) > 1 else ''}. Check it on patients of your own hospital "
        "before you rely on it."
    )
