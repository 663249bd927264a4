"""Rows of the page of results, read from run folders, and their tables."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radapt.reports.methods import Method, methods_of
from radapt.reports.run_folder import FROM_SCRATCH, NO_NETWORK, Facts, Run, read_parquet, read_run
from results.data_sets import FAMILIES, ON_LESIONS, RANDOM, Beside, DataSet, Place, Published
from results.scores import Score, adapted_scores, scores_of
from results.studies import command_of

OUT_OF_FOLD, TEST = "oof", "test"
DASH = "–"
RANDOM_WEIGHTS = "random-weights"
MIXED = " (inner folds mix hospitals)"


@dataclass(frozen=True)
class Row:
    """One method on the test set of a cohort. `kind` is the encoder as `ENCODERS` names it, '' without one.

    `made` says which patients were for what, and how their images were made. `predictions` are those of the test set,
    a table for each cell, and `facts` what the cohort's record says of its task.
    """

    cohort: str
    aim: str
    family: str
    method: str
    encoder: str
    kind: str
    control: str
    scores: Mapping[str, Score]
    patients: int
    made: str = ""
    runs: int = 1
    minutes: float = float("nan")
    predictions: tuple[pd.DataFrame, ...] = field(default=(), compare=False)
    facts: Facts = field(default_factory=dict, compare=False)
    run: str = field(default="", compare=False)

    @property
    def place(self) -> Place:
        """As `DataSet.paired` names the row."""
        if self.control:
            return self.control, ""
        return self.family + (ON_LESIONS if self.method.endswith(ON_LESIONS) else ""), self.kind


def read_rows(folder: Path) -> list[Row]:
    """The rows of a folder of `radapt run` or `radapt adapt`. Raises UsageError or DataError for another."""
    if (folder / "adapt.json").is_file() and not (folder / "study.yaml").is_file():
        rows = _adapted(folder)
    else:
        run = read_run(folder)
        rows = [row for method in methods_of(run) if (row := _row(method, run)) is not None]
    name = command_of(folder)[0]
    return [replace(row, run=name) for row in rows]


def _row(method: Method, run: Run) -> Row | None:
    """None while no cell of the method is done."""
    results = run.results
    ids = [cell.id for cell in method.cells if cell.state == "done"]
    own = results[results["cell"].isin(ids)]
    split = OUT_OF_FOLD if (own["split"] == OUT_OF_FOLD).any() else TEST
    own = own[own["split"] == split]
    if own.empty:
        return None
    facts = method.cells[0].facts
    tables = {cell.id: cell.predictions for cell in method.cells if cell.id in ids}
    cohort = run.cohorts.get(method.cohort) or {}
    scores = scores_of(own, tables, split, cohort)
    encoder = "" if method.backbone in (FROM_SCRATCH, NO_NETWORK) else method.backbone
    return Row(
        cohort=method.cohort,
        aim=method.aim,
        family=_family(facts, method),
        method=method.protocol_and_size + _aside(facts, cohort),
        encoder=encoder,
        kind=_kind(encoder, facts),
        control=str(facts.get("control") or ""),
        scores=scores,
        patients=int(own["n_patients"].max()),
        made=_made(cohort, method),
        runs=len(ids),
        minutes=float(own.drop_duplicates("cell")["minutes"].mean()),
        predictions=tuple(table[table["split"] == split] for table in tables.values() if table is not None),
        facts=cohort,
    )


def _aside(facts: Mapping[str, Any], cohort: Facts) -> str:
    """What sets a row apart: that it looks at lesions, or that its inner folds mix hospitals."""
    lesion = ON_LESIONS if facts.get("look") == "lesion" and facts.get("aim") == "classification" else ""
    return lesion + (MIXED if _mixes_sites(facts, cohort) else "")


def _mixes_sites(facts: Mapping[str, Any], cohort: Facts) -> bool:
    """Whether choices for a hospital that was left out were made by inner folds that mix the others."""
    rule = (cohort.get("folds") or {}).get("rule") or {}
    records = (facts.get("folds") or {}).values()
    return rule.get("by") == "site" and any("inner folds by patient" in record["criterion"] for record in records)


def _made(cohort: Facts, method: Method) -> str:
    """Which patients were for what, and with an encoder the recipe of their planes."""
    folds, splits = cohort.get("folds"), cohort.get("splits") or {}
    if folds:
        who = f"every patient tested once, out of fold {folds.get('how') or ''}".strip()
    else:
        counts = {name: int((splits[name] or {}).get("patients") or 0) for name in splits}
        who = "patients: " + ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    recipe = cohort.get("recipe")
    return f"{who}; images: {recipe}" if recipe and method.backbone not in (FROM_SCRATCH, NO_NETWORK) else who


def _adapted(folder: Path) -> list[Row]:
    """The one row of a folder of `radapt adapt`: its answers with all sequences."""
    facts = json.loads((folder / "adapt.json").read_text(encoding="utf-8"))
    table = read_parquet(folder / "subsets.parquet")
    table = table[table["site"].isna() & (table["n_sequences"] == table["n_sequences"].max())]
    split = OUT_OF_FOLD if (table["split"] == OUT_OF_FOLD).any() else TEST
    table = table[table["split"] == split]
    if table.empty:
        return []
    scores = adapted_scores(read_parquet(folder / "predictions.parquet"), table, split)
    encoder = str(facts.get("backbone") or "")
    return [
        Row(
            str(facts.get("cohort")), "classification", "fusion", "fusion", encoder, _kind(encoder, {}), "", scores,
            int(table["n_patients"].max()),
        )
    ]  # fmt: skip


def _family(facts: Mapping[str, Any], method: Method) -> str:
    if method.few_labels:
        return "few-shot"
    options = facts.get("options") or {}
    for family in FAMILIES[method.aim]:
        fits = all(options.get(name) == value for name, value in family.options.items())
        if facts.get("protocol") in family.protocols and fits:
            return family.name
    return str(facts.get("protocol", method.protocol))


def _kind(encoder: str, facts: Mapping[str, Any]) -> str:
    if not encoder:
        return ""
    return RANDOM if RANDOM in encoder.casefold() or facts.get("control") == RANDOM_WEIGHTS else encoder


def unique(rows: Iterable[Row]) -> list[Row]:
    """The rows without those that another folder has with the same numbers, as where two studies share a cell."""
    kept: dict[tuple[object, ...], Row] = {}
    for row in rows:
        numbers = tuple(sorted((name, str(score)) for name, score in row.scores.items()))
        kept.setdefault((row.cohort, row.aim, row.method, row.encoder, row.control, row.made, numbers), row)
    return list(kept.values())


def row_lines(data_set: DataSet, rows: Iterable[Row]) -> list[str]:
    """The table of a data set: methods in the order of `FAMILIES`, controls last."""
    shown = [name for name in data_set.metrics if any(name in row.scores for row in rows)]
    heads = ["method", "encoder", *(data_set.metrics[name] for name in shown), "patients", "minutes"]
    body = []
    for row in sorted(rows, key=_order(data_set)):
        mixed = MIXED if row.method.endswith(MIXED) else ""
        method = f"control: {row.control}{mixed}" if row.control else row.method
        if row.family not in method and not row.control:
            method = f"{row.family}: {method}"
        values = [str(row.scores[name]) if name in row.scores else DASH for name in shown]
        again = f" × {row.runs} runs" if row.runs > 1 else ""
        minutes = f"{row.minutes:.1f}" if np.isfinite(row.minutes) else DASH
        body.append([method, row.encoder or DASH, *values, f"{row.patients:,}{again}", minutes])
    return [*_table(heads, body), ""]


def _order(data_set: DataSet) -> Any:
    families = [family.name for family in FAMILIES[data_set.aim]]

    def key(row: Row) -> tuple[bool, int, str, bool, str]:
        place = families.index(row.family) if row.family in families else len(families)
        return bool(row.control), place, row.method, row.kind == RANDOM, row.encoder

    return key


def made_lines(rows: Iterable[Row]) -> list[str]:
    """How the rows were tested, where the folders say so: one line if all were tested in the same way."""
    said: dict[str, list[str]] = {}
    for row in rows:
        if row.made and row.method not in said.setdefault(row.made, []):
            said[row.made].append(row.method)
    if len(said) == 1:
        return [f"{_capital(made)}." for made in said] + [""]
    return [*(f"- {', '.join(sorted(methods))}: {made}." for made, methods in said.items()), ""] if said else []


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def published_lines(data_set: DataSet, rows: Sequence[Row], published: Sequence[Published]) -> list[str]:
    """The published figures of a data set with ours by the same kind of method."""
    body, notes = [], []
    for beside in data_set.beside:
        chosen = list(_chosen(beside, published))
        body += [[one.model, one.protocol or DASH, one.metric, one.shown, _ours(beside, one, rows)] for one in chosen]
        notes += [f"The published protocol ({beside.family} beside ours): {beside.differs}."] if chosen else []
    heads = ["published: model", "protocol", "metric", "value", "ours"]
    return [*_table(heads, body), "", *(line for note in notes for line in (note, ""))] if body else []


def _chosen(beside: Beside, published: Iterable[Published]) -> Iterator[Published]:
    for one in published:
        if one.dataset != beside.dataset or one.metric not in beside.metrics:
            continue
        wanted = ((beside.sizes, one.size), (beside.models, one.model), (beside.protocols, one.protocol))
        if all(not allowed or value in allowed for allowed, value in wanted):
            yield one


def _ours(beside: Beside, one: Published, rows: Iterable[Row]) -> str:
    """Our rows of the family with pretrained encoders, or without an encoder. All of them: the best would be chosen by
    the test set."""
    name = beside.metrics[one.metric]
    own = [
        f"{row.scores[name]} {row.encoder}".rstrip()
        for row in sorted(rows, key=lambda row: row.encoder)
        if _compares(beside, row) and row.kind != RANDOM and name in row.scores
    ]
    return "; ".join(own) or "not run"


def _compares(beside: Beside, row: Row) -> bool:
    return beside.family == row.control if row.control else beside.family in (row.family, row.method)


def _table(heads: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *body]
    return ["| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines]
