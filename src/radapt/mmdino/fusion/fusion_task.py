"""Training a fusion: what a batch of stored tokens holds, and its losses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from radapt.mmdino.fusion.case_tokens import CaseTokens
from radapt.mmdino.fusion.fusion_options import FusionOptions
from radapt.mmdino.fusion.token_network import FusedSlices, TokenEnsemble, TokenNetwork
from radapt.mmdino.inference import CaseQuery
from radapt.mmdino.label_encoding import adjusted, log_chances
from radapt.mmdino.lesion_attention import entropy
from radapt.mmdino.loss_meter import LossMeter
from radapt.mmdino.masking import kept_modalities
from radapt.mmdino.student import SampleLabels
from radapt.mmdino.supervision import supervised_loss
from radapt.training import Group, Task

CONSISTENCY_START = 0.3
"""Share of the steps without the consistency loss: until then, nothing worth agreeing with is predicted."""

PARTS = ("supervised", "lesion", "hidden", "consistency")
"""Names of the parts of the loss in the records, each times its weight."""


@dataclass(frozen=True, eq=False)
class FusionBatch:
    """B slices of b cases."""

    tokens: Tensor  # (B, M, R + P, D) float16
    case: Tensor  # (B,) int64, 0 to b - 1
    present: Tensor  # (b, M) bool
    visible: Tensor  # (b, M) bool: those of `present` that are not hidden in this step
    labels: Tensor  # (b,) int64, -1 unlabelled; or (b, F) float32, NaN unknown
    lesions: Tensor  # (B, M, P, L) float16
    has_mask: Tensor  # (b,) bool


class FusionTask(Task):
    """Trains an ensemble on the cases at `rows`, whose tokens are prepared: a sample is some slices of a case.

    `targets` are the cohort's labels, (N,) or (N, F), with those blanked that training may not see; `masked` (N,) bool
    says whose masks are learned from. Everything a case needs is kept in memory, in float16.
    """

    module: TokenEnsemble

    def __init__(
        self,
        module: TokenEnsemble,
        tokens: CaseTokens,
        rows: np.ndarray,
        targets: np.ndarray,
        masked: np.ndarray,
        labels: SampleLabels,
        options: FusionOptions,
        rates: Sequence[float],
    ) -> None:
        self.module, self.tokens, self.rows, self.options, self.labels = module, tokens, rows, options, labels
        self.size, self.targets, self.masked = len(rows), targets[rows], masked[rows]
        self.present = tokens.loader.present[rows]
        self.planes = [tokens.planes(CaseQuery(int(row))) for row in rows]
        known = self.targets >= 0 if self.targets.ndim == 1 else np.isfinite(self.targets).any(axis=1)
        self.labelled_share, self.masked_share = float(known.mean()), float(self.masked.mean())
        self.rates = torch.tensor(rates, dtype=torch.float32)
        self._lesions: dict[int, np.ndarray] = {}
        self._consistency = 0.0
        self._parts = LossMeter(PARTS)

    def load(self, indices: np.ndarray, seeds: np.ndarray) -> FusionBatch:
        chosen = [self._drawn(int(index), int(seed)) for index, seed in zip(indices, seeds, strict=True)]
        tokens = [self._of_case(int(index), slices) for index, slices in zip(indices, chosen, strict=True)]
        lesions = [self._lesions_of(int(index))[slices] for index, slices in zip(indices, chosen, strict=True)]
        present = self.present[indices]
        targets = self.targets[indices]
        return FusionBatch(
            torch.from_numpy(np.concatenate(tokens)),
            torch.from_numpy(np.repeat(np.arange(len(indices)), [len(slices) for slices in chosen])),
            torch.from_numpy(present),
            torch.from_numpy(kept_modalities(seeds, present, self.options.modality_dropout)),
            torch.from_numpy(targets if targets.ndim == 1 else targets.astype(np.float32)),
            torch.from_numpy(np.concatenate(lesions)),
            torch.from_numpy(self.masked[indices]),
        )

    def loss(self, batch: FusionBatch, seeds: np.ndarray) -> Tensor:
        tokens = self.module.standardised(batch.tokens)
        members = [self._member_parts(member, tokens, batch) for member in self.module.members]  # type: ignore[arg-type]
        parts = {name: torch.stack([member[name] for member in members]).mean() for name in members[0]}
        self._parts.add(parts, len(batch.present))
        return torch.stack(list(parts.values())).sum()

    def score(self) -> float:
        """NaN: nothing is chosen in training."""
        return float("nan")

    def name(self, index: int) -> str:
        return self.tokens.loader.cohort.cases[self.rows[index]].case

    def groups(self) -> list[Group]:
        return self.module.groups()

    def before_step(self, step: int, total: int) -> None:
        self._consistency = self.options.consistency if step >= CONSISTENCY_START * total else 0.0
        self._parts.start()

    def after_step(self, step: int, total: int) -> None:
        self._parts.move()

    def state(self) -> dict[str, Tensor]:
        return {"parts": self._parts.sums}

    def records(self) -> dict[str, float]:
        return self._parts.means(self.module.device)

    def _member_parts(self, member: TokenNetwork, tokens: Tensor, batch: FusionBatch) -> dict[str, Tensor]:
        count, options = len(batch.present), self.options
        visible, hidden = batch.visible[batch.case], (batch.present & ~batch.visible)[batch.case]
        fused = member(tokens, visible, hidden if options.hidden else None)
        logits = member.logits(fused, batch.case, count)
        shares = self.labels.shares
        supervised = supervised_loss(
            adjusted(logits, shares, self.labels.kind), batch.labels, smoothing=options.label_smoothing,
            share=self.labelled_share,
        )  # fmt: skip
        parts = {"supervised": supervised}
        if self.module.shape.lesions:
            parts["lesion"] = options.lesion * self._lesion_loss(fused, visible, batch)
        if options.hidden and fused.predicted is not None:
            errors = smooth_l1_loss(fused.predicted, tokens[:, :, -self.module.shape.patches :], reduction="none").mean(
                (2, 3)
            )  # (B, M)
            parts["hidden"] = options.hidden * _case_mean(errors, hidden, batch.case, count).mean()
        if options.consistency:
            parts["consistency"] = self._consistency * self._consistency_loss(member, tokens, batch, logits)
        return parts

    def _lesion_loss(self, fused: FusedSlices, visible: Tensor, batch: FusionBatch) -> Tensor:
        """Cross-entropy in units of that of each label's rate, over visible patches, as in `lesion_attention`."""
        errors = binary_cross_entropy_with_logits(fused.lesions, batch.lesions.float(), reduction="none")
        scaled = (errors / entropy(self.rates.to(errors.device))).mean((2, 3))  # (B, M, P, L) -> (B, M)
        cases = _case_mean(scaled, visible, batch.case, len(batch.present))
        return (cases * batch.has_mask).mean() / self.masked_share

    def _consistency_loss(self, member: TokenNetwork, tokens: Tensor, batch: FusionBatch, logits: Tensor) -> Tensor:
        """Cross-entropy of the prediction from visible sequences towards that from all, of cases without a label."""
        kind, count = self.labels.kind, len(batch.present)
        with torch.no_grad():
            whole = member.logits(member(tokens, batch.present[batch.case]), batch.case, count)
            targets = log_chances(whole, kind).exp()  # (b, Q, A)
        unlabelled = batch.labels < 0 if batch.labels.ndim == 1 else batch.labels.isnan().all(dim=1)
        crossed = -(targets * log_chances(logits, kind)).sum(2).mean(1)  # (b,)
        return (crossed * unlabelled).mean()

    def _drawn(self, index: int, seed: int) -> np.ndarray:
        """Which of its planes a case shows in a step."""
        count = len(self.planes[index])
        if count <= self.options.slices:
            return np.arange(count)
        return np.sort(np.random.default_rng(seed).choice(count, self.options.slices, replace=False))

    def _of_case(self, index: int, slices: np.ndarray) -> np.ndarray:
        return self.tokens.tokens(CaseQuery(int(self.rows[index])), self.planes[index][slices])

    def _lesions_of(self, index: int) -> np.ndarray:
        """float16 (n, M, P, L) of all planes of a case; zeros where there is no mask to learn from."""
        if index not in self._lesions:
            shape, planes = self.module.shape, self.planes[index]
            found = np.zeros((len(planes), shape.sequences, shape.patches, shape.lesions), np.float16)
            if self.masked[index] and shape.lesions:
                found = self.tokens.lesions(int(self.rows[index]), planes)
            self._lesions[index] = found
        return self._lesions[index]


def _case_mean(values: Tensor, chosen: Tensor, case: Tensor, count: int) -> Tensor:
    """(count,): the mean over the `chosen` (B, M) of `values` (B, M) of each case; 0 where none is."""
    total = values.new_zeros(count).index_add(0, case, (values * chosen).sum(1))
    number = values.new_zeros(count).index_add(0, case, chosen.sum(1).to(values.dtype))
    return total / number.clamp(min=1)
