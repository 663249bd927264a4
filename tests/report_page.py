"""Parses a report: its elements, texts, table rows and data."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from radapt.reports import write_report

VOID = {"meta", "link", "img", "br", "input", "hr", "wbr"}
HOSTILE = "<script>alert('x')</script>\"'&<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Every element with its attributes and the text inside it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.rows: list[tuple[dict[str, str], list[tuple[str, dict[str, str]]], list[str]]] = []
        self.in_row = False
        self.ids: list[str] = []
        self.feed(text)

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
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.in_row = self.in_row and tag != "tr"
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif "style" not in self.open:
            self.texts.append(data)
            if self.in_row:
                self.rows[-1][2].append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    @property
    def data(self) -> dict:
        return json.loads(self.scripts[0])


def page_of(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))
