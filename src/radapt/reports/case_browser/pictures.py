"""The pictures of cases in a run folder, as a page embeds them."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radapt.parsing.json import read_json
from radapt.studies.case_pictures.wanted import FOLDER


@dataclass(frozen=True)
class SequencePicture:
    """Slices of one sequence below each other, as data URIs; `truth` and `predicted` are outlines, '' without."""

    sequence: str
    planes: tuple[int, ...]
    total: int
    width: int
    height: int
    image: str
    truth: str = ""
    predicted: str = ""


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
    """A case's pictures, its nearest training cases in words, and its volume where the study wants it."""

    case: str
    images: tuple[SequencePicture, ...]
    nearest: tuple[str, ...]
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
            found.append(PicturedCase(str(entry["case"]), images, nearest, volume))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return tuple(found)


def _picture(folder: Path, entry: dict[str, Any]) -> SequencePicture:
    kinds = {"image": "image/webp", "truth": "image/png", "predicted": "image/png"}
    uris = {kind: _uri(folder / Path(str(entry[kind])).name, media) for kind, media in kinds.items() if kind in entry}
    planes = tuple(int(plane) for plane in entry["planes"])
    total, width, height = (int(entry[name]) for name in ("total", "width", "height"))
    return SequencePicture(str(entry["sequence"]), planes, total, width, height, **uris)


def _volume(folder: Path, entry: dict[str, Any]) -> VolumePicture:
    kinds = [kind for kind in ("image", "truth", "predicted") if kind in entry]
    files = {kind: _base64(folder / Path(str(entry[kind])).name) for kind in kinds}
    shape, stored = (tuple(int(side) for side in entry[name]) for name in ("shape", "stored"))
    spacing = tuple(float(side) for side in entry["spacing_mm"])
    return VolumePicture(str(entry["sequence"]), shape, stored, spacing, **files)


def _uri(file: Path, media: str) -> str:
    return f"data:{media};base64,{_base64(file)}"


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _words(case: str, label: str, similarity: float) -> str:
    return f"{case}{f' ({label})' if label else ''}, similarity {float(similarity):.2f}"
