"""OpenAI's CLIP, its image tower."""

from radapt.backbones.card import CLIP_MEAN, CLIP_STD, OPEN_CLIP_FILES, WeightCard

CARD = WeightCard(
    name="clip-l",
    family="CLIP",
    # OpenAI trained with x · sigmoid(1.702 x); the same weights under the exact GELU give other features.
    architecture="timm:vit_large_patch14_clip_quickgelu_224.openai",
    repo="timm/vit_large_patch14_clip_224.openai",
    licence="mit",
    pretraining=("WIT-400M",),
    width=1024,
    depth=24,
    parameters=303_179_776,
    patch=14,
    native_size=224,
    mean=CLIP_MEAN,
    std=CLIP_STD,
    position_recipe="timm",
    plain=True,
    files=("model.safetensors", "pytorch_model.bin", *OPEN_CLIP_FILES),
    reference="arXiv 2103.00020",
)
