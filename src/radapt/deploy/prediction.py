"""The prediction for one case, and those of a batch as a table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from radapt.errors import counted
from radapt.features.case_vectors import Neighbour
from radapt.notebook import described_html, table_html
from radapt.protocols.fitted import SliceWeights

if TYPE_CHECKING:
    from radapt.images import Volume


SHOWN = 10
"""Cases that a notebook shows."""


@dataclass(frozen=True)
class CasePrediction:
    """What the model says about one case; with `failed`, why it says nothing."""

    case: str
    probabilities: Mapping[str, float]
    """By class or finding, as in the study; empty for masks and for a failed case."""
    prediction: str
    """The class that was decided for; findings, or structures of a mask, joined with `;`."""
    sequences: tuple[str, ...] = ()
    """Those of the model's sequences that were read."""
    series: Mapping[str, str] = field(default_factory=dict)
    """The name of the input's series that was taken for a sequence, where it has another name."""
    reason: str = ""
    """Why the case failed or the model abstains, and which of several series was taken."""
    seconds: float = 0.0
    """The case's share of the time of its group."""
    calibrated: Mapping[str, float] | None = None
    set: tuple[str, ...] | None = None
    """The outputs that cannot be excluded; None where the model has no prediction sets."""
    abstained: bool | None = None
    """None where the model never abstains."""
    doubt: float | None = None
    """The calibrated probability that the predicted class is wrong; None without calibration, and for findings."""
    agreement: float | None = None
    """The share of the models of an ensemble that decide as the ensemble does."""
    nearest: tuple[Neighbour, ...] = ()
    truth: str | None = None
    """The label that the input gives, in words; None without one."""
    volumes_ml: Mapping[str, float] | None = None
    """The volume of each structure of a mask; NaN for pictures, whose pixels have no size."""
    slice_weights: tuple[SliceWeights, ...] = ()
    """The attention to the slices of each image, where the model weighs them; of an ensemble the mean."""
    predicted_dice: Mapping[str, float] | None = None
    """By structure; NaN where nothing is drawn. None where the model cannot predict it."""
    dice_at_least: Mapping[str, float] | None = None
    """The lower bound of the Dice, which holds with the model's coverage."""
    soft_dice: Mapping[str, float] | None = None
    """By structure: the Dice that the model's probabilities predict, uncalibrated."""
    mask: "Volume | None" = None
    uncertainty: "Volume | None" = None
    """From 0 to 1: the probability that a voxel's label is not the one drawn."""
    failed: bool = False


@dataclass(frozen=True, repr=False)
class Predictions(Sequence[CasePrediction]):
    """The predictions for a batch, in the order of the input. `notes` are about the batch as a whole."""

    cases: tuple[CasePrediction, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lines = [f"Predictions for {counted(len(self.cases), 'case')}; the rows are in table"]
        if self.failures:
            lines.append(f"  failed: {len(self.failures)}, the first {self.failures[0].case}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes[:4])])

    def _repr_html_(self) -> str:
        shown = self.cases[:SHOWN]
        rows = [[case.case, case.prediction, _most(case), case.reason] for case in shown]
        more = f"<small>… {len(self.cases) - SHOWN} more</small>" if len(self.cases) > SHOWN else ""
        return described_html(repr(self)) + table_html(["case", "prediction", "probability", "reason"], rows) + more

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: Any) -> Any:
        return self.cases[index]

    def __iter__(self) -> Iterator[CasePrediction]:
        return iter(self.cases)

    @property
    def failures(self) -> tuple[CasePrediction, ...]:
        return tuple(case for case in self.cases if case.failed)

    @property
    def table(self) -> pd.DataFrame:
        """A row per case, as in `predictions.csv`."""
        return prediction_table(self.cases, self.outputs)


def _most(case: CasePrediction) -> str:
    """The largest probability; '' for masks and failed cases."""
    return f"{max(case.probabilities.values()):.2f}" if case.probabilities else ""


def prediction_table(cases: Sequence[CasePrediction], outputs: Sequence[str]) -> pd.DataFrame:
    """`case, prediction, p_<class>…, calibrated_<class>…, set, abstained, reason, sequences_used, seconds`, and where
    the model has them `doubt`, `agreement`, `volume_ml_<structure>…`, `predicted_dice_<structure>…` and
    `dice_at_least_<structure>…`. What is unknown is empty; a model without calibration
    has no columns for it."""
    calibrated = any(case.calibrated is not None for case in cases)
    structures = next((tuple(case.volumes_ml) for case in cases if case.volumes_ml is not None), ())
    predictable = next((tuple(case.predicted_dice) for case in cases if case.predicted_dice is not None), ())
    rows = []
    for case in cases:
        row: dict[str, Any] = {"case": case.case, "prediction": case.prediction}
        row |= {f"p_{name}": case.probabilities.get(name) for name in outputs}
        if calibrated:
            row |= {f"calibrated_{name}": (case.calibrated or {}).get(name) for name in outputs}
        row["set"] = "" if case.set is None else ";".join(case.set)
        row["abstained"] = "" if case.abstained is None else str(case.abstained).lower()
        row |= {"reason": case.reason, "sequences_used": ";".join(case.sequences), "seconds": round(case.seconds, 3)}
        if any(each.doubt is not None for each in cases):
            row["doubt"] = case.doubt
        if any(each.agreement is not None for each in cases):
            row["agreement"] = case.agreement
        row |= {f"volume_ml_{name}": (case.volumes_ml or {}).get(name) for name in structures}
        row |= {f"predicted_dice_{name}": (case.predicted_dice or {}).get(name) for name in predictable}
        row |= {f"dice_at_least_{name}": (case.dice_at_least or {}).get(name) for name in predictable}
        rows.append(row)
    return pd.DataFrame(rows)
