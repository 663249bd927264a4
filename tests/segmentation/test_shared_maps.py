"""Models of an ensemble on one frozen encoder encode planes once, with the same bits; others encode by themselves."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from radapt.backbones import load_backbone
from radapt.images import Recipe
from radapt.segmentation.encoder_decoder import shared_maps
from radapt.segmentation.encoder_decoder.model import SegmentModel
from radapt.segmentation.encoder_decoder.network import Parts, SegmentationNetwork
from radapt.segmentation.encoder_decoder.shared_maps import SharedMaps

PRESENT = np.array([True, True])


def planes(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (2, 2, 1, 32, 32), dtype=np.uint8)


def members(encoder: str, count: int = 3) -> list[SegmentModel]:
    backbone = load_backbone("timm:test_vit", weights="random")
    parts = Parts("linear", encoder, 2, 2, (32, 32))  # type: ignore[arg-type]
    return [
        SegmentModel(
            SegmentationNetwork(backbone, parts, seed).eval(), Recipe.for_kind("mri", size=32), {1: "disc"},
            ("t1", "flair"), 1,
        )
        for seed in range(count)
    ]  # fmt: skip


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batches that the encoder computed."""
    calls: list[int] = []
    original: Callable[..., list[torch.Tensor]] = SegmentationNetwork.maps

    def counted(self: SegmentationNetwork, images: torch.Tensor, present: torch.Tensor) -> list[torch.Tensor]:
        calls.append(len(images))
        return original(self, images, present)

    monkeypatch.setattr(SegmentationNetwork, "maps", counted)
    return calls


def test_each_modality_is_encoded_once_for_all_models_with_the_same_bits(encoded: list[int]) -> None:
    models = members("frozen")
    alone = [model.scores(planes(), PRESENT) for model in models]
    assert len(encoded) == 6
    encoded.clear()
    shared = SharedMaps(3)
    together = [model.sharing(shared).scores(planes(), PRESENT) for model in models]
    assert len(encoded) == 2
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
    assert not shared._held  # every model has taken its maps


def test_other_planes_and_an_encoder_that_was_trained_are_encoded(encoded: list[int]) -> None:
    shared = SharedMaps(2)
    first, second = (model.sharing(shared) for model in members("frozen", 2))
    first.scores(planes(), PRESENT)
    second.scores(planes(1), PRESENT)
    assert len(encoded) == 4
    encoded.clear()
    for model in members("bitfit", 2):
        model.sharing(shared).scores(planes(), PRESENT)
    assert len(encoded) == 4


def test_what_is_held_has_a_limit(encoded: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_maps, "MOST_BYTES", 1)
    shared = SharedMaps(2)
    for model in members("frozen", 2):
        model.sharing(shared).scores(planes(), PRESENT)
    assert len(encoded) == 4
    assert not shared._held
