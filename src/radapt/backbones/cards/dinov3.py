"""DINOv3: vision transformers and ConvNeXts."""

from radapt.backbones.card import WeightCard


def _card(size: str, timm_name: str, width: int, depth: int, parameters: int) -> WeightCard:
    convolutional = timm_name.startswith("convnext")
    return WeightCard(
        name=f"dinov3-{'convnext-' if convolutional else ''}{size}",
        family="DINOv3",
        architecture=f"timm:{timm_name}",
        repo=f"timm/{timm_name}",
        licence="dinov3-license",
        pretraining=("LVD-1689M",),
        width=width,
        depth=depth,
        parameters=parameters,
        patch=32 if convolutional else 16,
        native_size=224 if convolutional else 256,
        position_recipe="none" if convolutional else "rope",
        reference="arXiv 2508.10104",
    )


CARDS = (
    _card("s", "vit_small_patch16_dinov3.lvd1689m", 384, 12, 21_586_944),
    _card("b", "vit_base_patch16_dinov3.lvd1689m", 768, 12, 85_641_216),
    _card("l", "vit_large_patch16_dinov3.lvd1689m", 1024, 24, 303_079_424),
    _card("t", "convnext_tiny.dinov3_lvd1689m", 768, 4, 27_820_128),
    _card("s", "convnext_small.dinov3_lvd1689m", 768, 4, 49_454_688),
    _card("b", "convnext_base.dinov3_lvd1689m", 1024, 4, 87_566_464),
    _card("l", "convnext_large.dinov3_lvd1689m", 1536, 4, 196_230_336),
)
