"""A cohort in words and small tables: who is in it, what is missing, where it comes from."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from radapt.reports.leaderboard import split_order
from radapt.reports.run_folder import Facts, Run, read_parquet

MOST_PATTERNS = 12
MOST_SITES = 30
TASKS = {
    "binary": "two classes",
    "multiclass": "several classes, one per case",
    "multilabel": "several findings, any number per case",
    "segmentation": "a label map per case",
    "unlabelled": "none: no case is labelled",
}
_SYNTHETIC = ("synthetic", "phantom", "simulated")


@dataclass(frozen=True)
class Grid:
    """A small table: the first entry of each row is its header."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""


def splits_of(facts: Facts) -> list[str]:
    """train and val first, then the test sets: the order in which a patient's data are used."""
    words = list(facts.get("splits") or {})
    chosen = [word for word in ("train", "val") if word in words]
    return chosen + sorted((word for word in words if word not in chosen), key=split_order)


def is_synthetic(facts: Facts) -> bool:
    """Whether the cohort's source says that no real patient is in it."""
    words = " ".join(str(value) for value in (facts.get("source") or {}).values()).casefold()
    return any(word in words for word in _SYNTHETIC)


def people(facts: Facts) -> Grid:
    """Patients, cases and labels per split; for findings the positives of the known ones."""
    splits = splits_of(facts)
    per_split = [(facts["splits"][split] or {}) for split in splits]
    rows: list[tuple[Any, ...]] = [
        ("patients", *(_count(one.get("patients")) for one in per_split)),
        ("cases", *(_count(one.get("cases")) for one in per_split)),
        ("labelled cases", *(_count(one.get("labelled")) for one in per_split)),
    ]
    if any(one.get("masked") for one in per_split):
        rows.append(("cases with a mask", *(_count(one.get("masked")) for one in per_split)))
    several = facts.get("task") == "multilabel"
    for output in facts.get("outputs") or ():
        rows.append((str(output), *(_of_output((one.get("outputs") or {}).get(output), several) for one in per_split)))
    note = "Findings: positive / known cases." if several else ""
    return Grid(tuple(splits), tuple(rows), note)


def missing(facts: Facts) -> Grid | None:
    """How many cases lack each modality, per split: cells are (cases, share). None if nothing is missing."""
    splits = splits_of(facts)
    modalities = [str(name) for name in facts.get("modalities") or ()]

    def cell(split: str, modality: str) -> tuple[int, float]:
        one = facts["splits"][split] or {}
        lacking, cases = int((one.get("missing") or {}).get(modality, 0)), int(one.get("cases") or 0)
        return lacking, lacking / cases if cases else 0.0

    rows = tuple((modality, *(cell(split, modality) for split in splits)) for modality in modalities)
    return Grid(tuple(splits), rows) if any(entry[0] for row in rows for entry in row[1:]) else None


def patterns(run: Run, facts: Facts) -> Grid | None:
    """Which modalities occur together: one row per pattern, (present?…, cases); None if every case is complete."""
    table = _cases(run, facts)
    if table is None:
        return None
    columns = [name for name in map(str, table.columns) if name.startswith("has:")]
    if len(columns) < 2 or bool(table[columns].all(axis=None)):
        return None
    counts = Counter(table[columns].astype(bool).itertuples(index=False, name=None))
    order = sorted(counts.items(), key=lambda item: (-item[1], [not has for has in item[0]]))
    rows = tuple(("", *present, count) for present, count in order[:MOST_PATTERNS])
    rest = sum(count for _, count in order[MOST_PATTERNS:])
    note = f"{len(order) - MOST_PATTERNS} rarer patterns hold {rest} more cases." if rest else ""
    return Grid((*(name.removeprefix("has:") for name in columns), "cases"), rows, note)


def sites(run: Run, facts: Facts) -> Grid | None:
    """Cases per site and split, the largest sites first; None if no site is given."""
    totals = {str(name): int(count) for name, count in (facts.get("sites") or {}).items()}
    if not any(totals):
        return None
    order = sorted(totals, key=lambda name: (-totals[name], name))
    splits, table = splits_of(facts), _cases(run, facts)
    crossed: Mapping[Any, Any] = {}
    if table is not None and {"site", "split"} <= set(table):
        crossed = table.assign(site=table["site"].fillna("")).groupby(["site", "split"]).size().to_dict()
    columns = (*splits, "all") if crossed else ("all",)
    rows = tuple(
        (
            name or "not given",
            *(int(crossed.get((name, split), 0)) for split in (splits if crossed else ())),
            totals[name],
        )
        for name in order[:MOST_SITES]
    )
    rest = order[MOST_SITES:]
    note = f"{len(rest)} smaller sites hold {sum(totals[name] for name in rest):,} more cases." if rest else ""
    return Grid(columns, rows, note)


def words(facts: Facts) -> list[tuple[str, str]]:
    """The cohort's facts as pairs of name and value."""
    source = facts.get("source") or {}
    seed = facts.get("split_seed")
    slices = facts.get("slices_per_image") or {}
    pairs = [
        ("Task", TASKS.get(str(facts.get("task")), str(facts.get("task", "—")))),
        ("Classes" if facts.get("task") != "multilabel" else "Findings", _listed(facts.get("outputs"))),
        ("Structures", _listed((facts.get("mask_labels") or {}).values())),
        ("Order of classes", "meaningful (grades)" if facts.get("ordered") else ""),
        ("Images", f"{facts.get('kind', '')}: {_listed(facts.get('modalities'))}"),
        ("Slices per image", _slices(slices)),
        ("Preprocessing", str(facts.get("recipe") or "")),
        ("Split", "as written in the table of cases" if seed is None else f"drawn by radapt by patient, seed {seed}"),
        *((str(name).replace("_", " ").capitalize(), str(value)) for name, value in source.items()),
        ("Cases digest", str(facts.get("digest") or "")),
    ]
    return [(name, value) for name, value in pairs if value]


def _slices(slices: Mapping[str, Any]) -> str:
    low, middle, high = (slices.get(name) for name in ("min", "median", "max"))
    if middle is None:
        return ""
    return f"{middle:g}" if low == high else f"{middle:g} (median; {low:g} to {high:g})"


def _cases(run: Run, facts: Facts) -> pd.DataFrame | None:
    file = run.path / "cohorts" / str(facts.get("folder", "")) / "cases.parquet"
    return read_parquet(file) if file.is_file() else None


def _of_output(counts: Mapping[str, Any] | None, several: bool) -> str:
    if not counts:
        return "—"
    positive = int(counts.get("positive") or 0)
    if not several:
        return f"{positive:,}"
    return f"{positive:,} / {positive + int(counts.get('negative') or 0):,}"


def _count(value: Any) -> str:
    return "—" if value is None else f"{int(value):,}"


def _listed(values: Any) -> str:
    return ", ".join(str(value) for value in values or ())
