"""The facts about a cohort as pairs and small tables: patients, labels, missing modalities, sites, source."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from radapt.reports.leaderboard import SELECTION_SPLITS, split_order, split_title
from radapt.reports.run_folder import Facts, Run, read_parquet

MOST_PATTERNS = 12
MOST_SITES = 30
TASKS = {
    "binary": "binary: one of two classes per case",
    "multiclass": "multi-class: one class per case",
    "multilabel": "multi-label: any number of findings per case",
    "segmentation": "segmentation: a label map per case",
    "unlabelled": "none: no case has a label",
}
_SYNTHETIC = ("synthetic", "phantom", "simulated")


@dataclass(frozen=True)
class CountTable:
    """A small table; the first entry of each row is its header."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""


def splits_of(facts: Facts) -> list[str]:
    """train and val, then the test sets."""
    splits = list(facts.get("splits") or {})
    first = [split for split in SELECTION_SPLITS if split in splits]
    return first + sorted((split for split in splits if split not in first), key=split_order)


def is_synthetic(facts: Facts) -> bool:
    """Whether the cohort's source declares its patients synthetic."""
    source = " ".join(str(value) for value in (facts.get("source") or {}).values()).casefold()
    return any(word in source for word in _SYNTHETIC)


def people(facts: Facts) -> CountTable:
    """Patients (or images), cases and labels per split; for findings, positive and labelled cases."""
    splits = splits_of(facts)
    per_split = [(facts["splits"][split] or {}) for split in splits]
    rows: list[tuple[Any, ...]] = [
        (f"{facts.get('unit') or 'patient'}s", *(_count(counts.get("patients")) for counts in per_split)),
        ("cases", *(_count(counts.get("cases")) for counts in per_split)),
        ("labelled cases", *(_count(counts.get("labelled")) for counts in per_split)),
    ]
    if any(counts.get("masked") for counts in per_split):
        rows.append(("cases with a mask", *(_count(counts.get("masked")) for counts in per_split)))
    several = facts.get("task") == "multilabel"
    for output in facts.get("outputs") or ():
        of_output = ((counts.get("outputs") or {}).get(output) for counts in per_split)
        rows.append((str(output), *(_output_count(counts, several) for counts in of_output)))
    note = "Findings: positive / labelled cases." if several else ""
    return CountTable(tuple(map(split_title, splits)), tuple(rows), note)


def missing(facts: Facts) -> CountTable | None:
    """(Cases, share) without each modality, per split; None if no modality is missing."""
    splits = splits_of(facts)
    modalities = [str(name) for name in facts.get("modalities") or ()]

    def entry(split: str, modality: str) -> tuple[int, float]:
        counts = facts["splits"][split] or {}
        without, cases = int((counts.get("missing") or {}).get(modality, 0)), int(counts.get("cases") or 0)
        return without, without / cases if cases else 0.0

    rows = tuple((modality, *(entry(split, modality) for split in splits)) for modality in modalities)
    return (
        CountTable(tuple(map(split_title, splits)), rows)
        if any(count for row in rows for count, _ in row[1:])
        else None
    )


def patterns(run: Run, facts: Facts) -> CountTable | None:
    """The combinations of modalities: one row per pattern, (present?…, cases); None if every case is complete."""
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
    note = f"{len(order) - MOST_PATTERNS} rarer combinations with {rest} more cases are not listed." if rest else ""
    return CountTable((*(name.removeprefix("has:") for name in columns), "cases"), rows, note)


def sites(run: Run, facts: Facts) -> CountTable | None:
    """Cases per site and split, largest sites first; None if no site is given."""
    totals = {str(name): int(count) for name, count in (facts.get("sites") or {}).items()}
    if not any(totals):
        return None
    order = sorted(totals, key=lambda name: (-totals[name], name))
    splits, table = splits_of(facts), _cases(run, facts)
    crossed: Mapping[Any, Any] = {}
    if table is not None and {"site", "split"} <= set(table):
        crossed = table.assign(site=table["site"].fillna("")).groupby(["site", "split"]).size().to_dict()
    columns = (*map(split_title, splits), "all") if crossed else ("all",)
    rows = tuple(
        (
            name or "not given",
            *(int(crossed.get((name, split), 0)) for split in (splits if crossed else ())),
            totals[name],
        )
        for name in order[:MOST_SITES]
    )
    rest = order[MOST_SITES:]
    note = (
        f"{len(rest)} smaller sites with {sum(totals[name] for name in rest):,} more cases are not listed."
        if rest
        else ""
    )
    return CountTable(columns, rows, note)


def summary(facts: Facts) -> list[tuple[str, str]]:
    """The cohort's facts as (name, value); empty values are left out."""
    source = facts.get("source") or {}
    slices = facts.get("slices_per_image") or {}
    pairs = [
        ("Task", TASKS.get(str(facts.get("task")), str(facts.get("task", "—")))),
        ("Classes" if facts.get("task") != "multilabel" else "Findings", _listed(facts.get("outputs"))),
        ("Structures", _listed((facts.get("mask_labels") or {}).values())),
        ("Class order", "ordinal (grades)" if facts.get("ordered") else ""),
        ("Images", f"{facts.get('kind', '')}: {_listed(facts.get('modalities'))}"),
        ("Slices per image", _slices(slices)),
        ("Preprocessing", str(facts.get("recipe") or "")),
        ("Split", _split(facts)),
        *((str(name).replace("_", " ").capitalize(), str(value)) for name, value in source.items()),
        ("Cases digest", str(facts.get("digest") or "")),
    ]
    return [(name, value) for name, value in pairs if value]


def _split(facts: Facts) -> str:
    how, seed = (facts.get("folds") or {}).get("how"), facts.get("split_seed")
    if how:
        return f"every labelled patient tested once, out of fold, {how}; a column 'split' is set aside"
    return "as given in the table of cases" if seed is None else f"drawn by radapt, by patient, seed {seed}"


def _slices(slices: Mapping[str, Any]) -> str:
    low, median, high = (slices.get(name) for name in ("min", "median", "max"))
    if median is None:
        return ""
    return f"{median:g}" if low == high else f"{median:g} (median; range {low:g} to {high:g})"


def _cases(run: Run, facts: Facts) -> pd.DataFrame | None:
    file = run.path / "cohorts" / str(facts.get("folder", "")) / "cases.parquet"
    return read_parquet(file) if file.is_file() else None


def _output_count(counts: Mapping[str, Any] | None, several: bool) -> str:
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
