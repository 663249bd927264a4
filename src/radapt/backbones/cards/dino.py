"""DINO, the first version."""

from radapt.backbones.card import WeightCard

CARD = WeightCard(
    name="dino-b",
    family="DINO",
    architecture="timm:vit_base_patch16_224.dino",
    repo="timm/vit_base_patch16_224.dino",
    licence="apache-2.0",
    pretraining=("ImageNet-1k",),
    width=768,
    depth=12,
    parameters=85_798_656,
    patch=16,
    native_size=224,
    position_recipe="dinov2",  # DINO's code had the offset of 0.1 first
    plain=True,
    reference="arXiv 2104.14294",
)
