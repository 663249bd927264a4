"""An SVG under construction: shapes and texts in pixels, coloured by classes of the style sheet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup, escape

from radapt.reports.charts.scale import Scale

WIDTH = 340
"""Of a chart, in pixels: charts are shown as they are, so that their text is never smaller than 12 px on a phone."""
FONT_PX = 12
_CHARACTER_PX = 6.8
"""An upper estimate of the mean width of a character at `FONT_PX`."""

GLYPHS = {"dots": "h0", "crosses": "m-3.5-3.5l7 7m0-7l-7 7", "triangles": "m0-4.5l4.5 8h-9z"}
"""What follows the centre of a glyph in a path; a dot is the round end of a line without length."""

Anchor = Literal["start", "middle", "end"]


def text_px(text: str) -> float:
    """An estimate of the width of a text, rather too wide."""
    return _CHARACTER_PX * len(text)


def fitted(text: str, px: float) -> str:
    """The text, cut with an ellipsis where it is wider than `px`."""
    most = max(int(px / _CHARACTER_PX), 1)
    return text if len(text) <= most else text[: most - 1] + "…"


@dataclass
class Drawing:
    """Elements of an SVG of `height` pixels, in the order in which they are drawn."""

    height: float
    width: float = WIDTH
    elements: list[Markup] = field(default_factory=list)

    def add(self, element: str, **values: object) -> None:
        """An element whose `{name}` fields are filled with escaped values; numbers to a tenth of a pixel."""
        self.elements.append(Markup(element).format(**{name: _plain(value) for name, value in values.items()}))

    def text(self, x: float, y: float, text: str, anchor: Anchor = "start", kind: str = "") -> None:
        """A line of text whose baseline is at `y`."""
        anchored = "" if anchor == "start" else f' text-anchor="{anchor}"'
        styled = f' class="{kind}"' if kind else ""
        self.add(f'<text x="{{x}}" y="{{y}}"{anchored}{styled}>{{text}}</text>', x=x, y=y, text=text)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self.path([(x1, y1), (x2, y2)], kind)

    def path(self, points: Iterable[tuple[float, float]], kind: str) -> None:
        """A line through the points."""
        self.add('<path class="{kind}" d="{d}"/>', kind=kind, d=_path(list(points)))

    def glyphs(self, points: Iterable[tuple[float, float]], kind: str, shape: str) -> None:
        """The same small shape of `GLYPHS` at each point, as one path."""
        d = "".join(f"M{_number(x)} {_number(y)}{GLYPHS[shape]}" for x, y in points)
        if d:
            self.add('<path class="{shape} {kind}" d="{d}"/>', shape=shape, kind=kind, d=d)

    def mark(self, tip: str, tone: int | str, shapes: Sequence[Markup]) -> None:
        """Shapes in one colour that say `tip` when they are pointed at."""
        kind = f"t{tone % 8}" if isinstance(tone, int) else tone
        self.add('<g class="{kind}" data-tip="{tip}">{shapes}</g>', kind=kind, tip=tip, shapes=Markup("").join(shapes))

    def svg(self, label: str) -> Markup:
        """The SVG, which a screen reader calls `label`."""
        head = Markup(
            '<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" '
            'role="img" aria-label="{label}">'
        ).format(w=_plain(self.width), h=_plain(self.height), label=label)
        return head + Markup("").join(self.elements) + Markup("</svg>")


def dot(x: float, y: float, radius: float = 4) -> Markup:
    """A filled circle."""
    return Markup('<circle cx="{}" cy="{}" r="{}"/>').format(_plain(x), _plain(y), _plain(radius))


def whisker(x1: float, y1: float, x2: float, y2: float) -> Markup:
    """A line of an interval."""
    return Markup('<path class="whisker" d="{}"/>').format(_path([(x1, y1), (x2, y2)]))


def diamond(x: float, y: float, radius: float = 5) -> Markup:
    """An open diamond."""
    corners = [(x - radius, y), (x, y - radius), (x + radius, y), (x, y + radius)]
    return Markup('<path class="open" d="{}z"/>').format(_path(corners))


def target(x: float, y: float, width: float, height: float) -> Markup:
    """An invisible rectangle around (x, y) that makes a small mark easy to point at."""
    values = map(_plain, (x - width / 2, y - height / 2, width, height))
    return Markup('<rect class="target" x="{}" y="{}" width="{}" height="{}"/>').format(*values)


@dataclass(frozen=True)
class Frame:
    """The plot area of a chart with its two scales; `y.start` is its bottom."""

    x: Scale
    y: Scale

    def draw(
        self,
        drawing: Drawing,
        x_ticks: Sequence[tuple[float, str]],
        y_ticks: Sequence[tuple[float, str]] = (),
        x_title: str = "",
        y_title: str = "",
    ) -> None:
        """Grid lines, tick labels, and the titles of both axes: below, and above the upper left corner."""
        left, right, bottom, top = self.x.start, self.x.end, self.y.start, self.y.end
        last = -float("inf")
        for value, text in x_ticks:
            at = self.x(value)
            drawing.line(at, top, at, bottom, "rule")
            if at - text_px(text) / 2 > last:
                drawing.text(at, bottom + 16, text, "middle")
                last = at + text_px(text) / 2 + 4
        for value, text in y_ticks:
            at = self.y(value)
            drawing.line(left, at, right, at, "rule")
            drawing.text(left - 6, at + 4, text, "end")
        if x_title:
            drawing.text((left + right) / 2, bottom + 34, fitted(x_title, right - left + 40), "middle", "title")
        if y_title:
            drawing.text(2, 12, fitted(y_title, drawing.width - 4), kind="title")


def _path(points: Sequence[tuple[float, float]]) -> str:
    """`M…` with only what changes: horizontal and vertical steps take one number."""
    text, before = "", ("", "")
    for x, y in ((_number(x), _number(y)) for x, y in points):
        if not text:
            text += f"M{x} {y}"
        elif y == before[1]:
            text += f"H{x}" if x != before[0] else ""
        else:
            text += f"V{y}" if x == before[0] else f"L{x} {y}"
        before = (x, y)
    return text


def _number(value: float) -> str:
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _plain(value: object) -> object:
    return _number(value) if isinstance(value, float) else (value if isinstance(value, Markup) else escape(value))
