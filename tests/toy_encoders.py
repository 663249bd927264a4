"""A tiny encoder of every family radapt knows, on random weights, behind the real `Backbone`."""

from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import nn

from radapt.backbones.backbone import Backbone
from radapt.backbones.build import randomise
from radapt.backbones.card import WeightCard
from radapt.backbones.encoders import extractor_for
from radapt.backbones.weights import WeightSource


def _timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, pretrained=False, num_classes=0, **options)


def _vit(**options: Any) -> Callable[[], nn.Module]:
    settings = {"embed_dim": 24, "depth": 3, "num_heads": 2, "patch_size": 14, "img_size": 56, **options}
    return _timm("vit_tiny_patch16_224", dynamic_img_size=True, **settings)


def _vgg() -> nn.Module:
    from timm.models.vgg import VGG

    module = VGG([8, "M", 12, "M", 16, 16, "M", 16, "M", 20, "M"], num_classes=0, mlp_ratio=0.01)
    module.pre_logits = nn.Identity()
    return module


def _densenet() -> nn.Module:
    return timm.models.densenet.DenseNet(4, (1, 2, 1, 2), num_classes=0, stem_type="", bn_size=2)


def _transformers(kind: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import transformers

        small = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
        config = getattr(transformers, f"{kind}Config")(image_size=56, patch_size=14, **small)
        return getattr(transformers, f"{kind}Model")(config)

    return make


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "vit": _vit(),
    "vit-layerscale-registers": _vit(init_values=1e-5, reg_tokens=2, no_embed_class=True),
    "dinov3": _timm("vit_small_patch16_dinov3", embed_dim=24, depth=3, num_heads=2),
    "sam": _timm("samvit_base_patch16", embed_dim=24, depth=3, num_heads=2, global_attn_indexes=(1,), img_size=64),
    "swin": _timm("swin_tiny_patch4_window7_224", embed_dim=12, depths=(1, 1, 2, 1), num_heads=(1, 1, 2, 2)),
    "convnext": _timm("convnext_tiny", depths=(1, 1, 2, 1), dims=(8, 12, 16, 24)),
    "resnet": _timm("test_resnet"),
    "vgg": _vgg,
    "densenet": _densenet,
    "hf-dinov2": _transformers("Dinov2"),
    "hf-msn": _transformers("ViTMSN"),
    "hf-siglip": _transformers("SiglipVision"),
}
"""Family -> a module without weights worth the name."""


def toy_backbone(family: str, seed: int = 0) -> Backbone:
    """The family's tiny encoder as a backbone, its parameters drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        module = FAMILIES[family]().eval()
    randomise(module, seed)
    patch = {"dinov3": 16, "sam": 16}.get(family, 14 if family.startswith(("vit", "hf")) else 32)
    recipe = "timm" if family.startswith("vit") else "none"
    size = 224 if family == "swin" else 64
    encoder = extractor_for(module, recipe)
    widths = encoder.widths(module)
    card = WeightCard(
        name=family, family=family, architecture="toy", repo="nobody/toy", licence="none", pretraining=(),
        width=widths[-1], depth=len(widths), parameters=0, patch=patch, native_size=size, position_recipe=recipe,
        fixed=family == "swin",
    )  # fmt: skip
    source = WeightSource("random", f"random:{seed}", True, "random weights", seed=seed)
    return Backbone(family, card, source, module, encoder)
