"""Protocols on features of several modalities seen together: nothing about them has to know."""

from typing import Any

import numpy as np
import pytest

from radapt.backbones import load_backbone
from radapt.backbones.adapted import save_adapted
from radapt.backbones.multimodal_vit.vit import MultiModalViT
from radapt.cohorts import load_cohort
from radapt.features import Features, extract
from radapt.features.pooling import Pooling
from radapt.protocols import evaluate, learning_curve
from toy_study import write_cohort


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    """Every third patient lacks the sequence `b`."""
    folder = tmp_path_factory.mktemp("joint")
    base = load_backbone("timm:test_vit", "random")
    save_adapted(folder / "ours", MultiModalViT.of(base, ("b", "a")), base.card)
    cohort = load_cohort(write_cohort(folder / "discs"))
    return extract(cohort, load_backbone(str(folder / "ours")), size=32, cache=folder / "cache")


@pytest.mark.parametrize(
    ("protocol", "options", "modalities"),
    [
        ("knn", {}, "concat"),
        ("knn", {}, "mean"),
        ("linear", {}, "concat"),
        ("logistic", {}, "concat"),
        ("mil", {"slices": "attention", "epochs": 12, "lr": (1e-3,)}, "concat"),
        ("mil", {"slices": "mean", "patch_mean": True, "epochs": 12, "lr": (1e-3,)}, "mean"),
    ],
)
def test_protocols_answer_for_every_case(
    protocol: str, options: dict[str, Any], modalities: str, features: Features
) -> None:
    pooling = Pooling(modalities=modalities)  # type: ignore[arg-type]
    result = evaluate(features, protocol, pooling=pooling, resamples=100, **options)
    shown = result.predictions[["p_healthy", "p_ill"]].to_numpy()
    assert np.isfinite(shown).all()
    assert set(result.predictions["case"]) == {case.case for case in features.cohort if case.split != "train"}
    scores = result.scores.set_index(["split", "metric"])["value"]
    assert scores["test", "auroc"] > 0.75, "the disc is seen"
    assert not [note for note in result.fit.notes if "issing" in note], "nothing is missing of what was joined"


def test_few_shots_run_on_them(features: Features) -> None:
    result = evaluate(features, "fewshot", protocol="knn", shots=[2, 4], repeats=2, resamples=100)
    curve = learning_curve(result, features.cohort)
    assert sorted(set(curve["shots"])) == [2, 4]
