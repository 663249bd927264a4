"""What the page shows of charts: figures of views, of which a menu shows one at a time, and their legends."""

from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

DASHES = ("", "d1", "d2", "d3")


@dataclass(frozen=True)
class LegendEntry:
    """A name, and the class of its line or mark."""

    text: str
    kind: str


@dataclass(frozen=True)
class Chart:
    """One SVG with its title and legend, which the page sets as text."""

    title: str
    svg: Markup
    legend: tuple[LegendEntry, ...] = ()


@dataclass(frozen=True)
class ChartView:
    """Charts that are shown together; `name` is a metric, or what a menu calls them, in the menu's `group`."""

    name: str
    charts: tuple[Chart, ...]
    group: str = ""


@dataclass(frozen=True)
class Figure:
    """Views of one kind of chart. The metric menu chooses `by` metric, else the figure has its own menu."""

    kind: str
    by: Literal["metric", "menu"]
    views: tuple[ChartView, ...]
    leading: str = ""
    title: str = ""

    @property
    def first(self) -> int:
        """The index of the view that is shown first."""
        names = [view.name for view in self.views]
        return names.index(self.leading) if self.leading in names else 0

    @property
    def groups(self) -> dict[str, list[tuple[int, str]]]:
        """The entries of the menu by group."""
        found: dict[str, list[tuple[int, str]]] = {}
        for index, view in enumerate(self.views):
            found.setdefault(view.group, []).append((index, view.name))
        return found


def line_kind(index: int) -> str:
    """The class of the colour and dashes of the line `index`."""
    return " ".join(filter(None, (f"t{index % 8}", DASHES[index // 8 % len(DASHES)])))
