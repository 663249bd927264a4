"""The layouts of public data sets: one per card that says how the files of its set are named."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pandas as pd

from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.layouts.image_files import walk
from radapt.cohorts.layouts.layout import ROLES as COLUMNS
from radapt.cohorts.layouts.layout import Layout
from radapt.cohorts.layouts.names import kind_of
from radapt.cohorts.layouts.public.masks import mask_locations
from radapt.cohorts.layouts.public.matching import ROLES, SetCase, case_of, cases_in, looks_like, sampled
from radapt.cohorts.layouts.public.tables import SetTables
from radapt.cohorts.layouts.public.texts import facts_in_texts
from radapt.cohorts.layouts.tables import add_metadata
from radapt.dataset_cards import DatasetCard, SetFiles, dataset_cards
from radapt.errors import DataError, counted


def sets_like(root: Path, cards: Mapping[str, DatasetCard] | None = None) -> dict[str, str]:
    """Name of each public data set that the files in `root` are named as → what was seen; the folder is listed once."""
    if not root.is_dir():
        return {}
    names = sampled(root)
    cards = dataset_cards() if cards is None else cards
    found = [(card, looks_like(names, card.files)) for card in cards.values() if card.files]
    return {card.name: f"{counted(count, 'image')} named as those of {card.title}" for card, count in found if count}


def layout_of(card: DatasetCard, files: SetFiles) -> Layout:
    """The layout that a card describes."""

    def recognise(root: Path) -> str | None:
        return sets_like(root, {card.name: card}).get(card.name)

    def read(root: Path, options: ScanOptions) -> CohortDraft:
        return read_set(card, files, root, options)

    return Layout(card.name, card.title, recognise, read, public=True, columns=COLUMNS)


def read_set(card: DatasetCard, files: SetFiles, root: Path, options: ScanOptions) -> CohortDraft:
    """The cases of a public data set. Raises DataError if no image has a name as the card says."""
    notes: list[str] = list(files.notes)
    paths = [root] if root.is_file() else list(walk(root))
    cases = cases_in(root, paths, files, notes)
    if not cases:
        raise DataError(f"{root} holds no image named as those of {card.title}. Expected:\n{card.expects}")
    for pattern in files.texts:
        facts = facts_in_texts(root, paths, pattern)
        for case in cases:
            case.facts |= {**facts.get(case.facts.get(pattern.by, ""), {}), **case.facts}
    table, labels = _table(cases, files, notes)
    keys = [{**case.facts, "case": case_of(case.facts)} for case in cases]
    tables = SetTables(table, keys, paths, files.values, options, notes)
    for pattern_of_table in files.tables:
        tables.join(pattern_of_table)
    tables.refuse_unknown_columns()
    source = {**card.source, **({"scan": " ".join(notes)} if notes else {})}
    name = options.name or root.name
    draft = CohortDraft(name, card.name, table.copy(), card.kind, mask_labels=labels, source=source, notes=notes)
    draft.kind = card.kind or kind_of(column.removeprefix("image:") for column in draft.modalities)
    if "label" in table and set(table["label"]) - {""} <= set(files.classes):
        draft.classes = files.classes
    return draft


def _table(cases: list[SetCase], files: SetFiles, notes: list[str]) -> tuple[pd.DataFrame, Mapping[int, str]]:
    """The table of cases by what their file names say, and the names of the label values of the masks."""
    columns = _image_columns({name for case in cases for name in case.images}, files.values.get("sequence", {}))
    rows = [
        {
            "case": case_of(case.facts),
            "patient": case.facts.get("patient", ""),
            **{role: _meant(files, role, case) for role in ("split", "site", "label") if _meant(files, role, case)},
            **{column: case.images.get(name, "") for name, column in columns.items()},
        }
        for case in cases
    ]
    table = text_table(rows)
    labels: Mapping[int, str] = {}
    if files.masks:
        masks, labels = mask_locations(cases, files, notes)
        table["mask"] = pd.Series(masks, dtype=object)
    facts = [{name: text for name, text in case.facts.items() if name not in ROLES} for case in cases]
    add_metadata(table, text_table(facts))
    return table, labels


def _meant(files: SetFiles, role: str, case: SetCase) -> str:
    text = case.facts.get(role, "")
    return files.values.get(role, {}).get(text, text)


def _image_columns(names: set[str], meant: Mapping[str, str]) -> dict[str, str]:
    """Sequence in the names of files → column: its order is that of the names."""
    if len(names) == 1:
        return dict.fromkeys(names, "image")
    return {name: f"image:{meant.get(name, name) or 'image'}" for name in sorted(names)}


@cache
def set_layouts() -> tuple[Layout, ...]:
    """A layout for each card that says how the files of its set are named."""
    return tuple(layout_of(card, card.files) for card in dataset_cards().values() if card.files)
