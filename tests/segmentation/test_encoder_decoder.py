"""`segment` on discs one can draw: learned, stored, resumed, saved, modalities missing, data hardly there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

import radapt
from radapt import load_backbone
from radapt.backbones.backbone import Backbone
from radapt.backbones.card import WeightCard
from radapt.backbones.catalog import CATALOG
from radapt.backbones.reference import BackboneReference
from radapt.cases.sampling import SliceIndex
from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import DataError, UsageError
from radapt.images import Recipe
from radapt.locations import Location
from radapt.protocols.fitted import Fitted
from radapt.protocols.image_problem import CohortImages, ImageProblem, Machine
from radapt.protocols.registry import make
from radapt.protocols.save_model import save_model
from radapt.protocols.train import train
from radapt.segmentation.criterion import mean_dice
from radapt.segmentation.data import SegmentationData
from radapt.segmentation.encoder_decoder.fit import SegmentSearch
from radapt.segmentation.encoder_decoder.model import SegmentModel, SliceSegmenter
from radapt.segmentation.encoder_decoder.network import Parts, SegmentationNetwork
from radapt.segmentation.encoder_decoder.protocol import Segment
from radapt.segmentation.encoder_decoder.tasks import Goal, SliceTask
from radapt.segmentation.modality_view import CanvasDice, ModalityView
from radapt.segmentation.sides import has_sides
from radapt.training.lr_search import TrainSetup
from radapt.training.segmentation_loss import dice_ce

AFFINE = np.diag([-1.0, 1.0, 3.0, 1.0])
GREY = {1: 130, 2: 235}
QUICK: dict[str, Any] = {"lr": 3e-3, "epochs": 2, "batch": 8}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_card(depth: int = 4) -> WeightCard:
    options = {"depth": depth, "embed_dim": 48, "eps": 1e-6, "img_size": 64, "init_values": 1.0, "num_heads": 2}
    return WeightCard(
        name="tiny", family="DINOv2", architecture="vit", repo="nobody/tiny", licence="none", pretraining=(), width=48,
        depth=depth, parameters=0, patch=8, native_size=64, position_recipe="dinov2",
        options=tuple(sorted({**options, "patch_size": 8}.items())),
    )  # fmt: skip


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Backbone]:
    """A ViT of random weights with patches of 8 px."""

    def make_one(depth: int = 4) -> Backbone:
        monkeypatch.setitem(CATALOG, "tiny", tiny_card(depth))
        return load_backbone("tiny", weights="random")

    return make_one


def disc(shape: tuple[int, ...], centre: np.ndarray, radius: float) -> np.ndarray:
    rows, columns = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2


def discs(
    folder: Path,
    number: int,
    split: str,
    *,
    labels: tuple[int, ...] = (1, 2),
    shape: tuple[int, int, int] = (48, 56, 2),
    modalities: tuple[str, ...] = ("image",),
    masked: bool = True,
) -> Case:
    """Two bright discs on noise, the same in every plane; the second modality shows only the second."""
    rng = np.random.default_rng(number)
    folder.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(shape, np.uint8)
    for label in (1, 2):
        found = disc(shape, rng.uniform((12, 12), (36, 44)), rng.uniform(7, 10))
        if label in labels:
            mask[found] = label
    images = {}
    for place, name in enumerate(modalities):
        image = rng.integers(0, 60, shape).astype(np.uint8)
        for label in (1, 2)[place:]:
            image[mask == label] = GREY[label]
        images[name] = save(folder / f"{name}{number}.nii.gz", image)
    location = save(folder / f"mask{number}.nii.gz", mask) if masked else None
    return Case(f"c{number}", f"p{number}", split, images, mask=location)


def save(path: Path, array: np.ndarray) -> Location:
    nib.save(nib.Nifti1Image(array, AFFINE), path)
    return Location(path)


def cohort_of(cases: list[Case], kind: str = "other") -> Cohort:
    modalities = tuple(dict.fromkeys(name for case in cases for name in case.images))
    return Cohort("discs", kind, tuple(cases), modalities, mask_labels={1: "grey", 2: "white"})  # type: ignore[arg-type]


def small(folder: Path, train: int = 4, val: int = 2, test: int = 1, **options: Any) -> Cohort:
    splits = ["train"] * train + ["val"] * val + ["test"] * test
    return cohort_of([discs(folder, number, split, **options) for number, split in enumerate(splits)])


def fit(
    cohort: Cohort,
    folder: Path,
    backbone: Backbone,
    *,
    size: int | tuple[int, int] = 64,
    machine: Machine | None = None,
    seed: int = 0,
    cache: str = "cache",
    recipe: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[Fitted, SegmentationData]:
    from radapt.protocols.train import _copied

    made = Recipe.for_kind(cohort.kind, size=size, **(recipe or {}))
    problem = ImageProblem.of(
        cohort, "segmentation", made, folder / cache, _copied(backbone), machine=machine or Machine()
    )
    return make("segment", **{**QUICK, **options}).fit(problem, np.random.default_rng(seed)), SegmentationData(problem)


def drawn(fitted: Fitted, rows: list[int]) -> list[np.ndarray]:
    return [fitted.final.segment(row).array for row in rows]


@pytest.mark.parametrize("decoder", ["conv", pytest.param("unet", marks=pytest.mark.slow)])
def test_discs_are_found_by_a_random_encoder(tmp_path: Path, tiny: Callable[..., Backbone], decoder: str) -> None:
    cohort = small(tmp_path / "images", train=12, val=2, test=3, shape=(48, 56, 1))
    result = train(
        cohort, "segment", tiny(), size=64, cache=tmp_path / "cache", resamples=20, decoder=decoder, lr=1e-2, epochs=40,
        batch=4, score_every=5,
    )  # fmt: skip
    scores = result.scores.set_index(["split", "metric"])["value"]
    assert scores["test", "dice"] > 0.8
    assert min(scores["test", "dice:grey"], scores["test", "dice:white"]) > 0.7
    assert result.protocol == "segment"
    assert result.fit.winner.val["dice"] == pytest.approx(scores["val", "dice"], abs=1e-6)
    assert result.fit.details["tokens"]["stored"]


def test_label_maps_lie_in_the_patients_grid_and_are_one_volume(tmp_path: Path, tiny: Callable[..., Backbone]) -> None:
    cohort = small(tmp_path / "images", shape=(48, 56, 5))
    fitted, data = fit(cohort, tmp_path, tiny(), epochs=20, recipe={"every": 2})
    for row in range(7):
        found = fitted.final.segment(row)
        assert found.array.shape == (48, 56, 5)
        np.testing.assert_allclose(found.affine, AFFINE)
        assert set(np.unique(found.array)) <= {0, 1, 2}
    assert mean_dice(data, data.rows("val"), fitted.final.segment) == fitted.record.winner.val["dice"]
    between = fitted.final.segment(4).array
    assert (between[..., 2] == between[..., 1]).mean() > 0.95  # the discs go through all planes, kept or not


def test_one_seed_one_result(tmp_path: Path, tiny: Callable[..., Backbone]) -> None:
    cohort, backbone = small(tmp_path / "images"), tiny()
    before = torch.random.get_rng_state()
    first, _ = fit(cohort, tmp_path, backbone, lr=[1e-3, 1e-2])
    again, _ = fit(cohort, tmp_path, backbone, lr=[1e-3, 1e-2], cache="other")
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(np.array_equal(a, b) for a, b in zip(drawn(first, [0, 6]), drawn(again, [0, 6]), strict=True))
    plain = [f.record.candidates for f in (first, again)]
    assert plain[0] == plain[1]
    assert [c.options["lr"] for c in first.record.candidates] == [1e-3, 1e-2]
    assert first.record.winner.val["dice"] == max(c.val["dice"] for c in first.record.candidates)


def test_a_rate_at_which_training_diverges_is_left_out(
    tmp_path: Path, tiny: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort, backbone = small(tmp_path / "images"), tiny()
    rates: list[float] = []
    whole = SliceTask.logit_loss

    def logit_loss(self: SliceTask, logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        return whole(self, logits, masks) * (np.nan if rates[-1] > 1 else 1.0)

    whole_task = SegmentSearch.task

    def task(self: SegmentSearch, model: Any, rate: float) -> SliceTask:
        rates.append(rate)
        return whole_task(self, model, rate)

    monkeypatch.setattr(SliceTask, "logit_loss", logit_loss)
    monkeypatch.setattr(SegmentSearch, "task", task)
    alone, _ = fit(cohort, tmp_path, backbone, lr=3e-3)
    fitted, _ = fit(cohort, tmp_path, backbone, lr=[7.0, 3e-3, 8.0])
    assert np.array_equal(*(drawn(each, [6])[0] for each in (alone, fitted)))
    assert fitted.record.winner == alone.record.winner
    assert {each.options["lr"]: each.diverged is not None for each in fitted.record.candidates} == {
        3e-3: False,
        7.0: True,
        8.0: True,
    }
    assert sum("was left out, as training diverged: The loss became nan" in n for n in fitted.record.notes) == 2
    with pytest.raises(DataError, match=r"every learning rate \(7, 8\).*c\d \(slice"):
        fit(cohort, tmp_path, backbone, lr=[7.0, 8.0])


def test_stored_tokens_train_as_the_encoder_would(tmp_path: Path, tiny: Callable[..., Backbone]) -> None:
    cohort, backbone = small(tmp_path / "images", modalities=("a", "b")), tiny()
    stored, _ = fit(cohort, tmp_path, backbone)
    flying, _ = fit(cohort, tmp_path, backbone, token_budget_gb=0)
    assert stored.record.details["tokens"]["stored"]
    assert not flying.record.details["tokens"]["stored"]
    assert any("token_budget_gb = 0" in note for note in flying.record.notes)
    losses = [[epoch["loss"] for epoch in each.record.history] for each in (stored, flying)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    same = [np.mean(a == b) for a, b in zip(drawn(stored, [0, 5]), drawn(flying, [0, 5]), strict=True)]
    assert min(same) > 0.98
    assert stored.record.cost.trained == flying.record.cost.trained
    assert stored.record.cost.parameters == flying.record.cost.parameters


def test_the_cost_of_storing_is_known_and_told(tmp_path: Path, tiny: Callable[..., Backbone]) -> None:
    cohort, backbone = small(tmp_path / "images"), tiny()
    first, _ = fit(cohort, tmp_path, backbone)
    told = first.record.details["tokens"]
    numbers = 6 * 2 * 4 * 8 * 8 * 48
    assert told["slices"] == told["encoded_now"] == 12
    assert told["gb"] == pytest.approx(2 * numbers / 1e9, abs=1e-6)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.f16")) == 2 * numbers
    again, _ = fit(cohort, tmp_path, backbone)
    assert again.record.details["tokens"]["encoded_now"] == 0
    assert again.record.details["tokens"]["slices_read"] == told["slices_read"] == 2 * 8 + 3 * 4
    assert {"seconds_saved", "seconds_storing", "encoder_seconds_per_slice"} <= told.keys()


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        ("frozen", {"augment": "default"}),
        ("norm", {}),
        ("bitfit", {"decoder": "upernet", "width": 16}),
        ("lora", {"rank": 2, "dropout": 0.0}),
        ("partial", {"blocks": 2, "decoder": "dpt", "width": 16}),
        ("finetune", {"decoder": "linear", "layer_decay": 0.5}),
    ],
)
def test_every_way_trains_what_it_says_and_is_saved(
    tmp_path: Path, tiny: Callable[..., Backbone], encoder: str, options: dict[str, Any]
) -> None:
    cohort, backbone = small(tmp_path / "images", train=2, val=1), tiny()
    machine = Machine(folder=tmp_path / "run")
    fitted, data = fit(cohort, tmp_path, backbone, machine=machine, encoder=encoder, lr=[1e-3, 1e-4], **options)
    model: SegmentModel = fitted.final.model
    trained = {name for name, each in model.network.encoder.named_parameters() if each.requires_grad}
    every = {name for name, _ in model.network.encoder.named_parameters()}
    expected = {
        "frozen": lambda name: False,
        "norm": lambda name: "norm" in name,
        "bitfit": lambda name: name.endswith("bias"),
        "lora": lambda name: "lora_" in name,
        "partial": lambda name: name.startswith(("blocks.2", "blocks.3", "norm")),
        "finetune": lambda name: True,
    }[encoder]
    assert trained == {name for name in every if expected(name)}
    counted = sum(each.numel() for each in model.network.parameters() if each.requires_grad)
    assert fitted.record.cost.trained == counted == fitted.record.cost.trained
    assert not fitted.record.details["tokens"]["stored"]
    save_model(
        tmp_path / "m",
        Segment(**{**QUICK, "encoder": encoder, "lr": [1e-3, 1e-4], **options}),
        fitted,
        data.problem,
        BackboneReference.of(backbone),
    )
    loaded = radapt.load_model(tmp_path / "m", backbone, cache=data.problem.slices.folder)
    for row in (2, 3):
        assert np.array_equal(loaded.segment(cohort, row).array, fitted.final.segment(row).array)


def test_a_killed_fit_goes_on_behind_what_was_done(
    tmp_path: Path, tiny: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort, backbone = small(tmp_path / "images"), tiny()
    options: dict[str, Any] = {"lr": [1e-3, 3e-3, 1e-2], "machine": Machine(folder=tmp_path / "run")}
    whole, _ = fit(cohort, tmp_path, backbone, lr=options["lr"])
    from radapt.training import lr_search

    calls: list[int] = []

    def dying(*given: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train_loop(*given, **more)

    train_loop = lr_search.train
    monkeypatch.setattr(lr_search, "train", dying)
    with pytest.raises(KeyboardInterrupt):
        fit(cohort, tmp_path, backbone, **options)
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").rglob("*.*"))
    assert [name for name in kept if name.endswith(".json")] == ["0.json", "1.json"]
    assert sum(name.endswith(".safetensors") for name in kept) == 1
    monkeypatch.setattr(lr_search, "train", train_loop)
    seen: list[Any] = []
    from radapt.segmentation.encoder_decoder.tasks import TokenTask

    monkeypatch.setattr(TokenTask, "train_mode", lambda task: (seen.append(task), task.module.train())[0])
    resumed, _ = fit(cohort, tmp_path, backbone, **options)
    assert len({id(task) for task in seen}) == 1  # only the third rate was still to be trained
    assert [c.val["dice"] for c in resumed.record.candidates] == [c.val["dice"] for c in whole.record.candidates]
    assert all(np.array_equal(a, b) for a, b in zip(drawn(whole, [5, 6]), drawn(resumed, [5, 6]), strict=True))


def test_a_saved_model_says_what_it_is_without_the_frozen_encoder(
    tmp_path: Path, tiny: Callable[..., Backbone]
) -> None:
    cohort, backbone = small(tmp_path / "images"), tiny()
    fitted, data = fit(cohort, tmp_path, backbone)
    save_model(tmp_path / "run", Segment(**QUICK), fitted, data.problem, BackboneReference.of(backbone))
    model = radapt.load_model(tmp_path / "run", backbone, cache=data.problem.slices.folder)
    assert model.card.mask_labels == {1: "grey", 2: "white"}
    assert model.card.options["decoder"] == "conv"
    size = (tmp_path / "run" / "model.safetensors").stat().st_size
    assert size < 5 * fitted.record.cost.trained  # the frozen encoder is not in it
    assert model.card.recipe == data.problem.recipe
    assert np.array_equal(model.segment(cohort, 6).array, drawn(fitted, [6])[0])


def test_modalities_may_be_missing_anywhere(tmp_path: Path, tiny: Callable[..., Backbone]) -> None:
    """One case of train lacks b, one of test lacks a, and no case of train has c."""
    both = ("a", "b")
    cases = [discs(tmp_path / "i", n, s, modalities=both) for n, s in enumerate(["train"] * 4 + ["val"] * 2)]
    cases += [discs(tmp_path / "i", 6, "test", modalities=("a", "b", "c")), discs(tmp_path / "i", 7, "test")]
    cases[0] = replace(cases[0], images={"a": cases[0].images["a"]})
    cases[6] = replace(cases[6], images={name: cases[6].images[name] for name in ("b", "c")})
    cases[7] = replace(cases[7], images={"c": cases[7].images["image"]})
    for budget in (1, 0):
        fitted, _ = fit(cohort_of(cases), tmp_path, tiny(), token_budget_gb=budget)
        notes = " ".join(fitted.record.notes)
        assert "b is missing in 1 training cases; a learned vector" in notes
        assert "No training case has c; left out." in notes
        assert fitted.final.model.modalities == ("a", "b")
        assert fitted.final.segment(6).array.shape == (48, 56, 2)
        with pytest.raises(DataError, match="Case c7 has c, of which no training case had one"):
            fitted.final.segment(7)


def test_modalities_are_dropped_by_seed_and_never_all() -> None:
    goal = Goal(None, None, np.empty(0), modality_dropout=0.7)  # type: ignore[arg-type]
    seeds = np.arange(4000, dtype=np.uint64)
    present = torch.ones(4000, 3, dtype=torch.bool)
    present[:100, 0] = False
    kept = goal.after_dropout(present, seeds)
    assert kept.any(1).all()
    assert not (kept & ~present).any()
    assert kept[100:].float().mean().item() == pytest.approx(0.3 + 0.7**3, abs=0.03)
    assert torch.equal(kept[50:60], goal.after_dropout(present[50:60], seeds[50:60]))
    alone = torch.ones(5, 1, dtype=torch.bool)
    assert goal.after_dropout(alone, seeds[:5]).all()


def stub_task(network: SegmentationNetwork, goal: Goal, rate: float, **options: Any) -> SliceTask:
    """The task of one learning rate, of a fit that has no data."""
    made = SimpleNamespace(options=make("segment", **options), goal=goal, augmentation=None)
    return SegmentSearch(TrainSetup(0, "segment"), made, None, None).task(network, rate)  # type: ignore[arg-type]


def test_the_decoder_keeps_its_own_rate_beside_an_adapted_encoder(tiny: Callable[..., Backbone]) -> None:
    network = SegmentationNetwork(tiny(), Parts("linear", "bitfit", 1, 3, (48, 48)), seed=0)
    goal = Goal(None, range(3), np.arange(1))  # type: ignore[arg-type]
    task = stub_task(network, goal, 2e-4, encoder="bitfit", decoder="linear", decoder_lr=4e-3)
    rates = {parameter: 2e-4 * group.lr_scale for group in task.groups() for parameter in group.parameters}
    assert all(rates[each] == pytest.approx(4e-3) for each in network.head.parameters())
    assert {rates[each] for each in network.encoder.parameters() if each.requires_grad} == {2e-4}


def test_the_loss_weighs_classes_and_dice_as_its_goal_says(tiny: Callable[..., Backbone]) -> None:
    weights, rng = torch.tensor([0.5, 1.0, 4.0]), torch.Generator().manual_seed(0)
    network = SegmentationNetwork(tiny(), Parts("linear", "frozen", 1, 3, (48, 48)), seed=0)
    goal = Goal(None, range(3), np.arange(1), dice=0.25, weights=weights)  # type: ignore[arg-type]
    logits, masks = torch.randn(2, 3, 6, 6, generator=rng), torch.randint(0, 3, (2, 6, 6), generator=rng)
    loss = stub_task(network, goal, 1e-3).logit_loss(logits, masks)
    assert loss == dice_ce(logits, masks, weights=weights, dice_share=0.25)
    assert loss != pytest.approx(float(dice_ce(logits, masks, dice_share=0.25)), rel=1e-3)


@pytest.mark.parametrize("encoder", ["frozen", "bitfit"])
def test_a_batch_of_empty_masks_and_pictures_are_learned_from(
    tmp_path: Path, tiny: Callable[..., Backbone], encoder: str
) -> None:
    labels = [(), (), (1, 2), (), (1,), ()]
    splits = ["train"] * 4 + ["val", "test"]
    cases = [
        discs(tmp_path / "images", number, split, labels=found, shape=(48, 56, 1))
        for number, (found, split) in enumerate(zip(labels, splits, strict=True))
    ]
    fitted, _ = fit(cohort_of(cases), tmp_path, tiny(), batch=1, foreground=0.0, encoder=encoder)
    assert all(np.isfinite(epoch["loss"]) for epoch in fitted.record.history)
    assert fitted.final.segment(5).array.shape == (48, 56, 1)


def test_masks_that_are_all_empty_are_refused(tmp_path: Path, tiny: Callable[..., Backbone]) -> None:
    cases = [discs(tmp_path / "i", number, split, labels=()) for number, split in enumerate(["train", "train", "val"])]
    with pytest.raises(DataError, match="all 2 training masks are empty"):
        fit(cohort_of(cases), tmp_path, tiny())


def test_a_label_that_training_lacks_is_told(tmp_path: Path, tiny: Callable[..., Backbone]) -> None:
    cases = [discs(tmp_path / "i", number, "train", labels=(1,)) for number in range(3)]
    cases += [discs(tmp_path / "i", 3, "val"), discs(tmp_path / "i", 4, "test")]
    fitted, _ = fit(cohort_of(cases), tmp_path, tiny(), class_weight="balanced", epochs=10)
    assert any("'white'" in note and "cannot be" in note for note in fitted.record.notes)
    assert not (fitted.final.segment(4).array == 2).any()


def test_an_encoder_with_few_layers_is_read_whole(tmp_path: Path, tiny: Callable[..., Backbone]) -> None:
    cohort = small(tmp_path / "images", train=2, val=1)
    fitted, _ = fit(cohort, tmp_path, tiny(depth=2), decoder="unet")
    assert any("tiny has 2 layers; decoder unet reads 5" in note for note in fitted.record.notes)
    assert fitted.record.details["tokens"]["layers"] == [-2, -1]


def test_sizes_may_be_odd(tmp_path: Path, tiny: Callable[..., Backbone]) -> None:
    cohort = small(tmp_path / "images", train=2, val=1, shape=(31, 47, 1))
    for decoder in ("conv", "dpt"):
        fitted, _ = fit(cohort, tmp_path, tiny(), size=(37, 53), decoder=decoder)
        assert fitted.final.segment(3).array.shape == (31, 47, 1)


def test_without_val_the_first_rate_is_trained_to_the_end(tmp_path: Path, tiny: Callable[..., Backbone]) -> None:
    cohort = small(tmp_path / "images", train=1, val=0)
    fitted, _ = fit(cohort, tmp_path, tiny(), lr=[1e-3, 1e-2], epochs=3, patience=1)
    assert fitted.record.cases.val_source == "none"
    assert fitted.record.winner.options["lr"] == 1e-3
    assert fitted.record.winner.epochs == 3
    assert any("No case to choose on" in note for note in fitted.record.notes)


def test_without_validation_passes_train_and_val_are_learned_from(
    tmp_path: Path, tiny: Callable[..., Backbone]
) -> None:
    cohort = small(tmp_path / "images", train=3, val=2)
    fitted, _ = fit(cohort, tmp_path, tiny(), epochs=2, score_every=0)
    cases = fitted.record.cases
    assert (cases.train, cases.val, fitted.record.winner.epochs) == (5, 0, 2)
    assert len(fitted.record.candidates) == 1
    assert any("(score_every: 0)" in note for note in fitted.record.notes)


def test_loss_that_is_not_finite_names_the_slices(tmp_path: Path, tiny: Callable[..., Backbone]) -> None:
    backbone = tiny()
    with torch.no_grad():
        next(backbone.module.parameters()).fill_(torch.nan)  # as after a step that was too long
    with pytest.raises(DataError, match=r"c\d \(slice \d\)"):
        fit(small(tmp_path / "images"), tmp_path, backbone, encoder="finetune", warmup=0.0)


def test_an_encoder_that_is_a_cnn(tmp_path: Path) -> None:
    backbone = load_backbone("timm:resnet10t.c3_in1k", weights="random")
    cohort = small(tmp_path / "images", train=2, val=1)
    for options in ({"decoder": "unet"}, {"decoder": "upernet", "width": 16, "encoder": "finetune"}):
        fitted, _ = fit(cohort, tmp_path, backbone, **options)
        assert fitted.final.segment(3).array.shape == (48, 56, 2)


def test_slices_with_rare_labels_are_seen_more_often() -> None:
    pixels = np.zeros((100, 3), np.int64)
    pixels[:, 0] = 50
    pixels[:40, 1] = 5
    pixels[7, 2] = 1
    slices = SliceIndex(np.zeros(100, np.int64), np.arange(100), pixels)
    rng = np.random.default_rng(0)
    assert sorted(slices.order(0.0, rng)) == list(range(100))
    seen = np.bincount(np.concatenate([slices.order(0.33, rng) for _ in range(400)]), minlength=100) / 400
    assert seen.sum() == pytest.approx(100)
    assert seen[7] == pytest.approx(0.67 + 16.5 + 16.5 / 40, rel=0.1)
    assert seen[:40].mean() > seen[50:].mean()
    assert seen[50:].mean() == pytest.approx(0.67, rel=0.05)
    pixels[:, 1:] = 1
    assert sorted(slices.order(1.0, rng)) == list(range(100))


def test_canvas_dice_is_per_case_and_never_pooled() -> None:
    """A large organ found in one patient and a small one missed in another: half, not nearly one."""
    dice = CanvasDice(3)
    large, small_one = torch.zeros(2, 8, 8, dtype=torch.int64), torch.zeros(1, 8, 8, dtype=torch.int64)
    large[:, :6] = 1
    small_one[0, 0, 0] = 1
    dice.add(0, large[:1], large[:1])
    dice.add(0, large[1:], large[1:])
    dice.add(1, small_one, torch.zeros_like(small_one))
    np.testing.assert_array_equal(dice.cases, [[1, np.nan], [0, np.nan]])
    assert dice.mean == 0.5
    assert np.isnan(CanvasDice(3).mean)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rank": 4}, "rank belongs to encoder: lora"),
        ({"encoder": "lora", "blocks": 2}, "blocks belongs to encoder: partial"),
        ({"encoder": "lora", "layer_decay": 0.5}, "layer_decay belongs to partial and finetune"),
        ({"decoder": "linear", "width": 16}, "width has no effect with decoder: linear"),
        ({"decoder": "dpt", "stride": 2}, "stride has no effect"),
        ({"decoder_lr": 1e-3}, "lr is the decoder's"),
        ({"decoder": "fpn"}, "There is no decoder 'fpn'"),
        ({"lr": []}, "option 'lr'"),
        ({"score_every": 0, "lr": [1e-3, 1e-2]}, "nothing to choose lr by"),
        ({"foreground": 1.5}, "option 'foreground'"),
        ({"token_budget_gb": -1}, "option 'token_budget_gb'"),
        ({"decoder_": "conv"}, "Did you mean 'decoder'"),
        ({"mirror": "all"}, "mirror is part of augmentation"),
        ({"encoder": "lora", "token_budget_gb": 3}, "tokens are never stored"),
        ({"augment": "default", "token_budget_gb": 0}, "tokens are never stored"),
    ],
)
def test_options_that_do_nothing_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make("segment", **options)


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["left_lung", "heart"], True), (["Kidney R"], True), (["bright", "cleft"], False), ([], False)],
)
def test_labels_with_a_side_are_told_by_their_names(names: list[str], expected: bool) -> None:
    assert has_sides(names) is expected


def test_a_full_disk_means_on_the_fly(
    tmp_path: Path, tiny: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radapt.segmentation.encoder_decoder.stored_tokens.TokenPlan.free_gb", 1e-9)
    fitted, _ = fit(small(tmp_path / "images", train=2, val=1), tmp_path, tiny())
    assert not fitted.record.details["tokens"]["stored"]
    assert any("the disk of the cache has" in note for note in fitted.record.notes)


@pytest.mark.parametrize("budget", [1, 0])
def test_a_sequence_that_is_left_out_is_as_one_that_was_never_made(
    tmp_path: Path, tiny: Callable[..., Backbone], budget: int
) -> None:
    """To the bit, on stored tokens (val) and on images (test)."""
    cohort = small(tmp_path / "i", val=2, test=2, modalities=("a", "b", "c"), shape=(48, 56, 18))
    fitted, _ = fit(cohort, tmp_path, tiny(), token_budget_gb=budget, epochs=1)
    whole = fitted.final
    assert (whole.tokens is None) == (budget == 0)
    assert whole.evaluates_subsets
    bare = replace(cohort, cases=tuple(replace(case, images=_without(case, "b")) for case in cohort))
    rest = whole.trained_model.on(CohortImages(bare, whole.data.problem.slices))
    rest = replace(rest, tokens=whole.tokens)
    subsets = [("a", "b", "c"), ("a", "c"), ("c",)]
    for row in (4, 6):
        drawn_once = [drawn.mask.array for drawn in whole.draw_subsets(row, subsets)]
        for names, found in zip(subsets, drawn_once, strict=True):
            np.testing.assert_array_equal(found, whole.segment_from(row, names).array)
        np.testing.assert_array_equal(drawn_once[0], whole.segment(row).array)
        assert (drawn_once[1] != drawn_once[0]).any()
        np.testing.assert_array_equal(drawn_once[1], rest.segment(row).array)
        scores = [one.model.scores(*ModalityView.of(one.data, one.modalities).planes(row)) for one in (whole, rest)]
        view = ModalityView.of(whole.data, whole.modalities)
        maps = whole.model.maps(view.planes(row)[0], view.present(row))
        left_out = whole.model.scores_of_maps(maps, view.present(row, ("a", "c")))
        np.testing.assert_array_equal(left_out, scores[1])
        assert (scores[0] != scores[1]).any()
    with pytest.raises(DataError, match="Case c6 has a, c, and none of b"):
        rest.segment_from(6, ("b",))
    with pytest.raises(UsageError, match=r"The model does not read 'A'\. Did you mean 'a'"):
        whole.segment_from(6, ("A",))


def _without(case: Case, name: str) -> dict[str, Location]:
    return {other: image for other, image in case.images.items() if other != name}


@pytest.mark.parametrize(
    ("subsets", "modalities", "evaluated"),
    [("auto", "ab", True), ("auto", "abcd", True), ("auto", "abcde", False), ("all", "abcde", True),
     ("none", "ab", False), ("auto", "a", False), ("all", "a", False)],
)  # fmt: skip
def test_which_models_are_evaluated_on_subsets(subsets: Any, modalities: str, evaluated: bool) -> None:
    model = SimpleNamespace(modalities=tuple(modalities))
    assert SliceSegmenter(model, None, None, subsets).evaluates_subsets is evaluated  # type: ignore[arg-type]


def test_a_saved_model_predicts_from_named_sequences(tmp_path: Path, tiny: Callable[..., Backbone]) -> None:
    cohort, backbone = small(tmp_path / "i", modalities=("a", "b"), shape=(48, 56, 18)), tiny()
    machine = Machine(folder=tmp_path / "cell")
    result = train(
        cohort, make("segment", **{**QUICK, "epochs": 1}), backbone, size=64, machine=machine,
        cache=tmp_path / "cache", resamples=0,
    )  # fmt: skip
    assert result.subsets is not None
    assert set(result.subsets.scores["subset"]) == {"a + b", "a", "b", ""}
    model = radapt.load_model(tmp_path / "cell" / "model", backbone=backbone, cache=tmp_path / "cache")
    whole = model.segment(cohort, 6).array
    assert np.array_equal(model.segment(cohort, 6, modalities=["b", "a"]).array, whole)
    assert (model.segment(cohort, 6, modalities=["b"]).array != whole).any()
    with pytest.raises(UsageError, match="does not know 'c'"):
        model.segment(cohort, 6, modalities=["c"])
    with pytest.raises(UsageError, match="'a' is one name; expected a list"):
        model.segment(cohort, 6, modalities="a")
