"""The page of `predict`: what stands beside each case."""

from dataclasses import replace
from pathlib import Path

import pytest

from radapt.reports import (
    AttentionBars,
    PredictedCase,
    PredictionPage,
    StructureRow,
    shown_rows,
    write_prediction_page,
)
from report_page import Page

PIXEL = "data:image/png;base64,iVBORw0KGgo="

CASE = PredictedCase(
    case="c1", prediction="ill", rows=(), structures=(), image=PIXEL, uncertain="", caption="t1, plane 7 of 12",
    sequences=("t1",), reason="", failed=False, abstained=False, agreement=None,
    nearest=(("k<1>", "ill", 0.9, PIXEL), ("k2", "", 0.8, "")),
    attention=(AttentionBars.of("t1", (0, 4, 6, 11), (0.1, 0.2, 0.6, 0.1)),), several_planes=True, one_of=True,
    doubt=0.23, truth=None, files=(), seconds=1.0,
)  # fmt: skip


def page(tmp_path: Path, case: PredictedCase) -> Page:
    path = write_prediction_page(tmp_path, PredictionPage("model", "", "predictions.csv", (case,), 1, 1))
    return Page(path.read_text(encoding="utf-8"))


def test_bars_stand_where_their_slices_lie() -> None:
    bars = AttentionBars.of("t1", (0, 4, 6, 11), (0.1, 0.2, 0.6, 0.1))
    assert (bars.highest, bars.share) == (7, 0.6)
    left, width, height = zip(*bars.bars, strict=True)
    assert left == pytest.approx((0, 100 / 3, 50, 1100 / 12))
    assert set(width) == {100 / 12}
    assert height == pytest.approx((100 / 6, 100 / 3, 100, 100 / 6))


def test_attention_doubt_and_neighbours_are_shown(tmp_path: Path) -> None:
    shown = page(tmp_path, CASE)
    assert "attention to the slices of t1: plane 7 has 60 %" in shown.text
    assert "ill is wrong with a calibrated probability of 23 %." in shown.text
    assert "k<1> (ill) 0.90" in shown.text
    alternatives = [found.get("alt") for tag, found in shown.elements if tag == "img"]
    assert alternatives == ["t1, plane 7 of 12 of c1", "Training case k<1>"]
    assert sum(tag == "rect" for tag, _ in shown.elements) == 4


def test_a_model_without_attention_says_so_where_there_are_slices_to_weigh(tmp_path: Path) -> None:
    said = "The model does not weigh slices by their content."
    assert said in page(tmp_path / "a", replace(CASE, attention=())).text
    assert said not in page(tmp_path / "b", replace(CASE, attention=(), several_planes=False)).text
    assert said not in page(tmp_path / "c", CASE).text


def test_predicted_dice_stands_beside_the_volume(tmp_path: Path) -> None:
    rows = (StructureRow("core", 1.25, 0.81, 0.7), StructureRow("edge", 0.0, float("nan"), float("nan")))
    shown = page(tmp_path / "a", replace(CASE, structures=rows, uncertain=PIXEL))
    assert "core 1.25 0.81 0.70" in shown.text
    assert "magenta" in shown.text
    plain = page(tmp_path / "b", replace(CASE, structures=(StructureRow("core", 1.25, None, None),)))
    assert "predicted Dice" not in plain.text


def test_an_abstaining_model_gives_no_answer_and_a_weighed_decision_is_explained(tmp_path: Path) -> None:
    rows = shown_rows(("healthy", "ill"), {"healthy": 0.6, "ill": 0.4}, None, {"ill"}, {"healthy"})
    weighed = "healthy is more probable; the decision weighs classes, as in the study."
    answer = page(tmp_path / "a", replace(CASE, rows=rows)).text
    assert weighed in answer
    assert "No answer" not in answer
    abstained = page(tmp_path / "b", replace(CASE, rows=rows, abstained=True)).text
    assert "No answer abstained · the decision would be ill" in abstained
    findings = page(tmp_path / "c", replace(CASE, rows=rows, one_of=False, doubt=None)).text
    assert weighed not in findings
    likely = shown_rows(("healthy", "ill"), {"healthy": 0.4, "ill": 0.6}, None, {"ill"}, {"ill"})
    assert "is more probable" not in page(tmp_path / "d", replace(CASE, rows=likely)).text


def test_the_written_files_are_links_that_say_what_they_are(tmp_path: Path) -> None:
    files = (("Mask", "masks/c #1 50%.nii.gz"), ("DICOM report", "dicom/c1-sr.dcm"))
    shown = page(tmp_path, replace(CASE, files=files))
    assert "Mask: masks/c #1 50%.nii.gz" in shown.text
    assert "DICOM report: dicom/c1-sr.dcm" in shown.text
    links = [found["href"] for tag, found in shown.elements if tag == "a"]
    assert links == ["#main", "predictions.csv", "masks/c%20%231%2050%25.nii.gz", "dicom/c1-sr.dcm"]
