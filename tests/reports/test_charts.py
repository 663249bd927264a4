"""Charts as SVG: ticks that are numbers, texts that cover no other, colours of the style sheet alone."""

import math
import re
from pathlib import Path

import pytest

from radapt.reports.charts.drawing import WIDTH, Drawing, fitted
from radapt.reports.charts.scale import Scale, around, log_ticks, ticks
from report_page import charts_of, page_of, texts_of

KINDS = ("forest", "roc", "reliability", "learning", "strip", "cost")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, ["0.00", "0.25", "0.50", "0.75", "1.00"]),
        (0.513, 0.547, ["0.52", "0.53", "0.54"]),
        (-3, 41, ["0", "10", "20", "30", "40"]),
        (-0.4, 0.41, ["−0.4", "−0.2", "0.0", "0.2", "0.4"]),
        (0.9991, 1.0003, ["0.99925", "0.99950", "0.99975", "1.00000", "1.00025"]),
        (0, 12_000, ["0", "2500", "5000", "7500", "10000"]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[str]) -> None:
    assert [text for _, text in ticks(low, high)] == expected
    for value, text in ticks(low, high):
        assert low <= value + 1e-9
        assert value - 1e-9 <= high
        assert float(text.replace("−", "-")) == pytest.approx(value, abs=1e-9)


def test_ticks_of_a_logarithm_are_at_least_two() -> None:
    assert [text for _, text in log_ticks(0.02, 160)] == ["0.1", "1", "10", "100"]
    assert [text for _, text in log_ticks(1.9, 8)] == ["2", "5"]


def test_a_scale_clips_and_may_point_upwards() -> None:
    up = Scale(0, 2, 100, 20)
    assert [up(value) for value in (-1, 0, 1, 2, 9)] == [100, 100, 60, 20, 20]
    assert Scale(1, 100, 0, 10, log=True)(10) == pytest.approx(5)
    assert Scale(1, 100, 0, 10, log=True)(0) == 0


def test_a_range_without_values_is_that_of_a_share() -> None:
    assert around([None, math.nan, math.inf]) == (0, 1)
    low, high = around([0.5])
    assert low < 0.5 < high


def test_texts_and_tips_are_escaped() -> None:
    drawing = Drawing(10)
    drawing.text(0, 0, "<script>")
    drawing.mark('"><img>', 0, [])
    svg = str(drawing.svg('"<b>'))
    assert "<script>" not in svg
    assert "<img>" not in svg
    assert 'aria-label="&#34;&lt;b&gt;"' in svg
    assert fitted("a" * 80, 68) == "a" * 9 + "…"


@pytest.fixture
def full_run(toy_run, toy_cohort) -> Path:
    """Every kind of chart, with long names, many methods and two test sets."""
    cost = {"trained": 1000, "parameters": 50_000, "peak_memory_mb": 80.0, "seconds": 9.0}
    labels = ("core of the tumour with a long name", "rim")
    toy = toy_cohort(tests=("test", "external"), patients=20, mask_labels=dict(enumerate(labels, 1)))
    toy_run.cohort(toy).backbone("dinov2-s")
    for shots in (1, 2, 4, 64):
        toy_run.cell(toy, "dinov2-s", "fewshot", protocol="knn", shots=shots, repeat=0)
    toy_run.cell(toy, "dinov2-s", "knn", protocol="knn")
    for index in range(9):
        trained = cost | {"trained": 900 + 40 * index}
        toy_run.cell(toy, "dinov2-s", f"a protocol of a rather long name {index}", cost=trained, skill=0.1 * index)
    toy_run.segmentation(toy, "dinov2-s", "segment", labels=labels, cost=cost)
    toy_run.segmentation(toy, "none", "unet", labels=labels, cost=cost)
    run = toy_run.finish()
    page_of(run)
    return run


def test_no_text_covers_another_or_leaves_the_chart(full_run: Path) -> None:
    charts = [(kind, svg) for kind in KINDS for _, svg in charts_of(full_run, kind)]
    assert {kind for kind, _ in charts} == set(KINDS)
    for kind, svg in charts:
        named = {name for one in svg.iter() for name in one.attrib}
        assert not named & {"fill", "stroke", "style", "color"}, kind  # colours are those of the style sheet
        assert not re.search(r"\b(nan|inf|None)\b", " ".join(one.attrib.get("d", "") for one in svg.iter())), kind
        boxes = texts_of(svg)
        height = float(svg.attrib["height"])
        assert float(svg.attrib["width"]) <= WIDTH, kind
        for index, (left, top, right, bottom, text) in enumerate(boxes):
            assert left >= -4, (kind, text)
            assert right <= WIDTH + 8, (kind, text)
            assert -4 <= top <= bottom <= height + 1, (kind, text)
            for other in boxes[index + 1 :]:
                apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
                assert apart, (kind, text, other[4])
