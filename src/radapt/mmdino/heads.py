"""The heads of the adaptation: a projection onto prototypes, and a classifier."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from radapt.errors import UsageError

_INIT_STD = 0.02  # of the weights of the MLP, as in DINO's head and in ViTs


class ProjectionHead(nn.Module):
    """Features (…, width) -> logits (…, prototypes): the head of DINO (Caron et al. 2021), which iBOT may share.

    An MLP with GELU down to `bottleneck`, scaled to length 1, then the product with `prototypes` directions of length
    1, each times a learned scale. The scales start at 1, so that logits are cosines at first. The sizes are those of
    DINOv2's ViT-S to ViT-L. With `layers` = 1 the MLP is a single linear layer and `hidden` is unused.

    `seed` alone decides the initial weights; torch's random state is left unchanged. The MLP follows autocast; lengths
    and the last product are computed in float32, since bfloat16 keeps three digits of a cosine and the teacher divides
    by 0.04. Logits are float32. Without rows the result is (0, prototypes).

    Raises UsageError for sizes below 1.
    """

    def __init__(
        self, width: int, prototypes: int, *, hidden: int = 2048, bottleneck: int = 256, layers: int = 3, seed: int
    ) -> None:
        super().__init__()
        sizes = {"width": width, "prototypes": prototypes, "hidden": hidden, "bottleneck": bottleneck, "layers": layers}
        for name, size in sizes.items():
            if size < 1:
                raise UsageError(f"A projection head needs {name} of at least 1, not {size!r}.")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.mlp = _mlp(width, hidden, bottleneck, layers)
            self.last = Prototypes(bottleneck, prototypes)

    def forward(self, features: Tensor) -> Tensor:
        """(…, width) -> (…, prototypes) float32."""
        return self.last(self.mlp(features))


class Prototypes(nn.Module):
    """Cosines of vectors with learned directions, times a scale for each direction.

    A linear layer without bias under weight normalisation (Salimans and Kingma 2016). The scales `logit_scale` (K,) are
    one-dimensional, so that weight decay leaves them out. The length of a direction has no effect on the output; its
    decay only changes how fast the direction turns.
    """

    def __init__(self, width: int, prototypes: int) -> None:
        super().__init__()
        self.directions = nn.Parameter(nn.Linear(width, prototypes, bias=False).weight.detach())  # torch's own
        self.logit_scale = nn.Parameter(torch.ones(prototypes))

    def forward(self, vectors: Tensor) -> Tensor:
        """(…, width) -> (…, prototypes) float32; a vector of length zero has zero cosines."""
        with torch.autocast(vectors.device.type, enabled=False):
            unit = normalize(vectors.float(), dim=-1)
            return linear(unit, normalize(self.directions.float(), dim=-1) * self.logit_scale.float()[:, None])


class ClassifierHead(nn.Module):
    """Logits (B, outputs) float32 from CLS (B, width), with `patch_mean` also from the mean patch token (B, width).

    One linear layer that starts at zero: at first it predicts the same for every case (0, which is the prior where
    logits are adjusted by it), and the first step changes nothing else. DINOv2's linear evaluation also concatenates
    CLS and patch mean. Always in float32.
    """

    def __init__(self, width: int, outputs: int, *, patch_mean: bool = False) -> None:
        super().__init__()
        if width < 1 or outputs < 1:
            raise UsageError(f"A classifier needs a width and outputs of at least 1, not {width!r} and {outputs!r}.")
        self.width, self.outputs, self.patch_mean = width, outputs, patch_mean
        self.weight = nn.Parameter(torch.zeros(outputs, width * (1 + patch_mean)))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, cls: Tensor, patches: Tensor | None = None) -> Tensor:
        """(…, width) and, for a head with `patch_mean`, (…, width) -> (…, outputs).

        Raises UsageError for a missing or unexpected patch mean, and for another width.
        """
        if (patches is not None) != self.patch_mean:
            raise UsageError(
                f"This classifier takes CLS {'and the patch mean' if self.patch_mean else 'alone'}; "
                f"{'no patch mean was' if patches is None else 'a patch mean was'} given."
            )
        for vectors in (cls,) if patches is None else (cls, patches):
            if vectors.shape[-1] != self.width:
                raise UsageError(f"This classifier takes features of width {self.width}, not {vectors.shape[-1]}.")
        with torch.autocast(cls.device.type, enabled=False):
            features = cls.float() if patches is None else torch.cat([cls.float(), patches.float()], dim=-1)
            return linear(features, self.weight.float(), self.bias.float())


def _mlp(width: int, hidden: int, bottleneck: int, layers: int) -> nn.Sequential:
    sizes = [width, *[hidden] * (layers - 1), bottleneck]
    steps: list[nn.Module] = []
    for before, after in pairwise(sizes):
        if steps:
            steps.append(nn.GELU())
        layer = nn.Linear(before, after)
        nn.init.trunc_normal_(layer.weight, std=_INIT_STD)
        nn.init.zeros_(layer.bias)
        steps.append(layer)
    return nn.Sequential(*steps)
