"""An encoder trained with adapters leaves a folder without them."""

from pathlib import Path

import pytest
import torch

from radapt.backbones import load_backbone
from radapt.backbones.adapted import read_adapted, save_adapted
from radapt.backbones.multimodal import Crops, MultiModalViT
from radapt.errors import UsageError
from radapt.mmdino.folder import save_backbone
from radapt.networks import adapt

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
    save_backbone(tmp_path, network, backbone.card, cohort="toy", size=98)
    assert torch.equal(network(crops()).cls, expected)
    assert not torch.allclose(expected, before, atol=1e-3)
    found = load_backbone(str(tmp_path)).joint(crops()).cls
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_card_says_what_the_weights_have_seen(tmp_path: Path) -> None:
    backbone = load_backbone("timm:test_vit", "random")
    network = MultiModalViT.of(backbone, NAMES)
    save_backbone(tmp_path / "a", network, backbone.card, cohort="LGG", size=98, facts={"seed": 1})
    once = read_adapted(tmp_path / "a")
    assert once.card.saw("lgg")
    assert once.card.saw("ImageNet-1k")
    assert (once.card.native_size, once.card.family, once.facts) == (98, "timm, adapted", {"seed": 1})
    assert once.card.parameters == backbone.card.parameters + (1 + len(NAMES)) * backbone.card.width
    again = load_backbone(str(tmp_path / "a"))
    save_backbone(tmp_path / "b", MultiModalViT.of(again, NAMES), once.card, cohort="EGD", size=56)
    assert read_adapted(tmp_path / "b").card.family == "timm, adapted"
    assert read_adapted(tmp_path / "b").card.pretraining == ("ImageNet-1k", "LGG", "EGD")


def test_adapters_left_in_are_refused(tmp_path: Path) -> None:
    backbone = load_backbone("timm:test_vit", "random")
    network = MultiModalViT.of(backbone, NAMES)
    adapt(network.vit, "lora", rank=2)
    with pytest.raises(UsageError, match="merge them into its weights"):
        save_adapted(tmp_path, network, backbone.card)
