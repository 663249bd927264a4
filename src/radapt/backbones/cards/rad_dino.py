"""RAD-DINO: DINOv2 trained on chest radiographs."""

from radapt.backbones.card import WeightCard

CARD = WeightCard(
    name="rad-dino",
    family="RAD-DINO",
    architecture="timm:vit_base_patch14_dinov2",
    repo="microsoft/rad-dino",
    licence="mit",
    pretraining=("BRAX", "CheXpert", "MIMIC-CXR", "ChestX-ray14", "PadChest", "LVD-142M"),
    width=768,
    depth=12,
    parameters=86_579_712,
    patch=14,
    native_size=518,
    mean=(0.5307, 0.5307, 0.5307),
    std=(0.2583, 0.2583, 0.2583),
    position_recipe="dinov2",
    plain=True,
    reference="arXiv 2401.10815",
)
