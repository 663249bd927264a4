"""Near-duplicates in a cohort: pairs of patients, folds, and stacks whose planes match in order."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radapt.cases import near_duplicates as module
from radapt.cases.near_duplicates import HashedImage, NearDuplicate, near_duplicates
from radapt.cohorts import Cohort, load_cohort
from radapt.images import Volume, read
from radapt.images.duplicates.hashes import plane_hashes
from radapt.locations import Location
from toy_pictures import picture, rotate, stack

SPLITS = ("train", "train", "val", "test", "test", "test")


def write(folder: Path, arrays: list[np.ndarray], splits: tuple[str, ...] = SPLITS, config: str = "") -> Cohort:
    """One case of a patient each."""
    rows = []
    for at, array in enumerate(arrays):
        np.save(folder / f"{at}.npy", array)
        row = {"case": f"c{at}", "patient": f"p{at}", "split": splits[at], "fold": at % 3}
        if len(arrays) == len(SPLITS):
            row["label"] = "ab"[at % 2]
        rows.append({**row, "image": f"{at}.npy"})
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    (folder / "cohort.yaml").write_text(f"name: toy\nkind: other\ncases: cases.csv\n{config}")
    return load_cohort(folder / "cohort.yaml")


def found(
    cohort: Cohort, *, across: bool = True, read: Callable[[Location, str], Volume] = read
) -> list[NearDuplicate]:
    images = [
        HashedImage(case, name, location, plane_hashes(read(location, name)))
        for case in cohort
        for name, location in case.images.items()
    ]
    return near_duplicates(cohort, images, read, across=across)


def names(pairs: list[NearDuplicate]) -> list[tuple[str, str]]:
    return [(pair.first.case, pair.second.case) for pair in pairs]


def test_a_rotated_picture_in_another_split_is_found(tmp_path: Path) -> None:
    pictures = [picture(seed) for seed in range(6)]
    pictures[4], pictures[5] = rotate(pictures[1]), pictures[3][:, ::-1]
    cohort = write(tmp_path, pictures)
    (pair,) = found(cohort)
    assert names([pair]) == [("c1", "c4")]
    assert pair.across
    assert pair.match.words() == "rotated by 3°"
    assert pair.match.correlation > 0.9
    assert names(found(cohort, across=False)) == [("c1", "c4"), ("c3", "c5")]


def test_folds_are_places(tmp_path: Path) -> None:
    pictures = [picture(seed) for seed in range(6)]
    pictures[3], pictures[5] = rotate(pictures[0]), rotate(pictures[1])  # folds 0 and 0, 1 and 2
    cohort = write(tmp_path, pictures, config="split: {folds_column: fold}\n")
    assert names(found(cohort)) == [("c1", "c5")]
    assert names(found(cohort, across=False)) == [("c0", "c3"), ("c1", "c5")]


def test_stacks_count_when_several_planes_match_in_order(tmp_path: Path) -> None:
    stacks = [stack(seed) for seed in range(6)]
    stacks[3] = stacks[0][1:7] * 1.3 + 20  # a part
    stacks[4] = stacks[1][::-1, :, ::-1].copy()  # from head to feet, and mirrored
    stacks[5][4] = stacks[2][3]  # a single plane
    cohort = write(tmp_path, stacks)
    pairs = found(cohort)
    assert names(pairs) == [("c0", "c3"), ("c1", "c4")]
    assert all(pair.n_planes >= 3 for pair in pairs)
    shuffled = stacks[0][[4, 0, 5, 2, 7, 1]]
    single = [stacks[0], stacks[2], shuffled, stacks[0][3:4]]
    cohort = write(tmp_path, single, ("train", "train", "test", "test"))
    assert ("c0", "c3") in names(found(cohort))  # a picture needs one plane


def test_one_patient_may_have_one_picture_twice_and_images_that_cannot_be_read_have_no_duplicates(
    tmp_path: Path,
) -> None:
    cohort = write(tmp_path, [picture(0), rotate(picture(0)), picture(1)], ("train", "test", "test"))
    assert len(found(cohort)) == 1
    (tmp_path / "1.npy").write_bytes(b"")
    images = [
        HashedImage(case, "image", case.images["image"], plane_hashes(Volume.from_planes(picture(0)[None])))
        for case in cohort
    ]
    assert names(near_duplicates(cohort, images, read, across=True)) == []
    table = pd.read_csv(tmp_path / "cases.csv").assign(patient="p", split="train")
    table.to_csv(tmp_path / "cases.csv", index=False)
    np.save(tmp_path / "1.npy", rotate(picture(0)))
    assert found(load_cohort(tmp_path / "cohort.yaml"), across=False) == []


def test_nothing_is_found_in_nothing(tmp_path: Path) -> None:
    cohort = write(tmp_path, [picture(0)], ("train",))
    assert near_duplicates(cohort, [], read, across=True) == []
    assert found(cohort) == []


@pytest.mark.parametrize("side", [36, 64, 300])
def test_small_and_large_pictures(side: int, tmp_path: Path) -> None:
    pictures = [picture(seed, side) for seed in range(6)]
    pictures[4] = rotate(pictures[1])
    assert names(found(write(tmp_path, pictures))) == [("c1", "c4")]


@pytest.mark.parametrize(
    ("planes", "longest"), [([], 0), ([4], 1), ([1, 3, 2, 5], 3), ([9, 4, 6, 1], 3), ([3, 3, 4], 2), ([2, 2], 1)]
)
def test_planes_in_order_rise_or_fall(planes: list[int], longest: int) -> None:
    assert module._in_order(planes) == longest


def test_a_search_ends_after_many_candidates_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates 0, 3 and 20 match; they are compared eight at a time, the most similar first."""
    pairs: Any = {(number, 100): [(0, 0, 0)] for number in range(30)}
    monkeypatch.setattr(module, "_READERS", 1)
    own = module._Confirmation(list(range(101)), read)  # type: ignore[arg-type]
    monkeypatch.setattr(own, "_match", lambda images, planes: (planes, 1) if images[0] in (0, 3, 20) else None)

    def matched(patience: int) -> list[Any]:
        monkeypatch.setattr(module, "_PATIENCE", patience)
        return [first for first, *_ in own.matches(pairs, lambda one, other: one == 3)]

    assert matched(30) == [0, 20]  # 3 is left out
    assert matched(15) == [0, 20]  # 15 of the first two eights are none
    assert matched(14) == [0]
