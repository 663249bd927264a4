"""Finished folds in the folder of a cell, so that an interrupted evaluation does not refit them.

folds/<fold>/predictions.parquet, fit.json, subsets.npz or subsets.parquet, done.json
                                                                        (done.json, with the key, is written last)
"""

import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from radapt.cohorts.cohort import Cohort
from radapt.cohorts.metadata import metadata_digest
from radapt.digests import digest
from radapt.done_file import DONE, damage, done_facts
from radapt.durable import atomic_path, write_json, write_parquet
from radapt.errors import RadaptError
from radapt.parsing.json import read_json
from radapt.protocols.protocol import Protocol
from radapt.protocols.subset_cases import SubsetCases
from radapt.protocols.subset_inference import Answers
from radapt.training.fit_record import FitRecord
from radapt.versions import __version__

FOLDS = "folds"
"""The folder of a cell for finished folds, and for checkpoints of an unfinished one."""


ANSWERS, SUBSET_CASES = "subsets.npz", "subsets.parquet"


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The predictions of one fold's model for its held-out cases, and the fit record. `subsets` holds the predictions
    from each subset of sequences for labelled cases, or what was measured of its label maps; None without."""

    fold: str
    predictions: pd.DataFrame
    record: FitRecord
    subsets: Answers | SubsetCases | None = None


@dataclass(frozen=True)
class FoldStore:
    """Finished folds under `folder`; None stores nothing. `key` is a digest of everything that decides their results: a
    fold that was finished under another key is fitted again."""

    folder: Path | None
    key: str

    def place(self, fold: str) -> Path | None:
        """The folder of a fold."""
        return None if self.folder is None else self.folder / FOLDS / fold_folder(fold)

    def read(self, fold: str) -> HeldOut | None:
        """A finished fold; None if it is unfinished or its files are damaged."""
        place = self.place(fold)
        if place is None or not (place / DONE).is_file() or damage(place) is not None:
            return None
        try:
            if read_json(place / DONE)["key"] != self.key:
                return None
            record = FitRecord.from_json(read_json(place / "fit.json"))
            predictions = pd.read_parquet(place / "predictions.parquet")
            subsets = _read_subsets(place)
        except (OSError, ValueError, KeyError, TypeError, RadaptError):  # pyarrow's errors are of these kinds
            return None
        return HeldOut(fold, predictions, record, subsets)

    def write(self, held: HeldOut) -> None:
        place = self.place(held.fold)
        if place is None:
            return
        (place / DONE).unlink(missing_ok=True)
        for name in (ANSWERS, SUBSET_CASES):
            (place / name).unlink(missing_ok=True)
        write_parquet(place / "predictions.parquet", held.predictions)
        write_json(place / "fit.json", held.record.to_json())
        if isinstance(held.subsets, SubsetCases):
            write_parquet(place / SUBSET_CASES, held.subsets.table)
        elif held.subsets is not None:
            _write_answers(place / ANSWERS, held.subsets)
        names = ("predictions.parquet", "fit.json", ANSWERS, SUBSET_CASES)
        write_json(place / DONE, done_facts(place, {"fold": held.fold, "key": self.key}, names))
        shutil.rmtree(place / "checkpoints", ignore_errors=True)


def fold_key(protocol: Protocol, cohort: Cohort, seed: int, data: Any) -> str:
    """A digest of everything that decides the results of folds; `data` identifies the features or images."""
    rows = [[case.case, case.patient, case.site, case.split, case.fold, case.label, case.findings] for case in cohort]
    data = [data, metadata_digest(cohort)] if protocol.uses_metadata else data
    options = [type(protocol).__name__, protocol.name, asdict(cast(Any, protocol))]
    return digest([__version__, options, seed, cohort.outputs, cohort.modalities, rows, data])


def fold_model(fold: str) -> str:
    """The name of the model folder of a fold."""
    return f"fold-{fold_folder(fold)}"


def fold_folder(fold: str) -> str:
    """A folder name for a fold: its name if that is safe, otherwise with a digest, so that all differ."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", fold).strip(".")[:80]
    return safe if safe == fold and fold == fold.lower() else f"{safe}-{digest(fold)[:8]}"


def _read_subsets(place: Path) -> Answers | SubsetCases | None:
    if (place / SUBSET_CASES).is_file():
        return SubsetCases(pd.read_parquet(place / SUBSET_CASES))
    return _read_answers(place / ANSWERS) if (place / ANSWERS).is_file() else None


def _write_answers(path: Path, answers: Answers) -> None:
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez(
            file, modalities=np.asarray(answers.modalities, dtype=str), rows=answers.rows, has=answers.has,
            table=answers.table,
        )  # fmt: skip


def _read_answers(path: Path) -> Answers:
    with np.load(path, allow_pickle=False) as stored:
        names = tuple(str(name) for name in stored["modalities"])
        return Answers(names, stored["rows"], stored["has"], stored["table"])
