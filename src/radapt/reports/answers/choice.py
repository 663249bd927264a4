"""Which method is reported: the one that validation data chose, never the test set if there is any other way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from radapt.reports.answers.record import ChosenBy
from radapt.reports.formatting import defined
from radapt.reports.leaderboard import Leaderboard, LeaderboardRow
from radapt.reports.methods import Method
from radapt.reports.metric_info import metric_of
from radapt.studies.selection import inner_score, selection_metric

FROZEN = ("knn", "linear", "logistic", "mil")
ADAPTED = ("finetune", "partial", "bitfit", "norm", "lora", "dora", "ia3", "mmdino")


@dataclass(frozen=True)
class Choice:
    """The method, what chose it among how many, and by which metric; `order` ranks methods by it, best first."""

    method: Method | None
    by: ChosenBy
    among: int
    metric: str
    order: tuple[Method, ...] = ()

    @property
    def eligible(self) -> tuple[Method, ...]:
        """The methods that could be chosen."""
        return self.order[: self.among]


def choose(board: Leaderboard, val: Leaderboard | None) -> Choice:
    """The method of a test set that is best on val, or in inner folds of the training patients, by the study's metric.

    Methods without such a score take no part. Where none has one, the best of the test set by its leading metric.
    """
    rows = [row for row in board.metrics.get(board.primary or "", ()) if row.done]
    methods = [row.method for row in rows]
    if not methods:
        return Choice(None, "nothing", 0, board.primary or "")
    metric = selection_metric(methods[0].cells[0].facts, board.cohort_facts.get("task"))
    if len(methods) == 1:
        return Choice(methods[0], "only method", 1, metric, tuple(methods))
    sources: dict[ChosenBy, Mapping[str, float]] = {
        "inner folds": {method.key: _inner(method, metric) for method in methods},
        "val": {} if val is None else {row.method.key: row.value for row in val.metrics.get(metric, ())},
    }
    counts = {by: sum(defined(scores.get(method.key)) for method in methods) for by, scores in sources.items()}
    by = max(counts, key=lambda name: counts[name])
    if not counts[by]:
        return Choice(methods[0], "these results", len(methods), board.primary or "", tuple(methods))
    scored = [method for method in methods if defined(sources[by].get(method.key))]
    order = sorted(scored, key=lambda method: (metric_of(metric).loss(sources[by][method.key]), method.name))
    rest = [method for method in methods if method not in scored]
    return Choice(order[0], by, len(scored), metric, (*order, *rest))


def is_frozen(method: Method) -> bool:
    """Whether the pretrained encoder stays as it is."""
    encoder = _encoder(method)
    return encoder == "frozen" if encoder is not None else method.cells[0].facts.get("protocol") in FROZEN


def is_adapted(method: Method) -> bool:
    """Whether weights of the pretrained encoder are trained, in whole or in part."""
    encoder = _encoder(method)
    return encoder != "frozen" if encoder is not None else method.cells[0].facts.get("protocol") in ADAPTED


def adapting_pair(order: Sequence[Method]) -> tuple[Method, Method] | None:
    """The best adapted method and the best frozen one to compare it with, of the same encoder if there is one.

    `order` has the methods best first, by what may choose. None without one of the two.
    """
    adapted = next((method for method in order if is_adapted(method)), None)
    frozen = [method for method in order if is_frozen(method)]
    if adapted is None or not frozen:
        return None
    same = [method for method in frozen if method.backbone == adapted.backbone]
    return adapted, (same or frozen)[0]


def row_of(board: Leaderboard, metric: str, method: Method) -> LeaderboardRow | None:
    return next((row for row in board.rows_of(metric) if row.method.key == method.key), None)


def _encoder(method: Method) -> str | None:
    found = (method.cells[0].facts.get("options") or {}).get("encoder")
    return found if isinstance(found, str) else None


def _inner(method: Method, metric: str) -> float:
    try:
        return fmean(inner_score(cell.facts, metric) for cell in method.cells if cell.state == "done")
    except (KeyError, IndexError, TypeError, ValueError):  # a record of another version, or no finished cell
        return float("nan")
