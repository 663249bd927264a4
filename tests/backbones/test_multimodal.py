"""The encoder of several modalities against the plain backbone, a padded and masked transcription, and itself."""


import pytest
import torch

from radapt.backbones.backbone import Backbone
from radapt.backbones.card import WeightCard
from radapt.backbones.encoders import encoder_of
from radapt.backbones.multimodal import Crops, Encoded, MultiModalViT
from radapt.backbones.weights import WeightSource

NAMES = ("t1", "t2", "flair")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHAPES = {
    "s14": ({}, "dinov2"),
    "reg4": ({"reg_tokens": 4, "no_embed_class": True}, "dinov2-registers"),
    "plain": ({"init_values": None, "qk_norm": True}, "timm"),
    "clip": ({"pre_norm": True, "reg_tokens": 1}, "bicubic"),
}


@pytest.fixture
def network(tiny_vit, scatter):
    def make(shape: str = "s14", names=NAMES, **options) -> MultiModalViT:
        settings, recipe = SHAPES[shape]
        vit = scatter(tiny_vit(**settings))
        made = MultiModalViT(vit, modalities=names, mean=MEAN, std=STD, position_recipe=recipe, **options)
        with torch.no_grad():
            made.mask_token.copy_(torch.randn(24, generator=torch.Generator().manual_seed(5)) * 0.3)
        return made.eval()

    return make


def crops(cases: int = 4, size: tuple[int, int] = (42, 56), *, seed: int = 0, channels: int = 1, hide: float = 0.0):
    """Cases with one to all of three modalities: 3 × 4 patches of 14 px."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(cases, 3, channels, *size, generator=draw)
    present = torch.rand(cases, 3, generator=draw) < 0.6
    present[torch.arange(cases), torch.arange(cases) % 3] = True
    grid = (size[0] // 14, size[1] // 14)
    hidden = torch.rand(cases, 3, *grid, generator=draw) < hide if hide else None
    return Crops(images, present, hidden)


def close(one: Encoded, other: Encoded, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(one.cls, other.cls, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(one.tokens, other.tokens, atol=tolerance, rtol=tolerance)
    assert torch.equal(one.index, other.index) and torch.equal(one.hidden, other.hidden)


def rows(given: Crops, which: list[int]) -> Crops:
    return Crops(given.images[which], given.present[which], None if given.hidden is None else given.hidden[which])


def backbone_of(vit: torch.nn.Module, recipe: str) -> Backbone:
    card = WeightCard(
        name="tiny", family="toy", architecture="toy", repo="nobody/tiny", licence="none", pretraining=(),
        width=24, depth=3, parameters=0, patch=14, native_size=56, mean=MEAN, std=STD, position_recipe=recipe,
    )  # fmt: skip
    return Backbone("tiny", card, WeightSource("random", "random:0", True, "", seed=0), vit, encoder_of(vit, recipe))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(42, 56), (56, 56), (60, 45)])
def test_one_modality_without_embedding_is_the_plain_backbone(network, shape, channels, size):
    net = network(shape)
    plain = backbone_of(net.vit, SHAPES[shape][1])
    net = MultiModalViT.of(plain, NAMES).eval()
    torch.nn.init.zeros_(net.modality_embedding)
    images = torch.zeros(2, 3, channels, *size)
    images[:, 1] = torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(1))
    present = torch.tensor([[False, True, False]] * 2)
    for given in (images, (images * 255).round().to(torch.uint8)):
        expected = plain.tokens(given[:, 1], (-1, -3))
        found = net(Crops(given, present), layers=(-1, -3))
        torch.testing.assert_close(found.cls, expected.cls, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.tokens, expected.patches.flatten(0, 2), atol=1e-5, rtol=1e-5)
        for summary, layer in zip(found.layers, expected.layers, strict=True):
            torch.testing.assert_close(summary.cls, layer.cls, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(summary.mean, layer.patches.mean((1, 2)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("blocks", [None, 1, 0])
def test_a_case_does_not_depend_on_its_neighbours(network, blocks):
    net = network()
    net.hidden_blocks = blocks
    given = crops(hide=0.4)
    together = net(given)
    for case in range(4):
        alone = net(rows(given, [case]))
        here = together.case == case
        torch.testing.assert_close(together.cls[case], alone.cls[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(together.tokens[here], alone.tokens, atol=1e-5, rtol=1e-5)
