"""Contrast of the page's colours, computed from the variables of its style sheet: WCAG AA, light, dark and in print."""

import re

import pytest

from radapt.reports.templating import asset

STYLE = asset("report.css")
AA_TEXT, AA_GRAPHIC = 4.5, 3.0
SURFACES = ("paper", "sheet", "wash")

Rgb = tuple[float, float, float]


def variables(scheme: str) -> dict[str, Rgb]:
    """The colours of a scheme; dark and print change some of the light ones."""
    blocks = {
        "light": r"^:root \{(.*?)\}",
        "dark": r"dark\) \{\s*:root \{(.*?)\}",
        "print": r"@media print \{\s*:root \{(.*?)\}",
    }
    found: dict[str, Rgb] = {}
    for name in dict.fromkeys(("light", scheme)):
        (block,) = re.findall(blocks[name], STYLE, re.DOTALL | re.MULTILINE)
        for variable, value in re.findall(r"--([\w-]+): #([0-9a-f]{3,6})\b", block):
            digits = "".join(2 * one for one in value) if len(value) == 3 else value
            found[variable] = tuple(int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))  # type: ignore[assignment]
    return found


def luminance(colour: Rgb) -> float:
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Rgb, other: Rgb) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(one: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (share * a + (1 - share) * b for a, b in zip(one, other, strict=True))
    return red, green, blue


def test_the_measure_is_that_of_the_standard() -> None:
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    assert contrast((0.4667, 0.4667, 0.4667), (1, 1, 1)) == pytest.approx(4.48, abs=0.01)  # #777 on white just fails


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_text_can_be_read_on_every_surface(scheme: str) -> None:
    colours = variables(scheme)
    pairs = [(text, on) for text in ("ink", "soft", "faint", "accent", "warn", "bad", "good") for on in SURFACES]
    pairs += [("warn", "warn-wash"), ("ink", "warn-wash"), ("sheet", "ink")]
    pairs += [(text, "accent-wash") for text in ("ink", "soft", "accent")]
    weak = {pair: round(contrast(colours[pair[0]], colours[pair[1]]), 2) for pair in pairs}
    assert {pair: value for pair, value in weak.items() if value < AA_TEXT} == {}


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_lines_of_charts_stand_out(scheme: str) -> None:
    colours = variables(scheme)
    weak = {name: round(contrast(colours[name], colours["sheet"]), 2) for name in (f"c{index}" for index in range(8))}
    assert {name: value for name, value in weak.items() if value < AA_GRAPHIC} == {}


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_numbers_can_be_read_on_coloured_cells(scheme: str) -> None:
    colours = variables(scheme)
    right, wrong = ((42 / 255, 157 / 255, 143 / 255), (224 / 255, 138 / 255, 74 / 255))
    for tone, most in ((right, 0.55), (wrong, 0.55), (colours["accent"], 0.45), (colours["miss"], 0.6)):
        for step in range(11):
            cell = mixed(tone, colours["sheet"], most * step / 10)
            assert contrast(colours["ink"], cell) >= AA_TEXT, (tone, step)


def test_those_are_the_shares_of_the_style_sheet() -> None:
    assert "var(--tone) calc(var(--share) * .55)" in STYLE
    assert "--tone: #2a9d8f" in STYLE
    assert "--tone: #e08a4a" in STYLE
    assert "var(--miss) calc(var(--share) * .6)" in STYLE


def test_no_rule_makes_text_smaller_than_12_px() -> None:
    sizes = [float(size) for size in re.findall(r"font(?:-size)?:[^;{}]*?(?<![\d.])(\d*\.?\d+)rem", STYLE)]
    assert sizes
    assert min(sizes) * 16 >= 12
