"""Controls beside the protocols of a study: which are run, which cannot be, and what is said about them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from radapt import load_backbone
from radapt.cli import app
from radapt.errors import UsageError
from radapt.studies import Settings, estimate, plan_study, plan_text, read_study
from radapt.studies.ledger import Ledger
from radapt.studies.plan import Plan
from toy_study import write_cohort, write_study

VIT = {"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}


def cohort_of(folder: Path, *, signal: str, patients: int = 48, **columns: Any) -> Path:
    """Discs with a column `age`; only it, or only the images, depend on the label."""
    path = write_cohort(folder, patients=patients)
    table, rng = pd.read_csv(folder / "cases.csv"), np.random.default_rng(0)
    ill = (table["label"] == "ill").to_numpy()
    table["age"] = np.round(rng.normal(50, 4, patients) + 20 * ill * (signal == "age"))
    table["sex"] = np.where(np.arange(patients) // 2 % 2, "F", "M")
    if signal == "age":
        for file in sorted((folder / "images").glob("*.npy")):
            np.save(file, rng.normal(100, 20, (5, 16, 16)).astype(np.float32))
    table.assign(**columns).to_csv(folder / "cases.csv", index=False)
    return path


def trained(folder: Path) -> dict[str, str]:
    """A backbone with weights from a file: radapt cannot know that nobody trained them."""
    module = load_backbone("timm:test_vit", "random:7").module
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, folder / "w.safetensors")
    return {**VIT, "weights": str(folder / "w.safetensors")}


def plan(folder: Path, cohort: Path, **changes: Any) -> Plan:
    study = write_study(
        folder, [cohort], **({"controls": "auto", "backbones": [VIT], "protocols": ["logistic"]} | changes)
    )
    return plan_study(read_study(study), Settings(cache=folder / "cache", offline=True))


def controls(planned: Plan) -> dict[str, tuple[str, str]]:
    """Control -> backbone and label of its cells."""
    facts = [cell.facts for cell in planned.cells if cell.facts["control"]]
    return {each["control"]: (each["backbone"], each["label"]) for each in facts}


def reasons(planned: Plan) -> dict[str, str]:
    return {one.control: one.reason for one in planned.skipped_controls}


def test_lesions_are_measured_where_there_are_masks(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path / "discs", signal="age")
    assert "lesion-numbers" not in controls(plan(tmp_path, cohort))
    assert "lesion-numbers" not in reasons(plan(tmp_path, cohort)), "without any mask it is not missed"
    disc = np.broadcast_to(np.hypot(*np.mgrid[-8:8, -8:8]) < 4, (5, 16, 16)).astype(np.uint8)
    np.save(tmp_path / "discs/disc.npy", disc)
    table = pd.read_csv(tmp_path / "discs/cases.csv")
    table.assign(mask="disc.npy").to_csv(tmp_path / "discs/cases.csv", index=False)
    cohort.write_text(cohort.read_text() + "mask_labels: {1: disc}\n")
    assert controls(plan(tmp_path, cohort))["lesion-numbers"] == ("vit", "size and texture of the lesion")
    study = write_study(
        tmp_path, [cohort], controls=["lesion-numbers"], backbones=[VIT], protocols=["logistic"], choose="val",
        resamples=100,
    )  # fmt: skip
    words = ["run", str(study), "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache"), "--offline"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    results = pd.read_parquet(tmp_path / "run/results.parquet")
    assert set(results["control"]) == {"", "lesion-numbers"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("controls")
    cohort = cohort_of(folder / "discs", signal="age", scanner="A", id=[f"x{row}" for row in range(48)])
    study = write_study(
        folder, [cohort], controls="auto", backbones=[trained(folder)], protocols=["knn", "logistic"], seeds=[0, 1],
        choose="val",
    )  # fmt: skip
    words = ["run", str(study), "--out", str(folder / "run"), "--cache", str(folder / "cache"), "--offline"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    again = CliRunner().invoke(app, words)
    assert "0 cells finished now" in again.output
    return folder / "run", result.output


def test_every_control_has_rows_that_are_marked(ran: tuple[Path, str]) -> None:
    results = pd.read_parquet(ran[0] / "results.parquet")
    found = results[["control", "backbone", "protocol"]].drop_duplicates().sort_values("control").to_numpy().tolist()
    assert found == [
        ["", "vit", "knn"],
        ["", "vit", "logistic"],
        ["age-sex", "none", "age and sex"],
        ["first-order", "none", "brightness and outline"],
        ["metadata", "none", "metadata"],
        ["random-weights", "vit (random weights)", "logistic"],
        ["shuffled-labels", "vit", "shuffled labels"],
    ]
    assert results.groupby("protocol")["seed"].nunique().eq(2).all()


def test_the_first_screen_and_the_terminal_say_that_the_images_add_nothing(ran: tuple[Path, str]) -> None:
    folder, output = ran
    page = (folder / "report.html").read_text(encoding="utf-8")
    answers = page[page.index('class="answers"') : page.index('class="chapter"')]
    for text in (answers, output):
        assert "It is not shown to be better than age and sex" in text or "It is worse than age and sex by" in text
        assert "age and sex was best" not in text
    assert "Random weights: these results" not in page, "only a control has them"
    assert "Controls: AUROC" in page
    assert "has a value of its own for each patient" in page
    assert "scanner&#39;" in page


def test_a_control_is_never_ranked(ran: tuple[Path, str]) -> None:
    page = (ran[0] / "report.html").read_text(encoding="utf-8")
    board = page[page.index('<table class="leaderboard') :]
    board = board[: board.index("</table>")]
    assert "logistic" in board
    assert "shuffled" not in board
    assert "age and sex" not in board


@pytest.mark.slow
def test_images_that_show_the_disease_are_better_than_age(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path / "discs", signal="images", patients=120)
    study = write_study(tmp_path, [cohort], controls=["age-sex"], backbones=[VIT], protocols=["logistic"], choose="val")
    words = ["run", str(study), "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache"), "--offline"]
    result = CliRunner().invoke(app, words)
    assert "It is better than age and sex by 0." in result.output, result.output


def test_the_plan_names_controls_and_their_cost(tmp_path: Path) -> None:
    quick = {"protocols": [{"logistic": {"C": [0.01, 1], "blocks": 1}}], "choose": "val"}
    planned = plan(tmp_path, cohort_of(tmp_path / "discs", signal="age"), backbones=[trained(tmp_path)], **quick)
    assert set(controls(planned)) == {"shuffled-labels", "random-weights", "age-sex", "first-order", "metadata"}
    text = plan_text(estimate(planned, Ledger(tmp_path / "run"), Settings(cache=tmp_path / "cache")), planned)
    assert "controls on discs" in text
    assert "age and sex, control, seed 0" in text
    assert "training time is unknown" not in text


def test_no_control_changes_the_cell_of_another(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path / "discs", signal="age")
    without, beside = (plan(tmp_path, cohort, controls=which) for which in ("none", "auto"))
    assert {cell.id for cell in without.cells} < {cell.id for cell in beside.cells}
    assert not controls(without)


def test_metadata_decide_the_cells_that_read_them_alone(tmp_path: Path) -> None:
    first = plan(tmp_path, cohort_of(tmp_path / "discs", signal="age"))
    second = plan(tmp_path, cohort_of(tmp_path / "other", signal="age", sex=["F", "M", "M"] * 16))
    ids = [{cell.facts["control"]: cell.id for cell in planned.cells} for planned in (first, second)]
    assert {name for name in ids[1] if ids[0].get(name) != ids[1][name]} == {"age-sex", "metadata"}


@pytest.mark.parametrize(
    ("columns", "changes", "why"),
    [
        ({"age": "", "sex": ""}, {}, {"age-sex": "in every case, column 'age' is empty and column 'sex' is empty"}),
        ({"age": "", "sex": "M"}, {}, {"age-sex": "column 'sex' has a single value"}),
        ({}, {"protocols": ["bitfit"]}, {"shuffled-labels": "no protocol of the study is a probe"}),
    ],
)
def test_what_cannot_be_run_says_why(
    tmp_path: Path, columns: dict[str, str], changes: dict[str, Any], why: dict[str, str]
) -> None:
    planned = plan(tmp_path, cohort_of(tmp_path / "discs", signal="age", **columns), **changes)
    for name, words in why.items():
        assert words in reasons(planned)[name]
        assert name not in controls(planned)


def test_one_of_age_and_sex_is_enough(tmp_path: Path) -> None:
    planned = plan(tmp_path, cohort_of(tmp_path / "discs", signal="age", sex="", site="home"))
    assert controls(planned)["age-sex"] == ("none", "age")
    assert "metadata" not in {**controls(planned), **reasons(planned)}, "it would be the same once more"


def test_a_cohort_without_age_and_sex_is_said_on_the_first_screen(tmp_path: Path) -> None:
    study = write_study(
        tmp_path, [write_cohort(tmp_path / "discs")], controls="auto", backbones=[VIT], protocols=["knn"]
    )
    words = ["run", str(study), "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache"), "--offline"]
    output = CliRunner().invoke(app, words).output
    assert "whether age and sex alone do as well: the cohort has no column of age or sex" in output


@pytest.mark.parametrize(
    "protocols", [[{"fewshot": {"shots": [2], "repeats": 1}}], [{"segment": {"decoder": "linear"}}], ["metadata"]]
)
def test_learning_curves_masks_and_controls_alone_have_no_controls(tmp_path: Path, protocols: list[Any]) -> None:
    cohort = cohort_of(tmp_path / "discs", signal="age")
    table = pd.read_csv(cohort.parent / "cases.csv")
    table.assign(mask=table["image:a"]).to_csv(cohort.parent / "cases.csv", index=False)
    backbones = [] if protocols == ["metadata"] else [VIT]
    planned = plan(tmp_path, cohort, protocols=protocols, backbones=backbones)
    assert len(planned.cells) == 1
    assert planned.skipped_controls == ()


def test_a_control_with_options_and_a_title(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path / "discs", signal="age", grade=[1, 2, 3, 4] * 12)
    entry = {"metadata": {"without": ["grade"]}, "title": "all but grade"}
    planned = plan(tmp_path, cohort, controls=[entry])
    assert controls(planned) == {"metadata": ("none", "all but grade")}
    assert planned.study.resolved().count("all but grade") == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("atuo", "'auto', 'none' or a list of controls was expected"),
        (["metdata"], "Unknown control 'metdata'. Did you mean 'metadata'?"),
        (["logistic"], "Unknown control 'logistic'"),
        ([{"age-sex": {"C": [1]}}], "'age-sex' has no options, but C is given"),
    ],
)
def test_an_unknown_control_is_refused(tmp_path: Path, given: Any, said: str) -> None:
    with pytest.raises(UsageError) as error:
        plan(tmp_path, cohort_of(tmp_path / "discs", signal="age"), controls=given)
    assert said in str(error.value)
