"""The run folder: the files of each cell, the order in which they are written, and when a cell is finished.

`done.json` is written last and atomically, with the digests of the cell's tables and JSON files, so a cell either has
the numbers that were computed or is run again.
"""

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from radapt.done_file import DONE, damage, done_facts
from radapt.durable import (
    is_partial_name,
    naming_full_disk,
    remove_partial_files,
    write_json,
    write_parquet,
    write_text,
)
from radapt.errors import UsageError, unwritable
from radapt.failure_reason import reason_of
from radapt.parsing.json import read_json
from radapt.printable import printable
from radapt.studies.shard import Shard
from radapt.studies.workers import WORKERS, Workers

RESULT_COLUMNS = [
    "cohort", "backbone", "protocol", "shots", "fraction", "repeat", "seed", "split", "metric", "value", "ci_low",
    "ci_high", "n_patients", "n_scored", "n_unscored", "n_undefined", "unit", "seconds", "trained_parameters",
    "trained_share", "peak_memory_mb", "minutes", "look", "lesion_masks", "contamination", "licence",
    "use", "control", "foreign", "cell",
]  # fmt: skip

_NAMES = ("id", "cohort", "backbone", "label", "seed")
"""What names a cell in the table of results."""

FOREIGN = "foreign-"
"""The id of a cell starts with it that holds per-case results of another tool, as `radapt beside` adds them."""

PLAN, OVERLAYS, FAILED = "plan.json", "overlays/overlays.json", "failed.json"
FIT, FITTED = "fit.json", "fitted.yaml"
"""What `radapt run --fit` left out, and the study that it chose; both are there before a run begins."""
ROOMS = ("cells", "cohorts", "backbones", "pictures")
"""The folders of a run folder."""

_MOMENT_S = 120.0
"""How long a shard waits for another that writes the results."""

PATIENT = "patient"
"""The unit of a number whose interval and count go by patient."""


def slug(name: str) -> str:
    """`name` as a folder name that is valid on every file system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".") or "unnamed"


class Ledger:
    """The run folder at `folder`. Reading never changes it; writes are atomic."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers = Workers(folder)
        self._kept: dict[tuple[Any, ...], pd.DataFrame] = {}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the folder for one writer; the lock ends with the process, even if it is killed.

        Raises UsageError if another process is running a study, or a shard of it, in the folder.
        """
        with self.locked():
            if others := self.workers.alive():
                shards = ", ".join(sorted(worker.shard for worker in others))
                raise UsageError(
                    f"Shards are at work in {self.folder} ({shards}). Wait for them, or run another with --shard."
                )
            # The lock ensures that no process is writing what a killed run left.
            remove_partial_files(self.folder, *ROOMS)
            yield

    @contextmanager
    def sharing(self, shard: Shard) -> Iterator[None]:
        """Work in the folder beside other shards. Raises UsageError if a whole study is running in it."""
        with contextlib.ExitStack() as stack:
            with self.locked(wait_s=_MOMENT_S):
                if not self.workers.alive():
                    remove_partial_files(self.folder, *ROOMS)
                stack.enter_context(self.workers.at_work(shard))
            yield

    @contextmanager
    def locked(self, wait_s: float = 0) -> Iterator[None]:
        """The folder for this process alone. Raises UsageError if another still has it after `wait_s` seconds."""
        self.refuse_foreign()
        lock = FileLock(self.folder / ".lock", timeout=wait_s)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise UsageError(
                f"Another radapt run is working in {self.folder}. Wait for it, or give another folder with --out."
            ) from error
        except OSError as error:
            raise unwritable(f"The run folder {self.folder}", error) from error
        try:
            yield
        finally:
            lock.release()

    def refuse_foreign(self) -> None:
        """Raise UsageError if the folder holds something that is not a run."""
        if not self.folder.is_dir() or _is_run(self.folder):
            return
        names = sorted(entry.name for entry in self.folder.iterdir() if not _is_own_hidden(entry.name))
        if names:
            raise UsageError(
                f"{self.folder} is not a run folder: it holds {', '.join(names[:3])}{' …' if len(names) > 3 else ''}, "
                "which is left alone. Give a new folder with --out, or that of an earlier run."
            )

    def cell(self, cell_id: str) -> Path:
        return self.folder / "cells" / cell_id

    def cohort(self, name: str) -> Path:
        return self.folder / "cohorts" / slug(name)

    def pictures(self, cohort: str, backbone: str) -> Path:
        return self.folder / "pictures" / slug(cohort) / slug(backbone)

    def is_done(self, cell_id: str) -> bool:
        """Whether the cell has its numbers. A cell with damaged files does not, and is run again."""
        folder = self.cell(cell_id)
        return (folder / DONE).is_file() and damage(folder) is None

    def damaged(self, cell_id: str) -> str | None:
        """The file of a finished cell that is not as it was written; None if there is none."""
        folder = self.cell(cell_id)
        return damage(folder) if (folder / DONE).is_file() else None

    def write_plan(
        self,
        study: str,
        cells: Sequence[Mapping[str, Any]],
        failures: Iterable[Mapping[str, str]] = (),
        skipped_controls: Iterable[Mapping[str, str]] = (),
    ) -> None:
        """Write the study and its planned `cells` (id and names); `failures` {what, reason} could not be planned, nor
        the `skipped_controls` {cohort, control, reason}. Both appear in the report.

        Raises UsageError if a shard of another study is at work in the folder.
        """
        self._refuse_other_plan({str(cell["id"]) for cell in cells})
        plan = {"cells": cells, "failures": list(failures), "skipped_controls": list(skipped_controls)}
        write_json(self.folder / PLAN, plan)  # first: it is what a run folder is recognised by
        write_text(self.folder / "study.yaml", study)

    def _refuse_other_plan(self, ids: set[str]) -> None:
        if not self.workers.alive():
            return
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            planned = {str(cell["id"]) for cell in read_json(self.folder / PLAN)["cells"]}
            if planned != ids:
                raise UsageError(
                    f"Shards of another study, or of this one before it or its images changed, are at work in "
                    f"{self.folder}. Wait for them, or give another folder with --out."
                )

    def finish(
        self,
        cell_id: str,
        facts: Mapping[str, Any],
        predictions: pd.DataFrame,
        scores: pd.DataFrame,
        seconds: float,
        cost: Mapping[str, float] | None = None,
    ) -> None:
        """Write a finished cell, `done.json` last. `cost` holds trained, parameters, peak_memory_mb and seconds."""
        folder = self.opened(cell_id)
        write_json(folder / "cell.json", dict(facts))
        write_parquet(folder / "predictions.parquet", predictions)
        write_parquet(folder / "scores.parquet", scores)
        (folder / FAILED).unlink(missing_ok=True)
        facts = {"finished": _now(), "seconds": round(seconds, 3), "rows": len(predictions), "cost": dict(cost or {})}
        own = _digested(folder)
        write_json(folder / DONE, done_facts(folder, facts, own, _others(folder, own)))

    def fail(self, cell_id: str, facts: Mapping[str, Any], error: BaseException) -> None:
        """Write the reason why a cell failed; the next run tries it again."""
        folder = self.opened(cell_id)
        write_json(folder / "cell.json", dict(facts))
        write_json(folder / FAILED, {"finished": _now(), "reason": reason_of(error), "error": type(error).__name__})

    def opened(self, cell_id: str) -> Path:
        """The cell's folder without `done.json`, so that older, damaged numbers never pass as new."""
        folder = self.cell(cell_id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DONE).unlink(missing_ok=True)
        return folder

    def log(self, cell_id: str, text: str) -> None:
        folder = self.cell(cell_id)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "log.txt"
        with naming_full_disk(path), path.open("a", encoding="utf-8") as file:
            file.write(f"{_now()} {printable(text.rstrip())}\n")

    def foreign(self) -> list[dict[str, Any]]:
        """The cells with results of other tools, as the plan names cells; no study plans them."""
        found = [read_json(file) for file in sorted((self.folder / "cells").glob(f"{FOREIGN}*/cell.json"))]
        return [{name: facts.get(name) for name in _NAMES} for facts in found]

    def results(self, cells: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """One row per finished cell of `cells`, named by `_NAMES`, split and metric."""
        tables = [self._scores(cell) for cell in cells if self.is_done(cell["id"])]
        if not tables:
            return pd.DataFrame(columns=RESULT_COLUMNS)
        return pd.concat(tables, ignore_index=True)[RESULT_COLUMNS]

    def write_results(self, cells: Sequence[Mapping[str, Any]]) -> None:
        """Write results.parquet: the planned `cells`, then those of other tools."""
        write_parquet(self.folder / "results.parquet", self.results([*cells, *self.foreign()]))

    def _scores(self, cell: Mapping[str, Any]) -> pd.DataFrame:
        """The rows of a finished cell; kept, as a study writes the table of results after every few of its cells."""
        folder = self.cell(cell["id"])
        key = ((folder / DONE).stat().st_mtime_ns, *(cell[name] for name in _NAMES))
        if key not in self._kept:
            self._kept[key] = _scores_of(folder, cell)
        return self._kept[key]


_TEXTS = ("look", "lesion_masks", "contamination", "licence", "use")
"""Columns of results.parquet that are facts of a cell, null where it has none."""


def _scores_of(folder: Path, cell: Mapping[str, Any]) -> pd.DataFrame:
    facts, done = read_json(folder / "cell.json"), read_json(folder / DONE)
    scores = pd.read_parquet(folder / "scores.parquet")
    seed, length = cell["seed"], len(scores)

    def same(value: Any, dtype: str) -> Any:
        return pd.Series([value] * length, scores.index, dtype=dtype)

    columns: dict[str, Any] = {
        "cohort": cell["cohort"],
        "backbone": cell["backbone"],
        "seed": same(seed, "Int64") if seed is None else seed,
        "protocol": cell["label"],
        **{name: same(facts.get(name), "Int64") for name in ("shots", "repeat")},
        "fraction": same(facts.get("fraction"), "Float64"),
        "unit": str(facts.get("unit") or PATIENT),
        **{name: same(facts.get(name), "object") for name in _TEXTS},
        "seconds": float(done["seconds"]),
        **cost_columns(done.get("cost") or {}),
        "control": str(facts.get("control") or ""),
        "foreign": str((facts.get("foreign") or {}).get("file") or ""),
        "cell": cell["id"],
    }
    # In one go: pandas takes half a millisecond for each column that is set by itself.
    return pd.DataFrame({name: scores[name] for name in scores.columns} | columns, index=scores.index)


def cost_columns(cost: Mapping[str, float]) -> dict[str, float]:
    """The cost of fitting as columns of `results.parquet`; NaN where a protocol measures none."""
    names = ("trained", "parameters", "peak_memory_mb", "seconds")
    # JSON stores NaN as null.
    numbers = (float("nan") if cost.get(name) is None else float(cost[name]) for name in names)
    trained, parameters, memory, seconds = numbers
    return {
        "trained_parameters": trained,
        "trained_share": trained / parameters if parameters else float("nan"),
        "peak_memory_mb": memory,
        "minutes": seconds / 60,
    }


def _digested(folder: Path) -> list[str]:
    """The tables and JSON files of a cell."""
    own = [path.name for path in folder.iterdir() if path.suffix in (".json", ".parquet") and path.name != DONE]
    return [*own, OVERLAYS]


def _others(folder: Path, digested: Sequence[str]) -> list[str]:
    """The other files of a cell: its models, label maps and pictures. The log is written on afterwards."""
    open_ = {*digested, DONE, "log.txt", FAILED}
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [name for name in names if name not in open_ and not is_partial_name(Path(name).name)]


def _is_run(folder: Path) -> bool:
    """Whether `plan.json` in the folder is that of a study, or damaged beside its cells."""
    try:
        plan = read_json(folder / PLAN)
    except OSError:
        return False
    except ValueError:
        return (folder / "cells").is_dir()
    return isinstance(plan, dict) and "cells" in plan


def _is_own_hidden(name: str) -> bool:
    return name in (".lock", WORKERS, FIT, FITTED) or is_partial_name(name)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
