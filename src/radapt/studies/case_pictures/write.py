"""Writes the pictures of cases into the run folder, each cell's within a number of cases and of bytes."""

import shutil
from collections.abc import Iterable, Sequence
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
"""Of the pictures of one cell; the least wanted cases that do not fit have no picture."""

_INDEX = "index.json"
_VERSION = 1


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
    sizes = [SLICES, PLANE_PX, SLICE_PX, MASKED_SLICE_PX, MOST_BYTES, _VERSION]
    sizes += [wanted.volumes, MOST_VOLUME_BYTES, MOST_VOXELS] if wanted.volumes else []
    made_from = digest([cell.id, recipe.digest, list(cases), sizes])
    if (target / _INDEX).is_file() and read_json(target / _INDEX).get("made_from") == made_from:
        return
    rows = {case.case: row for row, case in enumerate(cell.prepared.cohort)}
    stems = file_stems(list(rows))
    nearest = nearest_cases(cell, cases, cache)
    left, volumes = MOST_BYTES, wanted.volumes
    with atomic_path(target, folder=True) as folder:
        entries: list[dict[str, Any]] = []
        for name in cases:
            case = cell.prepared.cohort.cases[rows[name]]
            masks = sorted((run / "cells" / cell.id / "masks").glob(f"{stems[rows[name]]}.*"))
            mask_file = masks[0] if masks else None
            sprites = _sprites(case, cell, mask_file, cache)
            left -= sum(len(one.image) + len(one.truth) + len(one.predicted) for one in sprites.values())
            if left < 0 and entries:
                break
            images = [_saved(folder, f"{len(entries)}-{at}", *one) for at, one in enumerate(sprites.items())]
            entry: dict[str, Any] = {
                "case": name,
                "nearest": [list(one) for one in nearest.get(name, ())],
                "images": images,
            }
            volume = _volume(case, mask_file, cache) if volumes else None
            if volume is not None:
                entry["volume"] = save_volume(folder, str(len(entries)), volume, recipe)
                volumes -= 1
            entries.append(entry)
        write_json(folder / _INDEX, {"made_from": made_from, "cases": entries, "left_out": len(cases) - len(entries)})


def _sprites(case: Case, cell: Cell, mask_file: Path | None, cache: Path) -> dict[str, Sprite]:
    """A picture of every sequence of the case; with masks where the predicted one lies on the grid of the sequence."""
    recipe, slices = cell.prepared.recipe, SliceCache(cache)
    seen = recipe.whole if recipe.look == "lesion" or cell.job.protocol.aim == "segmentation" else recipe
    predicted = None if mask_file is None else read(Location(mask_file))
    sprites = {}
    for name, location in case.images.items():
        image = slices.read(location, name) if predicted is not None else None
        if predicted is None or image is None or same_grid(image, predicted) is not None:
            sprites[name] = sprite_of(slices.planes(location, seen, name))
            continue
        placement = seen.place(image)
        truth = None if case.mask is None else placement.masks(_on_grid(read(case.mask), image))
        sprites[name] = sprite_of(seen.apply(image), truth, placement.masks(predicted))
    return sprites


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
    files = {"image": (sprite.image, "webp"), "truth": (sprite.truth, "png"), "predicted": (sprite.predicted, "png")}
    entry: dict[str, Any] = {"sequence": sequence, "planes": list(sprite.planes), "total": sprite.total}
    entry |= {"width": sprite.width, "height": sprite.height}
    for kind, (content, ending) in files.items():
        if content:
            entry[kind] = f"{stem}-{kind}.{ending}"
            (folder / entry[kind]).write_bytes(content)
    return entry
