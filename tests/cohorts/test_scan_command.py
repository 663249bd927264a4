"""radapt scan: what it writes, what it says, and what it will not write over."""

import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from radapt.cli.scan import scan
from radapt.cohorts import load_cohort
from radapt.errors import UsageError

app = typer.Typer()
app.command()(scan)


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for label in ("ill", "well"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for at in range(10):
            (tmp_path / "pictures" / label / f"{label}{at}.png").touch()
    return tmp_path / "pictures"


def test_writes_a_cohort_and_says_what_is_in_it(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "cohort.yaml"
    result = call(pictures, "--out", out, "--kind", "xray", "--name", "mine", "--seed", 3, "--val", 0.1, "--test", 0.3)
    for part in ("mine: 20 cases of unknown patients", "ill 10, well 10", "train 12, val 2, test 6", str(out)):
        assert part in result.stdout
    cohort = load_cohort(out)
    assert cohort.name == "mine"
    assert (tmp_path / "out" / "cases.csv").read_text().splitlines()[0] == "case,patient,split,image,label"
    assert "../pictures/ill/ill0.png" in (tmp_path / "out" / "cases.csv").read_text()


def test_counts_are_said_in_words(tmp_path: Path) -> None:
    rows = "".join(f"{at}.png,p{at},{['a', 'b', ''][at % 3]},{['north', ''][at % 2]}\n" for at in range(15))
    (tmp_path / "table.csv").write_text(f"file,patient,label,site\n{rows}")
    for at in range(15):
        (tmp_path / f"{at}.png").touch()
    said = call(tmp_path / "table.csv", "--out", tmp_path / "cohort.yaml").stdout
    assert "classes: a 5, b 5, unlabelled 5" in said
    assert "sites: north 8, unknown 7" in said
    (tmp_path / "one.csv").write_text("file\n0.png\n")
    assert "1 case of unknown patients," in call(tmp_path / "one.csv", "--out", tmp_path / "one.yaml").stdout


def test_the_folder_can_be_moved_with_its_images(pictures: Path, tmp_path: Path) -> None:
    call(pictures, "--out", pictures / "cohort.yaml")
    pictures.rename(tmp_path / "elsewhere")
    assert len(load_cohort(tmp_path / "elsewhere" / "cohort.yaml")) == 20


def test_another_cohort_is_not_written_over(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "cohort.yaml"
    call(pictures, "--out", out)
    before = (tmp_path / "cases.csv").read_bytes()
    call(pictures, "--out", out)  # the same again is fine
    other = shutil.copytree(pictures, tmp_path / "other")
    with pytest.raises(UsageError, match="--force"):
        call(other, "--out", out, "--seed", 1)
    assert (tmp_path / "cases.csv").read_bytes() == before
    call(other, "--out", out, "--seed", 1, "--force")
    assert (tmp_path / "cases.csv").read_bytes() != before


def test_scanning_again_looks_at_the_data_and_not_at_the_cohort(pictures: Path) -> None:
    call(pictures, "--out", pictures / "cohort.yaml")
    (pictures / "ill" / "new.png").touch()
    said = call(pictures, "--out", pictures / "cohort.yaml").stdout
    assert "21 cases" in said
    assert "note: Overwritten: cohort.yaml and cases.csv of an earlier scan (20 cases)." in said
    assert "layout table" in call(pictures, "--out", pictures.parent / "copy.yaml").stdout


def test_an_archive_whose_cohort_cannot_be_written_is_not_left_unpacked(pictures: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "x"), "zip", pictures)
    with pytest.raises(UsageError, match=r"expected a file such as"):
        call(archive, "--out", tmp_path / "out" / "cohort.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "x.zip"]
    call(archive, "--out", tmp_path / "out" / "cohort.yaml")
    before = sorted((tmp_path / "out").iterdir())
    (tmp_path / "out" / "cases.csv").write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        call(archive, "--out", tmp_path / "out" / "cohort.yaml", "--seed", 1)
    assert sorted((tmp_path / "out").iterdir()) == before


def test_two_cohorts_in_one_folder(pictures: Path, tmp_path: Path) -> None:
    call(pictures, "--out", tmp_path / "one.yaml")
    call(pictures, "--out", tmp_path / "two.yaml", "--seed", 9)
    assert load_cohort(tmp_path / "one.yaml").splits.tolist() != load_cohort(tmp_path / "two.yaml").splits.tolist()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "x.csv"],
        ["--out", "c.yaml", "--kind", "mr"],
        ["--out", "c.yaml", "--val", "0.6", "--test", "0.6"],
        ["--out", "c.yaml", "--layout", "folder"],
        ["--out", "c.yaml", "--external", "A"],
    ],
)
def test_wrong_options(arguments: list[str], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        call(pictures, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


@pytest.mark.parametrize("option", [("--folds", "site"), ("--external", "A")])
def test_columns_that_could_hold_sites_are_named(option: tuple[str, str], pictures: Path, tmp_path: Path) -> None:
    files = sorted(pictures.rglob("*.png"))[:6]
    rows = [f"{path},{'ab'[at % 2]},{'AAABBB'[at]},{at}\n" for at, path in enumerate(files)]
    (tmp_path / "table.csv").write_text("file,label,clinic,age\n" + "".join(rows))
    with pytest.raises(UsageError, match=r"needs sites.* Columns it could be: clinic\.$"):
        call(tmp_path / "table.csv", "--out", tmp_path / "cohort.yaml", *option)
