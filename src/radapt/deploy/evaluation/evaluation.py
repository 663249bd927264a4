"""Whether a model's accuracy, calibration and prediction sets hold in another hospital, as one record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from radapt.deploy.assessment import Assessment, Assessor
from radapt.deploy.certainty.calibration import as_columns
from radapt.deploy.deployed_model import DeployedModel
from radapt.deploy.deployment import EvaluationScore
from radapt.deploy.evaluation.calibration_slope import Interval, slope_and_intercepts
from radapt.deploy.evaluation.coverage import Coverage, coverage_table
from radapt.deploy.evaluation.labelled_cases import LabelledCases
from radapt.deploy.evaluation.model_drift import Drift, drift_of
from radapt.durable import plain
from radapt.metrics import ece, log_loss, score
from radapt.metrics.refusal import gain_share
from radapt.protocols.decisions import decide

REFUSED = 0.1
"""The share of least certain cases whose refusal is compared with an oracle's."""


@dataclass(frozen=True)
class CalibrationCheck:
    """Of one outcome: the classes together, or one finding."""

    output: str
    slope: Interval
    """1 is right, less is too sure."""
    intercepts: Mapping[str, Interval]
    """By class; 0 is right, above 0 the class is given too little."""
    ece: float
    """Expected calibration error, before and after the calibration stored in the model."""
    ece_uncalibrated: float
    log_loss: float
    log_loss_uncalibrated: float


@dataclass(frozen=True)
class AbstentionCheck:
    """What abstaining does."""

    abstained: float
    """Share of cases, each patient counted once."""
    unlike_training: float
    """Share that is refused as unlike the training cases; NaN without features."""
    unlike_stated: float
    """The share of true patients that the model may refuse."""
    accuracy: float
    accuracy_answered: float
    """Of the cases that the model decides; NaN if there are none."""
    oracle_share: float
    """Of the gain in accuracy of an oracle, what refusing the least certain tenth gains; NaN without errors."""


@dataclass(frozen=True)
class ModelEvaluation:
    """Everything that `radapt evaluate-model` says."""

    model: str
    cohort: str
    cases: int
    patients: int
    alpha: float
    scores: tuple[EvaluationScore, ...]
    calibration: tuple[CalibrationCheck, ...]
    coverage: tuple[Coverage, ...]
    abstention: AbstentionCheck | None
    """None with several findings, which have no single answer."""
    drift: tuple[Drift, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """NaN is null."""
        return dict(plain(asdict(self)))


def evaluate_cases(
    model: DeployedModel, assessor: Assessor, cases: LabelledCases, cohort: str, rng: np.random.Generator
) -> ModelEvaluation:
    """The evaluation of one model, with an `assessor` of its own or another, on labelled cases of `cohort`."""
    certainty, several = assessor.certainty, assessor.certainty.several
    decided = decide(model.decision, cases.probabilities)
    found = assessor.assess(cases.probabilities, decided, cases.sequences, cases.vectors)
    held = certainty.contain(found.calibrated, assessor.presence(cases.sequences))
    stated = 1 - certainty.alpha
    coverage = coverage_table(held, cases.truths, cases.patients, cases.sequences, model.outputs, stated)
    facts = model.deployment.training
    return ModelEvaluation(
        model=model.deployment.name,
        cohort=cohort,
        cases=len(cases),
        patients=len(set(cases.patients)),
        alpha=certainty.alpha,
        scores=_scores(model, cases, rng),
        calibration=_calibration(model.outputs, several, cases, found.calibrated, rng),
        coverage=coverage,
        abstention=None if several else _abstention(assessor, cases, decided, found),
        drift=drift_of(cases, model.training, () if facts is None else facts.metadata, rng),
        notes=cases.notes,
    )


def _scores(model: DeployedModel, cases: LabelledCases, rng: np.random.Generator) -> tuple[EvaluationScore, ...]:
    task = "multilabel" if cases.truths.ndim == 2 else "binary" if len(model.outputs) == 2 else "multiclass"
    table = score(
        cases.truths, cases.probabilities, cases.patients, task=task, outputs=model.outputs,
        decisions=decide(model.decision, cases.probabilities), rng=rng,
    )  # fmt: skip
    rows = table[~table["metric"].str.contains(r":| \(", regex=True)]
    return tuple(
        EvaluationScore("test", *(row[name] for name in ("metric", "value", "ci_low", "ci_high", "n_patients")))
        for _, row in rows.iterrows()
    )


def _calibration(
    outputs: tuple[str, ...], several: bool, cases: LabelledCases, calibrated: np.ndarray, rng: np.random.Generator
) -> tuple[CalibrationCheck, ...]:
    found = []
    for column in range(len(outputs) if several else 1):
        truth = cases.truths[:, column] if several else cases.truths
        rows = np.flatnonzero(np.isfinite(truth))
        own = truth[rows].astype(np.int64)
        if not len(rows):
            continue
        before, after = (
            (as_columns(each[rows, column]) if several else each[rows]) for each in (cases.probabilities, calibrated)
        )
        slope, intercepts = slope_and_intercepts(after, own, cases.patients[rows], rng)
        names = (f"no {outputs[column]}", outputs[column]) if several else outputs
        weights = _weights(cases.patients[rows])
        numbers = [float(metric(own, each, weights)) for metric in (ece, log_loss) for each in (after, before)]
        by_class = dict(zip(names, intercepts, strict=True))
        found.append(CalibrationCheck(outputs[column] if several else "all classes", slope, by_class, *numbers))
    return tuple(found)


def _abstention(assessor: Assessor, cases: LabelledCases, decided: np.ndarray, found: Assessment) -> AbstentionCheck:
    abstained = found.abstained
    correct = (decided == cases.truths).astype(np.float64)
    weights, novelty = _weights(cases.patients), assessor.certainty.novelty
    novel = np.nan
    if novelty is not None and cases.vectors is not None and cases.vectors.modalities == novelty.sequences:
        novel = float(weights @ (novelty.p_values(cases.vectors.vectors) <= assessor.certainty.refused) / weights.sum())
    kept = weights * ~abstained
    return AbstentionCheck(
        float(weights @ abstained / weights.sum()),
        novel,
        assessor.certainty.refused,
        float(weights @ correct / weights.sum()),
        float(kept @ correct / kept.sum()) if kept.any() else float("nan"),
        gain_share(correct, found.doubt(decided), cases.patients, REFUSED),
    )


def _weights(patients: np.ndarray) -> np.ndarray:
    _, unit, counts = np.unique(patients.astype(str), return_inverse=True, return_counts=True)
    return 1 / counts[unit]
