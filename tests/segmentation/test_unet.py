"""`unet` and `transunet` from folder to label map: learned, equal for equal seeds, saved, data hardly there."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import radapt
from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import DataError, UsageError
from radapt.images import Recipe, Volume
from radapt.locations import Location
from radapt.networks import Budget, Channel, Fingerprint, plan_unet
from radapt.protocols.fitted import Fitted
from radapt.protocols.image_problem import ImageProblem, Machine
from radapt.protocols.registry import make
from radapt.protocols.save_model import save_model
from radapt.segmentation.criterion import case_dice, mean_dice
from radapt.segmentation.data import SegmentationData
from radapt.segmentation.fit_notes import val_notes
from radapt.segmentation.transunet.protocol import TransUNetProtocol
from radapt.segmentation.unet.fit import mirror_axes
from radapt.segmentation.unet.model import VolumeModel, VolumeSegmenter
from radapt.segmentation.unet.protocol import UNetProtocol
from radapt.training.fit_record import Candidate, FitRecord
from toy_masks import balls_cohort

TINY: dict[str, Any] = {"steps": 2, "scores": 1, "features": 4, "batch": 2, "longest": 32}
PLANES: dict[str, Any] = {"network": "tiny", "steps": 1, "batch": 4}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def problem_of(cohort: Cohort, folder: Path, model: Path | None = None) -> ImageProblem:
    recipe = Recipe.for_kind(cohort.kind, size=16)
    return ImageProblem.of(cohort, "segmentation", recipe, folder / "cache", machine=Machine(folder=model))


def fit(protocol: Any, problem: ImageProblem, seed: int = 0) -> Fitted:
    return protocol.fit(problem, np.random.default_rng(seed))


class Levels(nn.Module):
    """Knows the grey of every class, voxel by voxel: what comes out is the geometry alone."""

    def __init__(self, levels: list[float]) -> None:
        super().__init__()
        self.levels = nn.Parameter(torch.tensor(levels), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1, *(1,) * (x.ndim - 2))
        return -50 * (x[:, :1] - self.levels.view(shape)).square()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("target", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.5)])
def test_answers_lie_where_the_patient_is(tmp_path: Path, dims: int, target: tuple[float, ...]) -> None:
    """Stored axes flipped, voxels of any length, images larger and smaller than the patch, on a grid of its own."""
    shapes, spacings = ((33, 28, 20), (24, 30, 14)), ((1.0, 1.0, 1.0), (1.0, 1.0, 2.0))
    cohort = balls_cohort(tmp_path / "data", shapes, spacings, splits=("train", "train", "train", "val"), noise=0.0)
    data = SegmentationData(problem_of(cohort, tmp_path))
    grey = Channel("t1", 0.0, 400.0, 100.0, 100.0, 0.0)
    plan = plan_unet(Fingerprint("ct", ((28, 28, 18),), (target,), (grey,)), dims, Budget(features=4))
    plan = replace(plan, patch=tuple(16 for _ in plan.patch))
    model = VolumeModel(Levels([0.0, 1.0, 2.0]), plan, data.labels, ("t1",), (1,))
    mirrored = replace(model, mirrors=tuple(range(dims)))
    for row in range(4):
        found, truth = VolumeSegmenter(model, data).segment(row), data.truth(row)
        assert found.array.shape == truth.array.shape
        assert np.allclose(found.affine, truth.affine)
        assert np.nanmin(case_dice(truth.array, found.array, [1, 2])) > (0.98 if target[0] == 1 else 0.8)
        assert (VolumeSegmenter(mirrored, data).segment(row).array == found.array).all()


def test_what_was_cut_away_as_zeros_is_background(tmp_path: Path) -> None:
    grid = Volume(np.zeros((20, 20, 20), np.float32), np.diag([-1.0, 1.0, 1.0, 1.0]))
    image = np.zeros((20, 20, 20), np.float32)
    image[4:12, 5:15, 6:14] = np.random.default_rng(0).normal(5, 1, (8, 10, 8))
    channel = Channel("t1", 0.0, 9.0, 5.0, 1.0, 0.8)
    plan = plan_unet(Fingerprint("mri", ((8, 10, 8),), ((1.0, 1.0, 1.0),), (channel,)), 3, Budget(features=4))
    assert plan.crop
    model = VolumeModel(Levels([-99.0, 0.0]), plan, {7: "all"}, ("t1",), (1,))
    found = model.segment({"t1": replace(grid, array=image), "other": grid}, grid).mask.array
    assert (found == 7 * (image != 0)).all()
    with pytest.raises(DataError, match="reads t1; the case has t2"):
        model.segment({"t2": grid}, grid)


@pytest.mark.parametrize("dims", [2, 3])
def test_it_learns_balls(tmp_path: Path, dims: int) -> None:
    cohort = balls_cohort(tmp_path / "data", labels={3: "ball"}, noise=0.1)
    fitted = fit(
        UNetProtocol(dims=dims, steps=40, scores=2, features=8, batch=(4, 2)[dims - 2], foreground=0.7, lr=0.02),
        problem_of(cohort, tmp_path),
    )
    data = SegmentationData(problem_of(cohort, tmp_path))
    assert fitted.final is fitted.before_refit
    assert mean_dice(SegmentationData(_unblanked(cohort, tmp_path)), [5], fitted.final.segment) > 0.7
    assert fitted.record.winner.val["dice"] == pytest.approx(mean_dice(data, [4], fitted.final.segment), abs=0.02)
    live = sum(p.numel() for p in fitted.final.model.network.parameters())
    assert fitted.record.cost.trained == fitted.record.cost.parameters == live
    assert set(np.unique(fitted.final.segment(5).array)) <= {0, 3}


def _unblanked(cohort: Cohort, folder: Path) -> ImageProblem:
    """The same cohort with the test case in val, to see its mask."""
    cases = tuple(replace(case, split="val" if case.split == "test" else case.split) for case in cohort)
    return problem_of(replace(cohort, cases=cases), folder)


@pytest.mark.parametrize("protocol", [UNetProtocol(**TINY), TransUNetProtocol(**PLANES)], ids=lambda one: one.name)
def test_the_seed_decides_everything(tmp_path: Path, protocol: Any) -> None:
    problem = problem_of(balls_cohort(tmp_path / "data"), tmp_path)
    first, same, other = (fit(protocol, problem, seed).final.model.network.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@contextmanager
def killed_at(total: int, label: str, unit: str = "") -> Iterator[Callable[[int], None]]:
    """Progress that stops a training in its third step, as a kill would."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if unit == "steps" and done == 3:
            raise KeyboardInterrupt

    yield advance


@pytest.mark.parametrize(
    "protocol",
    [UNetProtocol(**{**TINY, "steps": 5, "scores": 2}), TransUNetProtocol(**{**PLANES, "steps": 5})],
    ids=lambda one: one.name,
)
def test_a_killed_training_ends_with_the_same_weights(
    tmp_path: Path, protocol: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radapt.training.lr_search.CHECKPOINT_S", 0.0)
    problem = problem_of(balls_cohort(tmp_path / "data"), tmp_path, tmp_path / "model")
    killed = replace(problem, machine=replace(problem.machine, progress=killed_at))
    with pytest.raises(KeyboardInterrupt):
        fit(protocol, killed)
    assert len(list((tmp_path / "model" / "checkpoints").rglob("*.pt"))) == 1
    went_on = fit(protocol, problem).final.model.network.state_dict()
    straight = fit(protocol, problem_of(balls_cohort(tmp_path / "data"), tmp_path)).final.model.network.state_dict()
    assert all(torch.equal(went_on[name], straight[name]) for name in straight)


def test_half_precision_answers_too(tmp_path: Path) -> None:
    problem = problem_of(balls_cohort(tmp_path / "data"), tmp_path)
    machine = replace(problem.machine, precision="bfloat16")
    fitted = fit(TransUNetProtocol(**PLANES), replace(problem, machine=machine))
    assert fitted.final.segment(5).array.shape == (20, 18, 16)
    assert {p.dtype for p in fitted.final.model.network.parameters()} == {torch.float32}


@pytest.mark.parametrize("protocol", [UNetProtocol(**TINY), TransUNetProtocol(**PLANES)], ids=lambda one: one.name)
def test_a_model_is_saved_and_answers_alike_when_loaded(tmp_path: Path, protocol: Any) -> None:
    problem = problem_of(balls_cohort(tmp_path / "data", modalities=("t1", "t2")), tmp_path)
    fitted = fit(protocol, problem)
    save_model(tmp_path / "model", protocol, fitted, problem)
    loaded = radapt.load_model(tmp_path / "model", cache=problem.slices.folder)
    assert (loaded.segment(problem.cohort, 5).array == fitted.final.segment(5).array).all()
    assert (loaded.card.protocol, loaded.card.mask_labels) == (protocol.name, {1: "big", 2: "small"})


CASES: dict[str, dict[str, Any]] = {
    "one slice": {"shapes": ((20, 18, 1),)},
    "smaller than the patch": {"shapes": ((40, 40, 30), (40, 40, 30), (40, 40, 30), (6, 5, 13))},
    "mixed spacings": {"shapes": ((20, 18, 16), (30, 9, 14)), "spacings": ((1.0, 1.0, 1.0), (0.7, 2.0, 1.2))},
    "a modality missing": {"modalities": ("t1", "t2"), "missing": {0: "t2", 4: "t1", 5: "t2"}},
    "a modality nobody trains with": {"modalities": ("t1", "t2"), "missing": dict.fromkeys(range(4), "t2")},
    "empty masks among others": {"empty": (0, 1, 4)},
    "every val mask empty": {"empty": (4,)},
    "a label nobody has": {"labels": {1: "big", 2: "small", 5: "spleen"}},
    "few planes": {"shapes": ((20, 18, 3),), "spacings": ((1.0, 1.0, 6.0),)},
    "ct": {"kind": "ct"},
    "no val": {"splits": ("train",) * 5 + ("test",)},
    "one patient": {"splits": ("train", "test")},
}


@pytest.mark.parametrize("protocol", [UNetProtocol(**TINY), TransUNetProtocol(**PLANES)], ids=lambda one: one.name)
@pytest.mark.parametrize("name", CASES)
def test_data_that_is_hardly_there(tmp_path: Path, name: str, protocol: Any) -> None:
    cohort = balls_cohort(tmp_path / "data", **CASES[name])
    fitted = fit(protocol, problem_of(cohort, tmp_path))
    row = len(cohort) - 1
    if name == "a modality nobody trains with":
        assert any("No training case has t2" in note for note in fitted.record.notes)
    if name == "a modality missing":
        assert any("t2 is missing in 1 training cases" in note for note in fitted.record.notes)
    if name == "a label nobody has":
        assert any("spleen" in note for note in fitted.record.notes)
    if name == "one patient":
        assert fitted.record.cases.val_source == "none"
        assert fitted.record.candidates == (fitted.record.winner,)
    found, grid = fitted.final.segment(row), fitted.final.data.grid(row)
    assert found.array.shape == grid.array.shape
    assert set(np.unique(found.array)) <= {0, *cohort.mask_labels}
    assert FitRecord.from_json(json.loads(json.dumps(fitted.record.to_json()))).chosen == 0


def test_without_validation_passes_it_learns_from_train_and_val(tmp_path: Path) -> None:
    protocol = UNetProtocol(**{**TINY, "scores": 0})
    record = fit(protocol, problem_of(balls_cohort(tmp_path / "data"), tmp_path)).record
    assert (record.cases.train, record.cases.val, record.cases.val_source) == (5, 0, "none")
    assert any("the last weights were taken (scores: 0)" in note for note in record.notes)
    assert record.winner.steps == TINY["steps"]


@pytest.mark.parametrize("protocol", [UNetProtocol(**TINY), TransUNetProtocol(**PLANES)], ids=lambda one: one.name)
def test_masks_that_are_all_empty_are_said(tmp_path: Path, protocol: Any) -> None:
    cohort = balls_cohort(tmp_path / "data", empty=range(5))
    with pytest.raises(DataError, match="all 4 training masks are empty"):
        fit(protocol, problem_of(cohort, tmp_path))


def pictures(folder: Path, mode: str) -> Cohort:
    """Six pictures of different sizes, grey or in colour, with a bright square."""
    folder.mkdir(parents=True)
    cases, rng = [], np.random.default_rng(0)
    for i, split in enumerate(("train",) * 4 + ("val", "test")):
        height, width = 20 + 10 * (i % 3), 24 + 4 * i
        mask = np.zeros((height, width), np.uint8)
        mask[height // 4 : height // 2, width // 4 : width // 2] = 1
        grey = (60 + 120 * mask + rng.integers(0, 20, mask.shape)).astype(np.uint8)
        image = grey if mode == "L" else np.stack([grey, grey // 2, 255 - grey], axis=-1)
        Image.fromarray(image).save(folder / f"{i}.png")
        Image.fromarray(mask).save(folder / f"{i}_mask.png")
        place = {"photo": Location(folder / f"{i}.png")}
        cases.append(Case(f"c{i}", f"p{i}", split, place, mask=Location(folder / f"{i}_mask.png")))
    return Cohort("pictures", "other", tuple(cases), ("photo",), mask_labels={1: "square"})


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pictures_are_scaled_to_one_length(tmp_path: Path, mode: str) -> None:
    fitted = fit(UNetProtocol(**TINY), problem_of(pictures(tmp_path / "data", mode), tmp_path))
    plan = fitted.final.model.plan
    assert (plan.dims, plan.longest, len(plan.scalings)) == (2, 32, 1 if mode == "L" else 3)
    assert fitted.final.segment(5).array.shape == fitted.final.data.grid(5).array.shape
    assert any("Pictures without spacing" in note for note in fitted.record.notes)


@pytest.mark.parametrize(
    ("mirror", "kind", "labels", "dims", "axes"),
    [
        ("auto", "mri", {1: "tumour"}, 3, (0,)),
        ("auto", "mri", {1: "tumour"}, 2, (0,)),
        ("auto", "mri", {1: "left kidney", 2: "right kidney"}, 3, ()),
        ("auto", "ct", {1: "kidney_L"}, 3, ()),
        ("auto", "xray", {1: "lung"}, 2, ()),
        ("left-right", "xray", {1: "lung"}, 2, (0,)),
        ("all", "mri", {1: "tumour"}, 3, (0, 1, 2)),
        ("all", "mri", {1: "tumour"}, 2, (0, 1)),
        ("none", "mri", {1: "tumour"}, 3, ()),
    ],
)
def test_mirrors(mirror: str, kind: str, labels: Mapping[int, str], dims: int, axes: tuple[int, ...]) -> None:
    grey = Channel("t1", 0.0, 1.0, 0.5, 0.2, 0.0)
    plan = plan_unet(Fingerprint(kind, ((32, 32, 32),), ((1.0, 1.0, 1.0),), (grey,)), dims)
    assert mirror_axes(mirror, plan, kind, labels.values()) == axes


def test_sagittal_planes_have_no_left_and_right() -> None:
    grey = Channel("t1", 0.0, 1.0, 0.5, 0.2, 0.0)
    plan = plan_unet(Fingerprint("mri", ((8, 64, 64),), ((5.0, 1.0, 1.0),), (grey,)), 2)
    assert plan.axis == 0
    assert mirror_axes("left-right", plan, "mri", ["tumour"]) == ()


def test_a_reader_is_told_that_training_was_too_short() -> None:
    made = Candidate({"lr": 0.1}, {"dice": 0.5}, 10, 10, 1000)
    assert "the 1000 steps: more may do better" in val_notes(made, True)[0]
    assert val_notes(replace(made, best_epoch=7), True) == []
    assert "undefined" in val_notes(replace(made, best_epoch=None, val={"dice": float("nan")}), True)[0]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("unet", {"dims": 4}, "dims"),
        ("unet", {"steps": 0}, "steps"),
        ("unet", {"foreground": 2}, "foreground"),
        ("unet", {"step": 5}, "no option 'step'"),
        ("unet", {"optimiser": "adam"}, "optimiser"),
        ("transunet", {"network": "huge"}, "network"),
        ("transunet", {"network": "tiny", "weights": "pretrained"}, "no pretrained weights"),
    ],
)
def test_wrong_options_are_said(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make(name, **options)


def test_a_patch_of_the_wrong_dimension_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="3D patch has 3 sides"):
        fit(UNetProtocol(**TINY, patch=(8, 8), dims=3), problem_of(balls_cohort(tmp_path / "data"), tmp_path))
