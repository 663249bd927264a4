"""Pictures of cases: small slices and outlines on them, drawn when a run ends, and left out where a study says so."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radapt.cli import main
from radapt.reports import write_report
from radapt.studies.case_pictures import write
from radapt.studies.case_pictures.sprites import PLANE_PX, SLICE_PX, SLICES, sprite_of
from toy_study import write_cohort, write_study


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_slices_lie_below_each_other_in_their_order() -> None:
    planes = np.zeros((30, 1, 40, 80), np.uint8)
    planes[:] = (np.arange(30) * 8).reshape(30, 1, 1, 1)
    sprite = sprite_of(planes)
    assert (sprite.width, sprite.height, sprite.total) == (SLICE_PX, SLICE_PX // 2, 30)
    assert len(sprite.planes) == SLICES
    assert sprite.planes[0] > 1  # the outermost slices show little
    assert sprite.planes[-1] < 30
    picture = np.asarray(opened(sprite.image))
    assert picture.shape == (SLICES * sprite.height, sprite.width, 3)
    middles = picture[sprite.height // 2 :: sprite.height, sprite.width // 2, 0].astype(int)
    assert np.abs(middles - 8 * (np.asarray(sprite.planes) - 1)).max() <= 3
    assert (sprite.truth, sprite.predicted) == (b"", b"")


def test_a_single_plane_is_larger_and_keeps_its_colours() -> None:
    plane = np.zeros((1, 3, 50, 50), np.uint8)
    plane[:, 0] = 200
    sprite = sprite_of(plane)
    assert (sprite.planes, sprite.total, sprite.width) == ((1,), 1, PLANE_PX)
    red, green, _ = np.asarray(opened(sprite.image))[100, 100]
    assert red > 180
    assert green < 30


def test_outlines_lie_on_the_slices_that_show_a_structure() -> None:
    truth, predicted = np.zeros((2, 40, 64, 64), np.uint8)
    truth[10:20, 16:48, 16:48] = 1
    predicted[15:25, 24:40, 24:40] = 2
    sprite = sprite_of(np.full((40, 1, 64, 64), 90, np.uint8), truth, predicted)
    assert (sprite.planes[0], sprite.planes[-1]) == (11, 25)
    alpha = np.asarray(opened(sprite.truth).convert("RGBA"))[:, :, 3]
    assert alpha.shape == (SLICES * sprite.height, sprite.width)
    drawn = [bool(part.any()) for part in alpha.reshape(SLICES, -1)]
    assert drawn == [11 <= plane <= 20 for plane in sprite.planes]
    side = sprite.width / 64
    first = alpha[: sprite.height]
    assert first[int(32 * side), int(16 * side)]  # the edge
    assert not first[int(32 * side), int(32 * side)]  # the inside
    assert opened(sprite.predicted).convert("RGBA").getpixel((int(24 * side), 7 * sprite.height + 96))[3]


def run(tmp_path: Path, **changes: object) -> Path:
    encoder = {"name": "cnn", "as": "timm:test_resnet", "weights": "random", "dtype": "float32"}
    study = write_study(tmp_path, [write_cohort(tmp_path / "discs")], backbones=[encoder], **changes)
    words = ["run", study, "--out", tmp_path / "run", "--cache", tmp_path / "cache", "--device", "cpu", "--offline"]
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert not ended.value.code
    return tmp_path / "run"


def test_a_run_draws_its_cases_and_their_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(tmp_path, protocols=["knn"])
    (index,) = folder.glob("case_pictures/*/index.json")
    stored = json.loads(index.read_text("utf-8"))
    tested = {f"c{patient}" for patient in range(36) if (patient // 2) % 6 > 3}
    assert {entry["case"] for entry in stored["cases"]} == tested
    (entry,) = [entry for entry in stored["cases"] if entry["case"] == "c9"]
    assert [image["sequence"] for image in entry["images"]] == ["a"]  # its sequence b is missing
    assert entry["images"][0]["planes"] == [1, 2, 3, 4, 5]
    assert len(entry["nearest"]) == 3
    assert all((int(case[1:]) // 2) % 6 < 3 for case, *_ in entry["nearest"])  # of train
    digests = json.loads((folder / "digests.json").read_text("utf-8"))["files"]
    assert index.relative_to(folder).as_posix() in digests
    page = (folder / "report.html").read_text("utf-8")
    assert "It embeds images of patients" in page
    assert "12 cases with small slices" in page

    # The same page without images, and pictures within a number of bytes.
    write_report(folder, images=False)
    page = (folder / "report.html").read_text("utf-8")
    assert "It embeds no image of a patient." in page
    assert "data:image/" not in page
    monkeypatch.setattr(write, "MOST_BYTES", sum(file.stat().st_size for file in index.parent.glob("0-*")))
    again = run(tmp_path, protocols=["knn"])
    stored = json.loads(next(again.glob("case_pictures/*/index.json")).read_text("utf-8"))
    assert (len(stored["cases"]), stored["left_out"]) == (1, 11)


def test_a_study_without_pictures_holds_none(tmp_path: Path) -> None:
    folder = run(tmp_path, protocols=["knn"], pictures="none")
    assert not [*folder.rglob("*.png"), *folder.rglob("*.webp")]
    page = (folder / "report.html").read_text("utf-8")
    assert "It embeds no image of a patient." in page
    assert "Images are left out of this file." in page
