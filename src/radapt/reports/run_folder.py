"""Reads a run folder: its cells with their state, cohorts, backbones, pictures and scores.

Reads nothing outside the folder, and requires no file that an interrupted run may lack.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml

from radapt.done_file import DONE, damage
from radapt.errors import DataError, UsageError
from radapt.metrics.constant import constant_answer
from radapt.parsing.json import parse_json
from radapt.parsing.yaml import load_yaml
from radapt.studies.cells import NO_BACKBONE
from radapt.studies.ledger import RESULT_COLUMNS, cost_columns

State = Literal["done", "failed", "waiting"]
Facts = Mapping[str, Any]
ADAPTATION = "adapt.json"
FROM_SCRATCH, NO_NETWORK, OTHER_TOOL = "from scratch", "no network", "another tool"
"""Shown in the backbone column for networks trained without pretrained weights, for controls that have none, and for
results of other tools."""


@dataclass(frozen=True)
class CellRecord:
    """The stored result of one cohort × backbone × protocol × seed, and in a learning curve × draw of the labels.

    `state` is "waiting" until the cell is done or has failed.
    """

    id: str
    folder: Path
    facts: Facts
    done: Facts | None = None
    failure: Facts | None = None

    @property
    def state(self) -> State:
        if self.done is not None:
            return "done"
        return "waiting" if self.failure is None else "failed"

    @property
    def cohort(self) -> str:
        return str(self.facts.get("cohort", "?"))

    @property
    def backbone(self) -> str:
        name = str(self.facts.get("backbone", "?"))
        if name != NO_BACKBONE:
            return name
        if self.foreign:
            return OTHER_TOOL
        return NO_NETWORK if self.control else FROM_SCRATCH

    @property
    def control(self) -> str:
        """The name of the control that it is, or ''."""
        return str(self.facts.get("control") or "")

    @property
    def foreign(self) -> Facts:
        """Where results of another tool come from and which cases they cover; empty for a cell of the study."""
        facts = self.facts.get("foreign")
        return facts if isinstance(facts, dict) else {}

    @property
    def aim(self) -> str:
        """`classification` or `segmentation`; older run folders, which lack it, hold classification only."""
        return str(self.facts.get("aim") or "classification")

    @property
    def protocol(self) -> str:
        """The protocol's display name."""
        return str(self.facts.get("label") or self.facts.get("protocol", "?"))

    @property
    def order(self) -> tuple[float, float, str]:
        """Sort key for the cells of one method: seed, then repeat."""
        return (float(self.facts.get("seed") or 0), float(self.facts.get("repeat") or 0), self.id)

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """The predictions, or None if the cell has none."""
        file = self.folder / "predictions.parquet"
        return read_parquet(file) if self.state == "done" and file.is_file() else None

    @cached_property
    def constant_answers(self) -> Mapping[str, str | None]:
        """By split, what is said of every patient of it (see `constant_answer`)."""
        table = self.predictions
        if table is None or "split" not in table:
            return {}
        return {str(split): constant_answer(rows) for split, rows in table.groupby("split")}

    @cached_property
    def subsets(self) -> pd.DataFrame | None:
        """The scores on every subset of sequences, or None if the cell has none."""
        return self._table("subsets.parquet", {"split", "site", "subset", "metric", "value", "n_without"})

    @cached_property
    def shapley(self) -> pd.DataFrame | None:
        """The Shapley value and the cost of absence of each sequence, or None if the cell has none."""
        return self._table("shapley.parquet", {"quantity", "split", "site", "modality", "metric", "value"})

    @cached_property
    def adaptation(self) -> Facts | None:
        """The contents of `adapt.json`, or None if the backbone was not adapted to several sequences."""
        file = self.folder / ADAPTATION
        return _json(file) if self.state == "done" and file.is_file() else None

    def _table(self, name: str, columns: set[str]) -> pd.DataFrame | None:
        file = self.folder / name
        if self.state != "done" or not file.is_file():
            return None
        table = read_parquet(file)
        if not columns <= set(table):
            raise DataError(f"{file} has no column {', '.join(sorted(columns - set(table)))}. {_FIX}")
        return table

    @cached_property
    def overlays(self) -> "tuple[Overlay, ...]":
        """Outlines of truth and prediction on some of its test cases, worst first."""
        file = self.folder / "overlays" / "overlays.json"
        overlays = []
        for entry in _entries(file, "image", "case", "rank", "dice") if self.state == "done" and file.is_file() else ():
            image = file.parent / Path(str(entry["image"])).name
            if image.is_file():
                plane = entry.get("plane")
                overlays.append(Overlay(str(entry["case"]), str(entry["rank"]), float(entry["dice"]), plane, image))
        return tuple(overlays)


@dataclass(frozen=True)
class Overlay:
    """A PNG of one slice with the outlines of truth and prediction. `rank` is "worst", "median" or "best"."""

    case: str
    rank: str
    dice: float
    plane: int | None
    image: Path


@dataclass(frozen=True)
class Picture:
    """An example slice and the principal components of its patch tokens, as PNG files."""

    cohort: str
    backbone: str
    case: str
    modality: str
    slice: int | None
    image: Path
    pca: Path


@dataclass(frozen=True)
class Run:
    """The contents of a run folder."""

    path: Path
    study: Facts
    environment: Facts
    cells: tuple[CellRecord, ...]
    cohorts: Mapping[str, Facts]
    backbones: Mapping[str, Facts]
    results: pd.DataFrame
    pictures: tuple[Picture, ...] = field(default=())
    failures: tuple[Facts, ...] = field(default=())  # cohorts and backbones that could not be planned: {what, reason}
    skipped_controls: tuple[Facts, ...] = field(default=())  # {cohort, control, reason}
    unnamed: int = 0  # planned cells without a folder, of which only the number is known
    left_over: int = 0  # cells in the folder that the current study does not plan
    images: bool = True  # whether a report embeds images of patients

    @property
    def name(self) -> str:
        return str(self.study.get("name") or self.path.resolve().name)

    @property
    def volumes(self) -> int:
        """How many cases of each cohort the report opens in 3D."""
        wanted = self.study.get("volumes")
        return wanted if isinstance(wanted, int) else 0

    def count(self, state: State) -> int:
        return sum(cell.state == state for cell in self.cells)


def read_run(path: Path, images: bool = True) -> Run:
    """Read the run folder at `path`, without `images` of patients also where its study says `pictures: none`.

    Raises UsageError if `path` is not a run folder, DataError if a file in it is damaged.
    """
    if not path.is_dir():
        raise UsageError(f"There is no folder {path}. Give the run folder that `radapt run` wrote.")
    if not (path / "study.yaml").is_file():
        raise UsageError(
            f"{path} is not a run folder: it has no study.yaml. Give the folder that `radapt run` wrote (its --out)."
        )
    plan = _json(path / "plan.json") if (path / "plan.json").is_file() else {}
    cells, unnamed, left_over = _cells(path, plan)
    results = _results(path, cells)
    cohorts = {
        str(facts.get("name", file.parent.name)): facts | {"folder": file.parent.name}
        for file, facts in _json_files(path / "cohorts", "*/cohort.json")
    }
    backbones = {
        str(facts.get("name", file.stem)): facts | {"folder": file.stem}
        for file, facts in _json_files(path / "backbones", "*.json")
    }
    study = _yaml(path / "study.yaml")
    images = images and study.get("pictures") != "none"
    return Run(
        path=path,
        study=study,
        environment=_json(path / "environment.json") if (path / "environment.json").is_file() else {},
        cells=cells + _cells_without_folder(path, cells, results),
        cohorts=cohorts,
        backbones=backbones,
        results=results,
        pictures=_pictures(path, cohorts, backbones) if images else (),
        failures=tuple(plan.get("failures") or ()),
        skipped_controls=tuple(plan.get("skipped_controls") or ()),
        unnamed=unnamed,
        left_over=left_over,
        images=images,
    )


def _cells(path: Path, plan: Facts) -> tuple[tuple[CellRecord, ...], int, int]:
    """The planned cells that have a name, the number of further planned ones, and of those no longer planned."""
    stored = [_cell(folder) for folder in sorted((path / "cells").glob("*")) if (folder / "cell.json").is_file()]
    if "cells" not in plan:
        return tuple(stored), 0, 0
    if not _is_plan(plan["cells"]):
        raise DataError(f"{path / 'plan.json'} does not list the cells of a study. {_FIX}")
    planned = {str(entry["id"] if isinstance(entry, dict) else entry): entry for entry in plan["cells"]}
    cells = {cell.id: cell for cell in stored if cell.id in planned or cell.foreign}
    for id_, entry in planned.items():
        if id_ not in cells and isinstance(entry, dict):
            cells[id_] = CellRecord(id_, path / "cells" / id_, entry)
    return tuple(cells.values()), len(planned.keys() - cells.keys()), sum(cell.id not in cells for cell in stored)


def _is_plan(cells: object) -> bool:
    """Whether these are cells with an id, or ids alone, as older runs have them."""
    if not isinstance(cells, list):
        return False
    return all(isinstance(entry, str) or (isinstance(entry, dict) and "id" in entry) for entry in cells)


def _entries(file: Path, *keys: str) -> list[dict[str, Any]]:
    """The entries of a list of pictures that have `keys`; a damaged one is left out, as a missing picture is."""
    found = _parsed(file, parse_json)
    entries = found if isinstance(found, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and all(key in entry for key in keys)]


def _cell(folder: Path) -> CellRecord:
    facts, done, failure = (
        _json(file) if (file := folder / name).is_file() else None for name in ("cell.json", DONE, "failed.json")
    )
    if done is not None and "digest" in done and damage(folder) is not None:
        done = None  # its numbers are not shown: the next run computes them again
    facts = facts or {}
    return CellRecord(str(facts.get("id", folder.name)), folder, facts, done, failure)


def _results(path: Path, cells: tuple[CellRecord, ...]) -> pd.DataFrame:
    """`results.parquet` with the scores of cells that finished after it was written; missing columns are empty."""
    file = path / "results.parquet"
    tables = [read_parquet(file)] if file.is_file() else []
    listed = set(tables[0]["cell"]) if tables and "cell" in tables[0] else set()
    for cell in cells:
        scores = cell.folder / "scores.parquet"
        if cell.state == "done" and cell.id not in listed and scores.is_file():
            tables.append(_with_facts(read_parquet(scores), cell))
    tables = [table for table in tables if len(table)]
    joined = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return joined.reindex(columns=RESULT_COLUMNS)


def _cells_without_folder(path: Path, cells: tuple[CellRecord, ...], results: pd.DataFrame) -> tuple[CellRecord, ...]:
    """The cells of `results.parquet` whose folders were removed; their numbers still count."""
    with_folder = {cell.id for cell in cells}
    rows = results[~results["cell"].isin(with_folder)].drop_duplicates("cell")
    names = ("cohort", "backbone", "protocol", "shots", "fraction", "repeat", "seed", "control", "contamination")
    segmentations = set(results.loc[results["metric"] == "dice", "cell"])
    records = []
    for _, row in rows.iterrows():
        id_, facts = row["cell"], {name: None if pd.isna(row[name]) else row[name] for name in names}
        facts["aim"] = "segmentation" if id_ in segmentations else "classification"
        records.append(CellRecord(str(id_), path / "cells" / str(id_), facts, done={"seconds": row["seconds"]}))
    return tuple(records)


def _with_facts(scores: pd.DataFrame, cell: CellRecord) -> pd.DataFrame:
    done = cell.done or {}
    facts = {name: cell.facts.get(name) for name in ("shots", "fraction", "repeat", "seed")} | {
        "control": cell.control,
        "foreign": str(cell.foreign.get("file") or ""),
    }
    names = {"cohort": cell.cohort, "backbone": cell.backbone, "protocol": cell.protocol, "cell": cell.id}
    return scores.assign(**names, **facts, **cost_columns(done.get("cost") or {}), seconds=done.get("seconds"))


def _pictures(path: Path, cohorts: Mapping[str, Facts], backbones: Mapping[str, Facts]) -> tuple[Picture, ...]:
    cohort_names = {str(facts["folder"]): name for name, facts in cohorts.items()}
    backbone_names = {str(facts["folder"]): name for name, facts in backbones.items()}
    pictures = []
    for file in sorted((path / "pictures").glob("*/*/pictures.json")):
        folder = file.parent
        cohort = cohort_names.get(folder.parent.name, folder.parent.name)
        backbone = backbone_names.get(folder.name, folder.name)
        for entry in _entries(file, "image", "pca", "case"):
            image, pca = (folder / Path(str(entry[key])).name for key in ("image", "pca"))
            if image.is_file() and pca.is_file():
                modality, plane = str(entry.get("modality") or "image"), entry.get("slice")
                pictures.append(Picture(cohort, backbone, str(entry["case"]), modality, plane, image, pca))
    return tuple(pictures)


def _json_files(folder: Path, pattern: str) -> list[tuple[Path, dict[str, Any]]]:
    return [(file, _json(file)) for file in sorted(folder.glob(pattern))]


def _json(file: Path) -> dict[str, Any]:
    value = _parsed(file, parse_json)
    if not isinstance(value, dict):
        raise DataError(f"{file} holds a {type(value).__name__}; an object was expected. {_FIX}")
    return value


def _yaml(file: Path) -> Facts:
    value = _parsed(file, load_yaml)
    return value if isinstance(value, dict) else {}


_FIX = "Run the study again with the same --out: finished cells are kept."


def _parsed(file: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{file} cannot be read: {str(error).splitlines()[0]}. {_FIX}") from error


def read_parquet(file: Path) -> pd.DataFrame:
    """The table in `file`. Raises DataError naming the file if it is damaged."""
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise DataError(f"{file} cannot be read as Parquet: {str(error).splitlines()[0]}. {_FIX}") from error
