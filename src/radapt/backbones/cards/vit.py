"""Plain vision transformers."""

from radapt.backbones.card import HALF, WeightCard

CARDS = (
    WeightCard(
        name="vit-l-in21k",
        family="supervised ViT",
        architecture="timm:vit_large_patch16_224.augreg_in21k",
        repo="timm/vit_large_patch16_224.augreg_in21k",
        licence="apache-2.0",
        pretraining=("ImageNet-21k",),
        width=1024,
        depth=24,
        parameters=303_301_632,
        patch=16,
        native_size=224,
        mean=HALF,
        std=HALF,
        position_recipe="timm",
        plain=True,
        reference="arXiv 2106.10270",
    ),
    WeightCard(
        name="vit-nano",
        family="ViT",
        architecture="vit",
        repo="",  # to be trained from scratch
        licence="apache-2.0",
        pretraining=(),
        width=96,
        depth=4,
        parameters=472_416,
        patch=8,
        native_size=64,
        mean=HALF,
        std=HALF,
        position_recipe="timm",
        plain=True,
        reference="arXiv 2010.11929",
        options=(("img_size", 64), ("patch_size", 8), ("embed_dim", 96), ("depth", 4), ("num_heads", 3), ("eps", 1e-6)),
    ),
)
