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
class PicturedCase:
    """A case's pictures and its nearest training cases, in words."""

    case: str
    images: tuple[SequencePicture, ...]
    nearest: tuple[str, ...]


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
            found.append(PicturedCase(str(entry["case"]), images, nearest))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return tuple(found)


def _picture(folder: Path, entry: dict[str, Any]) -> SequencePicture:
    kinds = {"image": "image/webp", "truth": "image/png", "predicted": "image/png"}
    uris = {kind: _uri(folder / Path(str(entry[kind])).name, media) for kind, media in kinds.items() if kind in entry}
    planes = tuple(int(plane) for plane in entry["planes"])
    total, width, height = (int(entry[name]) for name in ("total", "width", "height"))
    return SequencePicture(str(entry["sequence"]), planes, total, width, height, **uris)


def _uri(file: Path, media: str) -> str:
    return f"data:{media};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _words(case: str, label: str, similarity: float) -> str:
    return f"{case}{f' ({label})' if label else ''}, similarity {float(similarity):.2f}"
