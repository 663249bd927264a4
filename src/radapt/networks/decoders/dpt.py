"""DPT: maps reassembled to a pyramid and fused by residual units from deep to shallow."""

from collections.abc import Sequence

from torch import Tensor, nn

from radapt.networks.decoders.base import Decoder
from radapt.networks.decoders.layers import Project, classify, group_norm, pyramid_factors, resized


class DPTDecoder(Decoder):
    """The dense prediction transformer's decoder (Ranftl et al. 2021, arXiv 2103.13413), its segmentation head.

    Maps of equal size (`flat`, from a ViT) are resampled by learned layers: transposed convolutions ×4 and ×2, and a
    convolution of stride 2. CLS tokens are not read (the paper's variant "ignore"). GroupNorm replaces the paper's
    batch norm; the head has no dropout. `width` is 64; the paper's 256 costs more than a ViT-S.
    """

    name = "dpt"

    def __init__(self, widths: Sequence[int], outputs: int, width: int = 64, flat: bool | None = None) -> None:
        super().__init__(widths, outputs)
        self.project = nn.ModuleList(Project(tokens, width) for tokens in self.widths)
        self.resample = nn.ModuleList(_resample(width, factor) for factor in pyramid_factors(self.widths, flat))
        self.even = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in self.widths)
        self.fuse = nn.ModuleList(
            _Fusion(width, joins=level < len(self.widths) - 1) for level in range(len(self.widths))
        )
        self.head = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), group_norm(width), nn.ReLU(inplace=True)
        )
        self.classify = classify(width, outputs)

    def decode(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        stages = zip(self.project, self.resample, self.even, maps, strict=True)
        levels = [even(resample(project(m))) for project, resample, even, m in stages]
        x = self.fuse[-1](levels[-1], None)
        for index in range(len(levels) - 2, -1, -1):
            x = self.fuse[index](levels[index], resized(x, (levels[index].shape[2], levels[index].shape[3])))
        logits: Tensor = self.classify(self.head(x))
        return logits


class _Fusion(nn.Module):
    """RefineNet's block: the refined level is added to the deeper output, and the sum is refined again."""

    def __init__(self, width: int, joins: bool) -> None:
        super().__init__()
        self.before = _Residual(width) if joins else None  # the deepest level has nothing to join
        self.after = _Residual(width)
        self.out = nn.Conv2d(width, width, kernel_size=1)

    def forward(self, level: Tensor, below: Tensor | None) -> Tensor:
        x = level if below is None or self.before is None else below + self.before(level)
        out: Tensor = self.out(self.after(x))
        return out


class _Residual(nn.Module):
    """x + conv(relu(conv(relu(x)))) with norms."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False), group_norm(width)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


def _resample(width: int, factor: float) -> nn.Module:
    if factor == 1:
        return nn.Identity()
    if factor < 1:
        step = round(1 / factor)
        return nn.Conv2d(width, width, 3, stride=step, padding=1)
    return nn.ConvTranspose2d(width, width, int(factor), stride=int(factor))
