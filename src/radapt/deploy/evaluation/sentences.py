"""What an evaluation found, in plain sentences."""

from collections.abc import Sequence

from radapt.deploy.deployment import EvaluationScore
from radapt.deploy.evaluation.evaluation import AbstentionCheck, CalibrationCheck, ModelEvaluation
from radapt.deploy.evaluation.model_drift import Drift
from radapt.errors import counted
from radapt.printable import printable

SHOWN = ("auroc", "balanced_accuracy", "mcc")
_SIZES = {
    "below": "fewer than stated: do not rely on the sets here, or recalibrate",
    "above": "more than stated: the sets are larger than they need to be",
    "inside": "as stated",
}


def sentences(found: ModelEvaluation, study: Sequence[EvaluationScore] = ()) -> tuple[str, ...]:
    """One finding each; `study` are the numbers of the study about the model, for comparison."""
    lines = [
        f"{printable(found.cohort)}: {counted(found.cases, 'labelled case')}, {counted(found.patients, 'patient')}.",
        *found.notes,
        *(_score(each, study) for each in found.scores if each.metric in SHOWN),
        *(_calibration(each) for each in found.calibration),
    ]
    for each in found.coverage:
        lines.append(
            f"Sets of {100 * (1 - found.alpha):.3g} %, {printable(each.group)}: {_percent(each.covered)} of "
            f"{counted(each.patients, 'patient')} are covered ({_percent(each.low)} to {_percent(each.high)} by "
            f"chance): {_SIZES[each.verdict]}."
        )
    if found.abstention is not None:
        lines += _abstention(found.abstention)
    lines += _drift(found.drift)
    return tuple(lines)


def _drift(compared: Sequence[Drift]) -> list[str]:
    different = [each for each in compared if each.differs]
    if compared and not different:
        return [f"No drift is found in {counted(len(compared), 'comparison')} with the training patients."]
    return [
        f"Unlike training: {printable(each.what)} (difference {each.amount:.2f}, p = {each.adjusted:.2g})."
        for each in different
    ]


def _score(each: EvaluationScore, study: Sequence[EvaluationScore]) -> str:
    then = [
        f"{own.split} of the study {own.value:.3f}"
        for own in study
        if own.metric == each.metric and own.value is not None
    ]
    value = _number(each.value)
    interval = "" if _missing(each.ci_low) else f" ({_number(each.ci_low)} to {_number(each.ci_high)})"
    return f"{each.metric}: {value}{interval}{'; ' + ', '.join(then) if then else ''}."


def _missing(value: float | None) -> bool:
    return value is None or value != value


def _number(value: float | None) -> str:
    return "undefined" if value is None or value != value else f"{value:.3f}"


def _calibration(each: CalibrationCheck) -> str:
    slope, name = each.slope, printable(each.output)
    if _missing(slope.value):
        return f"Calibration of {name}: undefined, the labels are of one class."
    text = "as sure as it may be"
    if slope.high < 1:
        text = "too sure of itself"
    elif slope.low > 1:
        text = "less sure than it may be"
    return (
        f"Calibration of {name}: slope {slope.value:.2f} ({slope.low:.2f} to {slope.high:.2f}), {text}; calibration "
        f"error {each.ece:.3f} (without calibration {each.ece_uncalibrated:.3f})."
    )


def _abstention(found: AbstentionCheck) -> list[str]:
    answered = "" if _missing(found.accuracy_answered) else f", {_percent(found.accuracy_answered)} of those it decides"
    lines = [
        f"The model abstains in {_percent(found.abstained)} of the patients; accuracy {_percent(found.accuracy)} of all"
        f"{answered}."
    ]
    if not _missing(found.unlike_training):
        lines.append(
            f"{_percent(found.unlike_training)} are refused as unlike the training cases; "
            f"{_percent(found.unlike_stated)} are expected."
        )
    if not _missing(found.oracle_share):
        lines.append(f"Refusing the least certain tenth gains {_percent(found.oracle_share)} of what an oracle gains.")
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
