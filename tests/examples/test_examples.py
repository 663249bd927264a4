"""One contract over everything registered, with the worked examples among it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layout_builders import BUILDERS, scanned, touch
from radapt import load_backbone
from radapt.cohorts.layouts.registry import matching
from radapt.metrics import score
from radapt.networks.decoders.base import Decoder
from radapt.networks.decoders.registry import decoder_layers, make_decoder
from radapt.plugins import Registry, modules_in
from radapt.protocols import Protocol, evaluate, make
from radapt.protocols.own_estimator import OwnEstimator
from radapt.protocols.registry import ROOMS
from toy_features import make_features

EXAMPLES = Path(__file__).parents[2] / "examples"
LONGEST = 60
KINDS = ("radapt.backbones", "radapt.layouts", "radapt.protocols", "radapt.metrics", "radapt.decoders")
Installed = dict[str, Registry[Any]]

pytestmark = pytest.mark.usefixtures("installed")


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_a_short_example_of_each(
    kind: str, installed: Installed, entry_points: dict[str, dict[str, str]]
) -> None:
    ((name, value),) = entry_points[kind].items()
    assert name in installed[kind]
    path = EXAMPLES / (value.partition(":")[0].replace(".", "/") + ".py")
    assert len(path.read_text(encoding="utf-8").splitlines()) < LONGEST


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_called_what_it_is_registered_as(kind: str, installed: Installed) -> None:
    names = list(installed[kind])
    assert len(names) == len(set(names)) > 1
    assert all(thing.name == name for name, thing in installed[kind].items())


def test_every_protocol_class_of_radapt_is_registered(installed: Installed) -> None:
    """They are found by their text; a class written otherwise would be left out without a word. An estimator of one's
    own is an object, which no study file can name."""
    for room in ROOMS:
        modules_in(f"radapt.{room}")
    registered = set(installed["radapt.protocols"].values())
    todo, classes = [Protocol], set[type[Protocol]]()
    while todo:
        for kind in todo.pop().__subclasses__():
            todo.append(kind)
            if isinstance(kind.__dict__.get("name"), str) and kind.__module__.startswith("radapt."):
                classes.add(kind)
    assert classes - {OwnEstimator} == {kind for kind in registered if kind.__module__.startswith("radapt.")}


def test_backbone_encodes_images_of_any_size() -> None:
    backbone = load_backbone("example-vit", "random")
    tokens = backbone.tokens(torch.rand(2, 3, 40, 24))
    assert tokens.cls.shape == (2, 48)
    assert tokens.patches.shape == (2, 5, 3, 48)
    assert sum(p.numel() for p in backbone.module.parameters()) == backbone.card.parameters


def test_layout_is_recognised_by_itself_alone(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for at in range(12):
        touch(root / f"scan{at}.nii.gz")
        (root / f"scan{at}.txt").write_text("ill\n" if at % 2 else "well\n")
    assert list(matching(root)) == ["sidecar"]
    cohort = scanned(root, tmp_path / "out")
    assert len(cohort) == 12
    assert cohort.classes == ("ill", "well")
    for name, build in BUILDERS.items():
        assert list(matching(build(tmp_path / name))) == [name]


@pytest.mark.parametrize("several", [False, True], ids=["classes", "findings"])
def test_protocol_learns_and_repeats_itself(several: bool) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (90, 2)).astype(float) if several else rng.integers(0, 3, 90)
    features: Any = make_features(labels, np.repeat(["train", "val", "test"], 30), signal=2.0)
    result, again = (evaluate(features, make("centroid", temperature=0.5), resamples=50) for _ in range(2))
    assert result.predictions.equals(again.predictions)
    scores = result.scores.query("split == 'test'").set_index("metric")["value"]
    assert scores["auroc"] > 0.75


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_every_metric_has_a_value_in_its_range_and_an_interval(task: str, installed: Installed) -> None:
    rng = np.random.default_rng(1)
    outputs = ["a", "b"] if task == "binary" else ["a", "b", "c"]
    labels = rng.integers(0, len(outputs), 80)
    truth = rng.integers(0, 2, (80, 3)).astype(float) if task == "multilabel" else labels
    probabilities = rng.dirichlet(np.ones(len(outputs)), 80)
    table = score(
        truth, probabilities, rng.integers(0, 40, 80), task=task, outputs=outputs, ordered=True, rng=rng, resamples=60
    ).set_index("metric")  # fmt: skip
    for name, metric in installed["radapt.metrics"].items():
        shown = [*([name] if metric.overall else []), *([f"{name}:{o}" for o in outputs] if metric.listed else [])]
        for row in shown if not (metric.ordered_only and task == "multilabel") else []:
            value, low, high = table.loc[row, ["value", "ci_low", "ci_high"]].astype(float)
            assert metric.low <= low <= high <= (np.inf if metric.high is None else metric.high)
            assert metric.low <= value <= (np.inf if metric.high is None else metric.high)


def test_a_plain_function_is_scored_by_hand_computable_numbers() -> None:
    """Treated: two with the finding and one without, of eight; (2 - 1 · 0.25) / 8."""
    truth = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    yes = np.array([0.9, 0.3, 0.1, 0.5, 0.1, 0.1, 0.1, 0.2])
    table = score(
        truth, np.column_stack([1 - yes, yes]), np.arange(8), task="binary", outputs=["no", "yes"],
        rng=np.random.default_rng(0), resamples=200,
    ).set_index("metric")  # fmt: skip
    assert table.loc["net_benefit", "value"] == pytest.approx(1.75 / 8)
    assert table.loc["net_benefit:yes", "value"] == table.loc["net_benefit", "value"]
    low, high = table.loc["net_benefit", ["ci_low", "ci_high"]].astype(float)
    assert -0.25 <= low < 1.75 / 8 < high < 0.7
    assert list(table.index).index("net_benefit") == list(table.index).index("ece") + 1


def test_every_decoder_gives_a_logit_for_every_pixel(installed: Installed) -> None:
    for name in installed["radapt.decoders"]:
        widths = [12, 16, 20, 24, 28][-len(decoder_layers(name, 12)) :]
        decoder: Decoder = make_decoder(name, widths, 3)
        maps = [torch.randn(2, 6, 5, width) for width in widths]
        assert decoder(maps, (33, 41)).shape == (2, 3, 33, 41)


def test_a_decoder_of_another_package_is_an_option_of_segment() -> None:
    assert make("segment", decoder="mlp", width=32).decoder == "mlp"  # type: ignore[attr-defined]
