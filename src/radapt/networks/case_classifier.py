"""From slices to the answer for a case: slices → image → case → logits, whatever encodes the slices."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

ModalityUse = Literal["concat", "mean"]

MEMORY = 1024
"""Images over which the running mean of a modality is taken: the weights behind older ones have moved on."""


class CaseClassifier(nn.Module):
    """An encoder of slices, an aggregator of the slices of an image, and a linear layer over the images of a case.

    `encode` turns slices (S, C, H, W) into vectors (S, D) with `encoder`, whose parameters are then this module's.
    `aggregator` turns the vectors of an image's slices into one, `width_out` long. Images of one modality are told
    from another's by where they stand: with `concat` the modalities stand side by side, with `mean` those present are
    averaged. Each image vector passes a LayerNorm, which puts encoders of whatever scale on one, as `fc_norm` does in
    MAE's and BEiT's fine-tuning, and the linear layer starts from zero: the first step moves nothing else.

    A missing modality is never silently zero. One that some training cases lack (`partial`) has a learned embedding in
    its place, one that none of them lacks the running mean of its vectors over training. So has, with `mean`, a case
    without any known modality.

    S slices of P images of B cases; `image` (S,) says whose a slice is, in rising order, `case` and `modality` (P,)
    the same of an image; `position` (S,) is where in its image a slice lies, from 0 to 1.
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
        self.kinds = len(partial)
        parts = len(partial) if modalities == "concat" else 1
        # What weighs slices by what they show should know which kind of image they are from.
        learns = any(True for _ in aggregator.parameters())
        self.kind = nn.Embedding(len(partial), width) if learns and len(partial) > 1 else None
        self.norm = nn.LayerNorm(width_out)
        self.head = nn.Linear(parts * width_out, outputs)
        self.missing = nn.Parameter(torch.zeros(parts, width_out))
        self.register_buffer("mean", torch.zeros(parts, width_out))
        self.register_buffer("seen", torch.zeros(parts, 1))
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
        return self.answer(self.encode(images), image, position, case, modality, cases)

    def encode(self, images: Tensor) -> Tensor:
        """(S, C, H, W) -> (S, D) float32."""
        return self._encode(images).float()

    def answer(
        self, vectors: Tensor, image: Tensor, position: Tensor, case: Tensor, modality: Tensor, cases: int
    ) -> Tensor:
        """Logits (B, outputs) from the vectors (S, D) of all slices of B `cases`; always in float32."""
        with torch.autocast(vectors.device.type, enabled=False):
            if self.kind is not None:
                vectors = vectors + self.kind(modality)[image]
            if len(case):
                found = self.norm(self.aggregator(vectors, image, len(case), position))  # (S, D) -> (P, D_out)
            else:
                found = vectors.new_zeros(0, self.missing.shape[1])
            whole, present = self._joined(found, case, modality, cases)
            if self.training:
                self._remember(whole.detach(), present)
            filled = torch.where(present[..., None], whole, torch.where(self.partial, self.missing, self.mean))
            return self.head(filled.flatten(1))  # (B, parts, D_out) -> (B, outputs)

    def _joined(self, found: Tensor, case: Tensor, modality: Tensor, cases: int) -> tuple[Tensor, Tensor]:
        """(P, D_out) -> (B, parts, D_out) with zeros where nothing is, and which parts are there (B, parts)."""
        whole = found.new_zeros(cases, self.kinds, found.shape[1]).index_put((case, modality), found)
        present = torch.zeros(cases, self.kinds, dtype=torch.bool, device=found.device)
        present = present.index_put((case, modality), torch.ones_like(case, dtype=torch.bool))
        if self.use == "concat":
            return whole, present
        return whole.sum(1, keepdim=True) / present.sum(1).clamp(min=1)[:, None, None], present.any(1, keepdim=True)

    @torch.no_grad()
    def _remember(self, whole: Tensor, present: Tensor) -> None:
        """Move the running means: plain means over the first `MEMORY` images, then older ones fade."""
        count = present.sum(0).to(self.seen.dtype)[:, None]  # (parts, 1)
        self.seen += count
        share = count / self.seen.clamp(min=1, max=MEMORY)
        now = whole.sum(0) / count.clamp(min=1)
        self.mean += (now - self.mean) * share.clamp(max=1)
