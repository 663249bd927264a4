"""Predictions for the cases of a cohort, by the inference path of the study: the rest goes on where a case fails."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radapt.deploy.assessment import Assessment
from radapt.deploy.deployed_model import DeployedModel
from radapt.deploy.ensemble import agreement, joint_mask, mean_weights
from radapt.deploy.prediction import CasePrediction
from radapt.errors import DataError
from radapt.features.case_vectors import CaseVectors, Neighbour
from radapt.features.extraction_error import ExtractionError
from radapt.images import Volume
from radapt.images.volume import IMAGE_AFFINE
from radapt.protocols.decisions import decide

if TYPE_CHECKING:
    from radapt.cohorts import Case, Cohort

AT_ONCE = 16
"""Cases that are predicted together: enough to fill the batches of an encoder with single images."""

NEAREST = 5
"""Training cases that are named beside a prediction."""


def predict_cases(
    model: DeployedModel, cohort: "Cohort", cache: Path, notes: Mapping[str, str] | None = None
) -> Iterator[CasePrediction]:
    """A prediction for each case, in order. `notes` {case: text} go into the reason.

    Cases are predicted in groups; of a group with an image that cannot be used each case is predicted alone, which
    gives the same bits. Memory does not depend on the number of cases.
    """
    local, said = model.with_cache(cache), notes or {}
    size = 1 if model.draws_masks else AT_ONCE  # masks of several cases would take memory, and gain no time
    for start in range(0, len(cohort), size):
        group = cohort.select(np.arange(start, min(start + size, len(cohort))))
        try:
            yield from _group(local, group, cache, said)
        except DataError:
            for row in range(len(group)):
                yield from _alone(local, group.select(np.asarray([row])), cache, said)


def _alone(model: DeployedModel, one: "Cohort", cache: Path, said: Mapping[str, str]) -> list[CasePrediction]:
    try:
        return _group(model, one, cache, said)
    except ExtractionError as error:  # its own words are for somebody who extracts the features of a whole table
        return [failed(one.cases[0].case, "; ".join(f"{fail.modality}: {fail.reason}" for fail in error.failures))]
    except DataError as error:
        return [failed(one.cases[0].case, str(error))]


def failed(case: str, reason: str) -> CasePrediction:
    """A case without a prediction."""
    return CasePrediction(case, {}, "", reason=" ".join(reason.split()), failed=True)


def _group(model: DeployedModel, group: "Cohort", cache: Path, said: Mapping[str, str]) -> list[CasePrediction]:
    start = time.perf_counter()
    found = (_masks if model.draws_masks else _probabilities)(model, group, cache, said)
    seconds = (time.perf_counter() - start) / len(group)
    return [replace(case, seconds=seconds) for case in found]


def _probabilities(model: DeployedModel, group: "Cohort", cache: Path, said: Mapping[str, str]) -> list[CasePrediction]:
    columns = [f"p_{name}" for name in model.outputs]
    members = np.stack([member.predict(group)[columns].to_numpy(dtype=np.float64) for member in model.members])
    probabilities = members[0] if len(members) == 1 else members.mean(axis=0)
    decided = decide(model.decision, probabilities)
    agreed = agreement(model.decision, members, decided) if len(members) > 1 else None
    sequences = tuple(_sequences(model, case) for case in group)
    vectors = model.vectors(group, cache)
    nearest = _nearest(model, vectors, len(group))
    cases = [
        CasePrediction(
            case=case.case,
            probabilities=dict(zip(model.outputs, map(float, probabilities[row]), strict=True)),
            prediction=_words(model, decided[row]),
            sequences=sequences[row],
            reason="; ".join(filter(None, (said.get(case.case, ""), model.members[0].remark(group, row)))),
            agreement=None if agreed is None else float(agreed[row]),
            nearest=nearest[row],
            slice_weights=mean_weights([member.slice_weights(group, row) for member in model.members]),
        )
        for row, case in enumerate(group)
    ]
    if model.assessor is None:
        return cases
    found = model.assessor.assess(probabilities, decided, sequences, vectors)
    doubt = None if model.card.findings else found.doubt(decided)
    return [
        replace(_assessed(case, model.outputs, found, row), doubt=None if doubt is None else float(doubt[row]))
        for row, case in enumerate(cases)
    ]


def _assessed(case: CasePrediction, outputs: tuple[str, ...], found: Assessment, row: int) -> CasePrediction:
    return replace(
        case,
        calibrated=dict(zip(outputs, map(float, found.calibrated[row]), strict=True)),
        set=found.sets[row],
        abstained=bool(found.abstained[row]),
        reason="; ".join(filter(None, (case.reason, found.reasons[row]))),
    )


def _masks(model: DeployedModel, group: "Cohort", cache: Path, said: Mapping[str, str]) -> list[CasePrediction]:
    vectors = model.vectors(group, cache)
    nearest = _nearest(model, vectors, len(group))
    found = []
    for row, case in enumerate(group):
        joint = joint_mask([member.draw(group, row) for member in model.members])
        mask = joint.mask
        present = [name for value, name in model.mask_labels.items() if (mask.array == value).any()]
        prediction = CasePrediction(
            case=case.case,
            probabilities={},
            prediction=";".join(present),
            sequences=_sequences(model, case),
            reason=said.get(case.case, ""),
            agreement=joint.agreement,
            nearest=nearest[row],
            volumes_ml=_volumes_ml(mask, model.mask_labels),
            soft_dice={name: joint.soft_dice.get(value, float("nan")) for value, name in model.mask_labels.items()},
            mask=mask,
            uncertainty=None if joint.uncertainty is None else Volume(joint.uncertainty, mask.affine),
        )
        found.append(_with_dice(model, prediction, None if vectors is None else vectors.at(np.asarray([row]))))
    return found


def _with_dice(model: DeployedModel, case: CasePrediction, vectors: CaseVectors | None) -> CasePrediction:
    if model.mask_certainty is None or case.soft_dice is None:
        return case
    answer = model.mask_certainty.answer(case.soft_dice, vectors)
    reason = "; ".join(filter(None, (case.reason, answer.reason)))
    return replace(
        case, predicted_dice=answer.dice, dice_at_least=answer.at_least, abstained=answer.abstained, reason=reason
    )


def _volumes_ml(mask: Volume, labels: Mapping[int, str]) -> dict[str, float]:
    if np.array_equal(mask.affine, IMAGE_AFFINE):  # a picture: its pixels have no size
        return dict.fromkeys(labels.values(), float("nan"))
    voxel_ml = float(abs(np.linalg.det(mask.affine[:3, :3]))) / 1000  # also of a tilted gantry
    return {name: float((mask.array == value).sum()) * voxel_ml for value, name in labels.items()}


def _nearest(model: DeployedModel, vectors: CaseVectors | None, cases: int) -> list[tuple[Neighbour, ...]]:
    if vectors is None or model.training is None:
        return [()] * cases
    return model.training.nearest(vectors, NEAREST)


def _sequences(model: DeployedModel, case: "Case") -> tuple[str, ...]:
    """Those of the model's sequences that the case has."""
    return tuple(name for name in model.modalities if name in case.images)


def _words(model: DeployedModel, decided: np.ndarray) -> str:
    if model.card.findings:
        return ";".join(name for name, present in zip(model.card.findings, decided, strict=True) if present)
    return model.card.classes[int(decided)]
