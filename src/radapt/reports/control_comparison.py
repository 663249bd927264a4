"""Whether the leading method is better than the controls, paired by patient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radapt.metrics.metric import metric_name
from radapt.metrics.paired_scores import score_paired
from radapt.reports.case_tables import are_of_same_cases, case_tables, class_or_finding_arrays
from radapt.reports.formatting import defined, interval, shown
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.metric_info import metric_of

AGE_SEX, SHUFFLED = "age-sex", "shuffled-labels"
_SHUFFLES = 2
"""The interval covers the test patients of one shuffle. Another shuffle is another classifier, which a strong axis of
the features moves about as far: on 110 gliomas a single one had an MCC of 0.14 (0.00 to 0.28)."""

_RESAMPLES = 2000  # where the cells do not say how many their intervals have


@dataclass(frozen=True)
class ControlComparison:
    """The leading method minus a control, in a metric, positive where the method is better; averaged over seeds.

    The interval draws the same patients for both (see `expanded_interval`); NaN if undefined.
    """

    method: LeaderboardRow
    control: LeaderboardRow
    metric: str
    difference: float
    ci_low: float
    ci_high: float

    @property
    def is_better(self) -> bool:
        """Whether the interval is above 0."""
        return self.ci_low > 0

    @property
    def sentence(self) -> str:
        name, title = self.control.method.phrase, metric_of(self.metric).title
        if not defined(self.ci_low):
            return f"Whether it is better than {name} is undefined: the difference in {title} has no interval."
        number = f"{shown(self.difference, 2)} [{shown(self.ci_low, 2)}, {shown(self.ci_high, 2)}]"
        if self.is_better:
            return f"Better than {name} by {number} in {title}, paired by patient."
        return f"Not better than {name} (difference in {title} {number}, paired by patient)."


def control_sentences(board: Leaderboard, metric: str, best: LeaderboardRow) -> str:
    """What the first screen says of the method `best` and the controls; '' without controls, and on val or a part.

    Compared with the best control and, if that is another one, with age and sex too. Labels shuffled between patients
    are no rival: they are named where they are better than chance.
    """
    if board.aim != "classification" or board.is_selection_split or board.is_part:
        return ""
    rows = [row for row in board.controls.get(metric, ()) if defined(row.value)]
    rivals = [row for row in rows if row.method.control != SHUFFLED]
    compared = rivals[:1] + [row for row in rivals[1:] if row.method.control == AGE_SEX]
    sentences = [found.sentence for row in compared if (found := compare(board, metric, best, row)) is not None]
    sentences += [_shuffled(metric, row) for row in rows if row.method.control == SHUFFLED]
    sentences += [
        f"Not compared with age and sex: {one.get('reason')}."
        for one in board.skipped_controls
        if one.get("control") == AGE_SEX
    ]
    return " ".join(filter(None, sentences))


def _shuffled(metric: str, row: LeaderboardRow) -> str:
    """A warning if it is above chance by more than `_SHUFFLES` half-widths of its interval."""
    chance = metric_of(metric).chance
    if chance is None or not row.has_interval or row.value - _SHUFFLES * (row.value - row.ci_low) <= chance:
        return ""
    return (
        f"{row.method.phrase} is better than chance ({metric_of(metric).title} {shown(row.value, 2)}, "
        f"{interval(row.ci_low, row.ci_high, 2)}): something tells the labels that should not."
    )


def compare(board: Leaderboard, metric: str, first: LeaderboardRow, second: LeaderboardRow) -> ControlComparison | None:
    """`first` against `second` on the same cases; None where their predictions are not stored, or not of the same."""
    tables = [case_tables(board, row) for row in (first, second)]
    if not all(tables):
        return None
    sets = [*tables[0], *tables[1]]
    if not are_of_same_cases(sets):
        return None
    outputs = tuple(str(name) for name in board.facts.get("outputs") or ())
    arrays = [class_or_finding_arrays(table.loc[sets[0].index], outputs) for table in sets]
    decisions = [decided for _, _, decided in arrays if decided is not None]
    facts = first.method.cells[0].facts
    paired = score_paired(
        arrays[0][0],
        [probabilities for _, probabilities, _ in arrays],
        _patients(sets[0]),
        task=str(board.cohort_facts.get("task")),
        outputs=outputs,
        ordered=bool(board.cohort_facts.get("ordered")),
        decisions=decisions if len(decisions) == len(arrays) else None,
        rng=np.random.default_rng(0),
        resamples=int(facts.get("resamples") or _RESAMPLES),
        keep=[metric],
    )
    if metric not in paired.values:
        return None
    count, sign = len(tables[0]), -1 if metric_of(metric_name(metric)).smaller_is_better else 1
    values, intervals = paired.combined(
        metric, lambda sets: sign * (sets[:count].mean(axis=0) - sets[count:].mean(axis=0))[None]
    )
    return ControlComparison(first, second, metric, float(values[0]), *intervals[0])


def _patients(table: pd.DataFrame) -> Sequence[object]:
    return list(table["patient"])
