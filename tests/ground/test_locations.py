from pathlib import Path

import pytest

from radapt.errors import DataError, suggest
from radapt.locations import Location


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.nii.gz", Location(Path("a.nii.gz"))),
        ("b/file.npz::train_images[17]", Location(Path("b/file.npz"), "train_images", 17)),
        ("file.npz::volume", Location(Path("file.npz"), "volume")),
        ("folder::series-0123456789ab", Location(Path("folder"), "series-0123456789ab")),
    ],
)
def test_a_location_reads_back_as_it_was_written(text: str, expected: Location) -> None:
    assert Location.parse(text) == expected
    assert str(expected) == text


def test_a_relative_path_starts_at_the_base_and_an_absolute_one_does_not() -> None:
    assert Location.parse("a.png", Path("/data")).path == Path("/data/a.png")
    assert Location.parse("/else/a.png", Path("/data")).path == Path("/else/a.png")


@pytest.mark.parametrize("text", ["::a[1]", "f.npz::", "f.npz::a[-1]", "f.npz::a[x]", "f.npz::[3]", "f.npz::a[1][2]"])
def test_a_location_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="is not valid"):
        Location.parse(text)


def test_suggestions_ignore_case_and_list_what_is_known() -> None:
    assert suggest("LABEL", ["label", "site"]) == "Did you mean 'label'? Known: label, site."
    assert suggest("zzz", ["label", "site"]) == "Known: label, site."


def test_a_mask_in_several_files_reads_back_and_names_them() -> None:
    text = "Manual Mask::{1=left/a (1).png|2=right/a.png}"
    location = Location.parse(text)
    assert location.parts == ((1, "left/a (1).png"), (2, "right/a.png"))
    assert str(location) == text
    assert location.files == (Path("Manual Mask/left/a (1).png"), Path("Manual Mask/right/a.png"))
    assert Location(Path("a.png")).files == (Path("a.png"),)


@pytest.mark.parametrize("text", ["d::{}", "d::{a.png}", "d::{1=}", "d::{1=a.png|}", "::{1=a.png}"])
def test_a_mask_in_several_files_needs_a_label_and_a_file_each(text: str) -> None:
    with pytest.raises(DataError, match="is not valid"):
        Location.parse(text)
