"""A backbone: an encoder that radapt can build, and what has to be known about its weights."""

from radapt.backbones import WeightCard

CARD = WeightCard(
    name="example-vit",
    family="ViT",
    architecture="vit",  # a plain vision transformer of these `options`; `timm:<model>` names one of timm's
    repo="",  # on no hub: give weights by `--weights FILE`, or `random`
    licence="apache-2.0",
    pretraining=(),  # data sets the weights have seen, so that contamination of a test set can be computed
    width=48,
    depth=2,
    parameters=66_768,
    patch=8,
    native_size=32,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    position_recipe="timm",
    reference="arXiv 2010.11929",
    options=(("img_size", 32), ("patch_size", 8), ("embed_dim", 48), ("depth", 2), ("num_heads", 3), ("eps", 1e-6)),
)
