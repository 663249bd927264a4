"""One self-contained page for a group of predictions: image, outlines, probabilities and the nearest training cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radapt.durable import write_text
from radapt.reports.templating import REPORT_FILE, render
from radapt.versions import __version__


@dataclass(frozen=True)
class OutputRow:
    """The probability of a class or finding, calibrated too if the model is, and whether it is predicted. `inside` says
    whether it is in the set, `yes`, `no`, or of a finding `open`; None without a set."""

    name: str
    probability: float
    calibrated: float | None
    predicted: bool
    inside: Literal["yes", "no", "open"] | None


@dataclass(frozen=True)
class StructureRow:
    """A structure of a mask: its volume, and the Dice that is predicted for it with its lower bound, None where the
    model predicts none and NaN where nothing is drawn."""

    name: str
    volume_ml: float
    dice: float | None
    at_least: float | None


@dataclass(frozen=True)
class AttentionBars:
    """The attention to the slices of an image: `bars` (left, width, height) in percent, the highest at 100."""

    name: str
    bars: tuple[tuple[float, float, float], ...]
    highest: int
    """The number of the plane with the highest weight, from 1."""
    share: float
    """Its weight."""

    @classmethod
    def of(cls, name: str, planes: Sequence[int], weights: Sequence[float]) -> "AttentionBars":
        """From the planes, counted from 0, and their weights, one or more."""
        best, total = max(range(len(planes)), key=weights.__getitem__), max(planes) + 1
        bars = tuple(
            (100 * plane / total, 100 / total, 100 * weight / max(weights[best], 1e-12))
            for plane, weight in zip(planes, weights, strict=True)
        )
        return cls(name, bars, planes[best] + 1, weights[best])


@dataclass(frozen=True)
class PredictedCase:
    """What the page shows of a case. `image` and `uncertain` are data URIs, '' without a picture. `nearest` are (key,
    label, similarity, picture or ''). `sequences` name the series that was taken, where it has another name."""

    case: str
    prediction: str
    rows: tuple[OutputRow, ...]
    structures: tuple[StructureRow, ...]
    image: str
    uncertain: str
    caption: str
    sequences: tuple[str, ...]
    reason: str
    failed: bool
    abstained: bool | None
    agreement: float | None
    nearest: tuple[tuple[str, str, float, str], ...]
    attention: tuple[AttentionBars, ...]
    several_planes: bool
    """Whether there is more than one slice to weigh."""
    one_of: bool
    """Whether the outputs are classes, of which one is right, and not findings."""
    doubt: float | None
    truth: str | None
    files: tuple[tuple[str, str], ...]
    """(what it is, path relative to the page) of each file that was written for the case."""
    seconds: float

    @property
    def most_probable(self) -> str:
        """The most probable class, if the decision is for another one; '' if it is not, for findings and for masks."""
        best = max(self.rows, key=lambda row: row.probability, default=None)
        return "" if best is None or best.predicted or not self.one_of else best.name


@dataclass(frozen=True)
class PredictionPage:
    """A page, `number` from 1 of `pages`, about `cases` of a batch predicted by `model`. The file `table` beside it
    holds all cases."""

    model: str
    intended_use: str
    table: str
    cases: tuple[PredictedCase, ...]
    number: int
    pages: int

    @property
    def failed(self) -> int:
        return sum(case.failed for case in self.cases)

    @property
    def links(self) -> tuple[tuple[int, str], ...]:
        """The number and the file of every page."""
        return tuple((number, page_file(number)) for number in range(1, self.pages + 1))


def page_file(number: int) -> str:
    """The file of a page: `report.html`, then `report-2.html`, …"""
    return REPORT_FILE if number == 1 else REPORT_FILE.replace(".html", f"-{number}.html")


def write_prediction_page(folder: Path, page: PredictionPage) -> Path:
    """Write the page into `folder` and return its path."""
    path = folder / page_file(page.number)
    write_text(path, render("predictions.html", (), page=page, version=__version__))
    return path


def shown_rows(
    outputs: Sequence[str],
    probabilities: dict[str, float],
    calibrated: dict[str, float] | None,
    predicted: set[str],
    members: set[str] | None,
) -> tuple[OutputRow, ...]:
    """The rows of a case, in the order of the model's outputs."""
    return tuple(
        OutputRow(
            name,
            probabilities[name],
            None if calibrated is None else calibrated.get(name),
            name in predicted,
            None if members is None else _inside(name, members),
        )
        for name in outputs
        if name in probabilities
    )


def _inside(name: str, members: set[str]) -> Literal["yes", "no", "open"]:
    """A finding whose presence is open is among the members with a question mark."""
    if name in members:
        return "yes"
    return "open" if f"{name}?" in members else "no"
