"""The mask of a case of a public data set: one file, or one file per structure that are joined when they are read."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from radapt.cohorts.layouts.public.matching import SetCase
from radapt.dataset_cards import SetFiles
from radapt.errors import counted
from radapt.locations import Location


def mask_locations(cases: Sequence[SetCase], files: SetFiles, notes: list[str]) -> tuple[list[str], dict[int, str]]:
    """The location of each case's mask, '' without one, and the names of the label values.

    Structures without a public value get the next free ones, in order of their names.
    """
    labels, names = files.mask_labels, files.values.get("structure", {})
    structures = sorted({names.get(text, text) for case in cases for text, _ in case.masks if text})
    values = {name: value for value, name in labels.items()}
    added = [name for name in structures if name not in values]
    values |= {name: number for number, name in enumerate(added, start=max(values.values(), default=0) + 1)}
    if added and labels:
        notes.append(f"Structures without a public number have the next free ones: {', '.join(added)}.")
    if missing := sum(not case.masks for case in cases):
        notes.append(f"{counted(missing, 'case')} without a mask.")
    for at, pattern in enumerate(files.masks):
        if pattern.note and (count := sum(bool(case.masks) and case.masks_of == at for case in cases)):
            notes.append(f"{counted(count, 'case')}: {pattern.note}")
    if fewer := _absent(cases):
        notes.append(f"{counted(fewer, 'case')} without the file of some structure: it counts as absent there.")
    first = min(labels, default=1)
    present = set(structures) or set(values)
    return [_location(case, names, values, first) for case in cases], {
        value: name for name, value in sorted(values.items(), key=lambda item: item[1]) if name in present
    }


def _location(case: SetCase, names: Mapping[str, str], values: Mapping[str, int], first: int) -> str:
    if len(case.masks) < 2 and not any(structure for structure, _ in case.masks):
        return next((file for _, file in case.masks), "")
    folder = os.path.commonpath([Path(file).parent for _, file in case.masks])
    parts = [
        (values.get(names.get(structure, structure), first), Path(file).relative_to(folder).as_posix())
        for structure, file in case.masks
    ]
    return str(Location(Path(folder), parts=tuple(sorted(parts))))


def _absent(cases: Sequence[SetCase]) -> int:
    """How many cases with masks lack a structure that most of them have."""
    masked = [{structure for structure, _ in case.masks} for case in cases if case.masks]
    counts = Counter(structure for found in masked for structure in found if structure)
    usual = {structure for structure, count in counts.items() if count * 2 > len(masked)}
    return sum(not usual <= found for found in masked)
