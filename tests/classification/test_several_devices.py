"""What trains can be sent to other processes and is the same there; two processes train what one does."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from radapt import extract, load_backbone
from radapt.classification.finetune import Adapting
from radapt.cohorts.cohort import Cohort
from radapt.images import Recipe
from radapt.mmdino.folder import TrainedAdaptation
from radapt.protocols import PROTOCOLS, FeatureProblem, FewShot, ImageProblem, Machine, make
from radapt.protocols.choice import ChoiceRules
from radapt.protocols.fitted import Fitted
from radapt.protocols.train import _copied
from radapt.training import Task
from toy_adaptation import QUICK
from toy_encoders import FAMILIES, toy_backbone
from toy_images import discs, image_cohort
from toy_masks import balls_cohort

SPLITS = ("train", "train", "val", "test")
FAST: dict[str, Any] = {"epochs": 2, "batch": 4, "lr": 1e-3}
OPTIONS: dict[str, dict[str, Any]] = {
    "segment": {**FAST, "mirror": "auto", "encoder": "lora", "rank": 2},
    "unet": {"steps": 2, "scores": 1, "features": 4, "patch": (16, 16), "dims": 2},
    "transunet": {"network": "tiny", "steps": 2, "scores": 1, "batch": 4},
    "scratch": {**FAST, "slices": "attention"},
    **{name: {"rank": 2} for name in ("lora", "dora")},
    "partial": {"blocks": 1},
    "mmdino": QUICK,
}
LIKE_OTHERS = ("norm", "dora", "ia3", "partial", "finetune")
"""Their task is that of `bitfit` or `lora` with other numbers that are trained."""
TRAINS = sorted(
    name
    for name, kind in PROTOCOLS.items()
    if kind is not FewShot and not kind.control and (kind.reads == "images" or name == "mil")
)


def options_of(name: str) -> dict[str, Any]:
    return OPTIONS.get(name, {}) | (FAST if name == "mil" or issubclass(PROTOCOLS[name], Adapting) else {})


def labelled(folder: Path, n: int = 24) -> Cohort:
    """Discs in two modalities, one of which some cases lack."""
    rng = np.random.default_rng(0)
    labels = [number % 2 for number in range(n)]
    images = [{"a": discs(rng, label, slices=1 + number % 3)} for number, label in enumerate(labels)]
    for number in range(0, n, 3):
        images[number]["b"] = discs(rng, labels[number], slices=1 + number % 3)
    splits = [SPLITS[number // 2 % 4] for number in range(n)]
    return image_cohort(folder, images, labels, splits, modalities=("a", "b"))


def problem_of(name: str, folder: Path, **machine: Any) -> Any:
    kind = PROTOCOLS[name]
    vit = load_backbone("timm:test_vit", "random")
    if kind.reads == "features":
        features = extract(labelled(folder / "images"), vit, size=16, cache=folder / "cache")
        return FeatureProblem.of(features, devices=machine.get("devices", 1), rules=ChoiceRules("val"))
    masks = kind.aim == "segmentation"
    shape = ((20, 18, 4),)
    cohort = balls_cohort(folder / "images", shape) if masks else labelled(folder / "images")
    recipe = Recipe.for_kind(cohort.kind, size=32 if masks else 16)
    lazy = _copied(vit) if kind.uses_backbone else None
    return ImageProblem.of(
        cohort, kind.aim, recipe, folder / "cache", lazy, machine=Machine(**machine), rules=ChoiceRules("val")
    )


def weights_of(fitted: Fitted) -> np.ndarray:
    """All weights of the encoder that an adaptation deploys."""
    trained = fitted.final.trained_model
    assert isinstance(trained, TrainedAdaptation)
    return np.concatenate(
        [tensor.double().flatten().numpy() for tensor in trained.adapted.network.state_dict().values()]
    )


class CaughtError(Exception):
    """Carries a task out of a fit."""


def task_of(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Task:
    """What a protocol gives the training loop."""

    def catch(task: Task, *_: Any, **__: Any) -> None:
        raise CaughtError(task)

    for place in ("radapt.training.lr_search.train", "radapt.mmdino.adapt.train"):
        monkeypatch.setattr(place, catch)
    with pytest.raises(CaughtError) as caught:
        make(name, **(options_of(name) | options)).fit(problem_of(name, folder), np.random.default_rng(0))
    return caught.value.args[0]


def numbers(task: Task) -> tuple[list[float], float]:
    """Losses of two batches with a gradient between them, and the score on val."""
    seeds = np.arange(2, dtype=np.uint64)
    task.train_mode()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        batch = task.load(np.array([0, task.size - 1]), seeds)
        loss = task.loss(batch, seeds)
        loss.backward()
        again = task.loss(task.load(np.array([0, 1]), seeds), seeds)
    task.module.eval()
    with torch.no_grad():
        return [loss.item(), again.item()], float(np.nan_to_num(task.score(), nan=-1.0))  # equal to itself


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.slow if each in LIKE_OTHERS else ()) for each in TRAINS]
)
def test_a_task_is_the_same_in_another_process(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(name, tmp_path, monkeypatch)
    packed = pickle.dumps(task)
    expected = numbers(task)
    assert np.isfinite(expected[0]).all()
    for copy in (pickle.loads(packed), pickle.loads(pickle.dumps(pickle.loads(packed)))):
        assert len(copy.groups()) == len(task.groups())
        assert numbers(copy) == expected
        assert copy.name(0) == task.name(0)
    pickle.dumps(task)  # after a step and a score, too, as between two learning rates


@pytest.mark.parametrize("options", [pytest.param({}, marks=pytest.mark.slow), {"dims": 3, "depth": 4}], ids=str)
def test_both_kinds_of_scratch_can_be_sent(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of("scratch", tmp_path, monkeypatch, slices=None, **options)
    assert numbers(pickle.loads(pickle.dumps(task))) == numbers(task)


def test_stored_tokens_are_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of("segment", tmp_path, monkeypatch, encoder="frozen", rank=None)
    expected = numbers(task)
    packed = pickle.dumps(task)
    assert len(packed) < 2_000_000  # the head, and no tokens
    assert numbers(pickle.loads(packed)) == expected


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_backbone_of_every_family_can_be_sent_before_and_after_it_was_used(family: str, method: str) -> None:
    from radapt.networks import adapt

    backbone = toy_backbone(family)
    adapt(backbone.module, method, **({"rank": 2} if method == "lora" else {}))
    side = backbone.card.native_size
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    copies = [pickle.loads(pickle.dumps(backbone))]
    with torch.no_grad():
        expected = backbone.tokens(images, layers=(-2, -1))
        copies.append(pickle.loads(pickle.dumps(backbone)))
        for copy in copies:
            found = copy.tokens(images, layers=(-2, -1))
            assert torch.equal(found.cls, expected.cls)
            assert torch.equal(found.layers[0].patches, expected.layers[0].patches)
            assert copy.identity == backbone.identity


@pytest.mark.slow
def test_two_processes_finetune_as_one_does(tmp_path: Path) -> None:
    """test_vit has neither dropout nor batch normalisation."""
    protocol, one = make("finetune", **FAST), problem_of("finetune", tmp_path)
    two = replace(one, machine=Machine(devices=2))
    first, second = (protocol.fit(each, np.random.default_rng(0)) for each in (one, two))
    rows = np.flatnonzero(one.cohort.splits != "train")
    np.testing.assert_allclose(second.final.predict(rows), first.final.predict(rows), atol=1e-5)
    assert second.record.winner.options["lr"] == first.record.winner.options["lr"]
    start = make("finetune", **(FAST | {"lr": 1e-9})).fit(one, np.random.default_rng(0)).final.predict(rows)
    assert np.abs(start - first.final.predict(rows)).max() > 1e-3


@pytest.mark.slow
def test_two_processes_adapt_as_one_does(tmp_path: Path) -> None:
    """Without drop path, which each process draws for itself, and without KoLeo and Sinkhorn–Knopp, which compare the
    images of one process. The encoder is compared, because the classifier on it amplifies rounding."""
    alike: dict[str, Any] = {"drop_path": 0.0, "koleo": 0.0, "centring": "centre"}
    one = problem_of("mmdino", tmp_path)
    two = replace(one, machine=Machine(devices=2))
    protocol, still = (make("mmdino", **(QUICK | alike | {"lr": lr})) for lr in (1e-2, 1e-9))
    first, second = (weights_of(protocol.fit(each, np.random.default_rng(0))) for each in (one, two))
    moved = np.linalg.norm(first - weights_of(still.fit(one, np.random.default_rng(0))))
    assert moved > 1e-2
    assert np.linalg.norm(second - first) < 1e-3 * moved  # AdamW turns rounding of a tiny gradient into a step


@pytest.mark.slow
def test_two_processes_segment_as_one_does(tmp_path: Path) -> None:
    from radapt.segmentation.encoder_decoder.model import SliceSegmenter

    protocol, one = make("segment", **FAST, decoder="linear"), problem_of("segment", tmp_path)
    two = replace(one, machine=Machine(devices=2))
    first, second = (protocol.fit(each, np.random.default_rng(0)).final for each in (one, two))
    assert isinstance(first, SliceSegmenter)
    assert isinstance(second, SliceSegmenter)
    planes, present = first.data.planes(5)
    found = [each.model.scores(planes, present) for each in (first, second)]
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)
