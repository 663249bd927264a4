"""Whether the numbers of a run folder are those that were computed: digests of every file, and the numbers again."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radapt.digests import digest_file
from radapt.done_file import DONE, damage
from radapt.errors import DataError, UsageError, counted
from radapt.metrics import score, summarise
from radapt.metrics.constant import DECISION
from radapt.studies import Ledger
from radapt.studies.run_digests import DIGESTS, covered, recorded

_CLOSE = 1e-9  # another processor adds up in another order
_SHOWN = 20
_COUNTS = ("n_patients", "n_scored", "n_unscored")


@dataclass(frozen=True)
class Fault:
    """A file of the run folder that is not what it should be, and why."""

    file: str
    what: str


@dataclass(frozen=True)
class Verification:
    """What `verify_run` found: how much was looked at, and every fault."""

    folder: str
    files: int
    cells: int
    unfinished: int
    numbers: int
    faults: tuple[Fault, ...]

    @property
    def text(self) -> str:
        """A line per fault, at most twenty, and what was looked at."""
        lines = [f"{fault.file}: {fault.what}" for fault in self.faults[:_SHOWN]]
        if len(self.faults) > _SHOWN:
            lines.append(f"… and {counted(len(self.faults) - _SHOWN, 'more fault')}")
        seen = (
            f"{counted(self.files, 'file')} compared with their digests, {counted(self.numbers, 'number')} of "
            f"{counted(self.cells, 'cell')} computed again"
        )
        waiting = f"; {counted(self.unfinished, 'cell')} not finished" if self.unfinished else ""
        lines.append(f"{seen}{waiting}{'' if self.faults else ': all as written'}.")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def verify_run(folder: Path) -> Verification:
    """Compare every file of a run folder with its digest, the table of results with the tables of the cells, and every
    value and count in these with what their stored predictions give. Intervals are covered by digests alone: their
    draws belong to the run.

    Raises UsageError for a folder that is no run folder, and DataError if it has no digests, as an interrupted run.
    """
    if not (folder / "plan.json").is_file():
        raise UsageError(f"{folder} is not a run folder: it has no plan.json. Give the folder that `radapt run` wrote.")
    faults: list[Fault] = []
    files = recorded(folder)
    if files is None:
        if (folder / DIGESTS).is_file():
            return Verification(str(folder), 0, 0, 0, 0, (Fault(DIGESTS, "damaged, so nothing can be compared"),))
        raise DataError(f"{folder} has no {DIGESTS}: the run was interrupted, or is of an older version. Run it again.")
    faults += _changed(folder, files)
    ledger = Ledger(folder)
    if any(fault.file == "plan.json" for fault in faults):  # which cells there should be is not known
        return Verification(str(folder), len(files), 0, 0, 0, tuple(faults))
    planned = [*json.loads((folder / "plan.json").read_text(encoding="utf-8"))["cells"], *ledger.foreign()]
    looked, numbers, unfinished, intact = len(files), 0, 0, []
    for cell in planned:
        place = ledger.cell(str(cell["id"]))
        if not (place / DONE).is_file():
            unfinished += 1
            continue
        inside, wrong = _cell_files(place, folder)
        looked += inside
        faults += wrong
        if damage(place) is not None:
            continue
        intact.append(cell)
        count, wrong = _cell_numbers(place, folder, str(cell["cohort"]))
        numbers += count
        faults += wrong
    faults += _table(ledger, folder, intact)
    return Verification(str(folder), looked, len(planned) - unfinished, unfinished, numbers, tuple(faults))


def _changed(folder: Path, files: Mapping[str, str]) -> Iterator[Fault]:
    present = dict(covered(folder))
    for name, expected in files.items():
        if name not in present:
            yield Fault(name, "missing")
        elif digest_file(present[name]) != expected:
            yield Fault(name, "changed since it was written")
    for name in sorted(present.keys() - files.keys()):
        yield Fault(name, "not written by radapt, or after the run")


def _cell_files(place: Path, folder: Path) -> tuple[int, list[Fault]]:
    """How many files of a finished cell have a digest, and those that are not as they were written."""
    here = place.relative_to(folder).as_posix()
    if damage(place) == DONE:
        return 1, [Fault(f"{here}/{DONE}", "damaged")]
    stored = json.loads((place / DONE).read_text(encoding="utf-8"))
    faults = []
    digests = {**stored["files"], **stored.get("others", {})}
    for name, expected in digests.items():
        try:
            if digest_file(place / name) != expected:
                faults.append(Fault(f"{here}/{name}", "changed since it was written"))
        except OSError:
            faults.append(Fault(f"{here}/{name}", "missing"))
    return len(digests) + 1, faults


def _cell_numbers(place: Path, folder: Path, cohort: str) -> tuple[int, list[Fault]]:
    """How many values of `scores.parquet` were computed again from the predictions, and those that differ."""
    here = (place / "scores.parquet").relative_to(folder).as_posix()
    scores, predictions = (pd.read_parquet(place / f"{name}.parquet") for name in ("scores", "predictions"))
    facts = _cohort_facts(folder, cohort)
    if facts is None:
        return 0, [Fault(here, f"cannot be computed again: there are no facts of cohort {cohort}")]
    count, faults = 0, []
    for split, rows in scores.groupby("split", sort=False):
        again = _again(_of_split(predictions, str(split)), facts).set_index("metric")
        for _, row in rows.iterrows():
            count += 1
            if row["metric"] not in again.index:
                faults.append(Fault(here, f"{row['metric']} of {split} is no metric of the predictions"))
                continue
            new = again.loc[row["metric"]]
            same = np.isclose(new["value"], row["value"], rtol=0, atol=_CLOSE, equal_nan=True)
            if not same or any(int(new[name]) != int(row[name]) for name in _COUNTS):
                what = f"{row['metric']} of {split} is {row['value']:.6g}; the predictions give {new['value']:.6g}"
                faults.append(Fault(here, what))
    return count, faults


def _of_split(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    """The predictions of a split, or of a fold or site of one, such as `oof:site=CS`."""
    whole, _, part = split.partition(":")
    rows = predictions[predictions["split"] == whole]
    name, _, value = part.partition("=")
    return rows[rows[name].fillna("").astype(str) == value] if part else rows


def _again(rows: pd.DataFrame, facts: Mapping[str, Any]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    if "label" in rows and "outcome" in rows:
        return summarise(rows, labels=list(dict.fromkeys(rows["label"])), rng=rng, resamples=0)
    outputs = [str(name) for name in facts["outputs"]]
    truth, decisions = _truth(rows, outputs)
    probabilities = rows[[f"p_{name}" for name in outputs]].to_numpy(dtype=np.float64)
    return score(
        truth, probabilities, list(rows["patient"]), task=str(facts["task"]), outputs=outputs,
        ordered=bool(facts.get("ordered")), decisions=decisions, rng=rng, resamples=0,
    )  # fmt: skip


def _truth(rows: pd.DataFrame, outputs: Sequence[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Truth and decisions as `score` takes them."""
    if "truth" in rows:
        number = {name: index for index, name in enumerate(outputs)}
        truth = rows["truth"].map(number).fillna(-1).to_numpy(dtype=np.int64)
        return truth, rows[DECISION].map(number).to_numpy(dtype=np.int64) if DECISION in rows else None
    found = rows[[f"truth_{name}" for name in outputs]].astype(float).to_numpy()
    named = [f"{DECISION}_{name}" for name in outputs]
    return found, rows[named].to_numpy(dtype=np.int64) if set(named) <= set(rows) else None


def _cohort_facts(folder: Path, cohort: str) -> Mapping[str, Any] | None:
    for file in sorted((folder / "cohorts").glob("*/cohort.json")):
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
            if facts["name"] == cohort:
                return dict(facts)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return None


def _table(ledger: Ledger, folder: Path, cells: Sequence[Mapping[str, Any]]) -> Iterator[Fault]:
    """Whether results.parquet holds the scores of these intact cells."""
    try:
        stored = pd.read_parquet(folder / "results.parquet")
        stored = stored[stored["cell"].isin([str(cell["id"]) for cell in cells])].reset_index(drop=True)
        expected = ledger.results(cells)
        pd.testing.assert_frame_equal(stored, expected, check_dtype=False, check_exact=True)
    except AssertionError as error:
        yield Fault("results.parquet", f"is not the table of the cells ({str(error).splitlines()[0]})")
    except Exception as error:  # of a damaged file pyarrow and pandas raise a dozen kinds
        yield Fault("results.parquet", f"cannot be read ({type(error).__name__})")
