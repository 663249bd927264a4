"""BiomedCLIP, its image tower."""

from radapt.backbones.card import CLIP_MEAN, CLIP_STD, OPEN_CLIP_FILES, WeightCard

CARD = WeightCard(
    name="biomedclip-b",
    family="BiomedCLIP",
    architecture="timm:vit_base_patch16_224",
    repo="microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    licence="mit",
    pretraining=("PMC-15M", "ImageNet-21k"),
    width=768,
    depth=12,
    parameters=85_798_656,
    patch=16,
    native_size=224,
    mean=CLIP_MEAN,
    std=CLIP_STD,
    position_recipe="timm",
    plain=True,
    files=OPEN_CLIP_FILES,
    reference="arXiv 2303.00915",
)
