"""All that a training reads is read before it starts, and everything damaged is listed."""

from pathlib import Path

import numpy as np
import pytest

from radapt.cases import CaseReader
from radapt.cases.preflight import attempt, failure_list, read_images
from radapt.errors import DataError
from radapt.images import Recipe, SliceCache
from radapt.progress import silent
from toy_images import image_cohort

RECIPE = Recipe.for_kind("other", size=8)
GREY = np.full((2, 8, 8), 9, np.uint8)


def reader_of(images: list[dict[str, np.ndarray]], tmp_path: Path) -> CaseReader:
    cohort = image_cohort(tmp_path / "images", images, [0] * len(images), ["train"] * len(images))
    return CaseReader(cohort, SliceCache(tmp_path / "cache"), RECIPE, cohort.modalities, grid="own")


def test_it_gives_the_most_channels_and_a_key_of_every_image(tmp_path: Path) -> None:
    colour = np.zeros((8, 8, 3), np.uint8)
    reader = reader_of([{"a": GREY, "b": GREY + 1}, {"a": colour}, {"b": GREY}], tmp_path)
    channels, keys = read_images(reader, np.arange(3), silent)
    assert channels == 3
    assert [keys.index(key) for key in keys] == [0, 1, 2, 0]  # keys are of bytes: two images are the same
    assert read_images(reader, np.array([2]), silent) == (1, keys[3:])


def test_bad_images_are_all_named_by_case(tmp_path: Path) -> None:
    bad = np.full((2, 8, 8), np.nan, np.float32)
    reader = reader_of([{"a": GREY}, {"a": bad}, {"a": bad}], tmp_path)
    with pytest.raises(DataError, match=r"2 of the 3 images .*\n  case c1, a: .*NaN.*\n  case c2, a"):
        read_images(reader, np.arange(3), silent)
    read_images(reader, np.arange(1), silent)


def test_a_case_without_images_is_named(tmp_path: Path) -> None:
    reader = reader_of([{"a": GREY}, {}], tmp_path)
    with pytest.raises(DataError, match="Case c1 has no image, so nothing can be learned from it"):
        read_images(reader, np.arange(2), silent)


@pytest.mark.parametrize("workers", [1, 3])
def test_failures_and_results_keep_their_positions(workers: int) -> None:
    def read(number: int) -> int:
        if number % 3 == 1:
            raise DataError(f"Case c{number}: torn")
        return number * 10

    results, failures = attempt(range(6), read, silent, "Reading", "cases", workers)
    assert results == {0: 0, 2: 20, 3: 30, 5: 50}
    assert failures == {1: "Case c1: torn", 4: "Case c4: torn"}
    with pytest.raises(ZeroDivisionError):  # a fault of the code is not one of the data
        attempt([0], lambda number: 1 // number, silent, "Reading", "cases")


def test_a_long_list_is_cut() -> None:
    said = failure_list("3 of 9 cannot be used", ["Case a: x", "Case b: y", "Z"], listed=2)
    assert said == "3 of 9 cannot be used:\n  case a: x\n  case b: y\n  and 1 more"
