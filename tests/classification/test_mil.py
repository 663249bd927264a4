"""Learning which slices matter, on stored features in a real store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radapt.classification.mil import Mil
from radapt.classification.stored_slices import SliceScale, StoredSlices
from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import DataError, UsageError
from radapt.features import Features, Pooling
from radapt.features.features import lay_out
from radapt.features.store import FeatureStore
from radapt.locations import Location
from radapt.networks import AGGREGATORS
from radapt.protocols import evaluate
from radapt.protocols.problem import FeatureProblem
from radapt.protocols.registry import make
from radapt.training.fit_record import FitCases

WIDTH = 8
QUICK: dict[str, Any] = {"lr": 2e-2, "epochs": 12, "batch": 32}
Bags = list[list[np.ndarray | None]]
Make = Callable[..., Features]


@pytest.fixture
def stored(tmp_path: Path) -> Make:
    """Features of bags: per case, per modality, slices (n, 2 · WIDTH), CLS then mean patch, or None."""

    def made(bags: Bags, labels: np.ndarray, splits: np.ndarray, outputs: int | None = None) -> Features:
        segments = lay_out((-1,), (WIDTH,))
        modalities = tuple(f"m{i}" for i in range(len(bags[0])))
        keys = []
        with FeatureStore(tmp_path, segments[-1].stop).writer() as writer:
            for case, images in enumerate(bags):
                row = [None if image is None else f"{case}/{i}" for i, image in enumerate(images)]
                for key, image in zip(row, images, strict=True):
                    if key is not None:
                        writer.add(key, np.asarray(image, np.float32))
                keys.append(tuple(row))
        several = labels.ndim == 2
        count = outputs or (labels.shape[1] if several else int(labels.max()) + 1)
        names = tuple(f"k{i}" for i in range(count))
        cases = tuple(
            Case(
                case=f"c{i}", patient=f"p{i}", split=str(splits[i]), site=None,
                images={m: Location(Path("x.png")) for m, image in zip(modalities, bags[i], strict=True)
                        if image is not None},
                label=None if several or labels[i] < 0 else int(labels[i]),
                findings=tuple(None if np.isnan(v) else int(v) for v in labels[i]) if several else (),
            )
            for i in range(len(bags))
        )  # fmt: skip
        kind: dict[str, Any] = {"findings": names} if several else {"classes": names}
        cohort = Cohort("toy", "other", cases, modalities, **kind)
        store = FeatureStore(tmp_path, segments[-1].stop)
        return Features(cohort, "none", "none", "float32", (-1,), segments, {}, tuple(keys), store)

    return made


def splits_of(n: int) -> np.ndarray:
    return np.random.default_rng(1).choice(["train", "val", "test"], n, p=[0.5, 0.2, 0.3])


def needles(labels: np.ndarray, seed: int = 0, slices: int = 12, strength: float = 6.0) -> Bags:
    """One slice of each positive case points elsewhere, hidden among others: a mean hardly sees it. One column is
    a thousand times larger than the others and says nothing."""
    rng = np.random.default_rng(seed)
    bags: Bags = []
    for label in labels:
        image = rng.normal(size=(int(rng.integers(slices // 2, slices)), 2 * WIDTH))
        image[rng.integers(len(image)), 1] += strength * max(0, int(label))
        image[:, 0] *= 1000
        bags.append([image])
    return bags


def area(features: Features, **options: Any) -> float:
    scores = evaluate(features, "mil", choose="val", select_by="auroc", resamples=0, **{**QUICK, **options}).scores
    return float(scores.query("split == 'test' and metric == 'auroc'")["value"].iloc[0])


@pytest.mark.parametrize("slices", AGGREGATORS)
def test_every_way_of_pooling_learns(stored: Make, slices: str) -> None:
    labels = np.random.default_rng(3).integers(0, 2, 200)
    rate = 3e-3 if slices == "transformer" else 2e-2
    assert area(stored(needles(labels, slices=6), labels, splits_of(200)), slices=slices, lr=rate) > 0.8


def test_what_looks_at_single_slices_finds_needles_that_a_mean_does_not(stored: Make) -> None:
    labels = np.random.default_rng(3).integers(0, 2, 200)
    features = stored(needles(labels, slices=40), labels, splits_of(200))
    assert area(features, slices="max") > area(features, slices="mean") + 0.1


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_every_task_gives_probabilities(stored: Make, task: str) -> None:
    rng = np.random.default_rng(0)
    labels: np.ndarray = rng.integers(0, 2 if task == "binary" else 4, 120)
    if task == "multilabel":
        labels = (rng.random((120, 3)) < 0.4).astype(float)
        labels[rng.random((120, 3)) < 0.3] = np.nan
    bags: Bags = [[rng.normal(size=(3, 2 * WIDTH))] for _ in range(120)]
    for bag, label in zip(bags, labels, strict=True):
        signal = np.nan_to_num(label, nan=0.5) if task == "multilabel" else np.eye(4)[label]
        bag[0][:, : len(signal)] += 3 * signal  # type: ignore[index]
    result = evaluate(
        stored(bags, labels, splits_of(120)), "mil", choose="val", select_by="auroc", resamples=0, **QUICK
    )
    columns = [name for name in result.predictions if name.startswith("p_")]
    found = result.predictions[columns].to_numpy()
    assert found.dtype == np.float64
    assert ((found >= 0) & (found <= 1)).all()
    if task != "multilabel":
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    macro = result.scores.query("split == 'test' and metric.str.startswith('auroc')", engine="python")["value"]
    assert macro.mean() > 0.8


def test_a_finding_known_one_way_only_is_answered_by_its_prior(stored: Make) -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((60, 2)) < 0.5).astype(float)
    labels[:, 1] = 1.0
    bags: Bags = [[rng.normal(size=(2, 2 * WIDTH))] for _ in range(60)]
    result = evaluate(stored(bags, labels, splits_of(60)), "mil", choose="val", select_by="auroc", resamples=0, **QUICK)
    known = (splits_of(60) == "train").sum()
    np.testing.assert_allclose(result.predictions["p_k1"], (known + 1) / (known + 2))
    assert any("k1" in note for note in result.fit.notes)


@pytest.mark.parametrize("use", ["concat", "mean"])
def test_missing_modalities(stored: Make, use: Any) -> None:
    """m0 is always there, m1 for half of the cases, m2 never in training; m0 tells, so every case can be answered."""
    rng = np.random.default_rng(5)
    labels, splits = rng.integers(0, 2, 140), splits_of(140)
    bags: Bags = []
    for i, label in enumerate(labels):
        told = rng.normal(size=(4, 2 * WIDTH)) + 2.0 * label * (-1) ** np.arange(2 * WIDTH)
        bags.append([told, rng.normal(size=(2, 2 * WIDTH)) if i % 2 else None,
                     rng.normal(size=(1, 2 * WIDTH)) if splits[i] == "test" else None])  # fmt: skip
    bags[int(np.flatnonzero(splits == "test")[0])][0] = None  # has only what training never saw, or that and m1
    result = evaluate(
        stored(bags, labels, splits),
        "mil",
        choose="val",
        select_by="auroc",
        pooling=Pooling(modalities=use),
        resamples=0,
        **QUICK,
    )
    assert result.predictions["p_k1"].notna().all()
    assert float(result.scores.query("split == 'test' and metric == 'auroc'")["value"].iloc[0]) > 0.9
    assert any("No training case has m2" in note for note in result.fit.notes)
    assert any("Missing in some training cases: m1" in note for note in result.fit.notes)


def test_equal_seeds_give_equal_answers_and_leave_random_states_alone(stored: Make) -> None:
    import torch

    labels = np.random.default_rng(3).integers(0, 2, 80)
    features = stored(needles(labels), labels, splits_of(80))
    state = torch.get_rng_state()
    tables = [
        evaluate(features, "mil", choose="val", select_by="auroc", seed=seed, resamples=0, **QUICK).predictions["p_k1"]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(state, torch.get_rng_state())
    assert (tables[0] == tables[1]).all()
    assert (tables[0] != tables[2]).any()


def test_an_answer_does_not_depend_on_the_other_cases(stored: Make) -> None:
    labels = np.random.default_rng(3).integers(0, 2, 80)
    problem = FeatureProblem.of(stored(needles(labels), labels, splits_of(80)))
    model = Mil(slices="transformer", **(QUICK | {"epochs": 2})).fit(problem, np.random.default_rng(0)).final
    together = model.predict(np.arange(80))
    for row in (0, 41):
        np.testing.assert_allclose(model.predict(np.array([row]))[0], together[row], rtol=1e-5)


def test_attention_points_at_the_needle_and_a_mean_has_no_weights(stored: Make) -> None:
    labels = np.random.default_rng(3).integers(0, 2, 80)
    bags = needles(labels)
    problem = FeatureProblem.of(stored(bags, labels, splits_of(80)))
    model = Mil(slices="attention", **QUICK).fit(problem, np.random.default_rng(0)).final
    ill = np.flatnonzero(labels == 1)
    found = 0
    for row in map(int, ill):
        (weights,) = model.slice_weights(row)
        image = bags[row][0]
        assert image is not None
        assert (weights.modality, weights.planes) == ("m0", tuple(range(len(image))))
        assert sum(weights.weights) == pytest.approx(1)
        found += int(np.argmax(weights.weights)) == int(image[:, 1].argmax())
    assert found > 0.8 * len(ill)
    mean = Mil(slices="mean", **{**QUICK, "epochs": 1}).fit(problem, np.random.default_rng(0)).final
    assert mean.slice_weights(0) == ()


def test_the_best_rate_on_val_answers(stored: Make) -> None:
    labels = np.random.default_rng(3).integers(0, 2, 120)
    features = stored(needles(labels), labels, splits_of(120))
    result = evaluate(
        features, "mil", choose="val", select_by="auroc", resamples=0, epochs=6, lr=(1e-9, 5e-3), slices="max"
    )
    assert [each.options["lr"] for each in result.fit.candidates] == [1e-9, 5e-3]
    assert result.fit.winner.options["lr"] == 5e-3
    counts = [int((splits_of(120) == split).sum()) for split in ("train", "val")]
    assert result.fit.cases == FitCases(*counts, "cohort")
    assert result.cost is not None
    assert result.cost.trained == result.cost.parameters - WIDTH == 2 * WIDTH + WIDTH + 1
    unhurried = evaluate(
        features, "mil", choose="val", select_by="auroc", resamples=0, epochs=4, patience=None, lr=1e-9
    )
    assert unhurried.fit.winner.epochs == 4


def test_without_val_the_first_rate_is_trained_to_the_end(stored: Make) -> None:
    labels = np.array([0, 1, 0, 1, 1, 0])
    splits = np.array(["train", "train", "test", "test", "test", "test"])
    features = stored(needles(labels), labels, splits)
    result = evaluate(features, "mil", choose="val", select_by="auroc", resamples=0, epochs=3, lr=(1e-3, 1e-2))
    assert result.fit.winner.options["lr"] == 1e-3
    assert result.fit.candidates == (result.fit.winner,)
    assert result.fit.cases.val_source == "none"


@pytest.mark.parametrize("classes", [2, 3])
def test_training_starts_from_the_shares_of_the_classes(stored: Make, classes: int) -> None:
    rng = np.random.default_rng(0)
    labels, splits = rng.choice(classes, 150, p=[0.8, 0.2] if classes == 2 else [0.7, 0.2, 0.1]), splits_of(150)
    bags: Bags = [[rng.normal(size=(2, 2 * WIDTH))] for _ in labels]
    features = stored(bags, labels, splits)
    shares = np.bincount(labels[splits == "train"]) / (splits == "train").sum()
    for weight, expected in (("none", shares), ("balanced", np.full(classes, 1 / classes))):
        result = evaluate(
            features, "mil", choose="val", select_by="auroc", resamples=0, class_weight=weight, epochs=1, lr=1e-9
        )
        found = result.predictions[[f"p_k{c}" for c in range(classes)]].to_numpy()
        np.testing.assert_allclose(found, np.tile(expected, (len(found), 1)), atol=1e-5)


def test_fewer_slices_are_read_when_asked(stored: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(3).integers(0, 2, 60)
    features = stored(needles(labels, slices=30), labels, splits_of(60))
    read: list[int] = []
    whole = StoredSlices.read

    def counted(self: StoredSlices, row: int, modality: int, kept: np.ndarray | None = None) -> np.ndarray:
        found = whole(self, row, modality, kept)
        if kept is not None:
            read.append(len(found))
        return found

    monkeypatch.setattr(StoredSlices, "read", counted)
    evaluate(features, "mil", choose="val", select_by="auroc", resamples=0, slices_per_case=4, **QUICK)
    assert set(read) == {4}


def test_columns_are_the_cls_and_the_mean_patch_if_asked(stored: Make) -> None:
    bags: Bags = [[np.arange(2 * WIDTH, dtype=float)[None]], [np.zeros((1, 2 * WIDTH))]]
    features = stored(bags, np.array([0, 1]), np.array(["train", "train"]))
    both = StoredSlices(features, ("m0",), (slice(0, WIDTH), slice(WIDTH, 2 * WIDTH)))
    assert both.read(0, 0).tolist() == [list(range(2 * WIDTH))]
    assert both.width == 2 * WIDTH
    assert both.read(0, 0).base is not features.slices(0, "m0").base


def test_scale_is_that_of_all_training_slices(stored: Make) -> None:
    rng = np.random.default_rng(0)
    bags: Bags = [[rng.normal(5e3, 2, (int(rng.integers(1, 6)), 2 * WIDTH)), None] for _ in range(6)]
    for bag in bags:
        bag[0][:, 3] = 7.0  # type: ignore[index]
    bags[0][1] = np.ones((1, 2 * WIDTH))
    features = stored(bags, np.array([0, 1] * 3), np.array(["train"] * 6))
    scale = SliceScale.fit(StoredSlices(features, ("m0", "m1"), (slice(0, WIDTH),)), np.arange(4))
    slices = np.concatenate([np.asarray(bag[0], np.float32) for bag in bags[:4]])[:, :WIDTH].astype(float)
    np.testing.assert_allclose(scale.mean[0], slices.mean(0), rtol=1e-6)
    spread = np.where(np.arange(WIDTH) == 3, 1, slices.std(0))
    np.testing.assert_allclose(scale.deviation[0], spread, rtol=1e-5)
    np.testing.assert_allclose(scale.deviation[1], 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"slices": "atention"}, "slices"),
        ({"slices": "mean", "k": 3}, "k does nothing with slices: mean"),
        ({"slices": "topk", "hidden": 3}, "hidden does nothing"),
        ({"k": 0}, "'k'"),
        ({"lr": ()}, "'lr'"),
        ({"lr": -1.0}, "'lr'"),
        ({"slice": "mean"}, "Did you mean 'slices'"),
        ({"class_weight": "even"}, "class_weight"),
    ],
)
def test_bad_options_are_refused(options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make("mil", **options)


def test_features_that_are_not_finite_stop_training_with_the_case(stored: Make) -> None:
    labels = np.array([0, 1] * 10)
    bags = needles(labels)
    bags[4][0][0, 2] = np.nan  # type: ignore[index]
    features = stored(bags, labels, np.array((["train"] * 8 + ["val"] + ["test"]) * 2))
    with pytest.raises(DataError, match="c4"):
        evaluate(features, "mil", choose="val", select_by="auroc", resamples=0, **QUICK)
