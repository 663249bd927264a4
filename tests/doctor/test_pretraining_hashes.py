"""Test patients among pictures of which a list of hashes is given, and no picture."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from radapt.cli.app import app
from radapt.errors import DataError
from radapt.images.duplicates.hash_file import is_hash_file, read_hashes
from toy_pictures import jpeg, picture, rotate


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The hashes of nine pictures, and a file that is none: 3 is c0 compressed, 5 is c1 rotated."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for number in range(9):
        array = {3: jpeg(picture(0)), 5: rotate(picture(1))}.get(number, picture(100 + number))
        Image.fromarray(array).save(folder / f"secret-{number}.png")
    (folder / "z.txt").write_text("no image")
    outcome = call("hashes", folder, "--out", tmp_path / "hashes.parquet", "--cache", tmp_path / "cache")
    assert outcome.exit_code == 0, outcome.output
    assert "9 pictures in" in outcome.output
    assert "1 other file left out" in outcome.output
    return tmp_path / "hashes.parquet"


def cohort(folder: Path, splits: list[str], side: int | None = None) -> Path:
    folder.mkdir()
    for number in range(len(splits)):
        image = Image.fromarray(picture(number))
        (image.resize((side, side)) if side else image).save(folder / f"{number}.png")
    rows = [
        {"case": f"c{number}", "patient": f"p{number}", "image": f"{number}.png", "split": split}
        for number, split in enumerate(splits)
    ]
    pd.DataFrame(rows).assign(label=["a", "b"] * (len(rows) // 2)).to_csv(folder / "cases.csv", index=False)
    (folder / "cohort.yaml").write_text("name: toy\nkind: xray\ncases: cases.csv\n")
    return folder / "cohort.yaml"


def test_test_patients_are_found_by_hashes_alone(shared: Path, tmp_path: Path) -> None:
    ours = cohort(tmp_path / "ours", ["test", "test", "test", "test", "train", "train"])
    outcome = call("check", ours, "--pretraining", shared, "--cache", tmp_path / "cache")
    assert outcome.exit_code == 0, outcome.output
    said = " ".join(outcome.output.split())
    assert "2 of 4 test patients are, by hashes alone, among 9 pictures of the pretraining." in said
    assert "looks like picture 3 of the pretraining" in said
    assert "looks like picture 5 of the pretraining" in said
    assert said.count("looks like picture") == 2


def test_patients_who_are_trained_on_are_not_searched_for(shared: Path, tmp_path: Path) -> None:
    ours = cohort(tmp_path / "ours", ["train", "train", "test", "test", "train", "train"])
    assert "looks like" not in call("check", ours, "--pretraining", shared, "--cache", tmp_path / "cache").output


def test_small_pictures_are_not_searched_and_this_is_said(shared: Path, tmp_path: Path) -> None:
    ours = cohort(tmp_path / "ours", ["test", "test", "test", "test", "train", "train"], side=28)
    said = " ".join(call("check", ours, "--pretraining", shared, "--cache", tmp_path / "cache").output.split())
    assert "looks like" not in said
    assert "4 images of test patients too small or too plain for a search by hashes alone." in said


def test_the_file_holds_no_name_and_no_pixel(shared: Path) -> None:
    table = pd.read_parquet(shared)
    assert list(table) == ["picture", "plane", "hash", "version"]
    assert set(map(len, table["hash"])) == {161}
    assert b"secret" not in shared.read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.assign(version=9), "hashes of another version; expected version 1"),
        (lambda table: table.assign(hash=b"short"), "holds no hashes that can be read"),
        (lambda table: table[:0], "holds no pictures"),
    ],
)
def test_hashes_that_cannot_be_used_are_refused(shared: Path, change, said: str) -> None:
    change(pd.read_parquet(shared)).to_parquet(shared)
    assert is_hash_file(shared)
    with pytest.raises(DataError, match=said):
        read_hashes(shared)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    np.savetxt(tmp_path / "texts" / "numbers.txt", [1, 2])
    outcome = call("hashes", tmp_path / "texts", "--out", tmp_path / "hashes.parquet", "--cache", tmp_path / "cache")
    assert isinstance(outcome.exception, DataError)
    assert "has no image that can be read, of 1 file" in str(outcome.exception)
    assert not (tmp_path / "hashes.parquet").exists()
