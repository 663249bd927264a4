"""Segment Anything, its image encoder."""

from radapt.backbones.card import WeightCard

CARD = WeightCard(
    name="sam-l",
    family="SAM",
    architecture="timm:samvit_large_patch16.sa1b",
    repo="timm/samvit_large_patch16.sa1b",
    licence="apache-2.0",
    pretraining=("SA-1B", "ImageNet-1k"),  # starts from MAE's weights
    width=1024,
    depth=24,
    parameters=308_278_272,
    patch=16,
    native_size=1024,
    position_recipe="own",
    reference="arXiv 2304.02643",
)
