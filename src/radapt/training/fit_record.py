"""How a fitted model came about: what was chosen among what, on which cases, at what cost, with which notes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from radapt.durable import plain
from radapt.errors import UsageError, counted
from radapt.notebook import Described

ValSource = Literal["cohort", "train", "folds", "none"]
"""Where the val cases come from: the cohort's own split, drawn by patient inside train, every labelled case of train
and val in its turn (inner folds), or there are none."""


@dataclass(frozen=True)
class Candidate:
    """One option of those that were tried."""

    options: Mapping[str, Any]
    """What sets it apart from the others, JSON-like: `{"lr": 0.001}`, `{"kind": "knn", "k": 5}`."""

    val: Mapping[str, float] = field(default_factory=dict)
    """Its numbers on val by name, NaN where undefined; empty where it was not evaluated."""

    best_epoch: int | None = None
    """The epoch (from 1) whose weights were kept; None without a defined score on val, or without epochs."""

    epochs: int | None = None
    """Epochs trained, the last one perhaps in part; None for what is not trained in epochs."""

    steps: int | None = None
    """Steps of the optimiser; None for what is not trained in steps."""

    diverged: str | None = None
    """Why training diverged; None if it did not. A diverged candidate is never chosen."""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Candidate":
        """The inverse of `asdict` written as JSON: null among the numbers on val is NaN."""
        return cls(**{**stored, "val": _numbers(stored["val"])})


@dataclass(frozen=True)
class FitCases:
    """How many cases were learned from and chosen on."""

    train: int
    """Cases that candidates were fitted on."""

    val: int
    """Cases that the choice was made on; 0 where nothing was chosen. In inner folds every case is learned from and
    chosen on, never in the same fold."""

    val_source: ValSource
    """Where the val cases come from."""

    refit: int | None = None
    """Cases that the chosen candidate was fitted on again, for the answers on test sets; None without a second fit."""

    folds: int | None = None
    """Inner folds of each repeat; None where a single val was chosen on."""

    repeats: int | None = None
    """How often the inner folds were drawn."""


@dataclass(frozen=True)
class Cost:
    """What fitting took, with every candidate."""

    trained: int
    """Trained numbers of the live model, counted from the model. The live model of a protocol that reads features is
    its head; the frozen encoder is not among its numbers."""

    parameters: int
    """All numbers of the live model, frozen ones included."""

    peak_memory_mb: float
    """The most memory that training added, of the device or, on a CPU, of the process; NaN where not measured."""

    seconds: float
    """Wall time of the whole fit."""

    @classmethod
    def total(cls, costs: Sequence["Cost"]) -> "Cost":
        """What several fits took: their seconds together, and the most of the rest; memory is NaN if any is."""
        memory = [cost.peak_memory_mb for cost in costs]
        return cls(
            max(cost.trained for cost in costs),
            max(cost.parameters for cost in costs),
            math.nan if any(map(math.isnan, memory)) else max(memory),
            sum(cost.seconds for cost in costs),
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Cost":
        """The inverse of `asdict` written as JSON: null is NaN."""
        measured = {name: _number(stored[name]) for name in ("peak_memory_mb", "seconds")}
        return cls(stored["trained"], stored["parameters"], **measured)


@dataclass(frozen=True)
class LabelDraw:
    """The draw of labelled patients of a learning curve that a model was fitted on."""

    shots: int | None
    """Patients per class; None where the size is a fraction."""

    fraction: float | None
    """Share of the labelled training patients; None where the size is a number of shots."""

    repeat: int
    """Which of the draws of this size, from 0."""

    patients: int
    """Patients in the draw."""

    notes: tuple[str, ...] = ()
    """Where there were too few patients for the size."""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "LabelDraw":
        return cls(**{**stored, "notes": tuple(stored["notes"])})


@dataclass(frozen=True)
class Decision:
    """How a class, or whether a finding is present, is decided from probabilities. It is fixed inside training."""

    rule: Literal["argmax", "balanced", "tuned"]
    """The largest probability, the largest in proportion to the share in training, or tuned for a metric."""

    why: str
    """What the rule means here, and why it was taken."""

    weights: tuple[float, ...] = ()
    """(C,): the class of the largest probability × weight is decided for; empty with findings."""

    thresholds: tuple[float, ...] = ()
    """(F,): a finding is present above its threshold; empty with classes."""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Decision":
        return cls(stored["rule"], stored["why"], tuple(stored["weights"]), tuple(stored["thresholds"]))


@dataclass(frozen=True, kw_only=True, repr=False)
class FitRecord(Described):
    """How a fitted model came about. Records of equal fits are equal: only `cost`, which is left out of comparisons,
    differs from run to run."""

    candidates: tuple[Candidate, ...]
    """Everything that was tried, in order; at least the one that was taken by default."""

    chosen: int
    """Which of the candidates answers, from 0."""

    criterion: str
    """What decided among them, or why nothing could."""

    cases: FitCases
    """How many cases were learned from and chosen on."""

    cost: Cost = field(compare=False)
    """What fitting took, with every candidate."""

    history: tuple[Mapping[str, float], ...] = ()
    """The training of the chosen candidate, an entry per epoch (see `TrainResult.history`)."""

    notes: tuple[str, ...] = ()
    """Sentences that a reader should know about the fit."""

    notes_before_refit: tuple[str, ...] = ()
    """The same about the model that answers for val, where the chosen candidate was fitted again."""

    details: Mapping[str, Any] = field(default_factory=dict)
    """What only one protocol has to say, JSON-like: the plan of a U-Net, the token store of a segmentation decoder."""

    draw: LabelDraw | None = None
    """The draw of a learning curve that the model was fitted on; None for all labelled patients."""

    decision: Decision | None = None
    """How it decides for a class or a finding; None for masks."""

    def __post_init__(self) -> None:
        """Raises ValueError if the choice is none of the candidates, or diverged."""
        if not 0 <= self.chosen < len(self.candidates):
            raise ValueError(f"chosen = {self.chosen} names none of {len(self.candidates)} candidates.")
        if self.winner.diverged is not None:
            raise ValueError(f"Candidate {self.chosen} was chosen, though it diverged: {self.winner.diverged}")

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.winner.options.items())
        lines = [
            f"FitRecord: {options[:200] or 'defaults'}",
            f"  chosen: from {counted(len(self.candidates), 'candidate')} by {self.criterion}"[:300],
            f"  cases: {self.cases.train} learned from, {self.cases.val} chosen on",
        ]
        if not math.isnan(self.cost.seconds):
            lines.append(f"  cost: {self.cost.trained:,} trained numbers, {self.cost.seconds:.1f} s")
        notes = [f"  note: {note}" for note in self.notes]
        return "\n".join([*lines, *notes[:3], *([f"  … {len(notes) - 3} more notes"] if len(notes) > 3 else [])])

    @classmethod
    def unchosen(
        cls, options: Mapping[str, Any], *, train: int, trained: int = 0, seconds: float = math.nan
    ) -> "FitRecord":
        """The record of a fit on `train` cases in which nothing was chosen; `trained` numbers were learned."""
        return cls(
            candidates=(Candidate(options),),
            chosen=0,
            criterion="there was nothing to choose",
            cases=FitCases(train, 0, "none"),
            cost=Cost(trained, trained, math.nan, seconds),
        )

    @property
    def winner(self) -> Candidate:
        """The candidate that answers."""
        return self.candidates[self.chosen]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as JSON has them: NaN is null, tuples are lists."""
        found: dict[str, Any] = plain(asdict(self))
        return found

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "FitRecord":
        """The inverse of `to_json`; null among numbers is NaN, in `details` it stays None.

        Raises UsageError for anything that `to_json` does not give.
        """
        try:
            return cls(
                candidates=tuple(map(Candidate.from_json, stored["candidates"])),
                chosen=stored["chosen"],
                criterion=stored["criterion"],
                cases=FitCases(**stored["cases"]),
                cost=Cost.from_json(stored["cost"]),
                history=tuple(map(_numbers, stored["history"])),
                notes=tuple(stored["notes"]),
                notes_before_refit=tuple(stored["notes_before_refit"]),
                details=dict(stored["details"]),
                draw=None if stored["draw"] is None else LabelDraw.from_json(stored["draw"]),
                decision=None if stored.get("decision") is None else Decision.from_json(stored["decision"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"This is no record of a fit: {type(error).__name__}: {error}. Expected what FitRecord.to_json gives."
            ) from error


def _numbers(stored: Mapping[str, Any]) -> dict[str, float]:
    return {name: _number(value) for name, value in stored.items()}


def _number(value: Any) -> Any:
    """A number as JSON has it: null is NaN."""
    return float("nan") if value is None else value
