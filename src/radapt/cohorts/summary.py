"""A draft of a cohort in a few lines, for the person who has just scanned it."""

import pandas as pd

from radapt.cohorts.draft import CohortDraft
from radapt.errors import counted


def summary(draft: CohortDraft) -> str:
    """Cases, patients, modalities with how many miss them, splits, classes, and what was decided on the way."""
    table = draft.table
    lines = [
        f"{draft.name}: {counted(len(table), 'case')} of {counted(table['patient'].nunique(), 'patient')}, "
        f"layout {draft.layout}, kind {draft.kind}"
    ]
    parts = []
    for column in draft.modalities:
        missing = int((table[column] == "").sum())
        parts.append(column.removeprefix("image:") + (f" (missing in {missing:,})" if missing else ""))
    lines.append(f"  images: {', '.join(parts)}")
    if "mask" in table:
        lines.append(f"  masks: {counted(int((table['mask'] != '').sum()), 'case')}")
    lines.append(f"  splits: {_counts(table['split'], 'without', ('train', 'val', 'test'))}")
    if "site" in table:
        lines.append(f"  sites: {_counts(table['site'], 'unknown')}")
    if "label" in table:
        lines.append(f"  classes: {_counts(table['label'], 'unlabelled', draft.classes)}")
    if draft.findings:
        found = [f"{name} {int((table[f'label:{name}'] == '1').sum()):,}" for name in draft.findings]
        lines.append(f"  findings: {', '.join(found)}")
    return "\n".join([*lines, *(f"  note: {note}" for note in draft.notes)])


def _counts(column: pd.Series, empty: str, order: tuple[str, ...] = ()) -> str:
    counts = column.value_counts()
    names = [name for name in order if name in counts] + sorted(
        set(counts.index) - set(order), key=lambda name: (not name, name)
    )
    return ", ".join(f"{name or empty} {int(counts[name]):,}" for name in names)
