"""Every pair of methods of a test set as a square: row minus column."""

from dataclasses import dataclass

from radapt.reports.answers.paired import chance_of
from radapt.reports.board_comparisons import BoardComparisons
from radapt.reports.formatting import shown
from radapt.reports.method_comparison import MethodComparison
from radapt.reports.methods import Method

MOST_METHODS = 30


@dataclass(frozen=True)
class MatrixCell:
    """A difference as text, its interval, its p-value in words, and whether the row is `better` or `worse`."""

    difference: str
    interval: str
    chance: str
    verdict: str


@dataclass(frozen=True)
class ComparisonMatrix:
    """`rows` are methods by rank with a cell for each of the methods, None on the diagonal."""

    metric: str
    comparisons: int
    methods: tuple[Method, ...]
    rows: tuple[tuple[Method, tuple[MatrixCell | None, ...]], ...]
    left_out: int = 0


def comparison_matrix(comparisons: BoardComparisons) -> ComparisonMatrix | None:
    """In the leading metric; None with fewer than two compared methods. At most `MOST_METHODS`, best first."""
    metric = comparisons.board.primary or ""
    found = comparisons.among_methods(metric)
    if not found:
        return None
    by_pair = {(one.first.method.key, one.second.method.key): one for one in found}
    compared = {one.method.key: one.method for pair in found for one in (pair.first, pair.second)}
    ranked = [row.method for row in comparisons.board.metrics[metric] if row.method.key in compared]
    methods = tuple(ranked[:MOST_METHODS])
    rows = tuple((row, tuple(_cell(by_pair, row, column, len(found)) for column in methods)) for row in methods)
    return ComparisonMatrix(metric, len(found), methods, rows, len(ranked) - len(methods))


def _cell(
    by_pair: dict[tuple[str, str], MethodComparison], row: Method, column: Method, family: int
) -> MatrixCell | None:
    one = by_pair.get((row.key, column.key))
    turned = one is None
    one = one or by_pair.get((column.key, row.key))
    if one is None:
        return None
    difference = one.difference.turned if turned else one.difference
    digits = one.first.digits
    sign = "+" if difference.difference > 0 else ""
    opposite = {"better": "worse", "worse": "better"}
    return MatrixCell(
        sign + shown(difference.difference, digits),
        f"{shown(difference.ci_low, digits)} to {shown(difference.ci_high, digits)}",
        chance_of(one.holm, family),
        opposite.get(one.verdict, one.verdict) if turned else one.verdict,
    )
