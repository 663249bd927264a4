"""Images that two patients share are found before a cell runs, by bytes and by pixels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radapt.cohorts import Cohort, load_cohort
from radapt.errors import DataError
from radapt.images import Recipe, SliceCache
from radapt.locations import Location
from radapt.studies import Outcome, Settings, read_study, run_study
from radapt.studies.duplicates import Duplicates, refuse_equal_images
from toy_pictures import stack
from toy_study import write_cohort, write_study


def run(study: Path) -> Outcome:
    return run_study(read_study(study), study.parent / "run", Settings(cache=study.parent / "cache", offline=True))


def share(cohort: Path, source: str, target: str, *, reencoded: bool) -> None:
    """The image `a` of case `target` becomes that of `source`."""
    one, other = (cohort.parent / f"images/{name[1:]}-a.npy" for name in (source, target))
    np.save(other, np.load(one).astype(np.float64)) if reencoded else other.write_bytes(one.read_bytes())


@pytest.mark.parametrize(("reencoded", "what"), [(False, "bytes"), (True, "pixels")])
def test_an_image_in_train_and_test_stops_the_cohort(reencoded: bool, what: str, tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path)
    splits = load_cohort(cohort)
    train, test = (next(case.case for case in splits if case.split == name) for name in ("train", "test"))
    share(cohort, train, test, reencoded=reencoded)
    backbones = [{"name": "cnn", "as": "timm:test_resnet", "weights": "random", "dtype": "float32"}]
    outcome = run(write_study(tmp_path, [cohort], backbones=backbones, protocols=["knn"]))
    assert outcome.finished == 0
    assert f"equal {what}" in outcome.reasons()
    assert repr(train) in outcome.reasons()
    assert repr(test) in outcome.reasons()
    assert "duplicates: allow" in outcome.reasons()
    allowed = write_study(tmp_path, [cohort], backbones=backbones, protocols=["knn"], duplicates="allow")
    assert run(allowed).finished == 1


@pytest.mark.parametrize(
    ("splits", "duplicates", "refused"),
    [
        (("train", "test"), "warn", True),
        (("train", "train"), "warn", False),
        (("train", "train"), "strict", True),
        (("train", "test"), "allow", False),
    ],
)
def test_what_is_refused(splits: tuple[str, str], duplicates: Duplicates, refused: bool, tmp_path: Path) -> None:
    cohort = shared(tmp_path, splits)

    def digest(modality: str, location: Location) -> str:
        return "same" if location.path.name in ("0-a.npy", "2-a.npy") else str(location)

    if refused:
        with pytest.raises(DataError, match="1 pair of images with equal bytes"):
            refuse_equal_images(cohort, duplicates, digest, "bytes")
    else:
        refuse_equal_images(cohort, duplicates, digest, "bytes")
    refuse_equal_images(cohort, duplicates, digest, "bytes", counts=lambda *_: False)


def shared(folder: Path, splits: tuple[str, str]) -> Cohort:
    """Six patients in train, but the first and the third in `splits`."""
    cohort = write_cohort(folder, patients=6)
    table = pd.read_csv(folder / "cases.csv").assign(split="train")
    table.loc[[0, 2], "split"] = splits
    table.to_csv(folder / "cases.csv", index=False)
    return load_cohort(cohort)


def test_the_digest_of_planes_is_that_of_their_pixels(tmp_path: Path) -> None:
    write_cohort(tmp_path, patients=4)
    slices, recipe = SliceCache(tmp_path / "cache"), Recipe.for_kind("other", size=16)
    cohort = load_cohort(tmp_path / "cohort.yaml")
    one, other = (case.images["a"] for case in cohort.cases[:2])
    before = slices.planes_digest(one, recipe), slices.planes_digest(other, recipe)
    assert before[0] != before[1]
    np.save(other.path, np.load(one.path).astype(np.float64))
    assert slices.planes_digest(other, recipe) == before[0]
    (entry,) = (tmp_path / "cache" / "slices").rglob(f"{slices.key(one, recipe)}.npy")
    entry.unlink()
    assert slices.planes_digest(one, recipe) == before[0]


def nearly_share(cohort: Path, source: str, target: str) -> None:
    """Images `a` become pictures; that of `target` is the picture of `source`, mirrored and in another contrast."""
    for path in sorted(cohort.parent.glob("images/*-a.npy")):
        np.save(path, stack(int(path.name.split("-")[0]), planes=4, side=48))
    one, other = (cohort.parent / f"images/{name[1:]}-a.npy" for name in (source, target))
    np.save(other, 1.2 * np.load(one)[:, :, ::-1] + 10)


def test_near_identical_images_are_a_warning_with_a_list(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cohort = write_cohort(tmp_path, patients=24)
    splits = load_cohort(cohort)
    train, test = (next(case.case for case in splits if case.split == name) for name in ("train", "test"))
    nearly_share(cohort, train, test)
    backbones = [{"name": "cnn", "as": "timm:test_resnet", "weights": "random", "dtype": "float32"}]
    study = write_study(tmp_path, [cohort], backbones=backbones, protocols=["knn"])
    with caplog.at_level("WARNING", "radapt"):
        outcome = run(study)
    assert outcome.finished == 1
    (said,) = [record.getMessage() for record in caplog.records if "near-identical" in record.getMessage()]
    for part in ("1 pair", repr(train), repr(test), "in train", "in test", "mirrored", "duplicates: strict"):
        assert part in said
    table = pd.read_csv(tmp_path / "run/cohorts/discs/near_duplicates.csv")
    assert table[["case", "in", "other_case", "other_in", "modality"]].to_numpy().tolist() == [
        [train, "train", test, "test", "a"]
    ]
    assert table.loc[0, "correlation"] > 0.9
    assert table.loc[0, "planes"] >= 3
    caplog.clear()
    write_study(tmp_path, [cohort], backbones=backbones, protocols=["linear"], duplicates="strict")
    outcome = run_study(read_study(study), tmp_path / "strict", Settings(cache=tmp_path / "cache", offline=True))
    assert outcome.finished == 0
    assert "near-identical" in outcome.reasons()
    assert "duplicates: allow" in outcome.reasons()
    write_study(tmp_path, [cohort], backbones=backbones, protocols=["linear"], duplicates="allow")
    outcome = run_study(read_study(study), tmp_path / "allow", Settings(cache=tmp_path / "cache", offline=True))
    assert outcome.finished == 1
    assert not caplog.records
    assert not (tmp_path / "allow/cohorts/discs/near_duplicates.csv").exists()
