"""A study that looks at lesions: what results and records say of it, and what its model folders give back."""

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import radapt
from radapt.errors import UsageError
from radapt.features import LesionFeatures
from radapt.images import Recipe
from radapt.protocols import make
from radapt.protocols.image_problem import ImageProblem
from radapt.studies import Settings, plan_study, read_study, run_study

CASES, PLANES, SIZE = 24, 3, 64
LORA = {"lora": {"epochs": 2, "lr": [0.01], "rank": 2, "batch": 4}}
MIL = {"mil": {"epochs": 2, "lr": [0.001], "slices": "mean"}}


def write_heads(folder: Path, *, masks: str = "all", folds: bool = False) -> Path:
    """Grey heads with a small white lesion, striped in class `b`; `masks` of `all` cases, of none, moved in test, or of
    those in fold `x` of three."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, rows = np.random.default_rng(0), []
    for number in range(CASES):
        head, mask = np.zeros((2, PLANES, SIZE, SIZE), np.uint8)
        head[:, 8:56, 8:56] = rng.integers(60, 90, (PLANES, 48, 48))
        top, left, plane = 16 * (number % 3), 16 * (number // 3 % 3), number % 2
        mask[plane : plane + 2, top : top + 16, left : left + 16] = 1
        head[mask > 0] = 230
        if number % 2:
            head[:, top : top + 16 : 4][mask[:, top : top + 16 : 4] > 0] = 150
        split = ["train", "train", "train", "test"][number // 2 % 4]
        if masks == "moved" and split == "test":
            mask = np.roll(mask, (1, 16, 16), (0, 1, 2))
        np.save(folder / f"{number}.npy", head)
        np.save(folder / f"{number}-mask.npy", mask)
        row = {"case": f"c{number}", "patient": f"p{number}", "label": "ab"[number % 2], "image": f"{number}.npy"}
        fold = "xyz"[number // 2 % 3]
        row["mask"] = "" if masks == "none" or (masks == "x" and fold != "x") else f"{number}-mask.npy"
        rows.append(row | ({"fold": fold} if masks == "x" else {} if folds else {"split": split}))
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    facts: dict[str, Any] = {"name": "heads", "kind": "other", "cases": "cases.csv", "mask_labels": {1: "lesion"}}
    facts |= {"split": {"folds_column": "fold"} if masks == "x" else {"folds": 2}} if folds or masks == "x" else {}
    (folder / "cohort.yaml").write_text(yaml.safe_dump(facts))
    return folder / "cohort.yaml"


def study_of(cohort: Path, protocols: list[Any], **image: Any) -> Path:
    path = cohort.parent / "study.yaml"
    facts = {
        "name": "look", "cohorts": [str(cohort)], "protocols": protocols, "resamples": 100, "controls": "none",
        "backbones": [{"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}],
        "image": {"size": SIZE, "look": "lesion", **image},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(facts))
    return path


def run(study: Path, out: Path) -> pd.DataFrame:
    outcome = run_study(read_study(study), out, Settings(cache=study.parent / "cache"))
    assert not outcome.failures
    return pd.read_parquet(out / "results.parquet")


def cells(out: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    found = {}
    for path in (out / "cells").glob("*/cell.json"):
        facts = json.loads(path.read_text())
        found[facts["protocol"]] = (path.parent, facts)
    return found


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("heads")
    cohort = write_heads(folder / "cohort")
    run(study_of(cohort, ["knn", "logistic", MIL, LORA]), folder / "run")
    return cohort, folder / "run"


def test_results_say_what_was_looked_at_and_by_whose_masks(heads: tuple[Path, Path]) -> None:
    results = pd.read_parquet(heads[1] / "results.parquet")
    assert set(results["look"]) == {"lesion"}
    assert set(results["lesion_masks"]) == {"training"}
    for _, facts in cells(heads[1]).values():
        assert any("masks of 18 training cases" in note for note in facts["fit"]["notes"])


@pytest.mark.parametrize("protocol", ["knn", "logistic", "mil", "lora"])
def test_the_model_folder_finds_the_lesion_again(heads: tuple[Path, Path], protocol: str, tmp_path: Path) -> None:
    cohort = radapt.load_cohort(heads[0])
    folder = cells(heads[1])[protocol][0]
    stored = pd.read_parquet(folder / "predictions.parquet").set_index("case")
    stored = stored[stored["split"] == "test"]
    model = radapt.load_model(folder / "model", cache=heads[0].parent / "cache")
    model.save(tmp_path / "copy")
    for each in (model, radapt.load_model(tmp_path / "copy", cache=tmp_path / "cache")):
        again = each.predict(cohort, rows=np.flatnonzero(cohort.splits == "test")).set_index("case")
        np.testing.assert_array_equal(again[["p_a", "p_b"]], stored[["p_a", "p_b"]])


def test_masks_of_test_cases_change_nothing(heads: tuple[Path, Path], tmp_path: Path) -> None:
    moved = write_heads(tmp_path / "cohort", masks="moved")
    run(study_of(moved, ["knn", LORA]), tmp_path / "run")
    for protocol in ("knn", "lora"):
        first, second = (
            pd.read_parquet(cells(out)[protocol][0] / "predictions.parquet").drop(columns="cell")
            for out in (heads[1], tmp_path / "run")
        )
        pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize("masks", ["training", "own"])
def test_fine_tuning_reads_the_crops_that_probes_encode(tmp_path: Path, masks: Literal["training", "own"]) -> None:
    cohort = radapt.load_cohort(write_heads(tmp_path / "cohort"))
    vit = radapt.load_backbone("timm:test_vit", weights="random")
    recipe = Recipe.for_kind("other", size=SIZE, look="lesion")
    lesions = LesionFeatures(cohort, vit, recipe, tmp_path / "cache", masks == "own")
    seen = lesions.on(cohort)
    problem = ImageProblem.of(cohort, "classification", recipe, tmp_path / "cache", lesions=lesions)

    last = [part for part in seen.segments if part.kind == "cls"][-1]
    reader = problem.images.reader(recipe, cohort.modalities)
    for row in range(CASES):
        crops = reader.planes(row, 0)
        assert crops.shape[1:] == (1, SIZE, SIZE)
        with torch.inference_mode():
            cls = vit.tokens(torch.from_numpy(crops)).cls.numpy()
        stored = seen.slices(row, cohort.modalities[0])[:, last.start : last.stop]
        np.testing.assert_allclose(cls, stored, rtol=1e-4, atol=1e-4)
        if masks == "own":
            bright = crops > 200
            assert bright.any((1, 2, 3)).all(), "every plane shows the lesion"


@pytest.mark.slow
def test_folds_fine_tune_on_lesions_and_say_so(tmp_path: Path) -> None:
    cohort = write_heads(tmp_path / "cohort", folds=True)
    run(study_of(cohort, [LORA], lesion_masks="own"), tmp_path / "run")
    folder, facts = cells(tmp_path / "run")["lora"]
    for fit in facts["folds"].values():
        assert any("others: 12 by their own masks" in note for note in fit["notes"])
    assert len(list((folder / "model").glob("fold-*/locator.safetensors"))) == 2


def test_every_fold_has_its_own_locator(tmp_path: Path) -> None:
    cohort = write_heads(tmp_path / "cohort", folds=True)
    results = run(study_of(cohort, ["knn"], lesion_masks="own"), tmp_path / "run")
    assert set(results["lesion_masks"]) == {"own"}
    folder, facts = cells(tmp_path / "run")["knn"]
    assert all("by their own masks" in fit["notes"][-1] or fit["notes"] for fit in facts["folds"].values())
    weights = [path.read_bytes() for path in (folder / "model").glob("fold-*/locator.safetensors")]
    assert len(weights) == 2
    assert weights[0] != weights[1]
    (folder / "done.json").unlink()  # as after a kill: finished folds are taken from disk
    shutil.rmtree(cohort.parent / "cache" / "tokens")
    pd.testing.assert_frame_equal(
        run(tmp_path / "cohort" / "study.yaml", tmp_path / "run").drop(columns=["seconds"]),
        results.drop(columns=["seconds"]),
    )


def test_a_fold_without_masks_to_learn_from_sees_the_foreground_and_the_others_the_lesion(tmp_path: Path) -> None:
    """Masks are in fold x alone: to answer for it nothing but the other folds may be learned from."""
    cohort = write_heads(tmp_path / "cohort", masks="x")
    results = run(study_of(cohort, ["knn"]), tmp_path / "run")
    pooled = results[(results["split"] == "oof") & (results["metric"] == "auroc")]
    assert pooled["n_patients"].tolist() == [CASES]
    _, facts = cells(tmp_path / "run")["knn"]
    notes = {fold: " ".join(fit["notes"]) for fold, fit in facts["folds"].items()}
    assert "the masks of 0 training cases" in notes["x"]
    assert "Train: 16 at the foreground, as no lesion was found; others: 8 at the foreground" in notes["x"]
    for fold in ("y", "z"):
        assert "the masks of 8 training cases" in notes[fold]
        assert "16 by the locator" in notes[fold]
        assert "others: 8 by the locator" in notes[fold]


@pytest.mark.parametrize("folds", [False, True])
def test_few_labels_still_find_lesions_by_all_masks_of_training(tmp_path: Path, folds: bool) -> None:
    cohort = radapt.load_cohort(write_heads(tmp_path / "cohort", folds=folds))
    vit = radapt.load_backbone("timm:test_vit", weights="random")
    lesions = LesionFeatures(cohort, vit, Recipe.for_kind("other", size=SIZE, look="lesion"), tmp_path / "cache")

    found = radapt.evaluate(lesions, make("fewshot", shots=(1,), repeats=2, choose="default"), resamples=0)
    assert len(found.fits) == 2 * (2 if folds else 1)
    for fit in found.fits:
        assert fit.draw is not None
        assert fit.draw.patients == 2, "one of each class"
        assert any(f"the masks of {12 if folds else 18} training cases" in note for note in fit.notes)


@pytest.mark.parametrize(
    ("protocols", "image", "masks", "message"),
    [
        (
            ["knn", "scratch"],
            {},
            "all",
            "'scratch' has no encoder, and look: lesion finds its place by",
        ),
        (["knn"], {}, "none", "no case of cohort 'heads' has one"),
        (["knn"], {"look": "whole", "lesion_masks": "own"}, "all", "no use without 'look: lesion'"),
        (["knn"], {"look": "leison"}, "all", "look"),
        (["knn"], {"lesion_masks": "test"}, "all", "lesion_masks"),
        (["knn"], {"recipe": {"look": "lesion"}}, "all", "belongs under 'image'"),
    ],
)
def test_wrong_looks_are_refused(
    protocols: list[Any], image: dict[str, Any], masks: str, message: str, tmp_path: Path
) -> None:
    study = study_of(write_heads(tmp_path / "cohort", masks=masks), protocols, **image)
    with pytest.raises(UsageError, match=message):
        plan_study(read_study(study), Settings(cache=tmp_path / "cache"))


def test_masks_are_segmented_on_whole_planes(tmp_path: Path) -> None:
    study = study_of(write_heads(tmp_path / "cohort"), ["knn", {"segment": {"decoder": "linear"}}])
    plan = plan_study(read_study(study), Settings(cache=tmp_path / "cache"))
    assert [cell.facts["look"] for cell in plan.cells] == ["lesion", "whole"]
    assert "look: lesion for segment, which looks at the whole" in plan.notes
