"""Pictures of cases: small slices and outlines on them, drawn when a run ends, and left out where a study says so."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from radapt.cli import main
from radapt.cohorts import Cohort, load_cohort
from radapt.errors import DataError, UsageError
from radapt.images import Recipe, Volume, read, same_grid, write_labels
from radapt.locations import Location
from radapt.reports import write_report
from radapt.studies.case_pictures import write
from radapt.studies.case_pictures.outlines import loops, outline_path
from radapt.studies.case_pictures.sprites import PLANE_PX, SLICE_PX, SLICES, sprite_of
from radapt.studies.case_pictures.volumes import MOST_VOLUME_BYTES, CaseVolume, is_volume, save_volume
from radapt.studies.case_pictures.wanted import WantedPictures
from radapt.studies.study import read_study
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


def test_a_single_plane_is_larger_and_keeps_its_colours() -> None:
    plane = np.zeros((1, 3, 50, 50), np.uint8)
    plane[:, 0] = 200
    sprite = sprite_of(plane)
    assert (sprite.planes, sprite.total, sprite.width) == ((1,), 1, PLANE_PX)
    red, green, _ = np.asarray(opened(sprite.image))[100, 100]
    assert red > 180
    assert green < 30


def test_slices_show_the_structures_of_every_mask() -> None:
    masks = np.zeros((3, 40, 64, 64), np.uint8)
    masks[0, 10:20, 16:48, 16:48] = 1
    masks[1, 15:25, 24:40, 24:40] = 2
    masks[2, 30, 1, 1] = 1  # a false alarm of another method is a failure to be seen
    planes = np.full((40, 1, 64, 64), 90, np.uint8)
    assert (sprite_of(planes, masks[:2]).planes[0], sprite_of(planes, masks[:2]).planes[-1]) == (11, 25)
    assert sprite_of(planes, masks).planes[-1] == 31
    assert len(sprite_of(planes, masks).planes) == SLICES


def test_outlines_by_hand() -> None:
    """A square with a hole above a single pixel that touches it at a corner, and the same one plane below."""
    mask = np.zeros((5, 4, 5), np.uint8)
    mask[2] = [[1, 1, 1, 0, 0], [1, 0, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 2, 0]]
    mask[4, 0, 4] = 1
    assert outline_path(mask, [2], 5, 4) == "M0 0h3v3h-3zM1 2h1v-1h-1zM3 3h1v1h-1z"
    assert outline_path(mask, [3, 4], 5, 4) == "M4 4h1v1h-1z"
    assert outline_path(mask, [2], 10, 8) == "M0 0h6v6h-6zM2 4h2v-2h-2zM6 6h2v2h-2z"
    assert outline_path(mask, [0, 1, 3], 5, 4) == ""


def test_an_outline_encloses_what_it_is_of() -> None:
    """Filled by rows (even-odd) it is the mask again; noise has holes and pixels that touch at corners."""
    mask = np.random.default_rng(0).random((20, 30)) < 0.5
    walls = np.zeros((20, 31), int)
    for corners in loops(mask):
        for (x, y), (to_x, to_y) in zip(corners, [*corners[1:], corners[0]], strict=True):
            assert (x == to_x) != (y == to_y)
            walls[min(y, to_y) : max(y, to_y), x] += x == to_x
    np.testing.assert_array_equal(np.cumsum(walls, axis=1)[:, :30] % 2, mask)


def mask_cell(folder: Path, id_: str, masks: dict[str, np.ndarray], cohort: Cohort | None = None) -> SimpleNamespace:
    """A cell of masks (5, 16, 16) by case, as far as pictures need one."""
    (folder / "cells" / id_ / "masks").mkdir(parents=True)
    for case, mask in masks.items():
        write_labels(folder / "cells" / id_ / "masks" / f"{case}.nii.gz", Volume(mask, np.eye(4)))
    prepared = SimpleNamespace(cohort=cohort, recipe=Recipe.for_kind("other"))
    job = SimpleNamespace(protocol=SimpleNamespace(aim="segmentation"))
    return SimpleNamespace(id=id_, prepared=prepared, job=job, encoder=None)


def test_every_method_is_outlined_on_the_same_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, rows, true = np.random.default_rng(0), [], np.zeros((16, 16, 5), np.uint8)
    true[4:12, 4:12, 1:4] = 1
    write_labels(tmp_path / "truth.nii.gz", Volume(true, np.eye(4)))
    for case in ("c0", "c1"):
        write_labels(tmp_path / f"{case}.nii.gz", Volume(rng.integers(0, 255, true.shape).astype(np.uint8), np.eye(4)))
        images = {"image:a": f"{case}.nii.gz", "image:b": f"{case}.nii.gz"}
        rows.append({"case": case, "split": "test", **images, "mask": "truth.nii.gz"})
    pd.DataFrame(rows).to_csv(tmp_path / "cases.csv", index=False)
    (tmp_path / "cohort.yaml").write_text("{name: m, kind: other, cases: cases.csv, mask_labels: {1: disc}}")
    cohort, run = load_cohort(tmp_path / "cohort.yaml"), tmp_path / "run"
    noise = (rng.random(true.shape) < 0.5).astype(np.uint8)
    best = mask_cell(run, "best", {"c0": np.roll(true, 1, axis=0), "c1": true}, cohort)
    mask_cell(run, "second", {"c0": np.roll(true, 2, axis=0)})
    mask_cell(run, "elsewhere", {"c0": true[:8], "c1": true[:8]})
    mask_cell(run, "noisy", {"c0": noise, "c1": noise})
    wanted = WantedPictures("best", ("c0", "c1"), ("second", "elsewhere", "noisy"))

    def drawn() -> list[dict]:
        write.write_case_pictures(run, [best], [wanted], tmp_path / "cache")  # type: ignore[list-item]
        return json.loads((run / "case_pictures" / "best" / "index.json").read_text("utf-8"))["cases"]

    first, last = drawn()
    assert list(first["predicted"]) == ["best", "second", "noisy"]
    assert list(last["predicted"]) == ["best", "noisy"]
    assert [image["masked"] for image in first["images"]] == [True, True]
    assert first["images"][0]["planes"] == [1, 2, 3, 4, 5]
    assert last["predicted"]["best"] == last["truth"] == first["truth"]
    paths = first["truth"], first["predicted"]["best"], first["predicted"]["second"]
    step, y = write.MASKED_SLICE_PX // 16, write.MASKED_SLICE_PX * 5 // 4  # from above, on the second of five slices
    # The patient's right, where the first axis points to, is on the left of a picture.
    assert [path.split("h")[0] for path in paths] == [f"M{x * step} {y}" for x in (4, 3, 2)]

    # Outlines of methods after the best are left out where they are large, never those of the best.
    monkeypatch.setattr(write, "MOST_OUTLINE_BYTES", 300)
    assert [list(entry["predicted"]) for entry in drawn()] == [["best", "second"], ["best"]]


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


def test_a_run_keeps_the_volumes_that_its_study_wants(tmp_path: Path) -> None:
    folder = run(tmp_path, protocols=["knn"], volumes=2)
    (index,) = folder.glob("case_pictures/*/index.json")
    entries = json.loads(index.read_text("utf-8"))["cases"]
    assert ["volume" in entry for entry in entries] == [True, True] + [False] * 10
    files = sorted(path.name for path in index.parent.glob("*.nii.gz"))
    assert files == ["0-volume-image.nii.gz", "1-volume-image.nii.gz"]  # a classification: no masks
    facts = entries[0]["volume"]
    assert (facts["shape"], facts["stored"], facts["spacing_mm"]) == ([16, 16, 5], [16, 16, 5], [1, 1, 1])
    stored = read(Location(index.parent / facts["image"]))
    assert (stored.array.dtype, stored.array.shape) == (np.uint8, (16, 16, 5))
    digests = json.loads((folder / "digests.json").read_text("utf-8"))["files"]
    assert f"case_pictures/{index.parent.name}/0-volume-image.nii.gz" in digests
    page = (folder / "report.html").read_text("utf-8")
    assert "2 small volumes" in page
    assert 'class="library"' in page
    assert verified(folder) == 0
    damaged = index.parent / "0-volume-image.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert verified(folder) == 1

    # Without images, and by default, the page holds neither volumes nor the library.
    write_report(folder, images=False)
    assert 'class="library"' not in (folder / "report.html").read_text("utf-8")
    without = run(tmp_path, protocols=["knn"])
    assert not [*without.rglob("*-volume-*")]
    page = (without / "report.html").read_text("utf-8")
    assert 'class="library"' not in page
    assert "radaptVolume =" not in page
    assert len(page) < 500_000


def verified(folder: Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(folder)])
    return int(ended.value.code or 0)


def test_volumes_need_pictures(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'pictures: none' keeps out"):
        read_study(write_study(tmp_path, [write_cohort(tmp_path / "discs")], volumes=1, pictures="none"))


def test_a_volume_is_joined_until_it_is_small(tmp_path: Path) -> None:
    """Noise does not compress, so it is the largest a volume can be; faces and structures stay where they are."""
    shape, affine = (200, 160, 60), np.array([[-0.5, 0, 0, 40], [0, 0.5, 0, -7], [0, 0, 2, 3], [0, 0, 0, 1.0]])
    noise = Volume(np.random.default_rng(0).integers(0, 4000, shape).astype(np.int16), affine)
    truth = np.zeros(shape, np.uint8)
    truth[40:80, 100:140, 20:40] = 2
    facts = save_volume(tmp_path, "0", CaseVolume("t1", noise, Volume(truth, affine)), Recipe.for_kind("mri"))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= MOST_VOLUME_BYTES
    assert facts["stored"] == list(shape)
    assert facts["shape"][2] == 60  # the thick voxels are kept
    image, labels = (read(Location(tmp_path / facts[kind])) for kind in ("image", "truth"))
    assert same_grid(image, labels) is None
    assert np.prod(facts["shape"]) > MOST_VOLUME_BYTES / 2  # no smaller than it must be
    for volume in (noise.to_ras(), image):
        corner = volume.affine @ [-0.5, -0.5, -0.5, 1]
        assert corner[:3] == pytest.approx([40 - 199.5 * 0.5, -7.25, 2], abs=1e-3)
    centre = (labels.affine @ [*np.argwhere(labels.array == 2).mean(axis=0), 1])[:3]
    assert centre == pytest.approx([40 - 59.5 * 0.5, -7 + 119.5 * 0.5, 3 + 29.5 * 2], abs=0.5)
    volume_ml = (labels.array == 2).sum() * np.prod(labels.spacing_mm)
    assert volume_ml == pytest.approx(40 * 40 * 20 * 0.5, rel=0.06)


def test_colour_and_flat_images_are_no_volumes() -> None:
    assert is_volume(Volume(np.zeros((4, 4, 2), np.uint8), np.eye(4)))
    assert not is_volume(Volume(np.zeros((4, 4, 1), np.uint8), np.eye(4)))
    assert not is_volume(Volume(np.zeros((4, 4, 2, 3), np.uint8), np.eye(4)))


def test_the_grey_levels_of_three_windows_are_those_of_the_middle_one() -> None:
    hounsfield = np.full((2, 2, 2), 50, np.int16)  # in the middle of the soft-tissue window, -150 to 250
    assert (Recipe.for_kind("ct").grey(Volume(hounsfield, np.eye(4))).array == 128).all()
    with pytest.raises(DataError, match="grey"):
        Recipe.for_kind("other").grey(Volume(np.zeros((4, 4, 2, 3), np.uint8), np.eye(4)))


def test_a_study_without_pictures_holds_none(tmp_path: Path) -> None:
    folder = run(tmp_path, protocols=["knn"], pictures="none")
    assert not [*folder.rglob("*.png"), *folder.rglob("*.webp")]
    page = (folder / "report.html").read_text("utf-8")
    assert "It embeds no image of a patient." in page
    assert "Images are left out of this file." in page
