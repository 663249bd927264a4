"""The tables of subsets of sequences, laid out: who is compared, the heat map, the bars of shares and costs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from radapt.reports.bars import Axis, axis_of
from radapt.reports.leaderboard import LeaderboardRow
from radapt.reports.methods import Method
from radapt.reports.numbers import Metric, defined, interval, metric_of, shown
from radapt.reports.subsets import SHARED, Has, Place, Tables, tables_of

MOST_CONTESTANTS, MOST_CLASSES = 8, 6
"""Contestants with tables of their own, the best ones, and classes whose sensitivity can be chosen."""
MOST_SEQUENCES = 6
"""Of more sequences only the subsets of all, of all but one, of one and of none are drawn."""
DIFFERENCE = Metric("difference", "Difference", "", low=float("-inf"), high=None, chance=0.0)
_MOST_TICKS = 4
_DEEPEST = 45.0  # percent of the accent colour behind the best number: text stays readable on it, light and dark


@dataclass(frozen=True)
class HeatCell:
    """A number in the heat map: `level` says how deep its colour is, `without` how many cases had none of it."""

    standing: LeaderboardRow
    level: float
    without: int


@dataclass(frozen=True)
class HeatRow:
    """A subset: for each sequence whether it is in, and how its dot is joined to its neighbours; a cell per place."""

    dots: tuple[str, ...]
    names: str
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True)
class Shares:
    """What each sequence brings, or what its absence costs: a row per sequence, their sum or mean last."""

    quantity: str
    rows: tuple[tuple[str, tuple[LeaderboardRow, ...]], ...]
    axis: Axis | None


@dataclass(frozen=True)
class Detail:
    """All about one contestant."""

    tables: Tables
    heat: tuple[HeatRow, ...]
    shares: tuple[Shares, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """A test set: per contestant the number with all sequences, the mean over the subsets of each smaller number of
    them, and what one missing sequence costs, absolutely and as a share of the number with all."""

    place: Place
    sizes: tuple[int, ...]
    rows: tuple[tuple[Method, LeaderboardRow, tuple[float, ...], LeaderboardRow], ...]


@dataclass(frozen=True)
class SubsetView:
    """Everything of one number."""

    metric: Metric
    compared: tuple[Comparison, ...]
    details: tuple[Detail, ...]


def subset_views(known: Iterable[Method]) -> tuple[SubsetView, ...]:
    """A view for each number that is shared out, then one for the sensitivity of each class; empty without tables."""
    found = [tables for one in known if (tables := tables_of(one)) is not None]
    names = {metric for tables in found for _, _, metric in tables.scores}
    classes = dict.fromkeys(metric for tables in found for _, _, metric in tables.scores if ":" in metric)
    chosen = [*(name for name in SHARED if name in names), *list(classes)[:MOST_CLASSES]]
    return tuple(_view(metric, found) for metric in chosen)


def _view(name: str, found: list[Tables]) -> SubsetView:
    family, _, member = name.partition(":")
    metric = metric_of(family)
    if member:
        metric = Metric(name, f"Sensitivity of {member}", "")
    ranked = sorted(found, key=lambda tables: _rank(tables, name))
    places = sorted({place for tables in found for place in tables.places if not place.site})
    return SubsetView(
        metric,
        tuple(_compared(place, ranked, name) for place in places),
        tuple(_detail(tables, metric, name) for tables in ranked[:MOST_CONTESTANTS]),
    )


def _rank(tables: Tables, metric: str) -> tuple[bool, float, str]:
    value = tables.score(tables.places[0], tables.everything, metric).value
    return not defined(value), -value if defined(value) else 0.0, tables.contestant.name


def _compared(place: Place, ranked: list[Tables], metric: str) -> Comparison:
    own = [tables for tables in ranked if place in tables.places]
    most = max(len(tables.sequences) for tables in own)
    sizes = tuple(range(most - 1, 0, -1))
    rows = tuple(
        (
            tables.contestant,
            tables.score(place, tables.everything, metric),
            tuple(tables.of_size(place, size, metric) if size < len(tables.sequences) else _NAN for size in sizes),
            tables.share("absence", place, "", metric),
        )
        for tables in own
    )
    return Comparison(place, sizes, rows)


_NAN = float("nan")


def _detail(tables: Tables, metric: Metric, name: str) -> Detail:
    shares = tuple(_shares(tables, quantity, name) for quantity in ("shapley", "absence") if name in SHARED)
    sentences = tuple(
        words for place in tables.places if not place.site and (words := _sentence(tables, place, metric, name))
    )
    return Detail(tables, _heat(tables, metric, name), shares, sentences)


def _heat(tables: Tables, metric: Metric, name: str) -> tuple[HeatRow, ...]:
    drawn = [has for has in tables.subsets if _is_drawn(has)]
    table = [[tables.score(place, has, name) for place in tables.places] for has in drawn]
    values = [one.value for row in table for one in row if defined(one.value)]
    low, high = min([*values, metric.chance or 0.0]), max([*values, (metric.chance or 0.0) + 0.2])
    rows = []
    for has, row in zip(drawn, table, strict=True):
        cells = tuple(
            HeatCell(one, _level(one.value, low, high), tables.without.get((place, has), 0))
            for place, one in zip(tables.places, row, strict=True)
        )
        chosen = [name for name, there in zip(tables.sequences, has, strict=True) if there]
        rows.append(HeatRow(_dots(has), " + ".join(chosen) or "no sequence", cells))
    return tuple(rows)


def _is_drawn(has: Has) -> bool:
    return len(has) <= MOST_SEQUENCES or sum(has) <= 1 or sum(has) >= len(has) - 1


def _level(value: float, low: float, high: float) -> float:
    return round(_DEEPEST * (value - low) / (high - low), 1) if defined(value) else 0.0


def _dots(has: Has) -> tuple[str, ...]:
    """Classes of each dot: `has` or `lacks`, and whether the line that joins the dots comes in and goes on."""
    members = [index for index, there in enumerate(has) if there]
    first, last = (members[0], members[-1]) if members else (0, 0)
    return tuple(
        " ".join(
            ["has" if there else "lacks"]
            + ["comes"] * (first < index <= last)
            + ["goes"] * (first <= index < last)
        )
        for index, there in enumerate(has)
    )  # fmt: skip


def _shares(tables: Tables, quantity: str, metric: str) -> Shares:
    rows = tuple(
        (sequence, tuple(tables.share(quantity, place, sequence, metric) for place in tables.places))
        for sequence in (*tables.sequences, "")
    )
    drawn = [one for sequence, row in rows if sequence or quantity == "absence" for one in row]
    ends = [0.0] + [number for one in drawn for number in (one.value, one.ci_low, one.ci_high)]
    return Shares(quantity, rows, _thinned(axis_of(DIFFERENCE, ends)))


def _thinned(axis: Axis | None) -> Axis | None:
    """Every other mark, 0 among them, where there are more than the narrow columns have room for."""
    if axis is None or len(axis.ticks) <= _MOST_TICKS:
        return axis
    zero = min(range(len(axis.ticks)), key=lambda index: abs(axis.ticks[index][0] - axis.place(0.0)))
    return replace(axis, ticks=axis.ticks[zero % 2 :: 2])


def _sentence(tables: Tables, place: Place, metric: Metric, name: str) -> str:
    whole = tables.score(place, tables.everything, name)
    if not defined(whole.value):
        return ""
    count = len(tables.sequences)
    every = f"all {count} sequences" if count > 1 else "its one sequence"
    said = f"On {place.split}, {metric.title} is {shown(whole.value)} with {every}"
    cost = tables.share("absence", place, "", name)
    if defined(cost.value) and count > 1:
        said += f"; one of them missing costs {shown(cost.value)} ({interval(cost.ci_low, cost.ci_high)}) on average"
    parts = {sequence: tables.share("shapley", place, sequence, name).value for sequence in tables.sequences}
    if count > 1 and all(map(defined, parts.values())):
        best = max(parts, key=lambda sequence: parts[sequence])
        said += f", and {best} brings most: {shown(parts[best])}"
    return said + "."
