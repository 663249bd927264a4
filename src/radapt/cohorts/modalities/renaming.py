"""The images of a draft, sorted into the modalities whose patterns their names fit."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from radapt.cohorts.draft import CohortDraft
from radapt.cohorts.image_names import stem_of
from radapt.cohorts.modalities.patterns import ModalityPattern
from radapt.errors import DataError, UsageError, counted

_LISTED = 6


@dataclass(frozen=True)
class _Candidate:
    """An image that fits a modality, by its pattern of that `rank`."""

    rank: int
    location: str
    name: str


def rename_modalities(draft: CohortDraft, patterns: Sequence[ModalityPattern]) -> None:
    """Move every image to the modality whose pattern its name fits; `draft.notes` gains what is chosen.

    The name is the series description of DICOM, else the file's without ending, or the modality's of the layout. An
    image that fits several modalities belongs to the first that the user names. Of several images of a case that fit
    one modality, that of the earlier pattern is used; then, in DICOM, the series with most images, then the latest.

    Raises UsageError if a modality fits nothing, DataError if two files of a case fit one equally well.
    """
    columns = draft.modalities
    moved: list[dict[str, str]] = []
    other: list[dict[str, str]] = []
    seen = Counter[str]()
    several: list[tuple[str, str, list[str]]] = []
    shared: dict[str, str] = {}
    for case, *cells in draft.table[["case", *columns]].itertuples(index=False, name=None):
        fitting: dict[str, list[_Candidate]] = defaultdict(list)
        rest: dict[str, str] = {}
        for column, location in zip(columns, cells, strict=True):
            if not location:
                continue
            names = _names(draft, location, column)
            fits = [(pattern.name, at) for pattern in patterns if (at := pattern.rank(names)) is not None]
            if fits:
                fitting[fits[0][0]].append(_Candidate(fits[0][1], location, names[0]))
                if len(fits) > 1:
                    shared[names[0]] = f"{names[0]!r} as {fits[0][0]}, not {fits[1][0]}"
            else:
                rest[column] = location
        moved.append({name: _chosen(draft, case, name, images, several) for name, images in fitting.items()})
        seen.update(fitting)
        other.append(rest)
    if unseen := [pattern for pattern in patterns if not seen[pattern.name]]:
        raise UsageError(_unseen(draft, unseen[0]))
    kept = [column for column in columns if any(column in rest for rest in other)]
    _replace_columns(draft, [pattern.name for pattern in patterns], moved, kept, other)
    _note(draft, several, shared, kept, other)


def _names(draft: CohortDraft, location: str, column: str) -> list[str]:
    facts = draft.series.get(location)
    own = [] if column == "image" else [column.removeprefix("image:")]
    return [*([facts.description] if facts and facts.description else [stem_of(location)]), *own]


def _chosen(
    draft: CohortDraft, case: str, name: str, images: list[_Candidate], several: list[tuple[str, str, list[str]]]
) -> str:
    if len(images) > 1:
        several.append((case, name, [image.name for image in images]))
    best = min(image.rank for image in images)
    images = [image for image in images if image.rank == best]
    if len(images) > 1 and not all(image.location in draft.series for image in images):
        listed = " and ".join(image.name for image in images[:3])
        raise DataError(
            f"Case {case!r}: {listed} all fit {name}. Narrow its pattern, or put the preferred one first: "
            f"--modality {name}='{images[-1].name.lower()}|...'."
        )
    return max(images, key=lambda image: _weight(draft, image.location)).location


def _weight(draft: CohortDraft, location: str) -> tuple[int, int, str]:
    facts = draft.series.get(location)
    return (facts.n_images, facts.number, location) if facts else (0, 0, location)


def _replace_columns(
    draft: CohortDraft, names: list[str], moved: list[dict[str, str]], kept: list[str], other: list[dict[str, str]]
) -> None:
    first = min(list(draft.table.columns).index(column) for column in draft.modalities)
    index = draft.table.index
    columns = {f"image:{name}": [row.get(name, "") for row in moved] for name in names}
    for column in kept:
        # A cohort has either 'image' or named modalities.
        name = "image:other" if column == "image" else column
        given = columns.get(name, [""] * len(index))
        columns[name] = [old or row.get(column, "") for old, row in zip(given, other, strict=True)]
    table = draft.table.drop(columns=draft.modalities)
    for at, (name, cells) in enumerate(columns.items()):
        table.insert(first + at, name, pd.Series(cells, index, dtype=object))
    draft.table = table


def _note(
    draft: CohortDraft,
    several: list[tuple[str, str, list[str]]],
    shared: dict[str, str],
    kept: list[str],
    other: list[dict[str, str]],
) -> None:
    if shared:
        listed = "; ".join(list(shared.values())[:3])
        draft.notes.append(f"{counted(len(shared), 'name')} fit several modalities; the first given counts: {listed}.")
    if several:
        case, name, images = several[0]
        rule = "the earlier pattern goes first, then the series with most images, then the latest"
        listed = " and ".join(map(repr, images[:3]))
        draft.notes.append(
            f"Several images of a case fit one modality {counted(len(several), 'time')}, such as {listed} for {name} "
            f"of {case}: {rule}."
        )
    if kept:
        counts = Counter(column.removeprefix("image:") for row in other for column in row)
        listed = ", ".join(f"{name} ({count})" for name, count in counts.most_common(_LISTED))
        more = ", …" if len(counts) > _LISTED else ""
        draft.notes.append(f"Images that fit no --modality keep their names: {listed}{more}.")


def _unseen(draft: CohortDraft, pattern: ModalityPattern) -> str:
    names = Counter(
        _names(draft, location, column)[0]
        for column in draft.modalities
        for location in draft.table[column]
        if location
    )
    listed = ", ".join(f"{name!r} ({count})" for name, count in names.most_common(20))
    return f"--modality {pattern.name}='{'|'.join(pattern.patterns)}' fits no image. Names: {listed}."
