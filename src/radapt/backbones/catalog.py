"""Every encoder radapt knows by name, one declaration each.

Widths, depths, sizes, parameters, means and deviations are compared with the built modules by a test; licences and
data sets are those of the weights' own model cards and papers. Nothing here imports torch.
"""

from dataclasses import replace

from radapt.backbones.card import WeightCard
from radapt.errors import UsageError, suggest

HALF = (0.5, 0.5, 0.5)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def _dinov2(size: str, model: str, width: int, depth: int, parameters: int, registers: bool = False) -> WeightCard:
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
        reference="arXiv 2309.16588" if registers else "arXiv 2304.07193",
    )


def _dinov3(size: str, timm_name: str, width: int, depth: int, parameters: int) -> WeightCard:
    convolutional = timm_name.startswith("convnext")
    return WeightCard(
        name=f"dinov3-{'convnext-' if convolutional else ''}{size}",
        family="DINOv3",
        architecture=f"timm:{timm_name}",
        repo=f"timm/{timm_name}",
        licence="dinov3-license",
        pretraining=("LVD-1689M",),
        width=width,
        depth=depth,
        parameters=parameters,
        patch=32 if convolutional else 16,
        native_size=224 if convolutional else 256,
        position_recipe="none" if convolutional else "rope",
        reference="arXiv 2508.10104",
    )


def _cnn(name: str, family: str, model: str, width: int, parameters: int, depth: int = 5, **more: str) -> WeightCard:
    return WeightCard(
        name=name,
        family=family,
        architecture=f"timm:{model}",
        repo=f"timm/{model}",
        licence=more.get("licence", "bsd-3-clause"),
        pretraining=("ImageNet-1k",),
        width=width,
        depth=depth,
        parameters=parameters,
        patch=32,
        native_size=224,
        reference=more["reference"],
    )


_VIT_L16 = WeightCard(
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
    reference="arXiv 2106.10270",
)

_CARDS = (
    _dinov2("s", "small", 384, 12, 22_056_192),
    _dinov2("b", "base", 768, 12, 86_579_712),
    _dinov2("l", "large", 1024, 24, 304_367_616),
    _dinov2("g", "giant", 1536, 40, 1_136_479_232),
    _dinov2("s", "small", 384, 12, 22_057_344, registers=True),
    _dinov2("b", "base", 768, 12, 86_582_016, registers=True),
    _dinov2("l", "large", 1024, 24, 304_370_688, registers=True),
    _dinov2("g", "giant", 1536, 40, 1_136_483_840, registers=True),
    _VIT_L16,
    _cnn("resnet50", "ResNet", "resnet50.tv_in1k", 2048, 23_508_032, reference="arXiv 1512.03385"),
    _cnn("resnet152", "ResNet", "resnet152.tv_in1k", 2048, 58_143_808, reference="arXiv 1512.03385"),
    # The two fully connected layers are left out: tokens are convolution features, which describe any image size.
    _cnn("vgg19", "VGG", "vgg19.tv_in1k", 512, 20_024_384, 6, reference="arXiv 1409.1556"),
    _cnn(
        "densenet121",
        "DenseNet",
        "densenet121.tv_in1k",
        1024,
        6_953_856,
        licence="apache-2.0",
        reference="arXiv 1608.06993",
    ),
    _cnn(
        "densenet201",
        "DenseNet",
        "densenet201.tv_in1k",
        1920,
        18_092_928,
        licence="apache-2.0",
        reference="arXiv 1608.06993",
    ),
    replace(
        _VIT_L16,
        name="mae-l",
        family="MAE",
        architecture="timm:vit_large_patch16_224.mae",
        repo="timm/vit_large_patch16_224.mae",
        licence="cc-by-nc-4.0",
        pretraining=("ImageNet-1k",),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        reference="arXiv 2111.06377",
    ),
    replace(
        _VIT_L16,
        name="msn-l",
        family="MSN",
        architecture="timm:vit_large_patch16_224",
        repo="facebook/vit-msn-large",
        pretraining=("ImageNet-1k",),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        position_recipe="bicubic",
        reference="arXiv 2204.07141",
    ),
    replace(
        _VIT_L16,
        name="clip-l",
        family="CLIP",
        # OpenAI trained with x · sigmoid(1.702 x); the same weights under the exact GELU give other features.
        architecture="timm:vit_large_patch14_clip_quickgelu_224.openai",
        repo="timm/vit_large_patch14_clip_224.openai",
        licence="mit",
        pretraining=("WIT-400M",),
        parameters=303_179_776,
        patch=14,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        files=("model.safetensors", "pytorch_model.bin", *_OPEN_CLIP_FILES),
        reference="arXiv 2103.00020",
    ),
    replace(
        _VIT_L16,
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
        mean=CLIP_MEAN,
        std=CLIP_STD,
        files=("model.safetensors", "pytorch_model.bin", *_OPEN_CLIP_FILES),
        reference="arXiv 2212.07143",
    ),
    WeightCard(
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
    ),
    replace(
        _VIT_L16,
        name="biomedclip-b",
        family="BiomedCLIP",
        architecture="timm:vit_base_patch16_224",
        repo="microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        licence="mit",
        pretraining=("PMC-15M", "ImageNet-21k"),
        width=768,
        depth=12,
        parameters=85_798_656,
        mean=CLIP_MEAN,
        std=CLIP_STD,
        files=_OPEN_CLIP_FILES,
        reference="arXiv 2303.00915",
    ),
    replace(
        _VIT_L16,
        name="dino-b",
        family="DINO",
        architecture="timm:vit_base_patch16_224.dino",
        repo="timm/vit_base_patch16_224.dino",
        pretraining=("ImageNet-1k",),
        width=768,
        depth=12,
        parameters=85_798_656,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        position_recipe="dinov2",  # DINO's code had the offset of 0.1 first
        reference="arXiv 2104.14294",
    ),
    _dinov3("s", "vit_small_patch16_dinov3.lvd1689m", 384, 12, 21_586_944),
    _dinov3("b", "vit_base_patch16_dinov3.lvd1689m", 768, 12, 85_641_216),
    _dinov3("l", "vit_large_patch16_dinov3.lvd1689m", 1024, 24, 303_079_424),
    _dinov3("t", "convnext_tiny.dinov3_lvd1689m", 768, 4, 27_820_128),
    _dinov3("s", "convnext_small.dinov3_lvd1689m", 768, 4, 49_454_688),
    _dinov3("b", "convnext_base.dinov3_lvd1689m", 1024, 4, 87_566_464),
    _dinov3("l", "convnext_large.dinov3_lvd1689m", 1536, 4, 196_230_336),
    WeightCard(
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
        reference="arXiv 2401.10815",
    ),
    WeightCard(
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
        gated=True,
        reference="arXiv 2507.05201",
        options=(("img_size", 448), ("act_layer", "gelu_tanh")),
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
        reference="arXiv 2010.11929",
        options=(("img_size", 64), ("patch_size", 8), ("embed_dim", 96), ("depth", 4), ("num_heads", 3), ("eps", 1e-6)),
    ),
)

CATALOG: dict[str, WeightCard] = {card.name: card for card in _CARDS}


def card(name: str, *, offline: bool = False) -> WeightCard:
    """The card of a catalog name, of `timm:<model>` or of `hf:<repository or folder>`.

    An `hf:` card is read from the repository's `config.json`, which is fetched unless it is in the cache already
    (never with `offline`). An unknown name is a UsageError that names the nearest known one.
    """
    if name in CATALOG:
        return CATALOG[name]
    origin, _, rest = name.partition(":")
    if rest and origin == "timm":
        from radapt.backbones.others import timm_card

        return timm_card(rest)
    if rest and origin == "hf":
        from radapt.backbones.huggingface import hf_card

        return hf_card(rest, offline=offline)
    known = [*CATALOG, "timm:<model>", "hf:<repository>"]
    raise UsageError(f"Unknown backbone {name!r}. {suggest(name, known)}")
