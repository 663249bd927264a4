"""MedSigLIP, its image tower."""

from radapt.backbones.card import HALF, WeightCard

CARD = WeightCard(
    name="medsiglip",
    family="MedSigLIP",
    architecture="timm:vit_so400m_patch14_siglip_384",
    repo="google/medsiglip-448",
    licence="health-ai-developer-foundations",
    # Named in the technical report, beside collections that are not public.
    pretraining=("WebLI", "MIMIC-CXR", "Digital Knee X-ray", "EyePACS", "PAD-UFES-20", "SCIN"),
    width=1152,
    depth=27,
    parameters=428_565_440,
    patch=14,
    native_size=448,
    mean=HALF,
    std=HALF,
    position_recipe="timm",
    plain=False,
    gated=True,
    reference="arXiv 2507.05201",
    options=(("img_size", 448), ("act_layer", "gelu_tanh")),
)
