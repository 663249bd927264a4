"""A cohort draft in a few lines, for the output of `radapt scan`."""

import pandas as pd

from radapt.cohorts.draft import CohortDraft
from radapt.errors import counted
from radapt.printable import printable


def summary(draft: CohortDraft) -> str:
    """Cases, patients, modalities with the number of cases that miss them, splits, classes, and notes."""
    table = draft.table
    lines = [
        f"{draft.name}: {counted(len(table), 'case')} of {_patients(draft)}, layout {draft.layout}, kind {draft.kind}"
    ]
    modalities = []
    for column in draft.modalities:
        missing = int((table[column] == "").sum())
        modalities.append(column.removeprefix("image:") + (f" (missing in {missing:,})" if missing else ""))
    lines.append(f"  images: {', '.join(modalities)}")
    if "mask" in table:
        lines.append(f"  masks: {counted(int((table['mask'] != '').sum()), 'case')}")
    if draft.folds is None:
        lines.append(f"  splits: {_counts(table['split'], 'without', ('train', 'val', 'test'))}")
    if "site" in table:
        lines.append(f"  sites: {_counts(table['site'], 'unknown')}")
    if "label" in table:
        lines.append(f"  classes: {_counts(table['label'], 'unlabelled', draft.classes)}")
    if draft.findings:
        counts = [f"{name} {int((table[f'label:{name}'] == '1').sum()):,}" for name in draft.findings]
        lines.append(f"  findings: {', '.join(counts)}")
    return printable("\n".join([*lines, *(f"  note: {note}" for note in draft.notes)]))


def _patients(draft: CohortDraft) -> str:
    if draft.patients_unknown == len(draft.table):
        return "unknown patients"
    some = f" ({draft.patients_unknown:,} cases without)" if draft.patients_unknown else ""
    return counted(draft.table["patient"].nunique(), "patient") + some


def _counts(column: pd.Series, empty: str, order: tuple[str, ...] = ()) -> str:
    counts = column.value_counts()
    names = [name for name in order if name in counts] + sorted(
        set(counts.index) - set(order), key=lambda name: (not name, name)
    )
    return ", ".join(f"{name or empty} {int(counts[name]):,}" for name in names)
