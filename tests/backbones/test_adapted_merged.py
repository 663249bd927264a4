"""An encoder trained with adapters leaves a folder without them."""

from pathlib import Path

import pytest
import torch

from radapt.backbones import load_backbone
from radapt.backbones.adapted import save_adapted
from radapt.backbones.multimodal_vit.vit import Crops, MultiModalViT
from radapt.errors import UsageError
from radapt.networks import adapt
from radapt.networks.adapters.merge import merged_state

NAMES = ("t1", "t2")


def crops() -> Crops:
    images = torch.rand(2, 2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    return Crops(images, torch.tensor([[True, True], [False, True]]))


def moved(network: torch.nn.Module) -> None:
    """Give what is trained other values, as training would."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("method", ["full", "lora", "dora", "ia3"])
def test_adapters_are_merged(method: str, tmp_path: Path) -> None:
    backbone = load_backbone("timm:test_vit", "random")
    before = MultiModalViT.of(backbone, NAMES).eval()(crops()).cls
    network = MultiModalViT.of(backbone, NAMES).eval()
    adapt(network.vit, method, **({"rank": 2} if method in ("lora", "dora") else {}))
    network.eval()  # adapters come in training mode, with dropout
    moved(network)
    expected = network(crops()).cls
    save_adapted(tmp_path, network, backbone.card, state=merged_state(network))
    assert torch.equal(network(crops()).cls, expected)
    assert not torch.allclose(expected, before, atol=1e-3)
    found = load_backbone(str(tmp_path)).joint(crops()).cls
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_adapters_left_in_are_refused(tmp_path: Path) -> None:
    backbone = load_backbone("timm:test_vit", "random")
    network = MultiModalViT.of(backbone, NAMES)
    adapt(network.vit, "lora", rank=2)
    with pytest.raises(UsageError, match="merge them into its weights"):
        save_adapted(tmp_path, network, backbone.card)
