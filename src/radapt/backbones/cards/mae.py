"""Masked autoencoder."""

from radapt.backbones.card import WeightCard

CARD = WeightCard(
    name="mae-l",
    family="MAE",
    architecture="timm:vit_large_patch16_224.mae",
    repo="timm/vit_large_patch16_224.mae",
    licence="cc-by-nc-4.0",
    pretraining=("ImageNet-1k",),
    width=1024,
    depth=24,
    parameters=303_301_632,
    patch=16,
    native_size=224,
    position_recipe="timm",
    plain=True,
    reference="arXiv 2111.06377",
)
