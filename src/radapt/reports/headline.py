"""The main result of each test set in one sentence."""

from dataclasses import dataclass

from radapt.metrics.constant import constant_answer
from radapt.reports.control_comparison import control_sentences
from radapt.reports.foreign_comparison import foreign_sentences
from radapt.reports.formatting import counted, defined, interval, shown
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.metric_info import metric_of

_NAMED = 3  # methods that answer the same for every patient and are named


@dataclass(frozen=True)
class Headline:
    """`sentence` states the result, `control` whether it is better than what needs no encoder and than
    other tools, and `caution` its limits; the last two may be empty."""

    board: Leaderboard
    sentence: str
    caution: str = ""
    metric: str | None = None
    best: LeaderboardRow | None = None
    control: str = ""


def headline(board: Leaderboard) -> Headline:
    """The best method on this test set by its leading metric, with its interval and the closest competitor."""
    metric = board.primary
    rows = board.metrics.get(metric, ()) if metric else ()
    ranked = [row for row in rows if defined(row.value)]
    if metric is None or not ranked:
        title = metric_of(metric).title if metric else "every metric"
        why = next((board.reason(row) for row in rows if row.done), "").removeprefix("undefined: ")
        return Headline(board, f"On {board.cohort}, {title} is undefined on {board.split}: {why or 'no run is done'}.")
    best, *others = ranked
    patients = counted(max(score.n_patients for score in best.scores), board.unit)
    certainty = f"95 % CI {interval(best.ci_low, best.ci_high)}" if best.has_interval else "no interval"
    rank = "is best" if others else "is the only method evaluated"
    where = f"{best.method.phrase} {rank} on {board.split}"
    if board.where:
        where = f"{board.where}: {best.method.phrase} {rank}"
    sentence = (
        f"On {board.cohort}, {where}: "
        f"{metric_of(metric).title} {shown(best.value)} ({certainty}), {patients}{_runner_up(best, others)}."
    )
    unknown = "Patients unknown: intervals and splits count images." if board.unit == "image" else ""
    cautions = [unknown, _caution(board, metric, best), _constant(board, best, others)]
    beside = [control_sentences(board, metric, best), foreign_sentences(board, metric, best)]
    return Headline(board, sentence, " ".join(filter(None, cautions)), metric, best, " ".join(filter(None, beside)))


def intervals_overlap(first: LeaderboardRow, second: LeaderboardRow) -> bool:
    """Whether the intervals share a point. False if either has none."""
    if not (first.has_interval and second.has_interval):
        return False
    return first.ci_low <= second.ci_high and second.ci_low <= first.ci_high


def _runner_up(best: LeaderboardRow, others: list[LeaderboardRow]) -> str:
    if not others:
        return ""
    second = others[0]
    name = second.method.phrase
    number = f"{shown(second.value)} ({interval(second.ci_low, second.ci_high)})"
    overlapping = sum(intervals_overlap(best, other) for other in others)
    if second.value == best.value:
        return f"; {name} has the same value"
    if not second.has_interval or not best.has_interval:
        return f"; next is {name}: {shown(second.value)}"
    if overlapping == 0:
        return f"; its interval does not overlap with that of the next, {name}: {number}"
    if intervals_overlap(best, second):
        more = f", and with {overlapping - 1} more of the {len(others)} others" if overlapping > 1 else ""
        return f"; its interval overlaps with that of the next, {name}: {number}{more}"
    return f"; its interval overlaps with {overlapping} of the {len(others)} others"


def _caution(board: Leaderboard, metric: str, best: LeaderboardRow) -> str:
    cautions = []
    chance = metric_of(metric).chance
    if chance is not None and best.has_interval and best.ci_low <= chance <= best.ci_high:
        cautions.append(f"The interval includes {chance:g}, the value of guessing.")
    for name, template in (
        ("missed", "Misses the structure entirely in {} of cases where it is present."),
        ("false_alarm", "Segments the structure in {} of cases where it is absent."),
    ):
        share = next((row.value for row in board.metrics.get(name, ()) if row.method == best.method), 0.0)
        if defined(share) and share > 0:
            cautions.append(template.format(_percent(share)))
    if best.method.few_labels:
        cautions.append(
            "Trained on few labels, drawn repeatedly; the interval covers the test patients, not the choice of labels."
        )
    return " ".join(cautions)


def _constant(board: Leaderboard, best: LeaderboardRow, others: list[LeaderboardRow]) -> str:
    """Which classifiers answer the same for every patient, in one run at least."""
    said = []
    if answer := _constant_answer(board, best):
        said.append(f"{best.method.phrase} {answer}.")
    found = [(row.method.phrase, answer) for row in others if (answer := _constant_answer(board, row))]
    said += [f"{name} {answer}." for name, answer in found[:_NAMED]]
    if len(found) > _NAMED:
        said.append(f"So do {counted(len(found) - _NAMED, 'more method')}.")
    return " ".join(said)


def _constant_answer(board: Leaderboard, row: LeaderboardRow) -> str | None:
    if board.aim != "classification":
        return None
    for cell in row.method.cells:
        predictions = cell.predictions
        if predictions is None or "split" not in predictions:
            continue
        if answer := constant_answer(predictions[predictions["split"] == board.split]):
            return answer
    return None


def _percent(share: float) -> str:
    """Two significant digits below 10 %, whole numbers from there."""
    return f"{100 * share:.2g} %" if share < 0.0995 else f"{100 * share:.0f} %"
