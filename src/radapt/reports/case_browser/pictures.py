"""The pictures of cases in a run folder, as a page embeds them."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radapt.parsing.json import read_json
from radapt.studies.case_pictures.wanted import FOLDER

_PATH = re.compile(r"(?:M\d+ \d+(?:[hv]-?\d+)+z)*")


@dataclass(frozen=True)
class SequencePicture:
    """Slices of one sequence below each other, as a data URI; `masked`: the outlines of the case lie on them."""

    sequence: str
    planes: tuple[int, ...]
    total: int
    width: int
    height: int
    image: str
    masked: bool


@dataclass(frozen=True)
class VolumePicture:
    """A down-sampled volume and its label maps as gzipped NIfTI in Base64; `truth` and `predicted` are '' without.

    `shape` and `spacing_mm` are those of its grid, `stored` is the shape before.
    """

    sequence: str
    shape: tuple[int, ...]
    stored: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    image: str
    truth: str = ""
    predicted: str = ""


@dataclass(frozen=True)
class PicturedCase:
    """A case's pictures, its nearest training cases in words, and its volume where the study wants it.

    `truth`, and `predicted` by the id of a cell, are outlines as the `d` of an SVG path, '' where nothing is to be
    drawn; a cell that is not in `predicted` has no outlines of this case.
    """

    case: str
    images: tuple[SequencePicture, ...]
    nearest: tuple[str, ...]
    truth: str
    predicted: Mapping[str, str]
    volume: VolumePicture | None = None


def pictured_cases(run: Path, cell: str) -> tuple[PicturedCase, ...]:
    """Those of the cell; () if there are none, and without those whose files are missing or damaged."""
    folder = run / FOLDER / cell
    try:
        entries = read_json(folder / "index.json")["cases"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    found = []
    for entry in entries if isinstance(entries, list) else ():
        try:
            images = tuple(_picture(folder, image) for image in entry["images"])
            nearest = tuple(_words(*one) for one in entry.get("nearest", ()))
            volume = _volume(folder, entry["volume"]) if "volume" in entry else None
            truth, predicted = _path(entry["truth"]), entry["predicted"]
            outlines = {str(one): _path(path) for one, path in predicted.items()}
            found.append(PicturedCase(str(entry["case"]), images, nearest, truth, outlines, volume))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return tuple(found)


def _picture(folder: Path, entry: dict[str, Any]) -> SequencePicture:
    uri = f"data:image/webp;base64,{_base64(folder / Path(str(entry['image'])).name)}"
    planes = tuple(int(plane) for plane in entry["planes"])
    total, width, height = (int(entry[name]) for name in ("total", "width", "height"))
    return SequencePicture(str(entry["sequence"]), planes, total, width, height, uri, bool(entry["masked"]))


def _path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no outline; expected closed lines such as M3 4h2v1h-2z.")
    return text


def _volume(folder: Path, entry: dict[str, Any]) -> VolumePicture:
    kinds = [kind for kind in ("image", "truth", "predicted") if kind in entry]
    files = {kind: _base64(folder / Path(str(entry[kind])).name) for kind in kinds}
    shape, stored = (tuple(int(side) for side in entry[name]) for name in ("shape", "stored"))
    spacing = tuple(float(side) for side in entry["spacing_mm"])
    return VolumePicture(str(entry["sequence"]), shape, stored, spacing, **files)


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _words(case: str, label: str, similarity: float) -> str:
    return f"{case}{f' ({label})' if label else ''}, similarity {float(similarity):.2f}"
