"""Every patient tested once: nothing of a held-out fold reaches its model, and all answers are scored together."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import matthews_corrcoef, roc_auc_score

import radapt
from radapt.cohorts.cohort import Cohort
from radapt.cohorts.folds import hold_out, in_folds
from radapt.errors import DataError, UsageError
from radapt.models.folder import WEIGHTS
from radapt.protocols import PROTOCOLS, Machine, Result, make
from toy_adaptation import QUICK as ADAPT
from toy_features import ArrayFeatures, make_features
from toy_images import discs, image_cohort
from toy_masks import balls_cohort

FOLDS = ("x", "y", "z")
TRAIN: dict[str, Any] = {"epochs": 1, "batch": 4, "lr": 3e-3}
LOGISTIC: dict[str, Any] = {"C": [1e-3, 1e-1], "blocks": 1}
QUICK: dict[str, dict[str, Any]] = {
    "logistic": LOGISTIC,
    "combined": {"options": LOGISTIC},
    "shuffled-labels": {"options": LOGISTIC},
    "fewshot": {"shots": [2], "repeats": 2},
    "mil": {**TRAIN, "slices": "attention"},
    "scratch": TRAIN | {"stem": "standard"},
    "partial": TRAIN | {"blocks": 1},
    "lora": TRAIN | {"rank": 2},
    "dora": TRAIN | {"rank": 2},
    **dict.fromkeys(("finetune", "bitfit", "norm", "ia3"), TRAIN),
    "mmdino": ADAPT,
    "segment": {"lr": 3e-3, "epochs": 1, "batch": 8},
    "unet": {"steps": 2, "scores": 1, "features": 4, "batch": 2, "longest": 32},
    "transunet": {"network": "tiny", "steps": 1, "batch": 4},
}
"""Options that make a protocol cheap; one that is not named is cheap as it is."""


def toy(n: int = 60, **more: Any) -> ArrayFeatures:
    features = make_features(np.random.default_rng(5).integers(0, 2, n), np.full(n, "train"), **more)
    return replace(features, cohort=in_folds(features.cohort, [FOLDS[at % 3] for at in range(n)]))


def probabilities(result: Result, fold: str | None = None) -> np.ndarray:
    table = result.predictions
    return table[table["fold"] == fold if fold else slice(None)].filter(like="p_").to_numpy()


def test_pooled_scores_are_those_of_scikit_learn_on_pooled_predictions() -> None:
    features = toy(signal=0.3)
    result = radapt.evaluate(features, "linear", resamples=50)  # type: ignore[arg-type]
    truth = features.cohort.labels
    assert result.predictions["case"].tolist() == [case.case for case in features.cohort]
    assert set(result.predictions["split"]) == {"oof"}
    assert result.predictions["fold"].tolist() == [case.fold for case in features.cohort]
    pooled = result.scores[result.scores["split"] == "oof"].set_index("metric")
    found = probabilities(result)
    decided = [features.cohort.classes.index(name) for name in result.predictions["decision"]]
    assert pooled.loc["auroc", "value"] == pytest.approx(roc_auc_score(truth, found[:, 1]))
    assert pooled.loc["mcc", "value"] == pytest.approx(matthews_corrcoef(truth, decided))
    assert pooled.loc["mcc", "n_patients"] == len(truth)
    assert pooled.loc["mcc", "ci_low"] < pooled.loc["mcc", "ci_high"]
    for fold in FOLDS:
        own = result.scores[result.scores["split"] == f"oof:fold={fold}"].set_index("metric")
        rows = np.asarray([case.fold == fold for case in features.cohort])
        assert own.loc["auroc", "value"] == pytest.approx(roc_auc_score(truth[rows], found[rows, 1]))


def test_a_fold_is_an_evaluation_in_which_it_is_the_test_set() -> None:
    features, quick = toy(), make("logistic", **LOGISTIC)
    result = radapt.evaluate(features, quick, resamples=0)  # type: ignore[arg-type]
    for fold, fit in zip(FOLDS, result.fits, strict=True):
        alone = radapt.evaluate(replace(features, cohort=hold_out(features.cohort, fold)), quick, resamples=0)  # type: ignore[arg-type]
        assert alone.fit == fit
        test = alone.predictions[alone.predictions["split"] == "oof"]
        np.testing.assert_array_equal(test.filter(like="p_").to_numpy(), probabilities(result, fold))


@pytest.mark.parametrize("name", ["knn", pytest.param("linear", marks=pytest.mark.slow), "logistic", "mil", "fewshot"])
def test_labels_and_features_of_a_held_out_fold_change_nothing_of_its_model(name: str) -> None:
    features = toy(missing=np.random.default_rng(1).random((60, 2)) < [0.0, 0.3])
    held = np.asarray([case.fold == "y" for case in features.cohort])
    first = np.flatnonzero(held)[0]
    values = features.values.copy()
    values[held] *= -3
    values[first] = features.values[first]
    flipped = tuple(
        replace(case, label=1 - case.label) if case.fold == "y" and case.label is not None else case
        for case in features.cohort
    )
    changed = replace(features, values=values, cohort=replace(features.cohort, cases=flipped))
    results = [radapt.evaluate(each, make(name, **QUICK.get(name, {})), resamples=0) for each in (features, changed)]  # type: ignore[arg-type]
    name_of_first = features.cohort.cases[first].case
    before, after = (result.predictions[result.predictions["case"] == name_of_first] for result in results)
    columns = [column for column in before if column.startswith("p_")]
    np.testing.assert_array_equal(before[columns], after[columns])
    assert results[0].fits[FOLDS.index("y") :: 3] == results[1].fits[FOLDS.index("y") :: 3]
    others = [probabilities(result, "x") for result in results]
    assert not np.array_equal(*others), "the other folds learn from the changed one"


def test_a_finished_fold_is_not_fitted_again(
    toy_images: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = in_folds(toy_images, [FOLDS[number // 2 % 3] for number in range(len(toy_images))])
    calm = run("mil", cohort, tmp_path / "calm", tmp_path)
    protocol = type(make("mil"))
    fit, fitted = protocol.fit, []

    def killed(self: Any, problem: Any, rng: Any) -> Any:
        fitted.append(1)
        if len(fitted) == 2:
            raise KeyboardInterrupt
        return fit(self, problem, rng)

    monkeypatch.setattr(protocol, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        run("mil", cohort, tmp_path / "killed", tmp_path)
    resumed = run("mil", cohort, tmp_path / "killed", tmp_path)
    assert len(fitted) == 1 + 1 + 2
    pd.testing.assert_frame_equal(calm.predictions, resumed.predictions, check_exact=True)
    pd.testing.assert_frame_equal(calm.scores, resumed.scores, check_exact=True)
    records = [[fit.to_json() | {"cost": None} for fit in result.fits] for result in (calm, resumed)]
    assert records[0] == records[1]
    for fold in FOLDS:
        files = [tmp_path / name / "model" / f"fold-{fold}" / WEIGHTS for name in ("calm", "killed")]
        assert files[0].read_bytes() == files[1].read_bytes()
    run("mil", cohort, tmp_path / "killed", tmp_path)
    assert len(fitted) == 4
    run("mil", cohort, tmp_path / "killed", tmp_path, slices="mean")
    assert len(fitted) == 7, "other options are fitted again"


def test_a_fold_without_which_nothing_can_be_learned_is_named() -> None:
    features = toy()
    labels = [0 if case.fold != "z" else case.label for case in features.cohort]
    cases = tuple(replace(case, label=label) for case, label in zip(features.cohort, labels, strict=True))
    with pytest.raises(DataError, match=r"Fold 'z' of cohort 'toy'.*only class 'k0'"):
        radapt.evaluate(replace(features, cohort=replace(features.cohort, cases=cases)), "linear")  # type: ignore[arg-type]


def test_hospitals_have_rows_of_their_own_and_undefined_numbers_are_counted() -> None:
    features = toy()
    cases = tuple(
        replace(case, site=case.fold, label=1 if case.fold == "z" else case.label) for case in features.cohort
    )
    cohort = replace(features.cohort, cases=cases)
    scores = radapt.evaluate(replace(features, cohort=cohort), "knn", resamples=50).scores  # type: ignore[arg-type]
    assert set(scores["split"]) == {"oof", *(f"oof:{what}={name}" for what in ("fold", "site") for name in FOLDS)}
    one_class = scores[(scores["split"] == "oof:site=z") & (scores["metric"] == "auroc")].iloc[0]
    assert np.isnan(one_class["value"])
    assert one_class["n_undefined"] == 1


@pytest.fixture(scope="module")
def toy_images(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Volumes of two modalities, the second of which every third case lacks."""
    rng, images = np.random.default_rng(0), []
    for number in range(24):
        images.append({"a": discs(rng, number % 2, slices=2)})
        if number % 3:
            images[-1]["b"] = discs(rng, number % 2, slices=2)
    labels = np.arange(24) % 2
    cohort = image_cohort(tmp_path_factory.mktemp("toy"), images, labels, ["train"] * 24, modalities=("a", "b"))
    cases = tuple(replace(case, metadata={"age": str(40 + row % 7)}) for row, case in enumerate(cohort))
    return replace(cohort, cases=cases)


@pytest.fixture(scope="module")
def toy_masks(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return balls_cohort(tmp_path_factory.mktemp("balls"), splits=["train"] * 6)


def run(name: str, cohort: Cohort, folder: Path | None, cache: Path, **options: Any) -> Result:
    protocol = make(name, **(QUICK.get(name, {}) | options))
    backbone = radapt.load_backbone("timm:test_vit", "random") if protocol.uses_backbone else None
    size = 32 if name in ("mmdino", "transunet", "segment") else 16
    if protocol.reads == "features":
        features = radapt.extract(cohort, backbone, size=size, cache=cache / "cache")  # type: ignore[arg-type]
        return radapt.evaluate(features, protocol, folder=folder, resamples=20)
    machine = Machine(folder=folder)
    return radapt.train(cohort, protocol, backbone, size=size, machine=machine, cache=cache / "cache", resamples=20)


LIKE_OTHERS = ("bitfit", "norm", "ia3", "lora", "dora", "partial", "scratch", "shuffled-labels")
"""Adapt a backbone as `finetune` does, but for which of its numbers are trained; or a network of eleven million numbers
as `finetune` does; or fit what `logistic` fits."""


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.slow if each in LIKE_OTHERS else ()) for each in sorted(PROTOCOLS)]
)
def test_every_protocol_tests_every_patient_once(
    name: str, toy_images: Cohort, toy_masks: Cohort, tmp_path: Path
) -> None:
    plain = toy_masks if make(name, **QUICK.get(name, {})).aim == "segmentation" else toy_images
    cohort = in_folds(plain, [FOLDS[number // 2 % 3] for number in range(len(plain))])
    result = run(name, cohort, tmp_path / "cell", tmp_path)
    table = result.predictions
    several = [column for column in ("shots", "repeat", "label") if column in table]
    for _, rows in table.groupby(several) if several else [(None, table)]:
        assert rows["case"].tolist() == [case.case for case in cohort]
        assert rows["fold"].tolist() == [case.fold for case in cohort]
    assert {"oof", "oof:fold=x", "oof:fold=y", "oof:fold=z"} == set(result.scores["split"])
    assert result.folds == FOLDS
    if name == "mmdino":
        assert result.subsets is not None
        whole = result.subsets.scores.query("subset == 'a + b' and metric == 'accuracy'").iloc[0]
        pooled = result.scores.query("split == 'oof' and metric == 'accuracy'").iloc[0]
        assert whole["value"] == pooled["value"]
        assert whole["n_patients"] == len(cohort)
    if name in ("segment", "unet", "transunet"):
        assert len(list((tmp_path / "cell" / "masks").glob("*.nii.gz"))) == len(cohort)
    if name != "fewshot":
        again = run(name, cohort, tmp_path / "cell", tmp_path)
        pd.testing.assert_frame_equal(again.scores, result.scores, check_exact=True)
        pd.testing.assert_frame_equal(again.predictions, result.predictions, check_exact=True)


@pytest.mark.parametrize("name", [pytest.param("partial", marks=pytest.mark.slow), "mmdino", "segment", "unet"])
def test_pixels_labels_and_masks_of_a_held_out_fold_change_nothing_of_its_model(
    name: str, toy_images: Cohort, toy_masks: Cohort, tmp_path: Path
) -> None:
    segments = name in ("segment", "unet")
    plain = toy_masks if segments else toy_images
    folds = [FOLDS[number // 2 % 3] for number in range(len(plain))]
    cases = list(plain.cases)
    held = [number for number, fold in enumerate(folds) if fold == "y"]
    kept, *others = held
    for number in others:
        label = None if cases[number].label is None else 1 - (cases[number].label or 0)
        images = {modality: _inverted(place, tmp_path) for modality, place in cases[number].images.items()}
        cases[number] = replace(cases[number], images=images, label=label, mask=None)
    changed = in_folds(replace(plain, cases=tuple(cases)), folds)
    results = [
        run(name, cohort, tmp_path / f"cell-{number}", tmp_path)
        for number, cohort in enumerate((in_folds(plain, folds), changed))
    ]
    numbers = [
        column for column in results[0].predictions if column.startswith("p_") or column == "volume_predicted_ml"
    ]
    before, after = (
        result.predictions[result.predictions["case"] == cases[kept].case][numbers].to_numpy() for result in results
    )
    np.testing.assert_array_equal(before, after)
    files = [tmp_path / f"cell-{number}" / "model" / "fold-y" / WEIGHTS for number in (0, 1)]
    if files[0].exists():
        assert files[0].read_bytes() == files[1].read_bytes()


def test_masks_in_some_folds_only_leave_the_others_unscored(toy_masks: Cohort, tmp_path: Path) -> None:
    folds = [FOLDS[number // 2 % 3] for number in range(len(toy_masks))]
    cases = tuple(
        replace(case, label=number % 2, mask=None if fold == "x" else case.mask)
        for number, (case, fold) in enumerate(zip(toy_masks, folds, strict=True))
    )
    cohort = in_folds(replace(toy_masks, cases=cases, classes=("well", "ill")), folds)
    result = run("unet", cohort, tmp_path / "cell", tmp_path)
    outcomes = result.predictions.groupby("fold")["outcome"].agg(set)
    assert outcomes["x"] == {"unlabelled"}
    assert "unlabelled" not in outcomes["y"] | outcomes["z"]
    pooled = result.scores.query("split == 'oof' and metric == 'dice'").iloc[0]
    assert pooled["n_scored"] == 4
    assert np.isnan(result.scores.query("split == 'oof:fold=x' and metric == 'dice'").iloc[0]["value"])


def test_masks_from_every_subset_of_sequences_are_out_of_fold(tmp_path: Path) -> None:
    """Case c3 has no mask, and c1 lacks b."""
    plain = balls_cohort(tmp_path / "balls", splits=["train"] * 6, modalities=("a", "b"), missing={1: "b"})
    cases = [replace(case, mask=None if case.case == "c3" else case.mask) for case in plain]
    cohort = in_folds(replace(plain, cases=tuple(cases)), [FOLDS[number // 2] for number in range(6)])
    result = run("segment", cohort, tmp_path / "cell", tmp_path)
    assert result.subsets is not None
    scores = result.subsets.scores
    assert set(scores["split"]) == {"oof"}
    assert set(scores["subset"]) == {"a + b", "a", "b", ""}
    names = ["metric", "value", "n_patients", "n_scored"]
    whole = scores[scores["n_sequences"] == 2].reset_index(drop=True)
    pooled = result.scores[result.scores["split"] == "oof"].reset_index(drop=True)
    pd.testing.assert_frame_equal(whole[names], pooled[names], check_exact=True)
    without = scores.drop_duplicates("subset").set_index("subset")["n_without"]
    assert without.to_dict() == {"a + b": 0, "a": 0, "b": 1, "": 5}
    assert (scores.query("subset == '' and metric == 'dice'")["value"] == 0).all()
    done = tmp_path / "cell" / "folds" / "x" / "done.json"
    written = done.stat().st_mtime_ns
    again = run("segment", cohort, tmp_path / "cell", tmp_path)
    assert done.stat().st_mtime_ns == written
    assert again.subsets is not None
    for name in ("scores", "shapley", "absence"):
        pd.testing.assert_frame_equal(getattr(again.subsets, name), getattr(result.subsets, name), check_exact=True)


def test_a_cell_of_folds_says_where_its_models_are(toy_images: Cohort, tmp_path: Path) -> None:
    cohort = in_folds(toy_images, [FOLDS[number // 2 % 3] for number in range(len(toy_images))])
    stored = run("knn", cohort, tmp_path / "cell", tmp_path).predictions
    with pytest.raises(UsageError, match=r"a model for each fold: give one, such as .*fold-x"):
        radapt.load_model(tmp_path / "cell" / "model")
    model = radapt.load_model(tmp_path / "cell" / "model" / "fold-y", cache=tmp_path / "cache")
    found = model.predict(hold_out(cohort, "y"))
    rows = (stored["fold"] == "y").to_numpy()
    np.testing.assert_array_equal(found.loc[rows, ["p_k0", "p_k1"]], stored.loc[rows, ["p_k0", "p_k1"]])


def _inverted(place: Any, folder: Path) -> Any:
    """The same image, upside down and negative."""
    import nibabel

    if place.path.suffix == ".npy":
        target = folder / f"inverted-{place.path.name}"
        np.save(target, 255 - np.load(place.path)[:, ::-1])
    else:
        target = folder / f"inverted-{place.path.name}"
        image = nibabel.load(place.path)
        nibabel.save(nibabel.Nifti1Image(-np.asarray(image.dataobj)[::-1], image.affine), target)  # type: ignore[attr-defined]
    return replace(place, path=target)
