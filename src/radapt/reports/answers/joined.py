"""What images add to age and sex: both predictions together, against age and sex alone and against images alone.

Together means the mean of the two probabilities of each case. Nothing is fitted for it, so no patient is used twice.
It is scored by metrics of probabilities and of rankings: no training set has fixed a threshold for the mean.
"""

from collections.abc import Collection
from dataclasses import replace

import pandas as pd

from radapt.metrics.comparison import Difference, Draws, compare_many
from radapt.metrics.constant import DECISION
from radapt.metrics.metric import metric_name
from radapt.metrics.registry import METRICS
from radapt.reports.answers.paired import difference_text, paired_numbers
from radapt.reports.answers.record import Answer, PairedNumbers
from radapt.reports.board_comparisons import FEWER, numbered_pair, sets_of, smaller_is_better
from radapt.reports.case_tables import are_of_same_cases, case_tables
from radapt.reports.formatting import defined, shown
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.method_comparison import concluded
from radapt.reports.metric_info import metric_of

Together = tuple[Difference, Difference]
"""Both predictions together minus age and sex alone, and minus images alone."""


def joined_differences(
    board: Leaderboard, images: LeaderboardRow, age_sex: LeaderboardRow, metrics: Collection[str]
) -> dict[str, Together]:
    """By metric, of those that need no decision; {} for label maps, where predictions are not stored, and where the two
    were not tested on the same cases."""
    asked = [name for name in metrics if metric_name(name) in METRICS and not METRICS[metric_name(name)].of_decisions]
    if board.aim != "classification" or not asked:
        return {}
    tables = [case_tables(board, row) for row in (images, age_sex)]
    if not all(tables) or not are_of_same_cases([*tables[0], *tables[1]]):
        return {}
    one, other = (range(start, start + len(own)) for start, own in zip((0, len(tables[0])), tables, strict=True))
    runs = list(zip(*numbered_pair(one, other), strict=True))
    each = [*tables[0], *tables[1]]
    both = [_mean(each[first], each[second], board) for first, second in runs]
    joined = range(len(each), len(each) + len(both))
    sets = sets_of(board, [*each, *both], asked)
    pairs = [numbered_pair(joined, alone) for alone in (other, one)]
    found = compare_many(sets, pairs, asked, Draws(permutations=FEWER), smaller_is_better=smaller_is_better)
    return {metric: (own[0], own[1]) for metric, own in found.items()}


def joined_answer(metric: str, images: LeaderboardRow, age_sex: LeaderboardRow, together: Together) -> Answer:
    """Whether images add to age and sex, from the differences in the metric."""
    info, digits = metric_of(metric), min(metric_of(metric).digits, 3)
    own, plain = images.method.phrase, age_sex.method.phrase
    both = tuple(
        _numbers(metric, images, alone, found) for alone, found in zip((age_sex, images), together, strict=True)
    )
    if not all(defined(numbers.ci_low) for numbers in both):
        return Answer("joined", "This cannot be said: the differences have no interval.", "weak", both)
    start = {"better": "Yes.", "worse": "No."}.get(both[0].verdict, "Not shown.")
    changes = " and ".join(
        f"{shown(abs(numbers.gain), digits)} {'better' if numbers.gain >= 0 else 'worse'} than {alone} alone "
        f"({difference_text(numbers, digits, turned=numbers.gain < 0)})"
        for numbers, alone in zip(both, (plain, own), strict=True)
    )
    value = shown(together[0].first, digits)
    text = f"{start} The mean of the probabilities of {own} and of {plain} has {info.title} {value}, {changes}."
    return Answer("joined", text, "plain" if both[0].verdict == "better" else "weak", both)


def _mean(one: pd.DataFrame, other: pd.DataFrame, board: Leaderboard) -> pd.DataFrame:
    """The cases of `one` with the mean probabilities of both, and no decisions."""
    rest = one.drop(columns=[name for name in one.columns if name.startswith(DECISION)])
    columns = [f"p_{name}" for name in board.facts.get("outputs") or ()]
    return rest.assign(**{name: (one[name] + other[name].loc[one.index]) / 2 for name in columns})


def _numbers(metric: str, images: LeaderboardRow, alone: LeaderboardRow, found: Difference) -> PairedNumbers:
    first, second = (replace(row, scores=row.scores[:1]) for row in (images, alone))  # runs of images are not its runs
    numbers = paired_numbers(concluded(first, second, metric, found, found.p, 1), 1)
    return replace(numbers, method=f"{images.method.phrase} together with age and sex")
