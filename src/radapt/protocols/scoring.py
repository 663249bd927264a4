"""From a fitted protocol to predictions for every case that was not trained on, and scores."""

import abc
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.loading import as_cohort
from radapt.errors import DataError, UsageError
from radapt.features import Features
from radapt.images import SliceCache
from radapt.metrics import score, summarise
from radapt.metrics.constant import constant_answer
from radapt.notebook import described_html
from radapt.progress import silent
from radapt.protocols.decisions import decide, decision_columns, fixed_decision
from radapt.protocols.fitted import Aim, Fitted, Model, SubsetModel
from radapt.protocols.holdout import labelled
from radapt.protocols.image_problem import CohortImages, ImageProblem
from radapt.protocols.prediction_columns import case_columns, decisions_in, probability_columns, truth_columns, truth_in
from radapt.protocols.result_text import result_text, scores_html
from radapt.protocols.subset_cases import SubsetCases
from radapt.protocols.subset_inference import Answers
from radapt.protocols.subsets import ScoredTask, SubsetResult, score_subsets
from radapt.training.fit_record import Cost, Decision, FitRecord


@dataclass(frozen=True, repr=False)
class Result:
    """What an evaluation found.

    `predictions`: a row per case of val and of each test set, unlabelled ones too: case, patient, site, split,
    `truth` (class name), `p_<class>` and `decision` (class name), or `truth_<finding>` (1, 0, empty), `p_<finding>` and
    `decision_<finding>` (1, 0). Val is answered by the chosen candidate before it was refitted with val, or out of the
    inner folds that it was chosen in.
    `scores`: `split` and the columns of `radapt.metrics.score`. Those of val were chosen on, and are optimistic.
    `protocol`: its name. `fits`: how each fitted model came about: one, or one for each draw of a learning curve.
    `subsets`: for a model that answers from any subset of its sequences, what each of them is worth.

    In a cohort with `folds` every case is answered once, by the model of its fold, and `predictions` has `fold`; the
    split is `oof`, and `scores` has `oof:fold=<f>` and `oof:site=<s>` too. `fits` are then those of the folds (of each
    draw).
    """

    predictions: pd.DataFrame
    scores: pd.DataFrame
    protocol: str
    fits: tuple[FitRecord, ...]
    subsets: SubsetResult | None = None
    folds: tuple[str, ...] = ()
    model: Model | None = field(default=None, repr=False, compare=False)
    """Of `evaluate` and `train` on a cohort without folds: what predicted the test sets."""
    slices: SliceCache | None = field(default=None, repr=False, compare=False)
    """Where a model that reads images keeps the slices of other cases."""

    def __repr__(self) -> str:
        return result_text(self.protocol, self.predictions, self.scores, self.fits)

    def _repr_html_(self) -> str:
        return described_html(repr(self)) + scores_html(self.scores)

    def predict(self, cases: Features | Cohort | Path | str) -> pd.DataFrame:
        """Predictions of the model for other cases: their features, extracted with the same encoder and recipe, or for
        a model that was trained on images a cohort, or the path of its cohort.yaml.

        A row per case: case, patient, `p_<class>` and `decision`, or `p_<finding>` and `decision_<finding>`. Raises
        UsageError where there is no such model: in a cohort with folds, for label maps, and where lesions are looked
        for; `radapt.load_model` reads these from their folder. And where features are expected, or a cohort.
        """
        trained = None if self.model is None else self.model.trained_model
        if trained is None:
            raise UsageError(
                "This result holds no model that can answer for other cases. Give evaluate or train a folder, and use "
                "radapt.load_model(folder / 'model').predict(cohort)."
            )
        given = isinstance(cases, Cohort | Path | str)
        cohort = as_cohort(cases) if isinstance(cases, Cohort | Path | str) else cases.cohort
        if (self.slices is None) == given:
            raise UsageError(
                "This model reads features: give result.predict(radapt.extract(cohort, backbone))."
                if self.slices is None
                else "This model reads images: give result.predict(cohort)."
            )
        bound = trained.on(cases if self.slices is None else CohortImages(cohort, self.slices))
        if not isinstance(bound, Model):
            raise UsageError("This model draws label maps: radapt.load_model(folder / 'model').segment(cohort, row).")
        found = bound.predict(np.arange(len(cohort)))
        columns = [str(name) for name in self.predictions.columns]
        outputs = tuple(name.removeprefix("p_") for name in columns if name.startswith("p_"))
        findings = outputs if f"truth_{outputs[0]}" in columns else ()
        decision = self.fit.decision or fixed_decision("argmax", np.zeros((1, 1) if findings else 1), len(outputs))
        table: dict[str, Any] = {name: [getattr(case, name) for case in cohort] for name in ("case", "patient")}
        table |= {f"p_{output}": found[:, number] for number, output in enumerate(outputs)}
        return pd.DataFrame(table | decision_columns(decide(decision, found), () if findings else outputs, findings))

    @property
    def fit(self) -> FitRecord:
        """How the one model came about. Raises UsageError if there are several; see `fits`."""
        if len(self.fits) != 1:
            raise UsageError(f"This result holds {len(self.fits)} fits; take one of Result.fits.")
        return self.fits[0]

    @property
    def cost(self) -> Cost:
        """What all fits took together."""
        return Cost.total([fit.cost for fit in self.fits])


@dataclass(frozen=True, eq=False)
class Predicted:
    """What a fitted model predicts for some cases: the rows of `Result.predictions`, and the predictions from every
    subset of sequences for cases with a truth, None if the model is not evaluated on them."""

    table: pd.DataFrame
    subsets: Answers | SubsetCases | None = None


class Scorer(abc.ABC):
    """How the answers of a fitted protocol become a `Result`. A protocol of the same `aim` names its scorer."""

    aim: ClassVar[Aim]

    @abc.abstractmethod
    def check(self, cohort: Cohort, problem: ImageProblem | None) -> None:
        """Raises DataError if the test sets of the cohort cannot be scored; called before fitting.

        `problem` is what the protocol is fitted on if it reads images, None if it reads features.
        """

    @abc.abstractmethod
    def score(
        self,
        cohort: Cohort,
        name: str,
        fitted: Fitted[Any],
        rng: np.random.Generator,
        resamples: int,
        problem: ImageProblem | None,
    ) -> Result:
        """Answers of the protocol `name` for val and every test set of `cohort`, whose truth is not blank, scored with
        intervals of `resamples` bootstrap replicates by patient."""

    @abc.abstractmethod
    def predictions(
        self, cohort: Cohort, rows: np.ndarray, model: Any, decision: Decision | None, problem: ImageProblem | None
    ) -> Predicted:
        """Predictions of a fitted `model` for the cases at `rows`, whose truth is not blank.

        `decision` is that of its record; None: the most probable class, a finding above 0.5.
        """

    @abc.abstractmethod
    def scores(
        self, cohort: Cohort, predictions: pd.DataFrame, rng: np.random.Generator, resamples: int
    ) -> pd.DataFrame:
        """The scores of a table of `predictions` of cases of `cohort`: `Result.scores` but for `split`."""


class ClassificationScorer(Scorer):
    """Probabilities against labels; with any subset of sequences where the model answers from them."""

    aim = "classification"

    def check(self, cohort: Cohort, problem: ImageProblem | None) -> None:
        check_tests(cohort)

    def score(
        self,
        cohort: Cohort,
        name: str,
        fitted: Fitted[Any],
        rng: np.random.Generator,
        resamples: int,
        problem: ImageProblem | None,
    ) -> Result:
        return score_fitted(cohort, name, fitted, rng, resamples)

    def predictions(
        self, cohort: Cohort, rows: np.ndarray, model: Any, decision: Decision | None, problem: ImageProblem | None
    ) -> Predicted:
        probabilities = model.predict(rows)
        decisions = decide(decision or argmax_of(cohort), probabilities)
        table = predictions_table(cohort, rows, probabilities, decisions)
        if not isinstance(model, SubsetModel):
            return Predicted(table)
        known, progress = rows[labelled(cohort.labels[rows])], silent if problem is None else problem.machine.progress
        return Predicted(table, Answers.ask(model.predict_from, cohort, model.modalities, known, model.prior, progress))

    def scores(
        self, cohort: Cohort, predictions: pd.DataFrame, rng: np.random.Generator, resamples: int
    ) -> pd.DataFrame:
        place = {case.case: row for row, case in enumerate(cohort)}
        rows = np.asarray([place[name] for name in predictions["case"]], dtype=np.int64)
        return score(
            cohort.labels[rows],
            predictions[[f"p_{output}" for output in cohort.outputs]].to_numpy(dtype=np.float64),
            cohort.patients[rows],
            task=cohort.task,
            outputs=cohort.outputs,
            ordered=cohort.ordered,
            decisions=decisions_in(predictions, cohort.outputs),
            rng=rng,
            resamples=resamples,
        )


def score_fitted(cohort: Cohort, name: str, fitted: Fitted[Model], rng: np.random.Generator, resamples: int) -> Result:
    """Predict val and every test set of the cohort, whose labels must not be blank, and score the protocol `name`."""
    splits = [word for word in ("val", *cohort.test_sets) if (cohort.splits == word).any()]
    decision = fitted.record.decision or argmax_of(cohort)
    found = [_score_split(cohort, fitted, decision, split, rng, resamples) for split in splits]
    predictions = pd.concat([table for table, _ in found], ignore_index=True)
    scores = pd.concat([table for _, table in found], ignore_index=True)
    subsets = _subsets(cohort, fitted.final, decision, rng.spawn(1)[0], resamples)
    record = replace(fitted.record, notes=(*fitted.record.notes, *constant_notes(predictions)))
    return Result(predictions, scores, name, (record,), subsets)


def constant_notes(predictions: pd.DataFrame) -> list[str]:
    """Where the decision is the same for every patient of a test set."""
    tests = [(split, rows) for split, rows in predictions.groupby("split", sort=False) if split != "val"]
    found = [(split, constant_answer(rows)) for split, rows in tests]
    return [f"The model {answer} of {split}." for split, answer in found if answer]


def _subsets(
    cohort: Cohort, model: Model, decision: Decision, rng: np.random.Generator, resamples: int
) -> SubsetResult | None:
    if not isinstance(model, SubsetModel):
        return None
    return score_subsets(
        model.predict_from, cohort, model.modalities, rng, resamples, model.prior,
        decide=lambda _, probabilities: decide(decision, probabilities),
    )  # fmt: skip


def argmax_of(cohort: Cohort) -> Decision:
    """For the most probable class, or a finding above 0.5, of a cohort's task."""
    return fixed_decision("argmax", cohort.labels, len(cohort.outputs))


def _score_split(
    cohort: Cohort,
    fitted: Fitted[Model],
    decision: Decision,
    split: str,
    rng: np.random.Generator,
    resamples: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = np.flatnonzero(cohort.splits == split)
    model = fitted.before_refit if split == "val" else fitted.final
    probabilities = model.predict(rows)
    decisions = decide(decision, probabilities)
    scores = score(
        cohort.labels[rows],
        probabilities,
        cohort.patients[rows],
        task=cohort.task,
        outputs=cohort.outputs,
        ordered=cohort.ordered,
        decisions=decisions,
        rng=rng.spawn(1)[0],
        resamples=resamples,
    )
    scores.insert(0, "split", split)
    return predictions_table(cohort, rows, probabilities, decisions), scores


def predictions_table(
    cohort: Cohort, rows: np.ndarray, probabilities: np.ndarray, decisions: np.ndarray
) -> pd.DataFrame:
    """Probabilities (n, outputs) and decisions (n,) or (n, F) of the cases at `rows` as the contract's table."""
    table = case_columns(cohort, rows) | truth_columns(cohort, rows) | probability_columns(cohort, probabilities)
    return pd.DataFrame(table | decision_columns(decisions, cohort.classes, cohort.findings))


def score_predictions(rows: pd.DataFrame, task: ScoredTask, rng: np.random.Generator, resamples: int) -> pd.DataFrame:
    """The scores of a split of stored predictions, of a classifier or by label of label maps."""
    if "label" in rows and "outcome" in rows:
        return summarise(rows, labels=list(dict.fromkeys(rows["label"])), rng=rng, resamples=resamples)
    outputs = list(task.outputs)
    return score(
        truth_in(rows, outputs), rows[[f"p_{name}" for name in outputs]].to_numpy(dtype=np.float64),
        list(rows["patient"]), task=task.task, outputs=outputs, ordered=task.ordered,
        decisions=decisions_in(rows, outputs), rng=rng, resamples=resamples,
    )  # fmt: skip


def check_tests(cohort: Cohort) -> None:
    """Raises DataError if no test set has a labelled case."""
    if not cohort.test_sets:
        raise DataError(
            f"Cohort {cohort.name!r} has no test set, so there is nothing to evaluate on. Give some patients the split "
            "'test', or leave the split column empty and radapt draws one."
        )
    tested = ~np.isin(cohort.splits, ("train", "val"))
    if not labelled(cohort.labels[tested]).any():
        raise DataError(
            f"Cohort {cohort.name!r} has no labelled case in its test sets ({', '.join(cohort.test_sets)}), so "
            "there is nothing to evaluate on. Label some of their cases, or give labelled patients the split 'test'."
        )
