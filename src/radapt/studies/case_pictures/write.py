"""Writes the pictures of cases into the run folder, each cell's within a number of cases and of bytes."""

import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radapt.cohorts import Case
from radapt.digests import digest
from radapt.durable import atomic_path, write_json
from radapt.images import SliceCache, Volume, read, resampled, same_grid
from radapt.locations import Location
from radapt.parsing.json import read_json
from radapt.segmentation import file_stems
from radapt.studies.case_pictures.nearest import nearest_cases
from radapt.studies.case_pictures.outlines import outline_path
from radapt.studies.case_pictures.sprites import MASKED_SLICE_PX, PLANE_PX, SLICE_PX, SLICES, Sprite, sprite_of
from radapt.studies.case_pictures.volumes import (
    MOST_VOLUME_BYTES,
    MOST_VOXELS,
    CaseVolume,
    is_volume,
    save_volume,
)
from radapt.studies.case_pictures.wanted import FOLDER, WantedPictures
from radapt.studies.cells import Cell
from radapt.studies.ledger import Ledger
from radapt.studies.run_digests import record_digests, recorded

MOST_BYTES = 700_000
"""Of the pictures of one cell, with the outlines of its masks; the least wanted cases that do not fit have none."""

MOST_OUTLINE_BYTES = 150_000
"""Of the outlines by further cells, compressed; one that does not fit is left out, and the page says so."""

_INDEX = "index.json"
_VERSION = 2


@dataclass(frozen=True)
class CasePictures:
    """A sprite of every sequence; those named in `masked` are on the grid of the masks. Outlines are the `d` of SVG
    paths on their slices: of the truth, '' without one, and of the masks that a cell predicted, by its id."""

    sprites: Mapping[str, Sprite]
    masked: frozenset[str] = frozenset()
    truth: str = ""
    predicted: Mapping[str, str] = field(default_factory=dict)


def write_case_pictures(run: Path, cells: Iterable[Cell], wanted: Sequence[WantedPictures], cache: Path) -> None:
    """Draw what is wanted into `case_pictures/` of the folder `run`, and remove what is no longer wanted.

    A picture that cannot be drawn is noted in the cell's log. Pictures of the same cases are not drawn again.
    """
    by_id = {cell.id: cell for cell in cells}
    for one in wanted:
        try:
            if one.cell in by_id:
                _write(run / FOLDER / one.cell, run, by_id[one.cell], one, cache)
        except Exception as error:  # a missing picture must not end a run that is finished
            Ledger(run).log(one.cell, f"no pictures of cases: {error}")
    for folder in (run / FOLDER).glob("*"):
        if folder.name not in {one.cell for one in wanted}:
            shutil.rmtree(folder)
    if recorded(run) is not None:
        files = (run / FOLDER).rglob("*")
        record_digests(run, only=[path.relative_to(run).as_posix() for path in files if path.is_file()])


def _write(target: Path, run: Path, cell: Cell, wanted: WantedPictures, cache: Path) -> None:
    recipe, cases = cell.prepared.recipe, wanted.cases
    sizes = [SLICES, PLANE_PX, SLICE_PX, MASKED_SLICE_PX, MOST_BYTES, MOST_OUTLINE_BYTES, _VERSION]
    sizes += [wanted.volumes, MOST_VOLUME_BYTES, MOST_VOXELS] if wanted.volumes else []
    made_from = digest([cell.id, *wanted.outlined, recipe.digest, list(cases), sizes])
    if (target / _INDEX).is_file() and read_json(target / _INDEX).get("made_from") == made_from:
        return
    rows = {case.case: row for row, case in enumerate(cell.prepared.cohort)}
    stems = file_stems(list(rows))
    nearest = nearest_cases(cell, cases, cache)
    left, left_for_outlines, volumes = MOST_BYTES, MOST_OUTLINE_BYTES, wanted.volumes
    with atomic_path(target, folder=True) as folder:
        entries: list[dict[str, Any]] = []
        for name in cases:
            case, stem = cell.prepared.cohort.cases[rows[name]], stems[rows[name]]
            masks = {one: file for one in (cell.id, *wanted.outlined) if (file := _mask_file(run, one, stem))}
            drawn = _pictures(case, cell, masks, cache)
            own = {"truth": drawn.truth, "predicted": drawn.predicted.get(cell.id, "")}
            left -= sum(len(one.image) for one in drawn.sprites.values()) + sum(map(_compressed, own.values()))
            if left < 0 and entries:
                break
            predicted = {}
            for one, path in drawn.predicted.items():
                if one != cell.id and _compressed(path) > left_for_outlines:
                    continue
                predicted[one] = path
                left_for_outlines -= 0 if one == cell.id else _compressed(path)
            images = [
                _saved(folder, f"{len(entries)}-{at}", sequence, sprite) | {"masked": sequence in drawn.masked}
                for at, (sequence, sprite) in enumerate(drawn.sprites.items())
            ]
            entry: dict[str, Any] = {
                "case": name,
                "nearest": [list(one) for one in nearest.get(name, ())],
                "images": images,
                "truth": drawn.truth,
                "predicted": predicted,
            }
            volume = _volume(case, masks.get(cell.id), cache) if volumes else None
            if volume is not None:
                entry["volume"] = save_volume(folder, str(len(entries)), volume, recipe)
                volumes -= 1
            entries.append(entry)
        write_json(folder / _INDEX, {"made_from": made_from, "cases": entries, "left_out": len(cases) - len(entries)})


def _mask_file(run: Path, cell: str, stem: str) -> Path | None:
    return next(iter(sorted((run / "cells" / cell / "masks").glob(f"{stem}.*"))), None)


def _compressed(path: str) -> int:
    """About the bytes that an outline takes in the page."""
    return len(zlib.compress(path.encode()))


def _pictures(case: Case, cell: Cell, mask_files: Mapping[str, Path], cache: Path) -> CasePictures:
    """A picture of every sequence of the case; with outlines where the masks of the cell lie on the grid of a sequence.
    Masks of another cell that are on another grid are left out."""
    recipe, slices = cell.prepared.recipe, SliceCache(cache)
    seen = recipe.whole if recipe.look == "lesion" or cell.job.protocol.aim == "segmentation" else recipe
    volumes = {one: read(Location(file)) for one, file in mask_files.items()}
    own = volumes.get(cell.id)
    if own is None:
        return CasePictures({name: sprite_of(slices.planes(at, seen, name)) for name, at in case.images.items()})
    on_grid = {one: volume for one, volume in volumes.items() if same_grid(own, volume) is None}
    sprites: dict[str, Sprite] = {}
    masked: set[str] = set()
    truth, predicted = "", dict[str, str]()
    for name, location in case.images.items():
        image = slices.read(location, name)
        if same_grid(image, own) is not None:
            sprites[name] = sprite_of(slices.planes(location, seen, name))
            continue
        placement = seen.place(image)
        labels = {one: placement.masks(volume) for one, volume in on_grid.items()}
        true = None if case.mask is None else placement.masks(_on_grid(read(case.mask), image))
        sprite = sprites[name] = sprite_of(seen.apply(image), [*labels.values(), *([] if true is None else [true])])
        if not masked:  # the same for every sequence on the grid
            numbers, size = [plane - 1 for plane in sprite.planes], (sprite.width, sprite.height)
            truth = "" if true is None else outline_path(true, numbers, *size)
            predicted = {one: outline_path(mask, numbers, *size) for one, mask in labels.items()}
        masked.add(name)
    return CasePictures(sprites, frozenset(masked), truth, predicted)


def _volume(case: Case, mask_file: Path | None, cache: Path) -> CaseVolume | None:
    """The first sequence with a depth, with masks the first on the grid of the predicted one; None without any."""
    predicted, slices = None if mask_file is None else read(Location(mask_file)), SliceCache(cache)
    for name, location in case.images.items():
        image = slices.read(location, name)
        if is_volume(image) and (predicted is None or same_grid(image, predicted) is None):
            truth = None if predicted is None or case.mask is None else _on_grid(read(case.mask), image)
            return CaseVolume(name, image, truth, predicted)
    return None


def _on_grid(mask: Volume, image: Volume) -> Volume:
    return mask if same_grid(image, mask) is None else resampled(mask, image, nearest=True)


def _saved(folder: Path, stem: str, sequence: str, sprite: Sprite) -> dict[str, Any]:
    (folder / f"{stem}-image.webp").write_bytes(sprite.image)
    return {
        "sequence": sequence, "planes": list(sprite.planes), "total": sprite.total,
        "width": sprite.width, "height": sprite.height, "image": f"{stem}-image.webp",
    }  # fmt: skip
