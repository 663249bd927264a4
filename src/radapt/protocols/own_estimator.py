"""A classifier of one's own, with scikit-learn's `fit` and `predict_proba`, as a protocol."""

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from radapt.errors import DataError, UsageError
from radapt.protocols.fitted import Fitted, Model
from radapt.protocols.holdout import labelled
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.protocol import Protocol
from radapt.training.fit_record import FitRecord

_NAME = "estimator"  # not found by the registry: a study file cannot hold an object


@dataclass(frozen=True)
class OwnEstimator(Protocol[FeatureProblem]):
    """Fits a copy of `estimator` on the features of train, and again with val for the test sets.

    `estimator` has scikit-learn's `fit(X, y)`, `predict_proba(X)` and `classes_`: a classifier, a pipeline, a search.
    X (n, K) float32 holds the CLS tokens of the last `blocks` layers and, with `patch_mean`, the last mean patch;
    missing modalities are filled as for the probes. With several findings each has a copy of its own, fitted where it
    is known. A `random_state` that is None is set from the seed. Nothing is chosen: that is up to the estimator.
    """

    name: ClassVar[str] = _NAME

    estimator: Any
    blocks: int = 1
    patch_mean: bool = True

    @property
    def settings(self) -> dict[str, Any]:
        return {"estimator": repr(self.estimator), "blocks": self.blocks, "patch_mean": self.patch_mean}

    def fit(self, problem: FeatureProblem, rng: np.random.Generator) -> Fitted[Model]:
        """Raises UsageError for an estimator without `fit` and `predict_proba`, DataError if its own fails."""
        refuse_other(self.estimator)
        seed = int(rng.integers(2**31))
        train = problem.rows("train")
        both = np.sort(np.concatenate([train, problem.rows("val")])) if problem.refit else train
        first = self._fitted(problem, train, seed)
        final = first if len(both) == len(train) else self._fitted(problem, both, seed)
        record = FitRecord.unchosen({"estimator": repr(self.estimator)}, train=len(train))
        return Fitted(final, first, record)

    def _fitted(self, problem: FeatureProblem, rows: np.ndarray, seed: int) -> "EstimatorModel":
        source = problem.source(rows, self.blocks, self.patch_mean)
        values = source.gather(rows)
        findings = problem.labels.ndim == 2
        columns = problem.labels[rows].T if findings else [problem.labels[rows]]
        fitted = []
        for name, labels in zip(problem.outputs if findings else (_NAME,), columns, strict=False):
            known = labelled(labels)
            own = _seeded(copy.deepcopy(self.estimator), seed)
            try:
                fitted.append(own.fit(values[known], labels[known].astype(np.int64)))
            except Exception as error:  # whatever a foreign class raises
                raise DataError(f"The estimator cannot be fitted ({name}): {error}") from error
        return EstimatorModel(fitted, source, len(problem.outputs), findings)


class EstimatorModel(Model):
    """Fitted estimators, one or one for each finding, on the features of a cohort."""

    def __init__(self, estimators: list[Any], source: Any, outputs: int, findings: bool) -> None:
        self._estimators, self._source, self._outputs, self._findings = estimators, source, outputs, findings

    def predict(self, rows: np.ndarray) -> np.ndarray:
        values = self._source.gather(np.asarray(rows))
        if self._findings:
            return np.stack([_probabilities(own, values, 2)[:, 1] for own in self._estimators], axis=1)
        return _probabilities(self._estimators[0], values, self._outputs)


def _probabilities(estimator: Any, values: np.ndarray, classes: int) -> np.ndarray:
    """(n, classes); a class that training lacked has probability 0."""
    found = np.zeros((len(values), classes))
    found[:, np.asarray(estimator.classes_, dtype=np.int64)] = estimator.predict_proba(values)
    return found


def refuse_other(estimator: Any) -> None:
    """Raise UsageError unless it has scikit-learn's `fit` and `predict_proba`."""
    lacking = [name for name in ("fit", "predict_proba") if not callable(getattr(estimator, name, None))]
    if lacking:
        raise UsageError(
            f"{type(estimator).__name__} has no {' and no '.join(lacking)}. Expected the name of a protocol, a "
            "protocol, or a classifier with scikit-learn's fit and predict_proba (for an SVM: probability=True)."
        )


def _seeded(estimator: Any, seed: int) -> Any:
    """With every `random_state` that is None set to `seed`, so that the same call gives the same model."""
    if callable(getattr(estimator, "get_params", None)):
        given = estimator.get_params(deep=True)
        open_ = {name: seed for name, value in given.items() if name.endswith("random_state") and value is None}
        if open_:
            estimator.set_params(**open_)
    return estimator
