"""Every way to adapt a backbone learns, answers for itself, replays, survives a kill, and leaves the rest as it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import radapt
from radapt.backbones import load_backbone
from radapt.backbones.backbone import Backbone
from radapt.classification.finetune import Adapting
from radapt.classification.task import CaseTask, LabelledCases, TrainableModel
from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError, UsageError
from radapt.features import Pooling
from radapt.images import SliceCache
from radapt.metrics.registry import METRICS
from radapt.progress import Advance
from radapt.protocols import PROTOCOLS, Machine, Result, evaluate, make, train
from radapt.protocols.image_problem import CohortImages
from radapt.protocols.ratings import Rater
from radapt.protocols.targets import Targets
from radapt.training import lr_search
from radapt.training.fit_record import FitCases
from toy_images import discs, image_cohort, stripes

METHODS = sorted(name for name, kind in PROTOCOLS.items() if issubclass(kind, Adapting))
SMALL: dict[str, dict[str, Any]] = {"partial": {"blocks": 1}, "lora": {"rank": 2}, "dora": {"rank": 2}}
QUICK: dict[str, Any] = {"epochs": 2, "batch": 4, "lr": 3e-3}
RATES = [1e-3, 3e-3]
SLOW = pytest.mark.slow
SPLITS = ("train", "train", "train", "val", "test", "external")


def quick(name: str, **options: Any) -> Any:
    return make(name, **(QUICK | SMALL.get(name, {}) | options))


@pytest.fixture(scope="module")
def vit() -> Backbone:
    return load_backbone("timm:test_vit", "random")


def disc_cohort(folder: Path, n: int = 24, classes: int = 2, seed: int = 0) -> Cohort:
    """Two modalities, the second of which every third case lacks; volumes of one to four slices."""
    rng = np.random.default_rng(seed)
    labels = [number % classes for number in range(n)]
    images = []
    for number, label in enumerate(labels):
        images.append({"a": discs(rng, label, slices=1 + number % 4)})
        if number % 3:
            images[-1]["b"] = discs(rng, label, slices=2)
    splits = [SPLITS[number // classes % 6] for number in range(n)]
    return image_cohort(folder, images, labels, splits, outputs=classes, modalities=("a", "b"))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return disc_cohort(tmp_path_factory.mktemp("discs"))


@pytest.fixture
def run(tmp_path: Path, vit: Backbone) -> Any:
    def call(cohort: Cohort, protocol: Any, backbone: Any = vit, **options: Any) -> Result:
        return train(
            cohort,
            protocol,
            backbone,
            **(
                {"size": 16, "cache": tmp_path / "cache", "resamples": 0, "choose": "val", "select_by": "auroc"}
                | options
            ),
        )

    return call


def answers(result: Result) -> np.ndarray:
    return result.predictions.filter(regex="^p_").to_numpy()


def predicted(folder: Path, backbone: Backbone, cohort: Cohort, rows: Any) -> np.ndarray:
    """By the model of a run in `folder`, whose cache stands beside it."""
    cache = folder / "cache" if (folder / "cache").exists() else folder.parent / "cache"
    model = radapt.load_model(folder / "model", backbone, cache=cache)
    return model.predict(cohort, rows=rows).filter(regex="^p_").to_numpy()


@pytest.mark.parametrize(
    "name", [each if each in ("finetune", "partial", "lora") else pytest.param(each, marks=SLOW) for each in METHODS]
)
def test_every_method_answers_replays_and_is_loaded_again(
    name: str, run: Any, cohort: Cohort, vit: Backbone, tmp_path: Path
) -> None:
    before = {key: each.clone() for key, each in vit.module.state_dict().items()}
    first = run(cohort, quick(name), machine=Machine(folder=tmp_path / "cell"), seed=3)
    second = run(cohort, quick(name), seed=3)
    pd.testing.assert_frame_equal(first.predictions, second.predictions, check_exact=True)
    assert all(torch.equal(each, before[key]) for key, each in vit.module.state_dict().items())

    found = answers(first)
    assert len(found) == (cohort.splits != "train").sum()
    np.testing.assert_allclose(found.sum(1), 1)
    assert first.fit.candidates == (first.fit.winner,)
    assert first.cost is not None
    assert 0 < first.cost.trained <= first.cost.parameters

    assert sorted(path.name for path in (tmp_path / "cell").iterdir()) == ["model"]
    rows = np.flatnonzero(cohort.splits == "external")
    again = predicted(tmp_path / "cell", vit, cohort, rows)
    np.testing.assert_array_equal(again, found[first.predictions["split"] == "external"])


@pytest.mark.parametrize("name", ["partial", "lora", *(pytest.param(each, marks=SLOW) for each in ("dora", "ia3"))])
def test_what_is_frozen_is_the_backbone_s(name: str, run: Any, cohort: Cohort, vit: Backbone, tmp_path: Path) -> None:
    run(cohort, quick(name, lr=0.01), machine=Machine(folder=tmp_path))
    network = radapt.load_model(tmp_path / "model", vit).model.trainee.network  # type: ignore[attr-defined]
    adapted = {key.replace(".base_layer", ""): each for key, each in network.encoder.state_dict().items()}
    kept = [torch.equal(each, adapted[key]) for key, each in vit.module.state_dict().items()]
    assert sum(kept) >= len(kept) // 4
    if name in ("lora", "dora", "ia3"):
        assert all(kept)


def test_a_saved_model_holds_what_was_trained_and_no_more(
    run: Any, cohort: Cohort, vit: Backbone, tmp_path: Path
) -> None:
    result = run(cohort, quick("bitfit"), machine=Machine(folder=tmp_path))
    from safetensors.torch import load_file

    state = load_file(tmp_path / "model" / "model.safetensors")
    inside = [key for key in state if key.startswith("encoder.")]
    assert inside
    assert all(key.endswith("bias") for key in inside)
    buffers = {"mean", "seen"}
    trained = sum(each.numel() for key, each in state.items() if key not in buffers)
    assert trained == result.cost.trained
    assert vit.identity in (tmp_path / "model" / "model.json").read_text()


def test_finetuning_learns_what_a_linear_probe_cannot(run: Any, vit: Backbone, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = [number % 2 for number in range(192)]
    splits = [("train", "train", "val", "test")[number // 2 % 4] for number in range(192)]
    cohort = image_cohort(tmp_path / "i", [{"a": stripes(rng, label)} for label in labels], labels, splits)
    probe = evaluate(radapt.extract(cohort, vit, size=32, cache=tmp_path / "cache"), "linear", resamples=0)
    tuned = run(cohort, make("finetune", lr=3e-3, epochs=8, augment="none"), size=32)
    assert area(probe) < 0.8
    assert area(tuned) > 0.93


def area(result: Result) -> float:
    return float(result.scores.query("metric == 'auroc'")["value"].mean())


class Killed(BaseException):
    """Stands for a signal."""


def killer(after: int) -> Any:
    """A progress that kills training at its step number `after` over all candidates."""
    done = [0]

    @contextmanager
    def show(total: int, label: str, unit: str = "cases") -> Iterator[Advance]:
        def advance(count: int = 1) -> None:
            if unit == "steps" and count == 1:
                done[0] += 1
                if done[0] == after:
                    raise Killed

        yield advance

    return show


@pytest.mark.parametrize("after", [pytest.param(2, marks=SLOW), pytest.param(6, marks=SLOW), 9])
def test_a_killed_training_ends_with_the_same_predictions(
    after: int, run: Any, cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps an epoch, two epochs, two rates: in the first, at its end, in the second."""
    monkeypatch.setattr(lr_search, "CHECKPOINT_S", 0.0)
    protocol = quick("lora", lr=RATES)
    whole = run(cohort, protocol)
    folder = tmp_path / "cell"
    with pytest.raises(Killed):
        run(cohort, protocol, machine=Machine(folder=folder, progress=killer(after)))
    assert any((folder / "checkpoints").rglob("*.pt"))
    steps: list[int] = []

    @contextmanager
    def counting(total: int, label: str, unit: str = "cases") -> Iterator[Advance]:
        began = len(steps)
        yield lambda count=1: steps.append(count) if unit == "steps" else None
        del steps[began : began + 1]  # where it went on from

    rest = run(cohort, protocol, machine=Machine(folder=folder, progress=counting))
    pd.testing.assert_frame_equal(rest.predictions, whole.predictions, check_exact=True)
    assert not (folder / "checkpoints").exists()
    assert len(steps) == 12 - after + 1  # killed before that step was kept
    assert [each.options["lr"] for each in rest.fit.candidates] == RATES
    assert rest.fit.winner in rest.fit.candidates


@pytest.mark.parametrize("rates", [[1e-2, 1e-6], [1e-6, 1e-2]])
def test_the_best_candidate_answers(rates: list[float], run: Any, cohort: Cohort, tmp_path: Path) -> None:
    both = run(cohort, quick("bitfit", lr=rates), machine=Machine(folder=tmp_path))
    best = both.fit.winner.options["lr"]
    numbers = [(-each.val["auroc"], each.val["log_loss"]) for each in both.fit.candidates]
    assert best == rates[numbers.index(min(numbers))]
    alone = {rate: answers(run(cohort, quick("bitfit", lr=rate))) for rate in rates}
    np.testing.assert_array_equal(answers(both), alone[best])
    assert not np.array_equal(alone[rates[0]], alone[rates[1]])


def test_a_kill_after_training_costs_no_training(
    run: Any, cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While val and test are answered the checkpoints are still there."""
    machine = Machine(folder=tmp_path / "cell")

    def interrupted(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("radapt.protocols.scoring.score_fitted", interrupted)
        with pytest.raises(Killed):
            run(cohort, quick("bitfit"), machine=machine)
    saved = (machine.folder / "model" / "model.safetensors").read_bytes()  # type: ignore[operator]
    with monkeypatch.context() as patch:
        patch.setattr("radapt.classification.task.CaseTask.loss", interrupted)
        run(cohort, quick("bitfit"), machine=machine)
    assert (machine.folder / "model" / "model.safetensors").read_bytes() == saved  # type: ignore[operator]
    assert not machine.checkpoints.exists()  # type: ignore[union-attr]


def test_a_checkpoint_of_other_options_is_not_gone_on_from(
    run: Any, cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lr_search, "CHECKPOINT_S", 0.0)
    with pytest.raises(Killed):
        run(cohort, quick("bitfit"), machine=Machine(folder=tmp_path / "cell", progress=killer(4)))
    other = quick("bitfit", label_smoothing=0.3)
    found = run(cohort, other, machine=Machine(folder=tmp_path / "cell"))
    pd.testing.assert_frame_equal(found.predictions, run(cohort, other).predictions, check_exact=True)


def test_test_labels_change_nothing(run: Any, cohort: Cohort) -> None:
    tested = [number for number, case in enumerate(cohort) if case.split not in ("train", "val")]
    flipped = [
        replace(case, label=1 - case.label) if number in tested and case.label is not None else case
        for number, case in enumerate(cohort)
    ]
    first, second = run(cohort, quick("norm")), run(replace(cohort, cases=tuple(flipped)), quick("norm"))
    np.testing.assert_array_equal(answers(first), answers(second))


def test_a_case_is_answered_alone_as_among_others(run: Any, cohort: Cohort, vit: Backbone, tmp_path: Path) -> None:
    run(cohort, quick("finetune"), machine=Machine(folder=tmp_path))
    loaded: Any = radapt.load_model(tmp_path / "model", vit).model
    rows, cases = np.arange(len(cohort)), CohortImages(cohort, SliceCache(tmp_path / "cache"))
    together = loaded.predict(cases, rows)
    np.testing.assert_array_equal(loaded.predict(cases, rows[::-1]), together[::-1])
    np.testing.assert_array_equal(np.concatenate([loaded.predict(cases, [row]) for row in rows]), together)


@pytest.mark.parametrize(
    ("slices", "modalities"),
    [("mean", "mean"), ("topk", "concat"), ("attention", "concat"), ("transformer", "mean")],
)
def test_slices_and_modalities_are_pooled_every_way(slices: str, modalities: Any, run: Any, cohort: Cohort) -> None:
    protocol = quick("bitfit", lr=1e-3, slices=slices, patch_mean=True)
    result = run(cohort, protocol, pooling=Pooling(modalities=modalities))
    assert np.isfinite(answers(result)).all()
    assert any("Missing in some training cases: b" in note for note in result.fit.notes)


def test_pooling_of_slices_follows_the_study_unless_said(run: Any, cohort: Cohort) -> None:
    found = [
        answers(run(cohort, quick("bitfit", slices=slices), pooling=Pooling(slices=pooling)))  # type: ignore[arg-type]
        for slices, pooling in ((None, "max"), ("max", "mean"), (None, "mean"))
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_a_modality_missing_from_train_or_only_elsewhere(run: Any, tmp_path: Path) -> None:
    """`b` is in every training case but not in all others, `c` in no training case: one test case has nothing else."""
    rng = np.random.default_rng(0)
    labels = [number % 2 for number in range(24)]
    splits = [SPLITS[number // 2 % 6] for number in range(24)]
    images: list[dict[str, np.ndarray]] = []
    for label, split in zip(labels, splits, strict=True):
        image = discs(rng, label)
        images.append({"a": image, "b": image} if split == "train" else {"a": image})
    images[splits.index("test")] = {"c": images[0]["a"]}
    cohort = image_cohort(tmp_path / "i", images, labels, splits, modalities=("a", "b", "c"))
    for modalities in ("concat", "mean"):
        result = run(cohort, quick("bitfit"), pooling=Pooling(modalities=modalities))  # type: ignore[arg-type]
        assert "No training case has c; left out." in result.fit.notes
        np.testing.assert_allclose(answers(result).sum(1), 1)


def test_several_classes_one_of_them_absent_from_train(run: Any, tmp_path: Path) -> None:
    cohort = disc_cohort(tmp_path / "i", 36, classes=3)
    cases = tuple(case for case in cohort if case.split != "train" or case.label != 2)
    result = run(replace(cohort, cases=cases), quick("lora"))
    assert (result.predictions["p_k2"] == 0).all()
    assert any("'k2'" in note and "predicted as 0" in note for note in result.fit.notes)
    full = run(cohort, quick("lora"))
    assert (full.predictions["p_k2"] > 0).all()
    np.testing.assert_allclose(answers(full).sum(1), 1)


def test_findings_with_unknown_ones(run: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first = np.arange(36) % 2
    labels = np.stack([first, np.where(np.arange(36) % 5 == 0, np.nan, 1 - first), np.ones(36)], axis=1)
    splits = [SPLITS[number // 2 % 6] for number in range(36)]
    images = [{"a": discs(rng, int(label))} for label in first]
    result = run(image_cohort(tmp_path / "i", images, labels, splits, outputs=3), quick("finetune"))
    assert any("'k2'" in note for note in result.fit.notes)
    np.testing.assert_allclose(result.predictions["p_k2"], (18 + 1) / (18 + 2))
    assert result.predictions["p_k0"].std() > 0
    assert not np.allclose(result.predictions["p_k0"] + result.predictions["p_k1"], 1)


def test_too_few_patients_to_choose_on(run: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels, splits = [0, 1, 0, 1], ["train", "train", "test", "test"]
    cohort = image_cohort(tmp_path / "i", [{"a": discs(rng, label)} for label in labels], labels, splits)
    result = run(cohort, quick("lora", lr=RATES, epochs=3, patience=1), machine=Machine(folder=tmp_path / "cell"))
    record = result.fit
    assert record.cases == FitCases(2, 0, "none")
    assert record.winner.options["lr"] == 1e-3
    assert record.winner.epochs == 3
    assert record.candidates == (record.winner,)
    assert any("first learning rate was trained for the whole schedule" in note for note in record.notes)


def diverging(monkeypatch: pytest.MonkeyPatch, *rates: float) -> None:
    """The loss is NaN at some learning rates."""
    whole = CaseTask.loss

    def loss(self: CaseTask, batch: Any, seeds: np.ndarray) -> torch.Tensor:
        return whole(self, batch, seeds) * (np.nan if self.lr in rates else 1.0)

    monkeypatch.setattr(CaseTask, "loss", loss)


@pytest.mark.parametrize("rates", [[7.0, 3e-3], [3e-3, 7.0]])
def test_a_rate_at_which_training_diverges_is_left_out_with_its_reason(
    rates: list[float], run: Any, cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = run(cohort, quick("bitfit", lr=3e-3))
    diverging(monkeypatch, 7.0)
    result = run(cohort, quick("bitfit", lr=rates), machine=Machine(folder=tmp_path / "cell"))
    np.testing.assert_array_equal(answers(result), answers(alone))
    assert result.fit.winner.options["lr"] == 3e-3
    assert [each.options["lr"] for each in result.fit.candidates] == rates
    lost = result.fit.candidates[rates.index(7.0)]
    assert lost.diverged.startswith("The loss became nan at step 1")
    assert lost.val == {}
    assert result.fit.winner.diverged is None
    said = [note for note in result.fit.notes if note.startswith("Learning rate 7 was left out")]
    assert len(said) == 1
    assert " with c" in said[0]


def test_a_grid_of_which_all_rates_diverge_is_an_error_that_names_cases(
    run: Any, cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging(monkeypatch, 7.0, 8.0)
    with pytest.raises(DataError, match=r"every learning rate \(7, 8\).*The loss became nan .* with c\d"):
        run(cohort, quick("bitfit", lr=[7.0, 8.0]))
    with pytest.raises(DataError, match=r"^The loss became nan .* with c\d"):
        run(cohort, quick("bitfit", lr=7.0))


def test_answers_that_are_not_finite_count_as_diverged(
    run: Any, cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights may overflow in the last step, after a loss and a gradient that were finite."""
    from radapt.classification.case_loader import BagLoader

    whole = BagLoader.answers
    monkeypatch.setattr(BagLoader, "answers", lambda *given: whole(*given) * np.inf)
    with pytest.raises(DataError, match=r"answers became infinite or NaN .*first for c"):
        run(cohort, quick("bitfit"))


def test_equal_fits_choose_and_say_the_same(run: Any, cohort: Cohort) -> None:
    first, second = (run(cohort, quick("bitfit", lr=RATES)) for _ in range(2))
    assert first.fit == second.fit
    assert first.cost.seconds > 0


def test_val_of_one_class_is_compared_by_log_loss(run: Any, cohort: Cohort) -> None:
    cases = tuple(case for case in cohort if case.split != "val" or case.label == 0)
    record = run(replace(cohort, cases=cases), quick("lora", lr=[1e-3, 1e-2, 1e-4])).fit
    losses = [each.val["log_loss"] for each in record.candidates]
    assert record.winner.val["log_loss"] == min(losses)
    assert any("AUROC is undefined on val" in note for note in record.notes)


def test_one_labelled_class_is_refused(run: Any, cohort: Cohort) -> None:
    cases = tuple(replace(case, label=0) for case in cohort)
    with pytest.raises(DataError, match="only class 'k0' in split 'train'"):
        run(replace(cohort, cases=cases), quick("lora"))


@pytest.mark.parametrize(("split", "said"), [("train", "case c0, a: .*NaN"), ("test", "Case c8, a: .*NaN")])
def test_an_image_with_nan_is_named_by_its_case(split: str, said: str, run: Any, tmp_path: Path) -> None:
    cohort = disc_cohort(tmp_path / "i")
    row = int(np.flatnonzero(cohort.splits == split)[0])
    place = cohort.cases[row].images["a"].path
    np.save(place, np.full((2, 16, 16), np.nan, np.float32))
    with pytest.raises(DataError, match=said):
        run(cohort, quick("lora"))


def test_bfloat16(run: Any, cohort: Cohort, vit: Backbone, tmp_path: Path) -> None:
    precise = run(cohort, quick("finetune"))
    half = run(cohort, quick("finetune"), machine=Machine(precision="bfloat16", folder=tmp_path))
    assert not np.array_equal(answers(half), answers(precise))
    np.testing.assert_allclose(answers(half), answers(precise), atol=0.1)
    rows = np.flatnonzero(cohort.splits == "val")
    again = predicted(tmp_path, vit, cohort, rows)
    np.testing.assert_array_equal(again, answers(half)[: len(rows)])


@pytest.mark.parametrize(
    "name", ["partial", *(pytest.param(each, marks=SLOW) for each in ("finetune", "norm", "lora"))]
)
def test_a_cnn_is_adapted_too(name: str, run: Any, cohort: Cohort, tmp_path: Path) -> None:
    cnn = load_backbone("timm:test_resnet", "random")
    result = run(cohort, quick(name, slices_per_case=2), cnn, machine=Machine(folder=tmp_path), size=32)
    rows = np.flatnonzero(cohort.splits == "val")
    again = predicted(tmp_path, cnn, cohort, rows)
    np.testing.assert_array_equal(again, answers(result)[: len(rows)])


def test_frozen_weights_that_change_are_an_internal_error(
    run: Any, cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = CaseTask.score

    def careless(task: CaseTask) -> float:
        with torch.no_grad():
            next(task.module.encoder.parameters()).add_(1e-6)  # type: ignore[union-attr]
        return score(task)

    monkeypatch.setattr(CaseTask, "score", careless)
    with pytest.raises(RuntimeError, match="changed frozen weights"):
        run(cohort, quick("lora"))


def test_rates_fall_from_layer_to_layer_and_the_head_has_its_own(vit: Backbone, run: Any, cohort: Cohort) -> None:
    seen: list[dict[str, float]] = []
    original = CaseTask.groups

    def spy(task: CaseTask) -> Any:
        named = {id(each): name for name, each in task.module.named_parameters()}
        groups = original(task)
        seen.append({named[id(each)]: group.lr_scale for group in groups for each in group.parameters})
        return groups

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CaseTask, "groups", spy)
        run(cohort, quick("finetune", lr=1e-4, head_lr=1e-2, layer_decay=0.5))
    scales, depth = seen[0], vit.depth
    assert scales["encoder.patch_embed.proj.weight"] == 0.5 ** (depth + 1)
    assert scales["encoder.blocks.0.mlp.fc1.bias"] == 0.5**depth
    assert scales[f"encoder.blocks.{depth - 1}.mlp.fc1.bias"] == 0.5
    assert scales["encoder.norm.weight"] == 1
    assert scales["head.weight"] == pytest.approx(100)
    assert scales["norm.weight"] == pytest.approx(100)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_loss_is_torch_s(classes: int, smoothing: float) -> None:
    labels = np.array([0, 1, classes - 1, 0, 1])
    task, logits = _task(labels, classes, smoothing)
    if classes == 2:
        logits = logits[:, :1]
        wide = torch.cat([torch.zeros_like(logits), logits], dim=1)
    else:
        wide = logits
    task.trainee.feed.given = logits  # type: ignore[attr-defined]
    batch = task.load(np.arange(5), np.zeros(5, np.uint64))
    expected = torch.nn.functional.cross_entropy(wide, torch.from_numpy(labels), label_smoothing=smoothing)
    torch.testing.assert_close(task.loss(batch, np.zeros(5, np.uint64)), expected)


def test_unknown_findings_and_weights_in_the_loss() -> None:
    labels = np.array([[1, 0], [0, np.nan], [1, 1], [0, np.nan]])
    task, logits = _task(labels, 2, 0.0, class_weight="balanced")
    task.trainee.feed.given = logits[:4]  # type: ignore[attr-defined]
    batch = task.load(np.arange(4), np.zeros(4, np.uint64))
    known = torch.tensor([[1, 1], [1, 0], [1, 1], [1, 0.0]])
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[:4], torch.tensor(np.nan_to_num(labels)).float(), reduction="none"
    )
    torch.testing.assert_close(task.loss(batch, np.zeros(4, np.uint64)), (each * known).sum() / 8)


@pytest.mark.parametrize("classes", [2, 3])
def test_balanced_classes_weigh_the_same_in_the_loss(classes: int) -> None:
    """Each case weighs n / (classes · cases of its class); the mean is over cases, not over weights."""
    labels = np.array([0, 0, 0, 1, classes - 1])
    task, logits = _task(labels, classes, 0.0, class_weight="balanced")
    task.trainee.feed.given = logits[:, :1] if classes == 2 else logits  # type: ignore[attr-defined]
    wide = torch.cat([torch.zeros(5, 1), logits[:, :1]], dim=1) if classes == 2 else logits
    each = torch.nn.functional.cross_entropy(wide, torch.from_numpy(labels), reduction="none")
    weights = torch.tensor([5 / 6] * 3 + [5 / 4] * 2 if classes == 2 else [5 / 9] * 3 + [5 / 3] * 2)
    batch = task.load(np.arange(5), np.zeros(5, np.uint64))
    torch.testing.assert_close(task.loss(batch, np.zeros(5, np.uint64)), (weights * each).mean())


def test_the_score_is_auroc_and_log_loss_only_breaks_ties() -> None:
    def score(*logits: float) -> float:
        task, _ = _task(np.array([0, 1]), 2, 0.0)
        truth = np.array([0, 0, 1, 1])
        task.cases = replace(task.cases, val=np.arange(4), truth=truth)
        task.trainee.feed.answers = lambda images, rows: np.array(logits)[:, None]
        return float(task.score())

    sure, unsure, wrong = score(-3, -2, 2, 3), score(-0.3, -0.2, 0.2, 0.3), score(-3, 2.1, 2, 3)
    assert sure == pytest.approx(1)
    assert sure > unsure  # both have an AUROC of 1
    assert unsure > score(-9, -0.1, -0.2, 9) == pytest.approx(0.75)  # a smaller log-loss does not make up for a pair
    assert wrong == pytest.approx(0.75)


@pytest.mark.parametrize(("classes", "shares"), [(2, [0.75, 0.25]), (3, [0.5, 0.25, 0.25])])
def test_a_network_begins_with_the_shares_of_training(
    classes: int, shares: list[float], run: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    labels = [0, 0, 0, 1] * 2 if classes == 2 else [0, 0, 1, 2] * 2
    labels += [*range(classes)] * 2
    splits = ["train"] * 8 + ["val"] * classes + ["test"] * classes
    images = [{"a": discs(rng, label)} for label in labels]
    cohort = image_cohort(tmp_path / "i", images, labels, splits, outputs=classes)
    found = answers(run(cohort, quick("bitfit", lr=1e-12, head_lr=1e-12, epochs=1)))
    np.testing.assert_allclose(found, [shares] * 2 * classes, atol=1e-6)


def _task(labels: np.ndarray, outputs: int, smoothing: float, class_weight: Any = "none") -> Any:
    class Fed:
        network = torch.nn.Linear(1, 1)
        given: torch.Tensor

        def load(self, images: Any, rows: np.ndarray, seeds: np.ndarray) -> None:
            return None

        def logits(self, batch: Any, seeds: np.ndarray) -> torch.Tensor:
            return self.given

    targets = Targets.of(labels, outputs, class_weight)
    rater = Rater(METRICS["auroc"], "multilabel" if labels.ndim == 2 else "binary" if outputs == 2 else "multiclass")
    images = SimpleNamespace(cohort=SimpleNamespace(labels=labels))
    cases: Any = LabelledCases(images, np.arange(len(labels)), targets, np.arange(0), labels[:0], rater)  # type: ignore[type-var]
    trainee = TrainableModel(Fed())  # type: ignore[arg-type]
    drawn = torch.randn(5, max(outputs, 2), generator=torch.Generator().manual_seed(0))
    return CaseTask(trainee, cases, 1e-3, smoothing), drawn[:, :outputs] if labels.ndim == 1 else drawn


def test_probabilities_of_extreme_logits_are_finite() -> None:
    two, three = Targets.of(np.array([0, 1]), 2), Targets.of(np.array([0, 1, 2]), 3)
    np.testing.assert_array_equal(two.probabilities(np.array([[1e4], [-1e4], [0.0]])), [[0, 1], [1, 0], [0.5, 0.5]])
    np.testing.assert_array_equal(three.probabilities(np.array([[1e4, 0, -1e4]])), [[1, 0, 0]])


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("lora", {"rnk": 4}, "Did you mean 'rank'"),
        ("bitfit", {"rank": 4}, "no option 'rank'"),
        ("finetune", {"lr": []}, "'lr' cannot be"),
        ("finetune", {"lr": 0}, "'lr' cannot be"),
        ("lora", {"rank": 0}, "'rank' cannot be 0"),
        ("finetune", {"layer_decay": 1.5}, "'layer_decay' cannot be 1.5"),
        ("finetune", {"slices": "median"}, "'slices' cannot be 'median'"),
        ("finetune", {"k": 3}, "k does nothing with slices: as the study"),
        ("lora", {"slices": "attention", "heads": 3}, "heads does nothing with slices: attention"),
        ("finetune", {"batch": 0}, "'batch' cannot be 0"),
        ("finetune", {"augment": "strong"}, "'augment' cannot be 'strong'"),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("partial", {"blocks": 9}, "blocks of .* to train; got 9"),
        ("lora", {"targets": ["attn.qkvv"]}, "No layer of the blocks is called 'attn.qkvv'"),
    ],
)
def test_what_the_backbone_does_not_have_is_refused(
    name: str, options: dict[str, Any], said: str, run: Any, cohort: Cohort
) -> None:
    with pytest.raises(UsageError, match=said):
        run(cohort, quick(name, **options))


def test_training_leaves_the_random_state_alone(run: Any, cohort: Cohort) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    run(cohort, quick("dora", slices="transformer"))
    assert torch.equal(before, torch.random.get_rng_state())
