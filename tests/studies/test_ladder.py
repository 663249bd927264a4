"""Learning curves, several image settings, and cohorts that a protocol does not apply to, in one study."""

from pathlib import Path

import pandas as pd
import pytest

from radapt.cohorts import load_cohort
from radapt.errors import UsageError
from radapt.studies import Ledger, Outcome, Plan, Settings, estimate, plan_study, plan_text, read_study, run_study
from radapt.studies.ledger import RESULT_COLUMNS
from toy_study import write_cohort, write_study

BACKBONE = [{"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}]


def with_masks(cohort: Path) -> Path:
    """Gives every case one of its images for a mask: planning looks at files, not into them."""
    table = pd.read_csv(cohort.parent / "cases.csv")
    table["mask"] = table["image:a"]
    table.to_csv(cohort.parent / "cases.csv", index=False)
    return cohort


def settings(folder: Path) -> Settings:
    return Settings(cache=folder / "cache", offline=True)


def plan(study: Path) -> Plan:
    return plan_study(read_study(study), settings(study.parent))


def run(study: Path) -> Outcome:
    return run_study(read_study(study), study.parent / "run", settings(study.parent))


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 1 and 2 shots, three times each, beside the logistic regression on all labels."""
    folder = tmp_path_factory.mktemp("curve")
    few = {"fewshot": {"shots": [1, 2], "fractions": [1.0], "repeats": 3}}
    outcome = run(
        write_study(folder, [write_cohort(folder / "discs")], backbones=BACKBONE, protocols=["logistic", few])
    )
    assert (outcome.planned, outcome.finished, outcome.failures) == (8, 8, ())
    return folder


def test_every_draw_of_a_learning_curve_is_a_cell_of_its_own(curve: Path) -> None:
    results = pd.read_parquet(curve / "run" / "results.parquet")
    assert list(results.columns) == RESULT_COLUMNS
    drawn = results[results["protocol"] == "fewshot"].drop_duplicates("cell")
    sizes = drawn.groupby(["shots", "fraction"], dropna=False).size()
    assert sizes.to_dict() == {(1, sizes.index[0][1]): 3, (2, sizes.index[0][1]): 3, (sizes.index[2][0], 1.0): 1}
    assert results[results["protocol"] == "logistic"]["shots"].isna().all()


def test_the_full_share_of_labels_without_val_is_not_the_refitted_protocol(curve: Path) -> None:
    """Val is never mixed into a curve: its last point is fitted on train alone."""
    cells = {path.parent.name: pd.read_json(path, typ="series") for path in curve.glob("run/cells/*/cell.json")}
    full = next(facts for facts in cells.values() if facts["fraction"] == 1.0)
    whole = next(facts for facts in cells.values() if facts["label"] == "logistic")
    cohort = load_cohort(curve / "discs" / "cohort.yaml")
    labelled = int((cohort.splits == "train").sum())
    assert (full["fit"]["cases"]["train"], full["fit"]["cases"]["refit"]) == (labelled, None)
    assert whole["fit"]["cases"]["refit"] > labelled


def test_draws_are_the_same_for_every_backbone(tmp_path: Path) -> None:
    two = [*BACKBONE, {"name": "cnn", "as": "timm:test_resnet", "weights": "random"}]
    few = {"fewshot": {"shots": [2], "repeats": 2}}
    cells = plan(write_study(tmp_path, [write_cohort(tmp_path / "discs")], backbones=two, protocols=[few])).cells
    drawn = {(cell.facts["backbone"], cell.job.draw.repeat): cell.job.draw.patients for cell in cells if cell.job.draw}
    assert drawn["vit", 0] == drawn["cnn", 0] != drawn["vit", 1]


def test_several_ways_to_make_images_are_compared_side_by_side(tmp_path: Path) -> None:
    images = [{"name": "few", "size": 32, "slices": {"count": 2}}, {"name": "all", "size": 32}]
    study = write_study(tmp_path, [write_cohort(tmp_path / "discs")], backbones=BACKBONE, protocols=["knn"])
    text = study.read_text().replace("image:\n  size: 32\n", "")
    study.write_text(f"{text}images: {images}\n")
    assert run(study).failures == ()
    results = pd.read_parquet(tmp_path / "run" / "results.parquet")
    assert set(results["protocol"]) == {"knn @ few", "knn @ all"}


def test_image_settings_of_an_aim_are_for_its_protocols_alone(tmp_path: Path) -> None:
    images = [
        {"name": "small", "size": 32, "aim": "classification"},
        {"name": "large", "size": 64, "aim": "segmentation"},
    ]
    study = write_study(
        tmp_path, [with_masks(write_cohort(tmp_path / "discs"))], backbones=BACKBONE, protocols=["knn", "segment"]
    )
    study.write_text(study.read_text().replace("image:\n  size: 32\n", f"images: {images}\n"))
    assert {cell.facts["label"] for cell in plan(study).cells} == {"knn @ small", "segment @ large"}
    study.write_text(study.read_text().replace(", {'name': 'large', 'size': 64, 'aim': 'segmentation'}", ""))
    with pytest.raises(UsageError, match="'segment' is for segmentation, but no image settings"):
        plan(study)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": [{"size": 32}, {"name": "b"}]}, "needs a name"),
        ({"images": [{"name": "a"}, {"name": "a"}]}, "twice"),
        ({"images": [{"name": "a"}]}, "both given"),
        ({"image": {"aim": "segmentation"}}, "No protocol of the study is for segmentation"),
        ({"backbones": []}, "need a backbone"),
        ({"protocols": [{"fewshot": {"shots": [0]}}]}, "shots"),
        ({"protocols": [{"fewshot": {"protocol": "logistik"}}]}, "logistic"),
        ({"protocols": [{"fewshot": {"protocol": "knn", "options": {"kk": 3}}}]}, "kk"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    study = write_study(tmp_path, [write_cohort(tmp_path / "discs")], **changes)
    with pytest.raises(UsageError, match=said):
        plan(study)


def test_a_plan_shows_draws_and_their_cells(tmp_path: Path) -> None:
    few = {"fewshot": {"shots": [1], "repeats": 2}}
    study = write_study(tmp_path, [write_cohort(tmp_path / "discs")], backbones=BACKBONE, protocols=[few])
    planned = plan(study)
    text = plan_text(estimate(planned, Ledger(tmp_path / "run"), settings(tmp_path)), planned)
    assert "1 shot, repeat 0" in text
    assert "1 shot, repeat 1" in text
    assert text.splitlines()[-1].startswith("2 cells, 0 of them finished")
