"""The two losses of the batched solver: binary and multinomial cross-entropy."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import softplus


@dataclass(frozen=True)
class SigmoidLoss:
    """Binary cross-entropy of B problems with one logit each: Σ_i s_i (softplus(x_i) - y_i x_i).

    `weights` (n, B) holds s, already divided by its total, and 0 where the label is unknown; `positive` holds s y.
    Either may be (n, 1) when all problems share them.
    """

    weights: Tensor
    positive: Tensor

    def value(self, logits: Tensor) -> Tensor:
        x = logits[..., 0]  # (n, B)
        # softplus(x) = max(x, 0) + log1p(exp(-|x|)); torch's own returns x beyond a threshold.
        return (self.weights * softplus(x, threshold=40.0) - self.positive * x).sum(0)

    def residual(self, logits: Tensor) -> Tensor:
        return (self.weights * torch.sigmoid(logits[..., 0]) - self.positive)[..., None]

    def keep(self, problems: Tensor) -> "SigmoidLoss":
        if self.weights.shape[1] == 1:
            return self
        return SigmoidLoss(self.weights[:, problems], self.positive[:, problems])


@dataclass(frozen=True)
class SoftmaxLoss:
    """Multinomial cross-entropy over c classes, the same for all problems: Σ_i s_i (log Σ_c exp x_ic - x_iy)."""

    weights: Tensor  # (n, 1), already divided by its total
    targets: Tensor  # (n, 1, c) one-hot

    def value(self, logits: Tensor) -> Tensor:
        chosen = (logits * self.targets).sum(-1)
        return (self.weights * (torch.logsumexp(logits, -1) - chosen)).sum(0)

    def residual(self, logits: Tensor) -> Tensor:
        return (torch.softmax(logits, -1) - self.targets) * self.weights[..., None]

    def keep(self, problems: Tensor) -> "SoftmaxLoss":
        return replace(self)
