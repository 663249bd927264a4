"""What the browser of cases of one section shows: a list per method and test set, and the pictures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from radapt.reports.case_browser.pictures import PicturedCase, VolumePicture, pictured_cases
from radapt.reports.case_browser.rows import MOST_LISTED, CaseRow, in_turn
from radapt.reports.case_browser.wanted import MOST_METHODS, Predictions, rows_of
from radapt.reports.segmentation_cases import SegmentationPredictions

_OUTCOMES = {"missed": "a structure missed", "false_alarm": "a false alarm", "both": "neither missed nor false alarm"}


@dataclass(frozen=True)
class CaseList:
    """The listed cases of a method on a test set, worst first. `filters` are (group, what it is, cases in all).

    `segments`: the method has masks. `in_3d`: volumes show them.
    """

    split: str
    method: str
    cell: str
    rows: tuple[CaseRow, ...]
    total: int
    filters: tuple[tuple[str, str, int], ...]
    segments: bool
    in_3d: bool


@dataclass(frozen=True)
class CaseBrowser:
    """The lists of a section, and the pictures of some of their cases."""

    lists: tuple[CaseList, ...]
    pictured: tuple[PicturedCase, ...]

    @property
    def listed(self) -> int:
        """The number of cases in the longest list."""
        return max(len(one.rows) for one in self.lists)

    @property
    def n_bytes(self) -> int:
        """Of the pictures, as embedded."""
        images = sum(len(image.image) for case in self.pictured for image in case.images)
        return images + sum(len(case.truth) + sum(map(len, case.predicted.values())) for case in self.pictured)

    @property
    def segments(self) -> bool:
        """Whether its methods have masks."""
        return any(one.segments for one in self.lists)

    @property
    def lacking(self) -> int:
        """How many pairs of a pictured case and a method that lists it have no outlines."""
        listed = {(row.case, one.cell) for one in self.lists if one.segments for row in one.rows}
        return sum(
            (case.case, cell) in listed and cell not in case.predicted
            for case in self.pictured
            for cell in {one.cell for one in self.lists}
        )

    @property
    def volumes(self) -> tuple[VolumePicture, ...]:
        """Of the cases that can be opened in 3D."""
        return tuple(case.volume for case in self.pictured if case.volume is not None)

    @property
    def volume_bytes(self) -> int:
        """Of the volumes, as embedded."""
        return sum(len(one.image) + len(one.truth) + len(one.predicted) for one in self.volumes)

    def to_json(self) -> dict[str, Any]:
        """For the page's script."""
        return {
            "lists": [
                {
                    "split": one.split,
                    "method": one.method,
                    "cell": one.cell,
                    "total": one.total,
                    "filters": one.filters,
                    "segments": one.segments,
                    "in_3d": one.in_3d,
                    "rows": [[row.case, row.text, row.facts, row.groups] for row in one.rows],
                }
                for one in self.lists
            ],
            "pictures": {case.case: asdict(case) for case in self.pictured},
        }


def case_browser(run: Path, sets: Sequence[tuple[str, Sequence[Predictions]]], images: bool) -> CaseBrowser | None:
    """The browser of the best methods' predictions per test set; None without any. `images`: with pictures."""
    lists, drawn = [], ""
    for split, models in sets:
        for model in models[:MOST_METHODS]:
            drawn = drawn or model.cell.id
            lists.append(_list(split, model, drawn))
    lists = [one for one in lists if one.rows]
    return CaseBrowser(tuple(lists), pictured_cases(run, drawn) if images else ()) if lists else None


def _list(split: str, model: Predictions, drawn: str) -> CaseList:
    rows = rows_of(model)
    shown = {row.case for row in in_turn(rows, MOST_LISTED)}
    counts = Counter(group for row in rows for group in row.groups)
    filters = tuple((group, _said(group, model), count) for group, count in sorted(counts.items()))
    kept = tuple(row for row in rows if row.case in shown)
    segments = isinstance(model, SegmentationPredictions)
    in_3d = segments and model.cell.id == drawn
    return CaseList(split, model.title, model.cell.id, kept, len(rows), filters, segments, in_3d)


def _said(group: str, model: Predictions) -> str:
    if isinstance(model, SegmentationPredictions):
        return _OUTCOMES[group]
    of, _, pair = group.rpartition(":")
    truth, called = map(int, pair.split(">"))
    if of:
        words = {(1, 0): "missed", (0, 1): "false alarm", (1, 1): "found", (0, 0): "rightly absent"}
        return f"{model.outputs[int(of)]}: {words[truth, called]}"
    return f"{model.outputs[truth]}, {'rightly predicted' if truth == called else f'predicted {model.outputs[called]}'}"
