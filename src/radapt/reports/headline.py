"""The answer in one sentence for each test set."""

from dataclasses import dataclass

from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.numbers import counted, defined, interval, metric_of, shown


@dataclass(frozen=True)
class Headline:
    """`sentence` answers the question; `caution` says what keeps it from being more than that, or is empty."""

    board: Leaderboard
    sentence: str
    caution: str = ""
    metric: str | None = None
    best: LeaderboardRow | None = None


def headline(board: Leaderboard) -> Headline:
    """Who is best on this test set by its leading metric, how sure that is, and who is not clearly worse."""
    metric = board.primary
    standings = board.metrics.get(metric, ()) if metric else ()
    ranked = [standing for standing in standings if defined(standing.value)]
    if metric is None or not ranked:
        title = metric_of(metric).title if metric else "a number"
        why = next((board.reason(one) for one in standings if one.done), "").removeprefix("undefined: ")
        return Headline(board, f"On {board.cohort}, {title} has no value on {board.split}: {why or 'no cell is done'}.")
    best, *others = ranked
    patients = counted(_patients(best), "patient")
    if not best.has_interval:
        certainty = f" (no interval), {patients}"
    else:
        certainty = f" (95 % CI {interval(best.ci_low, best.ci_high)}), {patients}"
    place = "is best" if others else "is the only one judged"
    sentence = (
        f"On {board.cohort}, {best.contestant.words} {place} on {board.split}: "
        f"{metric_of(metric).title} {shown(best.value)}{certainty}{_beside(best, others)}."
    )
    return Headline(board, sentence, _caution(board, metric, best), metric, best)


def overlaps(one: LeaderboardRow, other: LeaderboardRow) -> bool:
    """Whether the intervals share a point. False if either has none."""
    if not (one.has_interval and other.has_interval):
        return False
    return one.ci_low <= other.ci_high and other.ci_low <= one.ci_high


def _beside(best: LeaderboardRow, others: list[LeaderboardRow]) -> str:
    if not others:
        return ""
    following = others[0]
    name = following.contestant.words
    number = f"{shown(following.value)} ({interval(following.ci_low, following.ci_high)})"
    near = sum(overlaps(best, other) for other in others)
    if following.value == best.value:
        return f"; {name} has the same number"
    if not following.has_interval or not best.has_interval:
        return f"; next is {name}: {shown(following.value)}"
    if near == 0:
        return f"; the interval lies apart from the next, {name}: {number}"
    if overlaps(best, following):
        more = f", and with {near - 1} more of the {len(others)} others" if near > 1 else ""
        return f"; the interval overlaps with the next, {name}: {number}{more}"
    return f"; the interval overlaps with {near} of the {len(others)} others"


def _caution(board: Leaderboard, metric: str, best: LeaderboardRow) -> str:
    said = []
    chance = metric_of(metric).chance
    if chance is not None and best.has_interval and best.ci_low <= chance <= best.ci_high:
        said.append(f"The interval includes {chance:g}, the value of guessing.")
    for name, words in (
        ("missed", "Where a structure is, it draws nothing of it in {} of the cases."),
        ("false_alarm", "Where a structure is not, it draws one in {} of the cases."),
    ):
        share = next((one.value for one in board.metrics.get(name, ()) if one.contestant == best.contestant), 0.0)
        if defined(share) and share > 0:
            said.append(words.format(f"{100 * share:.2g} %"))
    if best.contestant.few:
        said.append("It learned from few labels, drawn again and again; the interval covers the test patients alone.")
    return " ".join(said)


def _patients(standing: LeaderboardRow) -> int:
    return max(row.n_patients for row in standing.rows)
