"""Many images in one file: what `scan` says of it, and the table that it asks for."""

from pathlib import Path

import numpy as np
import pytest

from layout_builders import touch
from radapt.cohorts import load_cohort, scan, write_cohort
from radapt.errors import DataError
from radapt.images import read


@pytest.mark.parametrize("folder", [True, False], ids=["folder", "file"])
def test_an_npz_of_other_arrays_is_answered_with_the_table_that_reads_it(folder: bool, tmp_path: Path) -> None:
    planes = np.arange(4 * 9 * 9, dtype=np.uint16).reshape(4, 9, 9)
    np.savez(tmp_path / "pack.npz", x=planes)
    with pytest.raises(DataError, match=r"image \(pack\.npz::ARRAY\[0\], pack\.npz::ARRAY\[1\], …\) and label"):
        scan(tmp_path if folder else tmp_path / "pack.npz")
    rows = [f"pack.npz::x[{at}],{'ab'[at % 2]}" for at in range(4)]
    (tmp_path / "table.csv").write_text("\n".join(["image,label", *rows]))
    path, _ = write_cohort(scan(tmp_path / "table.csv"), tmp_path / "cohort.yaml")
    cases = load_cohort(path).cases
    np.testing.assert_array_equal(read(cases[3].images["image"]).planes("axial")[0], planes[3])


@pytest.mark.parametrize("ending", [".h5", ".hdf5", ".tfrecord", ".pkl"])
def test_packs_that_are_not_read_are_named(ending: str, tmp_path: Path) -> None:
    touch(tmp_path / f"data{ending}")
    for source in (tmp_path, tmp_path / f"data{ending}"):
        with pytest.raises(DataError, match=rf"\{ending} files are not read: save the arrays with numpy\.savez"):
            scan(source)
