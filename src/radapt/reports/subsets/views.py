"""Lays out the scores on subsets of sequences: the comparison of methods, the heat map, the bars of contributions."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from radapt.reports.bar_axis import BarAxis, axis_of
from radapt.reports.formatting import defined, interval, shown
from radapt.reports.leaderboard import OUT_OF_FOLD, LeaderboardRow
from radapt.reports.methods import Method
from radapt.reports.metric_info import MetricInfo, metric_of
from radapt.reports.subsets.tables import MEMBER_METRICS, SUBSET_METRICS, Subset, SubsetTables, TestSet, subset_tables

MOST_METHODS, MOST_CLASSES = 8, 6
"""The number of methods with tables of their own, best first, and of classes or structures that can be selected."""
MOST_SEQUENCES = 6
"""With more sequences, only the subsets of all, all but one, one and none are shown."""
DIFFERENCE = MetricInfo("difference", "Difference", "", low=float("-inf"), high=None, chance=0.0)
_MOST_TICKS = 4
_DEEPEST = 45.0  # percent of the accent colour behind the best score: text stays readable on it, light and dark
_NAN = float("nan")


@dataclass(frozen=True)
class HeatCell:
    """A score in the heat map: `level` is the depth of its colour in percent, `without` the cases with no sequence."""

    row: LeaderboardRow
    level: float
    without: int


@dataclass(frozen=True)
class HeatRow:
    """A subset: the CSS classes of one dot per sequence, and a cell per test set."""

    dots: tuple[str, ...]
    names: str
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True)
class Contributions:
    """Shapley values or costs of absence: a row per sequence, their sum or mean last."""

    quantity: str
    rows: tuple[tuple[str, tuple[LeaderboardRow, ...]], ...]
    axis: BarAxis | None


@dataclass(frozen=True)
class MethodDetail:
    """The tables of one method."""

    tables: SubsetTables
    heat: tuple[HeatRow, ...]
    contributions: tuple[Contributions, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """The methods on one test set.

    `rows` are (method, score with all sequences, mean over the subsets of each of the smaller `sizes`, mean cost of one
    missing sequence).
    """

    test_set: TestSet
    sizes: tuple[int, ...]
    rows: tuple[tuple[Method, LeaderboardRow, tuple[float, ...], LeaderboardRow], ...]


@dataclass(frozen=True)
class SubsetView:
    """The comparison of methods and the details of each, for one metric."""

    metric: MetricInfo
    segments: bool
    comparisons: tuple[Comparison, ...]
    details: tuple[MethodDetail, ...]


def subset_views(methods: Iterable[Method]) -> tuple[SubsetView, ...]:
    """A view for each metric, then one for each class or structure; empty without tables."""
    every = [tables for method in methods if (tables := subset_tables(method)) is not None]
    names = dict.fromkeys(metric for tables in every for _, _, metric in tables.scores)
    metrics = [name for name in SUBSET_METRICS if name in names]
    for family in MEMBER_METRICS:
        members = [name for name in names if name.startswith(f"{family}:")]
        if len(members) > 1 or family not in names:  # the mean over a single structure is that structure
            metrics += members[:MOST_CLASSES]
    return tuple(_view(metric, every) for metric in metrics)


def _info(name: str) -> MetricInfo:
    family, _, member = name.partition(":")
    metric = metric_of(family)
    if not member:
        return metric
    title = f"Sensitivity for {member}" if family == "sensitivity" else f"{metric.title} of {member}"
    return MetricInfo(name, title, "", high=metric.high, smaller_is_better=metric.smaller_is_better)


def _view(name: str, every: list[SubsetTables]) -> SubsetView:
    metric = _info(name)
    ranked = sorted(every, key=lambda tables: _rank(tables, metric, name))
    test_sets = sorted({test_set for tables in every for test_set in tables.test_sets if not test_set.site})
    return SubsetView(
        metric,
        name.partition(":")[0] in ("dice", "hd95_mm"),
        tuple(_comparison(test_set, ranked, name) for test_set in test_sets),
        tuple(_detail(tables, metric, name) for tables in ranked[:MOST_METHODS]),
    )


def _rank(tables: SubsetTables, metric: MetricInfo, name: str) -> tuple[bool, float, str]:
    value = tables.score(tables.test_sets[0], tables.all_sequences, name).value
    sign = 1 if metric.smaller_is_better else -1
    return not defined(value), sign * value if defined(value) else 0.0, tables.method.name


def _comparison(test_set: TestSet, ranked: list[SubsetTables], metric: str) -> Comparison:
    scored = [tables for tables in ranked if test_set in tables.test_sets]
    most = max(len(tables.sequences) for tables in scored)
    sizes = tuple(range(most - 1, 0, -1))
    rows = tuple(
        (
            tables.method,
            tables.score(test_set, tables.all_sequences, metric),
            tuple(
                tables.mean_of_size(test_set, size, metric) if size < len(tables.sequences) else _NAN for size in sizes
            ),
            tables.contribution("absence", test_set, "", metric),
        )
        for tables in scored
    )
    return Comparison(test_set, sizes, rows)


def _detail(tables: SubsetTables, metric: MetricInfo, name: str) -> MethodDetail:
    quantities = ("shapley", "absence") if tables.contributes(name) else ()
    whole = (test_set for test_set in tables.test_sets if not test_set.site)
    return MethodDetail(
        tables,
        _heat_map(tables, metric, name),
        tuple(_contributions(tables, quantity, name) for quantity in quantities),
        tuple(sentence for test_set in whole if (sentence := _sentence(tables, test_set, metric, name))),
    )


def _heat_map(tables: SubsetTables, metric: MetricInfo, name: str) -> tuple[HeatRow, ...]:
    subsets = [subset for subset in tables.subsets if _is_shown(subset)]
    scores = [[tables.score(test_set, subset, name) for test_set in tables.test_sets] for subset in subsets]
    values = [score.value for row in scores for score in row if defined(score.value)]
    low, high = min([*values, metric.chance or 0.0]), max([*values, (metric.chance or 0.0) + 0.2])
    rows = []
    for subset, row in zip(subsets, scores, strict=True):
        cells = tuple(
            HeatCell(
                score,
                _level(score.value, *((high, low) if metric.smaller_is_better else (low, high))),
                tables.without.get((test_set, subset), 0),
            )
            for test_set, score in zip(tables.test_sets, row, strict=True)
        )
        names = [name for name, present in zip(tables.sequences, subset, strict=True) if present]
        rows.append(HeatRow(_dots(subset), " + ".join(names) or "no sequence", cells))
    return tuple(rows)


def _is_shown(subset: Subset) -> bool:
    return len(subset) <= MOST_SEQUENCES or sum(subset) <= 1 or sum(subset) >= len(subset) - 1


def _level(value: float, low: float, high: float) -> float:
    return round(_DEEPEST * (value - low) / (high - low), 1) if defined(value) else 0.0


def _dots(subset: Subset) -> tuple[str, ...]:
    """CSS classes of each dot: `has` or `lacks`, and whether the joining line enters (`comes`) and leaves (`goes`)."""
    members = [index for index, present in enumerate(subset) if present]
    first, last = (members[0], members[-1]) if members else (0, 0)
    return tuple(
        " ".join(
            ["has" if present else "lacks"]
            + ["comes"] * (first < index <= last)
            + ["goes"] * (first <= index < last)
        )
        for index, present in enumerate(subset)
    )  # fmt: skip


def _contributions(tables: SubsetTables, quantity: str, metric: str) -> Contributions:
    rows = tuple(
        (sequence, tuple(tables.contribution(quantity, test_set, sequence, metric) for test_set in tables.test_sets))
        for sequence in (*tables.sequences, "")
    )
    with_bar = [score for sequence, row in rows if sequence or quantity == "absence" for score in row]
    ends = [0.0] + [end for score in with_bar for end in (score.value, score.ci_low, score.ci_high)]
    return Contributions(quantity, rows, _thinned(axis_of(DIFFERENCE, ends)))


def _thinned(axis: BarAxis | None) -> BarAxis | None:
    """Every other tick, 0 among them, if the narrow column has no room for all."""
    if axis is None or len(axis.ticks) <= _MOST_TICKS:
        return axis
    zero = min(range(len(axis.ticks)), key=lambda index: abs(axis.ticks[index][0] - axis.position(0.0)))
    return replace(axis, ticks=axis.ticks[zero % 2 :: 2])


def _sentence(tables: SubsetTables, test_set: TestSet, metric: MetricInfo, name: str) -> str:
    score = tables.score(test_set, tables.all_sequences, name)
    if not defined(score.value):
        return ""
    count = len(tables.sequences)
    with_all = f"all {count} sequences" if count > 1 else "its one sequence"
    where = f"On {test_set.title}" if test_set.site or test_set.split != OUT_OF_FOLD else "Out of fold"
    sentence = f"{where}, {metric.title} is {shown(score.value)} with {with_all}"
    cost = tables.contribution("absence", test_set, "", name)
    if defined(cost.value) and count > 1:
        sentence += f"; a missing sequence costs {shown(cost.value)} ({interval(cost.ci_low, cost.ci_high)}) on average"
    values = {sequence: tables.contribution("shapley", test_set, sequence, name).value for sequence in tables.sequences}
    if count > 1 and all(map(defined, values.values())):
        best = max(values, key=lambda sequence: values[sequence])
        sentence += f", and {best} contributes most: {shown(values[best])}"
    return sentence + "."
