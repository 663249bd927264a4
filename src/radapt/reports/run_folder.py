"""A run folder as the report sees it: cells in their three states, cohorts, backbones, pictures and numbers.

Nothing outside the folder is read, and nothing that a killed run may have left out is required.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml

from radapt.errors import DataError, UsageError
from radapt.studies.cells import NO_BACKBONE
from radapt.studies.ledger import RESULT_COLUMNS, cost_columns

State = Literal["done", "failed", "waiting"]
Facts = Mapping[str, Any]
ADAPTATION = "adapt.json"
FROM_SCRATCH = "from scratch"
"""Where others have a backbone: networks that brought no weights with them."""


@dataclass(frozen=True)
class Cell:
    """One cohort × backbone × protocol × seed, with few labels one draw of them. `state` is waiting until it is done or
    has failed."""

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
        return FROM_SCRATCH if name == NO_BACKBONE else name

    @property
    def aim(self) -> str:
        """`classification` or `segmentation`; run folders of before there were two have the first."""
        return str(self.facts.get("aim") or "classification")

    @property
    def protocol(self) -> str:
        """The protocol's display name."""
        return str(self.facts.get("label") or self.facts.get("protocol", "?"))

    @property
    def order(self) -> tuple[float, float, str]:
        """Sorts the cells of one contestant: by seed, then repeat."""
        return (float(self.facts.get("seed") or 0), float(self.facts.get("repeat") or 0), self.id)

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """The cell's predictions, None where it has none."""
        file = self.folder / "predictions.parquet"
        return read_parquet(file) if self.state == "done" and file.is_file() else None

    @cached_property
    def subsets(self) -> pd.DataFrame | None:
        """Its scores on every subset of sequences, None where it has none."""
        return self._table("subsets.parquet", {"split", "site", "subset", "metric", "value", "n_without"})

    @cached_property
    def shapley(self) -> pd.DataFrame | None:
        """What each sequence brings and what its absence costs, None where nothing says so."""
        return self._table("shapley.parquet", {"quantity", "split", "site", "modality", "metric", "value"})

    @cached_property
    def adaptation(self) -> Facts | None:
        """How its backbone was adapted to several sequences, None where it was not."""
        file = self.folder / ADAPTATION
        return _json(file) if self.state == "done" and file.is_file() else None

    def _table(self, name: str, columns: set[str]) -> pd.DataFrame | None:
        file = self.folder / name
        if self.state != "done" or not file.is_file():
            return None
        table = read_parquet(file)
        if not columns <= set(table):
            raise DataError(f"{file} has no column {', '.join(sorted(columns - set(table)))}. {_MEND}")
        return table

    @cached_property
    def overlays(self) -> "tuple[Overlay, ...]":
        """Outlines of truth and prediction on some of its test cases, worst first."""
        file = self.folder / "overlays" / "overlays.json"
        found = []
        for entry in _loaded(file, json.loads) if self.state == "done" and file.is_file() else ():
            image = file.parent / Path(str(entry["image"])).name
            if image.is_file():
                plane = entry.get("plane")
                found.append(Overlay(str(entry["case"]), str(entry["rank"]), float(entry["dice"]), plane, image))
        return tuple(found)


@dataclass(frozen=True)
class Overlay:
    """A slice of one case with both outlines, a PNG file. `rank` says why this case: worst, median or best."""

    case: str
    rank: str
    dice: float
    plane: int | None
    image: Path


@dataclass(frozen=True)
class Picture:
    """One example slice and its patches in colour, as PNG files."""

    cohort: str
    backbone: str
    case: str
    modality: str
    slice: int | None
    image: Path
    pca: Path


@dataclass(frozen=True)
class Run:
    """Everything the report shows, as the run folder has it."""

    path: Path
    study: Facts
    environment: Facts
    cells: tuple[Cell, ...]
    cohorts: Mapping[str, Facts]
    backbones: Mapping[str, Facts]
    results: pd.DataFrame
    pictures: tuple[Picture, ...] = field(default=())
    failures: tuple[Facts, ...] = field(default=())  # what could not even be planned: {what, reason}
    unnamed: int = 0  # planned cells that have no folder yet, so that nothing but their number is known
    left_over: int = 0  # cells in the folder that the present study no longer plans

    @property
    def name(self) -> str:
        return str(self.study.get("name") or self.path.resolve().name)

    def count(self, state: State) -> int:
        return sum(cell.state == state for cell in self.cells)


def read_run(path: Path) -> Run:
    """Read the run folder at `path`.

    Raises UsageError if `path` is no run folder, DataError if a file in it is damaged.
    """
    if not path.is_dir():
        raise UsageError(f"There is no folder {path}. Give the run folder that `radapt run` wrote.")
    if not (path / "study.yaml").is_file():
        raise UsageError(
            f"{path} is no run folder: it has no study.yaml. Give the folder that `radapt run` wrote (its --out)."
        )
    plan = _json(path / "plan.json") if (path / "plan.json").is_file() else {}
    cells, unnamed, left_over = _cells(path, plan)
    results = _results(path, cells)
    cohorts = {
        str(facts.get("name", file.parent.name)): facts | {"folder": file.parent.name}
        for file, facts in _each_json(path / "cohorts", "*/cohort.json")
    }
    backbones = {
        str(facts.get("name", file.stem)): facts | {"folder": file.stem}
        for file, facts in _each_json(path / "backbones", "*.json")
    }
    return Run(
        path=path,
        study=_yaml(path / "study.yaml"),
        environment=_json(path / "environment.json") if (path / "environment.json").is_file() else {},
        cells=cells + _without_folder(path, cells, results),
        cohorts=cohorts,
        backbones=backbones,
        results=results,
        pictures=_pictures(path, cohorts, backbones),
        failures=tuple(plan.get("failures") or ()),
        unnamed=unnamed,
        left_over=left_over,
    )


def _cells(path: Path, plan: Facts) -> tuple[tuple[Cell, ...], int, int]:
    """The planned cells that are known by name, how many more are planned, and how many are not planned any more."""
    there = [_cell(folder) for folder in sorted((path / "cells").glob("*")) if (folder / "cell.json").is_file()]
    if "cells" not in plan:
        return tuple(there), 0, 0
    planned = {str(entry["id"] if isinstance(entry, dict) else entry): entry for entry in plan["cells"]}
    cells = {cell.id: cell for cell in there if cell.id in planned}
    for id_, entry in planned.items():
        if id_ not in cells and isinstance(entry, dict):
            cells[id_] = Cell(id_, path / "cells" / id_, entry)
    return tuple(cells.values()), len(planned) - len(cells), sum(cell.id not in planned for cell in there)


def _cell(folder: Path) -> Cell:
    facts, done, failure = (
        _json(file) if (file := folder / name).is_file() else None for name in ("cell.json", "done.json", "failed.json")
    )
    facts = facts or {}
    return Cell(str(facts.get("id", folder.name)), folder, facts, done, failure)


def _results(path: Path, cells: tuple[Cell, ...]) -> pd.DataFrame:
    """`results.parquet`, an absent column being empty, and the scores of cells that finished after it was written."""
    file = path / "results.parquet"
    tables = [read_parquet(file)] if file.is_file() else []
    known = set(tables[0]["cell"]) if tables and "cell" in tables[0] else set()
    for cell in cells:
        scores = cell.folder / "scores.parquet"
        if cell.state == "done" and cell.id not in known and scores.is_file():
            tables.append(_with_facts(read_parquet(scores), cell))
    table = pd.concat([part for part in tables if len(part)], ignore_index=True) if any(map(len, tables)) else None
    return (pd.DataFrame() if table is None else table).reindex(columns=RESULT_COLUMNS)


def _without_folder(path: Path, cells: tuple[Cell, ...], results: pd.DataFrame) -> tuple[Cell, ...]:
    """Cells that only `results.parquet` knows, because their folders were removed: their numbers still count."""
    known = {cell.id for cell in cells}
    rows = results[~results["cell"].isin(known)].drop_duplicates("cell")
    names = ("cohort", "backbone", "protocol", "shots", "fraction", "repeat", "seed")
    masks = set(results.loc[results["metric"] == "dice", "cell"])
    facts = [{name: None if pd.isna(row[name]) else row[name] for name in names} for _, row in rows.iterrows()]
    facts = [
        fact | {"aim": "segmentation" if id_ in masks else "classification"}
        for fact, id_ in zip(facts, rows["cell"], strict=True)
    ]
    return tuple(
        Cell(str(id_), path / "cells" / str(id_), fact, done={"seconds": seconds})
        for id_, seconds, fact in zip(rows["cell"], rows["seconds"], facts, strict=True)
    )


def _with_facts(scores: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    done = cell.done or {}
    facts = {name: cell.facts.get(name) for name in ("shots", "fraction", "repeat", "seed")}
    named = {"cohort": cell.cohort, "backbone": cell.backbone, "protocol": cell.protocol, "cell": cell.id}
    return scores.assign(**named, **facts, **cost_columns(done.get("cost") or {}), seconds=done.get("seconds"))


def _pictures(path: Path, cohorts: Mapping[str, Facts], backbones: Mapping[str, Facts]) -> tuple[Picture, ...]:
    names = [{str(facts["folder"]): name for name, facts in group.items()} for group in (cohorts, backbones)]
    found = []
    for file in sorted((path / "pictures").glob("*/*/pictures.json")):
        folder = file.parent
        cohort, backbone = names[0].get(folder.parent.name, folder.parent.name), names[1].get(folder.name, folder.name)
        for entry in _loaded(file, json.loads):
            image, pca = (folder / Path(str(entry[key])).name for key in ("image", "pca"))
            if image.is_file() and pca.is_file():
                modality, plane = str(entry.get("modality") or "image"), entry.get("slice")
                found.append(Picture(cohort, backbone, str(entry["case"]), modality, plane, image, pca))
    return tuple(found)


def _each_json(folder: Path, pattern: str) -> list[tuple[Path, dict[str, Any]]]:
    return [(file, _json(file)) for file in sorted(folder.glob(pattern))]


def _json(file: Path) -> dict[str, Any]:
    value = _loaded(file, json.loads)
    if not isinstance(value, dict):
        raise DataError(f"{file} holds a {type(value).__name__}; an object was expected. {_MEND}")
    return value


def _yaml(file: Path) -> Facts:
    value = _loaded(file, yaml.safe_load)
    return value if isinstance(value, dict) else {}


_MEND = "Run the study again with the same --out: finished cells are kept."


def _loaded(file: Path, load: Callable[[str], Any]) -> Any:
    try:
        return load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{file} cannot be read: {str(error).splitlines()[0]}. {_MEND}") from error


def read_parquet(file: Path) -> pd.DataFrame:
    """The table in `file`. Raises DataError naming it if it is damaged."""
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise DataError(f"{file} cannot be read as Parquet: {str(error).splitlines()[0]}. {_MEND}") from error
