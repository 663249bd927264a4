"""Parses a report: its elements, texts, table rows and charts."""

import base64
import gzip
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from radapt.durable import write_json
from radapt.images import Recipe, Volume
from radapt.reports import write_report
from radapt.reports.charts.drawing import FONT_PX, text_px
from radapt.studies.case_pictures.volumes import CaseVolume, save_volume

VOID = {"meta", "link", "img", "br", "input", "hr", "wbr"}
HOSTILE = "<script>alert('x')</script>\"'&<img src=x onerror=alert(1)>"
PACKED_HTML = re.compile(r'<script type="application/octet-stream" class="packed-html">([^<]*)</script>')


def _decompressed(text: str) -> str:
    return gzip.decompress(base64.b64decode(text)).decode()


class Page(HTMLParser):
    """Every element with its attributes and the text inside it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.packed: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.rows: list[tuple[dict[str, str], list[tuple[str, dict[str, str]]], list[str]]] = []
        self.in_row = False
        self.ids: list[str] = []
        self.feed(PACKED_HTML.sub(lambda found: _decompressed(found[1]), text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "tr":
            self.rows.append((found, [], []))
            self.in_row = True
        elif self.in_row:
            self.rows[-1][1].append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script" and "type" in found:
            self.packed.append("")
        elif tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.in_row = self.in_row and tag != "tr"
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            of_kind = self.packed if "type" in self.elements[-1][1] else self.scripts
            of_kind[-1] += data
        elif "style" not in self.open:
            self.texts.append(data)
            if self.in_row:
                self.rows[-1][2].append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def unpacked(page: Page) -> list[dict[str, Any]]:
    """The lists and pictures of cases of each section."""
    return [json.loads(_decompressed(text)) for text in page.packed]


def page_of(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def written_page(run: Path) -> Page:
    """The page of a run whose report is written already."""
    return Page((run / "report.html").read_text(encoding="utf-8"))


def charts_of(run: Path, kind: str) -> list[tuple[str, ElementTree.Element]]:
    """Every SVG in the figures of a kind, with the metric or the number of its view, in the order of the page."""
    text = (run / "report.html").read_text(encoding="utf-8")
    figures = re.findall(rf'<figure class="plot" data-plot="{kind}".*?</figure>', text, re.DOTALL)
    views = [view for one in figures for view in re.split(r'<div class="charts"', one)[1:]]
    found = []
    for view in views:
        (name,) = re.findall(r'^ data-(?:metric|choice)="(.*?)"', view)
        found += [
            (name, ElementTree.fromstring(svg)) for svg in re.findall(r"<svg [^>]*role.*?</svg>", view, re.DOTALL)
        ]
    return found


def tips_of(svg: ElementTree.Element) -> list[str]:
    """What the marks of a chart say when they are pointed at."""
    return [mark.attrib["data-tip"] for mark in svg.iter() if "data-tip" in mark.attrib]


def texts_of(svg: ElementTree.Element) -> list[tuple[float, float, float, float, str]]:
    """Left, top, right and bottom of every text of a chart, by the estimate of its width, and the text."""
    boxes = []
    for one in svg.iter("{http://www.w3.org/2000/svg}text"):
        x, y, text = float(one.attrib["x"]), float(one.attrib["y"]), one.text or ""
        width = text_px(text)
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[one.attrib.get("text-anchor", "start")]
        boxes.append((left, y - FONT_PX, left + width, y + 3, text))
    return boxes


def draw_pictures(run: Path, cell: str, cases: list[str], masks: bool = False, others: Sequence[str] = ()) -> None:
    """An index with one picture per case, as a run leaves it; with `masks` a square for the truth, one to the right of
    it for the cell, and further right for each of the `others`."""
    folder = run / "case_pictures" / cell
    folder.mkdir(parents=True)
    Image.fromarray(np.zeros((32, 8, 3), np.uint8)).save(folder / "0.webp")
    image = {"sequence": "t1", "planes": [2, 4, 6, 8], "total": 9, "width": 8, "height": 8, "image": "0.webp"}
    image |= {"masked": masks}
    squares = ["".join(f"M{x} {8 * at + 2}h2v4h-2z" for at in range(4)) for x in range(1 + len((cell, *others)))]
    predicted = dict(zip((cell, *others), squares[1:], strict=True)) if masks else {}
    entry = {"nearest": [["near", "benign", 0.91]], "images": [image], "predicted": predicted}
    entries = [entry | {"case": case, "truth": squares[0] if masks else ""} for case in cases]
    write_json(folder / "index.json", {"made_from": "", "cases": entries, "left_out": 0})


def draw_volume(run: Path, cell: str, case: str) -> None:
    """Add a bright ball to a drawn case, with the truth in it and a prediction beside that, as a run leaves them."""
    folder = run / "case_pictures" / cell
    grid = np.indices((40, 48, 24)) - np.reshape((20, 24, 12), (3, 1, 1, 1))
    x, y, z = grid * np.reshape((1, 1, 2), (3, 1, 1, 1))
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    ball = Volume((255 * (np.hypot(np.hypot(x, y), z) < 18)).astype(np.uint8), affine)
    truth, predicted = ((np.hypot(np.hypot(x - shift, y), z) < 7).astype(np.uint8) for shift in (-5, 5))
    masks = (Volume(truth, affine), Volume(2 * predicted, affine))
    index = json.loads((folder / "index.json").read_text("utf-8"))
    (entry,) = [entry for entry in index["cases"] if entry["case"] == case]
    entry["volume"] = save_volume(folder, "0", CaseVolume("t1", ball, *masks), Recipe.for_kind("other"))
    write_json(folder / "index.json", index)
