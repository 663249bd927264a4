"""Groups of the cases scored on the same draws of the patients, and tests of the gaps between them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtr  # scipy.stats takes seconds to import

from radapt.errors import DataError
from radapt.metrics.bootstrap import CHUNK, Numbers, expanded_interval, replicates
from radapt.metrics.comparison.family import holm
from radapt.metrics.subgroups.parts import ScoredParts, Values

LEAST_PATIENTS = 10
"""Scored patients that a group needs for an interval and a test."""

OTHERS = "all others"


@dataclass(frozen=True, eq=False)
class Groups:
    """The group (N,) of each row by a column, '' where it is unknown, and the `names` of the groups in their order."""

    column: str
    of_row: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class GroupScore:
    """A metric and the calibration (predicted − observed) of one group, each with its interval; NaN if undefined.

    A group with `few` patients, in all or of each label, has no interval and is in no test.
    """

    name: str
    n_patients: int
    n_cases: int
    value: float
    ci_low: float
    ci_high: float
    calibration: float
    calibration_low: float
    calibration_high: float
    few: bool

    @property
    def has_interval(self) -> bool:
        return not np.isnan(self.ci_low)


@dataclass(frozen=True)
class Gap:
    """The metric of a group minus that of the other one, or of all other cases.

    `p` is two-sided: the difference over its bootstrap error, by Student's t with the patients of the smaller side less
    one as degrees of freedom. `holm` is adjusted for all gaps of all columns that were asked for together.
    """

    group: str
    against: str
    difference: float
    ci_low: float
    ci_high: float
    p: float
    holm: float = float("nan")


@dataclass(frozen=True)
class ColumnScores:
    """The groups of a column, and their gaps. Scores are over `n_outputs` classes, findings or structures: those with
    enough patients in every group that is tested. Where none has, the groups with the fewest such are not tested."""

    column: str
    groups: tuple[GroupScore, ...]
    gaps: tuple[Gap, ...]
    n_outputs: int


Key = tuple[str, str]
"""A column, and one of its groups or (see `_but`) all cases but those of a group."""


@dataclass(frozen=True, eq=False)
class _Part:
    rows: np.ndarray
    outputs: np.ndarray
    patients: int
    tested: bool = True


def score_groups(
    sets: Sequence[ScoredParts], columns: Sequence[Groups], *, rng: np.random.Generator, resamples: int
) -> tuple[ColumnScores, ...]:
    """Score every group of every column; values are means over `sets`, the seeds of one method on the same rows.

    Two groups with enough patients are compared with each other, of more each with all other cases. Intervals are those
    of `radapt compare` (see `expanded_interval`), the smaller side giving the number of patients. The same state of
    `rng` gives the same result. Raises DataError without a set, and for sets of different patients.
    """
    if not sets or len({one.units for one in sets}) > 1:
        raise DataError(f"{len(sets)} sets of results; expected at least one, all of the same patients.")
    parts = {key: part for column in columns for key, part in _parts(sets[0], column).items()}
    drawn = _drawn(sets, parts, rng, resamples)
    found = []
    for column in columns:
        scores = tuple(_score(sets[0], drawn, column.column, name) for name in column.names)
        gaps = tuple(_gaps(drawn, column.column, [one.name for one in scores if not one.few]))
        outputs = int(parts[column.column, column.names[0]].outputs.sum()) if column.names else 0
        found.append(ColumnScores(column.column, scores, gaps, outputs))
    return _adjusted(found)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Every part with its numbers, and their replicates (R,), by the part and `metric` or `calibration`."""

    parts: Mapping[Key, _Part]
    whole: Mapping[tuple[Key, str], float]
    replicates: Mapping[tuple[Key, str], np.ndarray]

    def of(self, key: Key, kind: str) -> tuple[float, np.ndarray]:
        return self.whole.get((key, kind), float("nan")), self.replicates.get((key, kind), np.empty(0))


def _drawn(sets: Sequence[ScoredParts], parts: Mapping[Key, _Part], rng: np.random.Generator, resamples: int) -> _Drawn:
    asked = {(key, kind): values for key, part in parts.items() for kind, values in _asked(sets, part).items()}

    def numbers(weights: np.ndarray) -> Numbers:
        return {str(at): np.mean([ask(weights) for ask in each], axis=0) for at, each in enumerate(asked.values())}

    units, cases = sets[0].units, max((int(part.rows.sum()) for part in parts.values()), default=1)
    whole = numbers(np.ones((units, 1)))
    drawn = replicates(numbers, units, rng, resamples if units > 1 else 0, max(1, CHUNK // max(cases, units)))
    names = {key: str(at) for at, key in enumerate(asked)}
    return _Drawn(
        parts,
        {key: float(whole[name][0]) for key, name in names.items()},
        {key: drawn[name] for key, name in names.items() if name in drawn},
    )


def _parts(results: ScoredParts, column: Groups) -> dict[Key, _Part]:
    """The groups of a column, and all other cases of each that is tested, by (column, name)."""
    known = np.asarray([name != "" for name in column.of_row], dtype=bool)
    rows = {name: column.of_row == name for name in column.names}
    patients = {name: results.counts(own)[0] for name, own in rows.items()}
    of_group = {name: results.outputs_in(rows[name]) for name in column.names if patients[name] >= LEAST_PATIENTS}
    while len(of_group) > 2 and not np.all(list(of_group.values()), axis=0).any():
        del of_group[min(of_group, key=lambda name: int(of_group[name].sum()))]
    tested, outputs = list(of_group), np.all([results.outputs_in(known), *of_group.values()], axis=0)
    found = {(column.column, name): _Part(own, outputs, patients[name], name in tested) for name, own in rows.items()}
    if len(tested) > 2:
        for name in tested:
            others = known & ~rows[name]
            found[column.column, _but(name)] = _Part(others, outputs, results.counts(others)[0])
    return found


def _but(name: str) -> str:
    return f"\0{name}"  # no group has such a name


def _asked(sets: Sequence[ScoredParts], part: _Part) -> dict[str, list[Values]]:
    calibrations = [one.calibration(part.rows, part.outputs) for one in sets]
    given = [each for each in calibrations if each is not None]
    metrics = [one.metric(part.rows, part.outputs) for one in sets]
    return {"metric": metrics, **({"calibration": given} if given else {})}


def _score(results: ScoredParts, drawn: _Drawn, column: str, name: str) -> GroupScore:
    part = drawn.parts[column, name]
    _, cases = results.counts(part.rows)
    few, nan = not part.tested, float("nan")
    (value, away), (calibration, off) = (drawn.of((column, name), kind) for kind in ("metric", "calibration"))
    low, high = (nan, nan) if few else expanded_interval(value, away, part.patients)
    least, most = (nan, nan) if few else expanded_interval(calibration, off, part.patients)
    return GroupScore(name, part.patients, cases, value, low, high, calibration, least, most, few)


def _gaps(drawn: _Drawn, column: str, tested: Sequence[str]) -> Iterator[Gap]:
    if len(tested) < 2:
        return
    pairs = [(name, OTHERS, _but(name)) for name in tested]
    for group, against, other in pairs if len(tested) > 2 else [(tested[0], tested[1], tested[1])]:
        (value, away), (value_other, away_other) = (drawn.of((column, name), "metric") for name in (group, other))
        least = min(drawn.parts[column, name].patients for name in (group, other))
        difference, apart = value - value_other, away - away_other
        low, high = expanded_interval(difference, apart, least)
        yield Gap(group, against, difference, low, high, _p_value(difference, apart, least))


def _p_value(difference: float, drawn: np.ndarray, units: int) -> float:
    """NaN where there is no interval, and where every draw gives the same difference other than 0."""
    if np.isnan(difference) or 2 * np.isfinite(drawn).sum() < max(len(drawn), 1):
        return float("nan")
    error = float(np.nanstd(drawn)) * np.sqrt(units / (units - 1))
    if error == 0:
        return 1.0 if difference == 0 else float("nan")
    return float(2 * stdtr(units - 1, -abs(difference) / error))


def _adjusted(found: Sequence[ColumnScores]) -> tuple[ColumnScores, ...]:
    adjusted = iter(holm([gap.p for column in found for gap in column.gaps]).tolist())
    return tuple(
        replace(column, gaps=tuple(replace(gap, holm=next(adjusted)) for gap in column.gaps)) for column in found
    )
