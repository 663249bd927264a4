"""The classifier of cases: slices → image → case → logits, with any slice encoder."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

ModalityUse = Literal["concat", "mean"]

RUNNING_MEAN_IMAGES = 1024
"""Images in the running mean of a modality: older ones come from weights that have changed since."""


class CaseClassifier(nn.Module):
    """An encoder of slices, an aggregator of the slices of an image, and a linear layer over the images of a case.

    `encode` turns slices (S, C, H, W) into vectors (S, D) with `encoder`, whose parameters belong to this module.
    `aggregator` turns the vectors of an image's slices into one vector of length `width_out`. With `concat` the vectors
    of the modalities are concatenated, with `mean` those of the available modalities are averaged. Each image vector
    passes a LayerNorm, which gives encoders of any scale the same scale, like `fc_norm` in the fine-tuning of MAE and
    BEiT. The linear layer starts at zero, so the first step changes nothing else.

    A missing modality is never silently zero. A modality that is missing in some training cases (`partial`) is replaced
    by a learned embedding; one that is missing only outside training, by the running mean of its vectors over training.
    The same holds, with `mean`, for a case without any known modality.

    S slices of P images of B cases; `image` (S,) is the image of each slice in ascending order, `case` and `modality`
    (P,) those of each image; `position` (S,) is the position of a slice in its image, from 0 to 1.
    """

    missing: Tensor
    mean: Tensor
    seen: Tensor
    partial: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        encode: Callable[[Tensor], Tensor],
        aggregator: nn.Module,
        width: int,
        width_out: int,
        outputs: int,
        modalities: ModalityUse,
        partial: tuple[bool, ...],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self._encode = encode
        self.aggregator = aggregator
        self.use = modalities
        self.n_modalities = len(partial)
        slots = len(partial) if modalities == "concat" else 1
        # An aggregator that weights slices by content should know their modality.
        learns = any(True for _ in aggregator.parameters())
        self.kind = nn.Embedding(len(partial), width) if learns and len(partial) > 1 else None
        self.norm = nn.LayerNorm(width_out)
        self.head = nn.Linear(slots * width_out, outputs)
        self.missing = nn.Parameter(torch.zeros(slots, width_out))
        self.register_buffer("mean", torch.zeros(slots, width_out))
        self.register_buffer("seen", torch.zeros(slots, 1))
        learned = partial if modalities == "concat" else (False,)
        self.register_buffer("partial", torch.tensor(learned).view(-1, 1), persistent=False)
        self.missing.requires_grad_(any(learned))
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.bias.zero_()
            if self.kind is not None:
                self.kind.weight.zero_()

    def forward(
        self, images: Tensor, image: Tensor, position: Tensor, case: Tensor, modality: Tensor, cases: int
    ) -> Tensor:
        """Logits (B, outputs) float32 of images (S, C, H, W), uint8 or float in [0, 1]."""
        return self.classify(self.encode(images), image, position, case, modality, cases)

    def encode(self, images: Tensor) -> Tensor:
        """(S, C, H, W) -> (S, D) float32."""
        return self._encode(images).float()

    def classify(
        self, vectors: Tensor, image: Tensor, position: Tensor, case: Tensor, modality: Tensor, cases: int
    ) -> Tensor:
        """Logits (B, outputs) from the vectors (S, D) of all slices of B `cases`; always in float32."""
        with torch.autocast(vectors.device.type, enabled=False):
            if self.kind is not None:
                vectors = vectors + self.kind(modality)[image]
            if len(case):
                pooled = self.norm(self.aggregator(vectors, image, len(case), position))  # (S, D) -> (P, D_out)
            else:
                pooled = vectors.new_zeros(0, self.missing.shape[1])
            joined, present = self._joined(pooled, case, modality, cases)
            if self.training:
                self._update_means(joined.detach(), present)
            filled = torch.where(present[..., None], joined, torch.where(self.partial, self.missing, self.mean))
            return self.head(filled.flatten(1))  # (B, slots, D_out) -> (B, outputs)

    def _joined(self, pooled: Tensor, case: Tensor, modality: Tensor, cases: int) -> tuple[Tensor, Tensor]:
        """(P, D_out) -> (B, slots, D_out), zeros where missing, and (B, slots) bool: what is available."""
        joined = pooled.new_zeros(cases, self.n_modalities, pooled.shape[1]).index_put((case, modality), pooled)
        present = torch.zeros(cases, self.n_modalities, dtype=torch.bool, device=pooled.device)
        present = present.index_put((case, modality), torch.ones_like(case, dtype=torch.bool))
        if self.use == "concat":
            return joined, present
        return joined.sum(1, keepdim=True) / present.sum(1).clamp(min=1)[:, None, None], present.any(1, keepdim=True)

    @torch.no_grad()
    def _update_means(self, joined: Tensor, present: Tensor) -> None:
        """Update the running means: plain over the first `RUNNING_MEAN_IMAGES` images, then exponential."""
        count = present.sum(0).to(self.seen.dtype)[:, None]  # (slots, 1)
        self.seen += count
        share = count / self.seen.clamp(min=1, max=RUNNING_MEAN_IMAGES)
        batch_mean = joined.sum(0) / count.clamp(min=1)
        self.mean += (batch_mean - self.mean) * share.clamp(max=1)
