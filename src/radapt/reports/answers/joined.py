"""What images add to age and sex: both predictions together, against age and sex alone and against images alone.

Together means the mean of the two probabilities of each case. Nothing is fitted for it, so no patient is used twice.
It is scored by metrics of probabilities and of rankings: no training set has fixed a threshold for the mean. Where the
method in question is itself of the protocol `combined`, its own answers are compared.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from radapt.metrics.comparison import Difference, Draws, compare_many
from radapt.metrics.constant import DECISION
from radapt.metrics.metric import metric_name
from radapt.metrics.registry import METRICS
from radapt.reports.answers.paired import difference_text, paired_numbers
from radapt.reports.answers.record import Answer, PairedNumbers
from radapt.reports.board_comparisons import FEWER, numbered_pair, resamples_of, sets_of, smaller_is_better
from radapt.reports.case_tables import are_of_same_cases, case_tables
from radapt.reports.formatting import defined, shown
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.method_comparison import concluded
from radapt.reports.methods import Method
from radapt.reports.metric_info import metric_of

_COMBINED = "combined"  # the name of the protocol that joins images with the table

Together = tuple[Difference, Difference]
"""Both predictions together minus age and sex alone, and minus images alone."""


def joined_differences(
    board: Leaderboard, images: LeaderboardRow, age_sex: LeaderboardRow, metrics: Collection[str]
) -> dict[str, Together]:
    """By metric, of those that need no decision; {} for label maps, where no predictions are stored, and where the two
    were not tested on the same cases."""
    asked = [name for name in metrics if metric_name(name) in METRICS and not METRICS[metric_name(name)].of_decisions]
    if board.aim != "classification" or not asked:
        return {}
    tables = [case_tables(board, row) for row in (images, age_sex)]
    each = [*tables[0], *tables[1]]
    if not all(tables) or not len(each[0]) or not are_of_same_cases(each):
        return {}
    one, other = (range(start, start + len(own)) for start, own in zip((0, len(tables[0])), tables, strict=True))
    runs = list(zip(*numbered_pair(one, other), strict=True))
    both = [_mean(each[first], each[second], board) for first, second in runs]
    joined = range(len(each), len(each) + len(both))
    sets = sets_of(board, [*each, *both], asked)
    pairs = [numbered_pair(joined, alone) for alone in (other, one)]
    draws = Draws(resamples=resamples_of(images.method), permutations=FEWER)
    found = compare_many(sets, pairs, asked, draws, smaller_is_better=smaller_is_better)
    return {metric: (own[0], own[1]) for metric, own in found.items()}


def joined_answer(metric: str, images: LeaderboardRow, age_sex: LeaderboardRow, together: Together) -> Answer:
    """Whether images add to age and sex, from the differences in the metric."""
    both = tuple(
        _numbers(metric, images, alone, found) for alone, found in zip((age_sex, images), together, strict=True)
    )
    subject = f"The mean of the probabilities of {images.method.phrase} and of {age_sex.method.phrase}"
    return _answer(metric, subject, together[0].first, both)


def combined_answer(metric: str, row: LeaderboardRow, alone: Sequence[PairedNumbers]) -> Answer:
    """The same of a method that reads both, from its gains over age and sex `alone` and, if it was run, over images."""
    return _answer(metric, f"{row.method.phrase}, which reads both,", row.value, tuple(alone))


def _answer(metric: str, subject: str, value: float, alone: tuple[PairedNumbers, ...]) -> Answer:
    if not all(defined(numbers.ci_low) for numbers in alone):
        return Answer("joined", "This cannot be said: the differences have no interval.", "weak", alone)
    digits = min(metric_of(metric).digits, 3)
    start = {"better": "Yes.", "worse": "No."}.get(alone[0].verdict, "Not shown.")
    changes = " and ".join(
        f"{shown(abs(numbers.gain), digits)} {'better' if numbers.gain >= 0 else 'worse'} than {numbers.other} alone "
        f"({difference_text(numbers, digits, turned=numbers.gain < 0)})"
        for numbers in alone
    )
    text = f"{start} {subject} has {metric_of(metric).title} {shown(value, digits)}, {changes}."
    return Answer("joined", text, "plain" if alone[0].verdict == "better" else "weak", alone)


def reads_both(method: Method) -> bool:
    """Whether it joins images with the table by itself."""
    return method.cells[0].facts.get("protocol") == _COMBINED


def reads_only(columns: Collection[str], method: Method) -> bool:
    """Whether a method that reads both reads no other columns than these; by default it reads age and sex."""
    return set(_options(method).get("columns") or ()) <= set(columns)


def columns_of(age_sex: Method) -> tuple[str, ...]:
    """The columns that the control of age and sex reads."""
    return tuple(_options(age_sex).get("columns") or ())


def images_alone(method: Method, others: Sequence[Method]) -> Method | None:
    """Of the `others` the one that answers to the images as a method that reads both does; None if it was not run."""
    own = _options(method)
    return next(
        (
            other
            for other in others
            if other.backbone == method.backbone
            and other.cells[0].facts.get("protocol") == own.get("protocol")
            and {name: _options(other).get(name) for name in own.get("options") or {}} == own.get("options")
        ),
        None,
    )


def _options(method: Method) -> Mapping[str, Any]:
    return method.cells[0].facts.get("options") or {}


def _mean(one: pd.DataFrame, other: pd.DataFrame, board: Leaderboard) -> pd.DataFrame:
    """The cases of `one` with the mean probabilities of both, and no decisions."""
    rest = one.drop(columns=[name for name in one.columns if name.startswith(DECISION)])
    columns = [f"p_{name}" for name in board.facts.get("outputs") or ()]
    return rest.assign(**{name: (one[name] + other[name].loc[one.index]) / 2 for name in columns})


def _numbers(metric: str, images: LeaderboardRow, alone: LeaderboardRow, found: Difference) -> PairedNumbers:
    first, second = (replace(row, scores=row.scores[:1]) for row in (images, alone))  # runs of images are not its runs
    numbers = paired_numbers(concluded(first, second, metric, found, found.p, 1), 1)
    return replace(numbers, method=f"{images.method.phrase} together with age and sex")
