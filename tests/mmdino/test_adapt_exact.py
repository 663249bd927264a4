"""The real adaptation: killed and continued bit for bit, the same in two processes, stopped where it collapses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from radapt.backbones.backbone import Backbone
from radapt.cohorts.cohort import Cohort
from radapt.images import Recipe
from radapt.mmdino import adapt as adapting
from radapt.mmdino.adapt import Adapted, adapt
from radapt.mmdino.collapse_monitor import CollapseMonitor, changes
from radapt.mmdino.options import options_of
from radapt.mmdino.task import AdaptTask
from radapt.training import Health
from toy_adaptation import QUICK
from toy_encoders import toy_backbone
from toy_images import discs, image_cohort

SMALL = QUICK | {"steps": 7, "global_size": 28, "local_size": 14, "lr": 0.01}


class Killed(BaseException):
    """Nobody catches it, as nobody catches a signal."""


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Twelve cases of two sequences, of which every third lacks one; half are labelled."""
    rng = np.random.default_rng(0)
    images = [{name: discs(rng, case % 2) for name in ("a", "b")[case % 3 == 0 :]} for case in range(12)]
    labels = [case % 2 if case < 6 else None for case in range(12)]
    return image_cohort(tmp_path / "discs", images, labels, ["train"] * 12, modalities=("a", "b"))


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[AdaptTask]:
    """The tasks that were trained, with a checkpoint after every step."""
    found: list[AdaptTask] = []
    plain = adapting.train

    def train(task: AdaptTask, *given: Any, **named: Any) -> Any:
        found.append(task)
        return plain(task, *given, interval_s=0.0, **named)

    monkeypatch.setattr(adapting, "train", train)
    return found


def run(cohort: Cohort, preset: str = "default", *, changed: dict[str, Any] | None = None, **named: Any) -> Adapted:
    options = {name: value for name, value in SMALL.items() if preset == "default" or name != "prototypes"}
    recipe, cache = Recipe.for_kind("other", size=28), named.pop("cache")
    backbone: Backbone = toy_backbone("vit")
    return adapt(
        cohort, backbone, options_of(preset, **(options | (changed or {}))), recipe=recipe, cache=cache, **named
    )


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def everything(task: AdaptTask) -> dict[str, Tensor]:
    return {**task.module.state_dict(), **task.state()}


@pytest.mark.parametrize("kill_at", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_killed_and_continued_it_ends_with_the_same_bits(
    cohort: Cohort, tasks: list[AdaptTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    """Student, teacher, memories, records and looks; with drop path, Sinkhorn–Knopp and batches in two parts."""
    changed = {"accumulate": 2}
    expected = run(cohort, cache=tmp_path, changed=changed)
    plain = AdaptTask.after_step

    def after_step(task: AdaptTask, step: int, total: int) -> None:
        if step == kill_at:
            raise Killed
        plain(task, step, total)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(AdaptTask, "after_step", after_step)
        run(cohort, cache=tmp_path, changed=changed, checkpoint=tmp_path / "training.pt")
    again = run(cohort, cache=tmp_path, changed=changed, checkpoint=tmp_path / "training.pt")
    wanted, found = everything(tasks[0]), everything(tasks[2])
    assert wanted.keys() == found.keys()
    assert [name for name in wanted if not torch.equal(wanted[name].nan_to_num(-9), found[name].nan_to_num(-9))] == []
    assert str(again.trained.history) == str(expected.trained.history)
    assert str(again.trained.checks) == str(expected.trained.checks)
    assert "a different run" not in str(again.notes)
    assert {"dino", "ibot", "supervised", "consistency"} <= again.trained.history[0].keys()


@pytest.mark.parametrize("deployed", ["teacher", "student"])
def test_the_network_that_is_deployed_is_the_one_asked_for(
    cohort: Cohort, tasks: list[AdaptTask], tmp_path: Path, deployed: str
) -> None:
    """Encoder and lesion attention have the teacher's weights by default, and these are not the student's."""
    assert options_of().deployed_network == "teacher"
    adapted = run(cohort, cache=tmp_path, changed={"deployed_network": deployed, "steps": 3})
    networks = {"student": tasks[0].module.student, "teacher": tasks[0].module.teacher.network}
    found = adapted.network.state_dict()
    same = {name: equal(found, network.encoder.state_dict()) for name, network in networks.items()}
    assert same == {"student": deployed == "student", "teacher": deployed == "teacher"}
    assert adapted.reader is networks[deployed].reader


@pytest.mark.slow
def test_two_processes_adapt_as_one_does(cohort: Cohort, tasks: list[AdaptTask], tmp_path: Path) -> None:
    """Without what looks across the samples of a part: KoLeo, drop path, Sinkhorn–Knopp."""
    changed = {"koleo": 0.0, "drop_path": 0.0}
    results = [run(cohort, "mm-dinov2", cache=tmp_path, changed=changed, devices=devices) for devices in (1, 2)]
    one, two = map(everything, tasks)
    assert max(float((one[name].double() - two[name].double()).abs().max()) for name in one) < 1e-4
    for first, second in zip(*(result.trained.history for result in results), strict=True):
        assert second == pytest.approx(first, rel=1e-4, nan_ok=True)


def test_a_verdict_stops_it_and_says_what_to_change(
    cohort: Cohort, tasks: list[AdaptTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[Tensor] = []

    def assess(rules: Any, step: int, total: int, features: Tensor, *rest: Any) -> tuple[Health, tuple[str, ...]]:
        judged.append(features)
        if step < 4:
            return Health(), ()
        return Health(good=False, stop="The adaptation collapsed: features became alike."), ("features",)

    monkeypatch.setattr("radapt.mmdino.collapse_monitor.CollapseRules.assess", assess)
    monkeypatch.setattr(CollapseMonitor, "every", lambda monitor, total: 2)
    result = run(cohort, cache=tmp_path)
    assert (result.trained.steps, result.trained.good_step) == (4, 2)
    assert "with the state of step 2. The adaptation collapsed: features became alike. Try lr=0.003, or batch=8" in str(
        result.notes
    )
    student = tasks[0].module.student.eval()
    again, _ = tasks[0].collapse_monitor._outputs(student, None)
    torch.testing.assert_close(again, judged[1])


def test_labelled_cases_are_looked_at_first(cohort: Cohort, tasks: list[AdaptTask], tmp_path: Path) -> None:
    run(cohort, cache=tmp_path, changed={"steps": 1})
    watch = tasks[0].collapse_monitor
    assert sorted(watch.rows) == list(range(12))
    assert set(watch.rows[:6]) == set(range(6))
    assert len(set(watch.patients.tolist())) == 12


def test_every_change_that_is_advised_is_an_option() -> None:
    """And none that is set already."""
    import yaml

    for preset in ("default", "mm-dinov2", "small-gpu", "supervised"):
        made = options_of(preset)
        for kind in changes(made).values():
            for change in kind:
                name, _, value = change.partition("=")
                read = float(value) if name == "lr" else yaml.safe_load(value)
                assert getattr(options_of(preset, **{name: read}), name) != getattr(made, name), change
