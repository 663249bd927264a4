"""The cases of a method on a test set as rows of text, the worst first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from radapt.reports.classification_curves import DECISION_THRESHOLD, ClassificationPredictions
from radapt.reports.formatting import defined, shown
from radapt.reports.segmentation_cases import SegmentationPredictions

MOST_LISTED = 120
"""Cases of a method on a test set that are listed: the worst of every kind of mistake in turn."""


@dataclass(frozen=True)
class CaseRow:
    """A case: what is said of it in the list (`text`), its facts, and the `groups` by which the list is filtered.

    `groups` are its mistakes; of a case without one, what it is. Rows are sorted by `loss`, the highest first.
    """

    case: str
    text: str
    facts: tuple[tuple[str, str], ...]
    groups: tuple[str, ...]
    wrong: bool
    loss: float


def class_rows(model: ClassificationPredictions) -> list[CaseRow]:
    """The rows of predictions of one class per case; a group is `truth>predicted`, by index."""
    decided = model.probabilities.argmax(axis=1) if model.decided is None else model.decided
    rows = []
    for case, truth, called, values in zip(model.cases, model.truth, decided, model.probabilities, strict=True):
        is_, said = model.outputs[int(truth)], model.outputs[int(called)]
        facts = [("Truth", is_), ("Predicted", said)]
        facts += [(f"p({name})", shown(float(value), 2)) for name, value in zip(model.outputs, values, strict=True)]
        text = f"{is_} → {said}, p {shown(float(values[int(called)]), 2)}"
        loss = 1 - float(values[int(truth)])
        rows.append(CaseRow(case, text, tuple(facts), (f"{int(truth)}>{int(called)}",), truth != called, loss))
    return _worst_first(rows)


def finding_rows(model: ClassificationPredictions) -> list[CaseRow]:
    """The rows of predictions of findings; a group is `finding:truth>predicted` with 1 for present."""
    called = model.probabilities > DECISION_THRESHOLD if model.decided is None else model.decided > 0
    rows = []
    for case, truth, said, values in zip(model.cases, model.truth, called, model.probabilities, strict=True):
        facts: list[tuple[str, str]] = []
        wrong: list[tuple[str, str]] = []
        right: list[tuple[str, str]] = []
        loss = 0.0
        for index, name in enumerate(model.outputs):
            known, value = not np.isnan(truth[index]), float(values[index])
            is_ = ("present" if truth[index] else "absent") if known else "not known"
            facts.append((name, f"{is_}, predicted {'present' if said[index] else 'absent'}, p {shown(value, 2)}"))
            if known:
                group = f"{index}:{int(truth[index])}>{int(said[index])}"
                (wrong if bool(truth[index]) != bool(said[index]) else right).append((group, name))
                loss += abs(value - float(truth[index]))
        mistakes = [f"{'missed' if ':1>' in group else 'false alarm'}: {name}" for group, name in wrong]
        groups = tuple(group for group, _ in (*wrong, *right))
        if groups:
            text = "; ".join(mistakes) or "no mistake"
            rows.append(CaseRow(case, text, tuple(facts), groups, bool(wrong), len(wrong) + loss / len(model.outputs)))
    return _worst_first(rows)


def mask_rows(model: SegmentationPredictions) -> list[CaseRow]:
    """The rows of a segmentation; a group is the outcome of a structure, such as `missed`."""
    rows = []
    for case, own in model.table.groupby(model.table["case"].astype(str), sort=True):
        scored = own[own["dice"].notna()]
        if scored.empty:
            continue
        facts = []
        for row in own.to_dict("records"):
            outcome = str(row["outcome"]).replace("_", " ")
            numbers = f"Dice {shown(row['dice'])}" + (
                f", HD95 {shown(row['hd95_mm'], 1)} mm" if outcome == "both" else ""
            )
            volumes = (
                f"; {shown(row['volume_truth_ml'], 2)} ml true, {shown(row['volume_predicted_ml'], 2)} ml predicted"
                if defined(row["volume_truth_ml"])
                else ""
            )
            said = "" if outcome == "both" else f"{outcome}; "
            facts.append((str(row["label"]), f"{said}{numbers}{volumes}" if defined(row["dice"]) else outcome))
        outcomes = tuple(sorted(set(own["outcome"]) & {"missed", "false_alarm"}))
        dice = float(scored["dice"].mean())
        said = ", ".join(outcome.replace("_", " ") for outcome in outcomes)
        text = f"Dice {shown(dice)}" + (f", {said}" if said else "")
        rows.append(CaseRow(str(case), text, tuple(facts), outcomes or ("both",), bool(outcomes), 1 - dice))
    return _worst_first(rows)


def in_turn(rows: Sequence[CaseRow], most: int) -> list[CaseRow]:
    """At most `most` rows: the worst of each kind of mistake, then the second worst of each, and so on, then others."""
    chosen: dict[str, CaseRow] = {}
    for of_kind in (True, False):
        groups: dict[str, list[CaseRow]] = {}
        for row in rows:
            if row.wrong == of_kind:
                groups.setdefault(row.groups[0], []).append(row)
        for place in range(max(map(len, groups.values()), default=0)):
            for group in groups.values():
                if place < len(group) and len(chosen) < most:
                    chosen.setdefault(group[place].case, group[place])
    return list(chosen.values())


def _worst_first(rows: Iterable[CaseRow]) -> list[CaseRow]:
    return sorted(rows, key=lambda row: (not row.wrong, -row.loss, row.case))
