"""Predictions for everything that `predict` may be given: the cases that failed stand among the others, in order."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from radapt.deploy.deployed_model import DeployedModel
from radapt.deploy.inputs.resolve import ResolvedInput
from radapt.deploy.predict_cases import failed, predict_cases
from radapt.deploy.prediction import CasePrediction
from radapt.errors import counted


def predict_patients(
    model: DeployedModel, resolved: ResolvedInput, names: Sequence[str], cache: Path
) -> Iterator[CasePrediction]:
    """A prediction for each of the cases `names`, in order."""
    place = {case.case: row for row, case in enumerate(resolved.cohort)}
    rows = np.asarray([place[name] for name in names if name in place], dtype=np.int64)
    coming = predict_cases(model, resolved.cohort.select(rows), cache, resolved.reasons) if len(rows) else iter(())
    for name in names:
        found = next(coming) if name in place else failed(name, resolved.failures[name])
        yield replace(found, truth=resolved.truths.get(name), series=resolved.series.get(name, {}))


@contextmanager
def working_cache(given: Path | None, beside: Path | None = None) -> Iterator[Path]:
    """The cache that is given, else a folder that is removed afterwards: nothing of a patient stays behind."""
    if given is not None:
        yield given
        return
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".cache-", dir=beside) as folder:
        yield Path(folder)


def notes_of(model: DeployedModel, cases: Sequence[CasePrediction], resolved: ResolvedInput) -> tuple[str, ...]:
    """What the reader of a batch should know: what the model cannot say, and how it agrees with given labels."""
    notes = list(resolved.notes)
    if model.assessor is None and not model.draws_masks:
        notes.append("The model has no calibration: p_ are its probabilities as they are, and there are no sets.")
    elif model.assessor is not None and not model.is_calibrated:
        why = model.assessor.certainty.calibrations[0].why
        notes.append(f"{why} The columns calibrated_ and doubt hold the probabilities as they are.")
    if len(model.members) > 1 and not all(case.failed for case in cases):
        how = "the most frequent label of" if model.draws_masks else "the mean of"
        notes.append(
            f"Each prediction is {how} {len(model.members)} models; agreement is the share of them that agree."
        )
    notes += _empty_masks(cases) if model.draws_masks else _abstentions(cases)
    return (*notes, *_agreement(model, cases))


def _abstentions(cases: Sequence[CasePrediction]) -> list[str]:
    count = sum(case.abstained is True for case in cases)
    return [f"The model abstains in {count} of {counted(len(cases), 'case')}; see reason."] if count else []


def _empty_masks(cases: Sequence[CasePrediction]) -> list[str]:
    """A mask without any structure is an answer that a reader should look at."""
    done = [case for case in cases if not case.failed]
    empty = [case.case for case in done if not case.prediction]
    if not empty:
        return []
    named = ", ".join(empty[:5]) + (" …" if len(empty) > 5 else "")
    return [f"Empty masks, without any structure: {len(empty)} of {len(done)} ({named})."]


def _agreement(model: DeployedModel, cases: Sequence[CasePrediction]) -> list[str]:
    """How often the prediction is the label of the input, and which labels the model does not know."""
    labelled = [case for case in cases if case.truth is not None and not case.failed]
    if not labelled or model.draws_masks:
        return []
    known = {name.lower(): name for name in model.outputs}
    words = [(case, _words(case.truth or "", known)) for case in labelled]
    usable = [(case, own) for case, own in words if own is not None]
    strange = sorted({case.truth or "" for case, own in words if own is None})
    notes = []
    if usable:
        same = sum(set(filter(None, case.prediction.split(";"))) == own for case, own in usable)
        notes.append(
            f"Of {counted(len(usable), 'case')} with a label, {same} are predicted as labelled "
            f"({same / len(usable):.0%})."
        )
    if strange:
        named = ", ".join(map(repr, strange[:5])) + (" …" if len(strange) > 5 else "")
        left = len(words) - len(usable)
        notes.append(
            f"{counted(left, 'case')} with a label that the model does not know ({named}); it knows "
            f"{', '.join(model.outputs)}."
        )
    return notes


def _words(label: str, known: Mapping[str, str]) -> set[str] | None:
    """The outputs in a label; None if one of them is unknown."""
    words = [word for word in label.split(";") if word]
    return {known[word.lower()] for word in words} if all(word.lower() in known for word in words) else None
