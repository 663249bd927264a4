"""OpenCLIP, its image tower."""

from radapt.backbones.card import CLIP_MEAN, CLIP_STD, OPEN_CLIP_FILES, WeightCard

CARD = WeightCard(
    name="openclip-h",
    family="OpenCLIP",
    architecture="timm:vit_huge_patch14_clip_224.laion2b",
    repo="timm/vit_huge_patch14_clip_224.laion2b",
    licence="mit",
    pretraining=("LAION-2B",),
    width=1280,
    depth=32,
    parameters=630_766_080,
    patch=14,
    native_size=224,
    mean=CLIP_MEAN,
    std=CLIP_STD,
    position_recipe="timm",
    plain=True,
    files=("model.safetensors", "pytorch_model.bin", *OPEN_CLIP_FILES),
    reference="arXiv 2212.07143",
)
