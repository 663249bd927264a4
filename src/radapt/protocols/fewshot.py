"""Learning curves: any classification protocol, again and again, on a few of the training patients."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import pandas as pd
from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass as checked

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.folds import hold_out
from radapt.cohorts.label_draws import Draw, draw_patients, restrict
from radapt.errors import UsageError
from radapt.metrics import score_repeats
from radapt.protocols.delegating import Delegating
from radapt.protocols.final_decision import with_decision
from radapt.protocols.fitted import Fitted, Reads
from radapt.protocols.prediction_columns import decisions_in
from radapt.protocols.protocol import Protocol
from radapt.protocols.registry import make
from radapt.protocols.scoring import Result
from radapt.training.fit_record import LabelDraw

Choose = Literal["val", "default"]
_Sizes = AfterValidator(lambda given: tuple(sorted(set(given))))


@dataclass(frozen=True)
class AtDefaults(Delegating):
    """A protocol whose hyper-parameters are its defaults: val is not looked at. `base` is the protocol."""

    base: Protocol

    def fit(self, problem: Any, rng: np.random.Generator) -> Fitted:
        return self.base.fit(replace(problem, choose=False), rng)


@dataclass(frozen=True)
class OnDraw(Delegating):
    """A protocol fitted on a draw of the training patients of whatever it is given, such as those of one fold.

    `base` is the protocol; the draw of `seed` and `repeat` has `shots` per class, or a `fraction` of the patients.
    """

    base: Protocol
    shots: int | None
    fraction: float | None
    repeat: int
    seed: int

    def fit(self, problem: Any, rng: np.random.Generator) -> Fitted:
        draw = self._draw(problem.cohort)
        limited = problem.limited_to(restrict(problem.cohort, draw))
        fitted = with_decision(self.base.fit(limited, rng), self.base, limited)
        return replace(fitted, record=replace(fitted.record, draw=drawn(draw)))

    def _draw(self, cohort: Cohort) -> Draw:
        """The draw among the training patients of `cohort`; repeat 0 where a size takes all of them."""
        shots = [] if self.shots is None else [self.shots]
        fractions = [] if self.fraction is None else [self.fraction]
        draws = draw_patients(cohort, shots, fractions, self.repeat + 1, self.seed)
        return next((draw for draw in draws if draw.repeat == self.repeat), draws[0])


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class FewShot(Protocol[Any]):
    """`protocol`, with its own `options`, fitted on `repeats` draws of every size, and evaluated on the same cases.

    Sizes: `shots` patients per class (of 1 to 16 as in the radiology study, arXiv 2312.02366), or `fractions` of the
    labelled training patients. Draws are nested, by patient, and depend on seed and repeat alone (see
    `radapt.cohorts.label_draws`); the labels outside a draw are taken away. Ten `repeats`, because a single draw of a
    few patients says little: the spread of the draws is often wider than the interval of the test patients.

    `protocol` defaults to the logistic regression: solved to convergence, it has no learning rate or number of epochs
    that a few cases would not fill, and no chance of its own, so that the spread is that of the draws.

    Validation is never mixed into the few cases: `choose` `val` only chooses hyper-parameters on it, `default` takes
    the protocol's defaults and looks at no val at all, as where there would be none. A cohort without labelled val
    cases lets the protocol draw some of the drawn patients to choose on.
    """

    name: ClassVar[str] = "fewshot"

    shots: Annotated[tuple[Annotated[int, Field(ge=1)], ...], _Sizes] = (1, 2, 4, 8, 16)
    fractions: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], _Sizes] = ()
    repeats: Annotated[int, Field(ge=1)] = 10
    protocol: str = "logistic"
    options: dict[str, Any] = field(default_factory=dict)
    choose: Choose = "val"

    @model_validator(mode="after")
    def _checked(self) -> "FewShot":
        if not self.shots and not self.fractions:
            raise UsageError("Protocol 'fewshot' has neither shots nor fractions; give sizes, such as shots: [1, 4].")
        if self.protocol == self.name:
            raise UsageError("Protocol 'fewshot' cannot repeat itself; name another one under 'protocol'.")
        if self.base.aim != "classification":
            raise UsageError(
                f"Protocol 'fewshot' repeats protocols that classify; {self.protocol!r} is for {self.base.aim}."
            )
        return self

    @property
    def base(self) -> Protocol:
        """The protocol that is fitted on each draw."""
        made = make(self.protocol, **self.options)
        return made if self.choose == "val" else AtDefaults(made)

    @property
    def reads(self) -> Reads:  # type: ignore[override]
        return self.base.reads

    @property
    def uses_backbone(self) -> bool:  # type: ignore[override]
        return self.base.uses_backbone

    def draws(self, cohort: Cohort, seed: int) -> tuple[Draw, ...]:
        """Every draw of the curve, smallest size first. `restrict` gives the cohort of one.

        In a cohort with folds the patients of a draw are all of those that are drawn for any fold (see `OnDraw`).
        """
        if cohort.folds:
            return self._draws_of_folds(cohort, seed)
        return draw_patients(cohort, self.shots, self.fractions, self.repeats, seed)

    def _draws_of_folds(self, cohort: Cohort, seed: int) -> tuple[Draw, ...]:
        merged: dict[tuple[bool, float, int], Draw] = {}
        for fold in cohort.folds:
            for draw in draw_patients(hold_out(cohort, fold), self.shots, self.fractions, self.repeats, seed):
                size = draw.shots if draw.shots is not None else draw.fraction or 0.0
                key = (draw.shots is None, float(size), draw.repeat)
                earlier = merged.get(key, draw)
                patients = tuple(sorted({*earlier.patients, *draw.patients}))
                notes = tuple(dict.fromkeys((*earlier.notes, *draw.notes)))
                merged[key] = replace(draw, patients=patients, notes=notes)
        return tuple(merged[key] for key in sorted(merged))

    def on(self, draw: Draw, seed: int) -> OnDraw:
        """The base protocol on one draw inside whatever it is fitted on."""
        return OnDraw(self.base, draw.shots, draw.fraction, draw.repeat, seed)

    def fit(self, problem: Any, rng: np.random.Generator) -> Fitted:
        """Fit the base protocol on a problem as it is, such as that of one draw."""
        return self.base.fit(problem, rng)


def score_draws(
    protocol: FewShot, cohort: Cohort, seed: int, one: Callable[[Draw, Cohort, Protocol], Result]
) -> Result:
    """The results of `one` (draw, restricted cohort, protocol) over all draws as a single result.

    Predictions and scores start with columns shots (Int64), fraction (float64) and repeat (int64), one of the first
    two empty. `fits` has the record of each draw; in a cohort with folds those of all folds of each draw, and `one` is
    given the whole cohort with a protocol that draws inside each fold.
    """
    draws = protocol.draws(cohort, seed)
    if cohort.folds:
        results = [one(draw, cohort, protocol.on(draw, seed)) for draw in draws]
        fits = tuple(fit for result in results for fit in result.fits)
    else:
        results = [one(draw, restrict(cohort, draw), protocol.base) for draw in draws]
        fits = tuple(replace(result.fit, draw=drawn(draw)) for draw, result in zip(draws, results, strict=True))
    predictions, scores = (
        pd.concat([_marked(getattr(result, name), draw) for draw, result in zip(draws, results, strict=True)])
        for name in ("predictions", "scores")
    )
    return Result(
        predictions.reset_index(drop=True), scores.reset_index(drop=True), protocol.name, fits, folds=cohort.folds
    )


def draw_folder(draw: Draw) -> str:
    """The name of the folder of one draw's checkpoints and model."""
    size = f"{draw.shots}-shots" if draw.shots is not None else f"{draw.fraction:g}-labels"
    return f"{size}-repeat-{draw.repeat}"


def drawn(draw: Draw) -> LabelDraw:
    """What a record says of the draw its model was fitted on."""
    return LabelDraw(draw.shots, draw.fraction, draw.repeat, len(draw.patients), tuple(draw.notes))


def learning_curve(result: Result, cohort: Cohort, *, seed: int = 0, resamples: int = 2000) -> pd.DataFrame:
    """The mean of every number over the repeats of each size, with an interval for test patients and draws both.

    `result` is what `evaluate(features, "fewshot")` gave, `cohort` its cohort. Columns: shots, fraction, split, and
    those of `radapt.metrics.score_repeats`.
    """
    place = {case.case: at for at, case in enumerate(cohort)}
    tables = []
    sizes = result.predictions.groupby(["split", "shots", "fraction"], dropna=False, sort=False)
    for named, rows in sizes:
        split, shots, fraction = cast(tuple[Any, Any, Any], named)
        repeats = [each for _, each in rows.groupby("repeat")]
        cases = [place[name] for name in repeats[0]["case"]]
        table = score_repeats(
            cohort.labels[cases],
            [each[[f"p_{output}" for output in cohort.outputs]].to_numpy() for each in repeats],
            cohort.patients[cases],
            task=cohort.task,
            outputs=cohort.outputs,
            ordered=cohort.ordered,
            decisions=cast(list[np.ndarray], [decisions_in(each, cohort.outputs) for each in repeats]),
            rng=np.random.default_rng(seed),
            resamples=resamples,
        )
        size = Draw(None if pd.isna(shots) else int(shots), None if pd.isna(fraction) else float(fraction), 0, ())
        table.insert(0, "split", split)
        tables.append(_marked(table, size).drop(columns="repeat"))
    return pd.concat(tables, ignore_index=True)


def _marked(table: pd.DataFrame, draw: Draw) -> pd.DataFrame:
    marks = {
        "shots": pd.Series([draw.shots] * len(table), table.index, dtype="Int64"),
        "fraction": np.full(len(table), np.nan if draw.fraction is None else draw.fraction),
        "repeat": np.full(len(table), draw.repeat),
    }
    return pd.concat([pd.DataFrame(marks, index=table.index), table], axis=1)
