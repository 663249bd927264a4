"""The charts of the report as SVG and PNG files that stand alone."""

import re
from functools import cache

from markupsafe import escape

from radapt.reports.charts.figure import Chart
from radapt.reports.formatting import MINUS
from radapt.reports.templating import asset

_ROW_PX, _PAD_PX, _ZOOM = 18, 10, 3
_SIGNS = f'<text y="15">{MINUS}</text>'
_RULE = re.compile(r"(?:^|(?<=}))\s*([^{}]*\.(?:chart|t\d)[^{}]*){([^{}]*)}", re.M)
_VIEW = re.compile(r'^<svg class="chart"[^>]*?viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*?aria-label="([^"]*)">')


def standalone(chart: Chart, heading: str) -> str:
    """The SVG with its styles inlined, in the light colours, on white, with `heading` above and its legend below."""
    found = _VIEW.match(str(chart.svg))
    if found is None:
        raise ValueError("A chart is an SVG of `Drawing.svg`.")
    width, height = float(found[1]), float(found[2])
    entries = "".join(
        f'<path class="line {escape(entry.kind)}" d="M8 {height + _ROW_PX * (row + 1) - 4:g}h18"/>'
        f'<text x="32" y="{height + _ROW_PX * (row + 1):g}">{escape(entry.text)}</text>'
        for row, entry in enumerate(chart.legend)
    )
    full, top = height + _ROW_PX * len(chart.legend) + 2 * _PAD_PX, _ROW_PX + _PAD_PX
    inner = str(chart.svg)[found.end() : -len("</svg>")]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="{-_PAD_PX} {-top} {width + 2 * _PAD_PX:g} '
        f'{full + top:g}" width="{width + 2 * _PAD_PX:g}" height="{full + top:g}" role="img" aria-label="{found[3]}">'
        f"<style>{_style()}</style>"
        f'<rect x="{-_PAD_PX}" y="{-top}" width="{width + 2 * _PAD_PX:g}" height="{full + top:g}" fill="#fff"/>'
        f'<text class="name" x="0" y="{-_PAD_PX}">{escape(heading)}</text>{inner}{entries}</svg>\n'
    )


def as_png(svg: str) -> bytes | None:
    """The pixels of a standalone chart, three to a CSS pixel; None where no font of this machine draws its text."""
    from resvg_py import svg_to_bytes  # needed for an export alone

    return bytes(svg_to_bytes(svg_string=svg, zoom=_ZOOM)) if _draws_text() else None


@cache
def _draws_text() -> bool:
    """Whether there is a font: without one a chart would lack its numbers, and no error would say so."""
    from resvg_py import svg_to_bytes

    svg = '<svg xmlns="http://www.w3.org/2000/svg" class="chart" width="60" height="20"><style>{}</style>{}</svg>'
    pages = [bytes(svg_to_bytes(svg_string=svg.format(_style(), text))) for text in ("", _SIGNS)]
    return pages[0] != pages[1]


@cache
def _style() -> str:
    """The rules of the style sheet for charts, with the colours of the light page."""
    sheet = asset("report.css")
    colours = dict(re.findall(r"(--[\w-]+):\s*([^;]+);", sheet[: sheet.index("}")]))
    rules = [f"{name.strip()} {{{body}}}" for name, body in _RULE.findall(sheet) if "data-tip" not in name]
    return re.sub(r"var\((--[\w-]+)\)", lambda found: colours.get(found[1], "#000").replace('"', "'"), " ".join(rules))
