"""Every layout but those of public data sets: recognised by itself alone, read back, refused with what was seen."""

from pathlib import Path

import pytest

from layout_builders import BUILDERS, build_bids, build_msd, scanned, touch
from radapt.cohorts import scan
from radapt.cohorts.layouts import LAYOUTS, recognise
from radapt.cohorts.layouts.registry import matching
from radapt.errors import DataError, UsageError

GENERAL = [name for name, layout in LAYOUTS.items() if not layout.public]


@pytest.mark.parametrize("name", GENERAL)
def test_contract_of_every_layout(name: str, tmp_path: Path) -> None:
    root = BUILDERS[name](tmp_path / "data")
    assert list(matching(root)) == [name]
    cohort = scanned(root, tmp_path / "out")
    assert len(cohort)
    assert cohort.path == tmp_path / "out" / "cohort.yaml"
    assert all(location.path.exists() for case in cohort for location in case.images.values())
    pairs = {(case.patient, case.split) for case in cohort}
    assert len(pairs) == len({patient for patient, _ in pairs})
    assert cohort.split_seed is None
    assert scanned(root, tmp_path / "out", name).splits.tolist() == cohort.splits.tolist()  # same again, no --force


@pytest.mark.parametrize("name", GENERAL)
def test_a_layout_is_found_inside_a_single_folder(name: str, tmp_path: Path) -> None:
    BUILDERS[name](tmp_path / "download" / "inner")
    layout, start = recognise(tmp_path / "download")
    assert layout.name == name
    assert start in (tmp_path / "download", tmp_path / "download" / "inner")


def test_nothing_recognised_says_what_was_seen(tmp_path: Path) -> None:
    touch(tmp_path / "a.txt", tmp_path / "b.doc")
    with pytest.raises(DataError, match=r"2 files \(a.txt, b.doc\).*Known layouts: bids"):
        scan(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        scan(tmp_path / "empty")


def test_several_recognised_say_so(tmp_path: Path) -> None:
    build_msd(build_bids(tmp_path))
    with pytest.raises(DataError, match=r"bids .*msd .*--layout"):
        scan(tmp_path)
    assert len(scan(tmp_path, "msd").table) == 5


def test_unknown_layout_and_missing_source(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'bids'"):
        scan(tmp_path, "bid")
    with pytest.raises(UsageError, match="does not exist"):
        scan(tmp_path / "nowhere")
