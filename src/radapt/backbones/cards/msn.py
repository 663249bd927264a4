"""Masked siamese network."""

from radapt.backbones.card import WeightCard

CARD = WeightCard(
    name="msn-l",
    family="MSN",
    architecture="timm:vit_large_patch16_224",
    repo="facebook/vit-msn-large",
    licence="apache-2.0",
    pretraining=("ImageNet-1k",),
    width=1024,
    depth=24,
    parameters=303_301_632,
    patch=16,
    native_size=224,
    position_recipe="bicubic",
    plain=True,
    reference="arXiv 2204.07141",
)
