"""What a model of masks knows about its own masks: predicted Dice by structure, and when to abstain."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from radapt.deploy.certainty import REFUSED, Novelty
from radapt.deploy.masks.predicted_dice import LEAST_PATIENTS, DicePredictor, fit_predictor
from radapt.durable import plain
from radapt.errors import UsageError, counted
from radapt.features.case_vectors import CaseVectors


@dataclass(frozen=True, eq=False)
class MaskCases:
    """Masks of N cases by models that did not learn from them, for S structures.

    `soft` and `dice` (N, S): the Dice that the model's probabilities predict, NaN where nothing is drawn, and the true
    one, NaN where neither mask has the structure. `present` (N, S) bool: the true mask has it. `source` says where they
    come from: `val`, `out of fold`, or a cohort.
    """

    structures: tuple[str, ...]
    soft: np.ndarray
    dice: np.ndarray
    present: np.ndarray
    patients: np.ndarray
    source: str


@dataclass(frozen=True)
class MaskAnswer:
    """Of one case, by structure; NaN where nothing is drawn."""

    dice: Mapping[str, float]
    at_least: Mapping[str, float]
    abstained: bool
    reason: str


@dataclass(frozen=True, eq=False)
class MaskCertainty:
    """Fitted by `fit_mask_certainty`."""

    predictors: tuple[DicePredictor, ...]
    alpha: float
    source: str
    novelty: Novelty | None = None
    refused: float = REFUSED

    @property
    def record(self) -> Mapping[str, Any]:
        """JSON-like, from which `read_mask_certainty` makes an equal one."""
        return dict(
            plain(
                {
                    "predictors": [asdict(each) for each in self.predictors],
                    "alpha": self.alpha,
                    "source": self.source,
                    "novelty": None if self.novelty is None else self.novelty.to_json(),
                    "refused": self.refused,
                }
            )
        )

    def answer(self, soft: Mapping[str, float], vectors: CaseVectors | None = None) -> MaskAnswer:
        """The answer for one case from the soft Dice of each structure, and its features where there are any."""
        given = {each.structure: np.asarray([soft.get(each.structure, np.nan)]) for each in self.predictors}
        dice = {each.structure: float(each.predict(given[each.structure])[0]) for each in self.predictors}
        least = {each.structure: float(each.at_least(given[each.structure])[0]) for each in self.predictors}
        sentences = [
            *self._novel(vectors),
            *(text for each in self.predictors if (text := _doubt(each, dice[each.structure]))),
        ]
        return MaskAnswer(dice, least, bool(sentences), " ".join(sentences))

    def _novel(self, vectors: CaseVectors | None) -> list[str]:
        if self.novelty is None or vectors is None or vectors.modalities != self.novelty.sequences:
            return []
        share = float(self.novelty.p_values(vectors.vectors)[0])
        if not share <= self.refused:
            return []
        return [
            f"The case is unlike the training cases: {100 * share:.3g} % of the training patients are as far from the "
            f"others; cases below {100 * self.refused:.3g} % are refused."
        ]


def _doubt(predictor: DicePredictor, dice: float) -> str:
    """Why the mask of a structure is not to be relied on; '' if it is."""
    if dice != dice:
        return f"No {predictor.structure} is drawn, which every calibration case has." if predictor.always else ""
    if dice >= predictor.limit:
        return ""
    return f"The Dice of {predictor.structure} is predicted as {dice:.2f}, below {predictor.limit:.2f}."


def fit_mask_certainty(
    cases: MaskCases,
    *,
    alpha: float,
    least_dice: float | None = None,
    novelty: Novelty | None = None,
    refused: float = REFUSED,
    rng: np.random.Generator,
) -> tuple[MaskCertainty | None, tuple[str, ...]]:
    """One predictor for each structure with 10 patients or more, with notes; None without any.

    Lower bounds hold with probability 1 - `alpha`. The model abstains below `least_dice`, else below what is predicted
    for the worst `refused` of the calibration cases. Raises UsageError for `least_dice` outside 0 to 1.
    """
    check_least_dice(least_dice)
    found, notes = [], []
    for column, structure in enumerate(cases.structures):
        soft, dice = cases.soft[:, column], cases.dice[:, column]
        fitted = fit_predictor(
            structure, soft, dice, cases.patients, always=bool(cases.present[:, column].all()), alpha=alpha,
            refused=refused, least=least_dice, rng=rng,
        )  # fmt: skip
        if fitted is None:
            usable = np.isfinite(soft) & np.isfinite(dice)
            held = counted(len(set(cases.patients[usable])), "patient")
            notes.append(f"No Dice is predicted for {structure}: {held} ({cases.source}), {LEAST_PATIENTS} are needed.")
        else:
            found.append(fitted)
    if not found:
        return None, tuple(notes)
    patients = counted(len(set(cases.patients)), "patient")
    notes.insert(0, f"The Dice of masks is predicted from what {patients} ({cases.source}) had.")
    return MaskCertainty(tuple(found), alpha, cases.source, novelty, refused), tuple(notes)


def check_least_dice(value: float | None) -> None:
    """Raises UsageError for a Dice outside 0 to 1."""
    if value is not None and not 0 <= value <= 1:
        raise UsageError(f"least_dice is {value!r}; expected a Dice from 0 to 1, such as 0.7.")


def read_mask_certainty(record: Mapping[str, Any] | None, training: CaseVectors | None) -> MaskCertainty | None:
    """That of a record; None without one. Raises UsageError for a record that was changed."""
    if record is None:
        return None
    try:
        novelty = None
        if record["novelty"] is not None:
            if training is None:
                raise ValueError("the features of the training cases are missing")
            novelty = Novelty.from_json(record["novelty"], training.vectors)
        predictors = tuple(_predictor(each) for each in record["predictors"])
        return MaskCertainty(predictors, float(record["alpha"]), record["source"], novelty, float(record["refused"]))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"The record of predicted Dice cannot be read ({error}). Copy the whole model folder again, or export it "
            "again."
        ) from error


def _predictor(stored: Mapping[str, Any]) -> DicePredictor:
    """Numbers that are not finite are stored as null: a margin is infinite, a coverage undefined."""
    margin = float("inf") if stored["margin"] is None else float(stored["margin"])
    covered = float("nan") if stored["covered"] is None else float(stored["covered"])
    return DicePredictor(**{**stored, "margin": margin, "covered": covered})


def sentences_of(predictors: Sequence[DicePredictor], alpha: float) -> list[str]:
    """How good the prediction was for calibration patients, in plain sentences."""
    return [
        f"{each.structure}: {counted(each.patients, 'patient')}, mean error of the predicted Dice {each.error:.3f} "
        f"({each.error_of_mean:.3f} by the mean Dice alone); {_covered(each, alpha)}; abstains below "
        f"{each.limit:.2f}."
        for each in predictors
    ]


def _covered(each: DicePredictor, alpha: float) -> str:
    if each.covered != each.covered:
        return f"too few patients for a lower bound of {100 * (1 - alpha):.3g} %"
    return f"{100 * each.covered:.0f} % reach the lower bound of {100 * (1 - alpha):.3g} %"
