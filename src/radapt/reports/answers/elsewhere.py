"""How the chosen method does at single hospitals, on other test sets, and with sequences missing."""

from collections.abc import Sequence

from radapt.reports.answers.record import Answer, NamedValue
from radapt.reports.formatting import counted, defined, interval, shown
from radapt.reports.leaderboard import OUT_OF_FOLD, Leaderboard, LeaderboardRow
from radapt.reports.methods import Method
from radapt.reports.metric_info import metric_of
from radapt.reports.subsets.tables import SUBSET_METRICS, SubsetTables, TestSet, subset_tables

FEWEST = 10
"""With fewer patients, a hospital's value is listed and not spoken of."""

_LISTED = 3  # hospitals; more are counted


def sites_answer(board: Leaderboard, boards: Sequence[Leaderboard], metric: str, method: Method) -> Answer | None:
    """By hospital where every patient was tested out of fold, else on the other test sets; None without either."""
    if board.split == OUT_OF_FOLD:
        prefix = f"{OUT_OF_FOLD}:site="
        values = _values([other for other in boards if other.split.startswith(prefix)], metric, method, prefix)
        return _by_site(values, metric, board.unit) if len(values) > 1 else None
    others = [
        other for other in boards if other.split != board.split and not (other.is_part or other.is_selection_split)
    ]
    here = _values([board], metric, method, "")
    values = _values(others, metric, method, "")
    return _by_test_set(here[0], values, metric, board.unit) if here and values else None


def unseen_sites_answer(board: Leaderboard) -> Answer | None:
    """That what is shown is of hospitals that nothing was learned from; None where it is not, or is not known."""
    splits = board.cohort_facts.get("splits") or {}
    here = set((splits.get(board.split) or {}).get("sites") or ())
    learned = {name for split in ("train", "val") for name in (splits.get(split) or {}).get("sites") or ()}
    if not here or not learned or here & learned or "" in here | learned:
        return None
    text = (
        f"That is what is shown: the {board.unit}s tested are from {_listed(here)}, those it learned from are from "
        f"{_listed(learned)}. What the change costs is not known, because no {board.unit} from there was tested."
    )
    return Answer("sites", text)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) if len(names) <= _LISTED else f"{len(names)} hospitals"


def _values(boards: Sequence[Leaderboard], metric: str, method: Method, prefix: str) -> list[NamedValue]:
    found = []
    for board in boards:
        row = next((row for row in board.metrics.get(metric, ()) if row.method.key == method.key and row.done), None)
        if row is not None:
            patients = max(score.n_patients for score in row.scores)
            name = board.split.removeprefix(prefix) or "not given"
            found.append(NamedValue(name, row.value, row.ci_low, row.ci_high, patients))
    return found


def _by_site(values: list[NamedValue], metric: str, unit: str) -> Answer:
    info = metric_of(metric)
    large = [value for value in values if defined(value.value) and value.n_patients >= FEWEST]
    small = len(values) - len(large)
    left_out = ""
    if small:
        are = "is" if small == 1 else "are"
        left_out = f" {counted(small, 'site')} with fewer than {FEWEST} {unit}s or without a value {are} not counted."
    if len(large) < 2:
        text = f"This cannot be said: fewer than two sites have {FEWEST} {unit}s and a value."
        return Answer("sites", text, "weak", values=tuple(values))
    order = sorted(large, key=lambda value: info.loss(value.value))
    best, worst = order[0], order[-1]
    ends = f"from {_named(worst, metric, unit)} to {_named(best, metric, unit)}"
    if _apart(best, worst):
        text = f"Not equally: {info.title} ranges {ends}, and these two intervals do not overlap.{left_out}"
        return Answer("sites", text, "warning", values=tuple(values))
    text = (
        f"No difference shown between {counted(len(large), 'site')}: {info.title} ranges {ends}, with overlapping "
        f"intervals.{left_out}"
    )
    return Answer("sites", text, "plain", values=tuple(values))


def _by_test_set(here: NamedValue, values: list[NamedValue], metric: str, unit: str) -> Answer:
    info = metric_of(metric)
    there = "; ".join(f"on {_named(value, metric, unit)}" for value in values)
    known = [value for value in values if defined(value.value) and defined(here.value)]
    lower = [value for value in known if info.loss(value.value) > info.loss(here.value) and _apart(here, value)]
    beside = f"{shown(here.value, info.digits)} on {here.name}"
    if lower:
        names = ", ".join(value.name for value in lower)
        text = f"No: {info.title} is {there}, against {beside}; the intervals do not overlap on {names}."
        return Answer("sites", text, "warning", values=(here, *values))
    text = f"{info.title} is {there}, against {beside}; the intervals overlap, so no loss is shown."
    if any(_apart(here, value) for value in known):
        text = f"{info.title} is {there}, against {beside}: no loss is seen."
    return Answer("sites", text, "plain" if known else "weak", values=(here, *values))


def _named(value: NamedValue, metric: str, unit: str) -> str:
    digits = metric_of(metric).digits
    ends = f", {interval(value.ci_low, value.ci_high, digits)}" if defined(value.ci_low) else ""
    return f"{value.name} {shown(value.value, digits)} ({counted(value.n_patients, unit)}{ends})"


def _apart(first: NamedValue, second: NamedValue) -> bool:
    ends = (first.ci_low, first.ci_high, second.ci_low, second.ci_high)
    return all(map(defined, ends)) and (first.ci_high < second.ci_low or second.ci_high < first.ci_low)


def sequences_answer(board: Leaderboard, metric: str, method: Method, order: Sequence[Method]) -> Answer | None:
    """What the mean missing sequence costs, and which costs most, of the chosen method or the next that was scored so.

    In the first metric of `SUBSET_METRICS` that was computed, if not in `metric`. None if no method was scored so.
    """
    for one in (method, *(other for other in order if other.key != method.key)):
        tables = subset_tables(one)
        own = next(
            (test for test in (tables.test_sets if tables else ()) if test.split == board.split and not test.site), None
        )
        if tables is None or own is None or len(tables.sequences) < 2:
            continue
        usable = [name for name in (metric, *SUBSET_METRICS) if tables.contributes(name)]
        if usable:
            return _sequences(tables, own, usable[0], one, one.key != method.key)
    return None


def _sequences(tables: SubsetTables, own: TestSet, metric: str, method: Method, of_another: bool) -> Answer:
    info = metric_of(metric)
    mean = tables.contribution("absence", own, "", metric)
    each = [(name, tables.contribution("absence", own, name, metric)) for name in tables.sequences]
    values = tuple(_value(name, row) for name, row in [("any one, on average", mean), *each])
    whose = f"For {method.phrase}, the" if of_another else "The"
    known = [(name, row) for name, row in each if defined(row.value)]
    if not defined(mean.value) or not known:
        return Answer(
            "sequences", f"{whose} cost of a missing sequence is undefined on these patients.", "weak", values=values
        )
    sign = -1 if info.smaller_is_better else 1
    name, worst = max(known, key=lambda item: sign * item[1].value)
    costs = [f"{shown(row.value, info.digits)}{_ends(row, info.digits)}" for row in (mean, worst)]
    text = (
        f"{whose} absence of one sequence costs {costs[0]} in {info.title} on average, and that of {name} most: "
        f"{costs[1]}."
    )
    unclear = mean.has_interval and mean.ci_low <= 0 <= mean.ci_high
    return Answer("sequences", text, "weak" if unclear else "plain", values=values)


def _ends(row: LeaderboardRow, digits: int) -> str:
    return f" ({shown(row.ci_low, digits)} to {shown(row.ci_high, digits)})" if row.has_interval else ""


def _value(name: str, row: LeaderboardRow) -> NamedValue:
    patients = max((score.n_patients for score in row.scores), default=0)
    return NamedValue(name, row.value, row.ci_low, row.ci_high, patients)
