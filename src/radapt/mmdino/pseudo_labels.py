"""Pseudo-labels for cases without a label: the teacher's prediction for the whole case is the student's target for a
part of it, i.e. a crop, visible patches or, above all, a subset of the case's sequences.

Shapes as in `radapt.mmdino.label_encoding`: B cases, Q questions, A answers.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from radapt.errors import UsageError, suggest
from radapt.mmdino.distributed import Sums
from radapt.mmdino.label_encoding import Kind, check_kind, log_chances, truths

Confidence = Literal["all", "threshold", "adaptive", "soft"]

TEMPERATURE = 0.5
"""MixMatch (Berthelot et al. 2019) and ReMixMatch (Berthelot et al. 2020)."""

THRESHOLD = 0.95
"""FixMatch (Sohn et al. 2020)."""

MEMORY = 512
"""Cases in the running means; the teacher changes, so that older predictions do not count."""

STRONGEST = 10.0
"""Largest factor of the alignment. Without a limit, a class that the teacher never predicts would be assigned to the
cases that are least unlike it."""

_STARTED = 32  # cases that the running means start with, predicted with the frequencies of the cohort
_DEVIATIONS = 2.0  # SoftMatch: the confidence weight falls as a Gaussian of half the spread
_LEAST_SPREAD = 1e-6  # variance; below it, rounding would decide where all cases are equally confident


class PseudoLabels(nn.Module):
    """Turns a teacher's logits (B, outputs) into targets (B, Q, A) and weights (B, Q) for the student.

    Three steps, each of which can be switched off:

    - *Sharpening*: probabilities to the power 1 / `temperature`, scaled to 1 (MixMatch). 1 switches it off. 0 gives a
      one-hot target, after alignment: the pseudo-label of FixMatch.
    - *Alignment* with the cohort: each answer times its share in the cohort over the running mean of the predictions,
      to the power `alignment`, scaled to 1 (ReMixMatch). Without it, a teacher biased to one class passes the bias on.
      It moves the frequencies of the targets towards the cohort's without forcing them: confident predictions stay. In
      ReMixMatch it comes before sharpening; here it comes after, so that an untrained classifier gives the frequencies
      themselves as targets, not sharpened ones. The factor is at most `STRONGEST` and at least its inverse. 0 switches
      it off. `shares` (outputs,) are those of `label_encoding.shares`: 25 patients estimate the frequencies of three
      classes better than an untrained classifier.
    - *Confidence*, the largest probability of the target, decides the weight. `all`: 1 for every case. `threshold`: 1
      from `threshold` up, else 0 (FixMatch). `adaptive`: the threshold is the running mean confidence, times the
      running frequency of the answer over that of the most frequent one (FreeMatch, Wang et al. 2023, which replaces
      the curriculum of FlexMatch, Zhang et al. 2021), so that rare answers need less. `soft`: 1 above the running mean
      confidence, below it a Gaussian (SoftMatch, Chen et al. 2023). The default, because with 80 patients a threshold
      that no case reaches teaches nothing, and one that all cases reach teaches mistakes.

    Running means are buffers and have to go into checkpoints. They cover about the last `MEMORY` cases, of all
    processes where torch.distributed runs. A step is `start`, any number of calls and `collect`, and `move`: targets
    depend on earlier steps, not on the other cases of the batch. Logits are those for patients like the cohort's:
    `label_encoding.adjusted`, if training uses it.

    Raises UsageError for shares that are not between 0 and 1, an unknown confidence and numbers out of range.
    """

    answered: Tensor
    level: Tensor
    spread: Tensor
    seen: Tensor
    prior: Tensor

    def __init__(
        self,
        shares: Tensor,
        kind: Kind = "classes",
        *,
        temperature: float = TEMPERATURE,
        alignment: float = 1.0,
        confidence: Confidence = "soft",
        threshold: float = THRESHOLD,
    ) -> None:
        super().__init__()
        if confidence not in get_args(Confidence):
            raise UsageError(f"There is no confidence {confidence!r}. {suggest(confidence, get_args(Confidence))}")
        for name, value in (("temperature", temperature), ("alignment", alignment), ("threshold", threshold)):
            if not 0 <= value <= 1:
                raise UsageError(f"{name.capitalize()} of pseudo-labels must be from 0 to 1, not {value!r}.")
        if shares.ndim != 1 or not bool(((shares > 0) & (shares < 1)).all()):
            raise UsageError(f"Expected shares (outputs,) between 0 and 1, got {shares.tolist()}.")
        self.kind, self.temperature, self.alignment = check_kind(kind), temperature, alignment
        self.confidence, self.threshold = confidence, threshold
        given = shares.float()
        # (1, c) of classes, (F, 2) of findings
        prior = (given / given.sum())[None] if kind == "classes" else torch.stack([given, 1 - given], dim=1)
        self.register_buffer("prior", prior, persistent=False)
        self.register_buffer("answered", self._raised(prior.log()))  # a prediction of the shares themselves
        self.register_buffer("level", torch.full((len(prior),), 1 / prior.shape[1]))  # (Q,) mean confidence
        self.register_buffer("spread", torch.ones(len(prior)))  # (Q,) variance of it; starts as in SoftMatch
        self.register_buffer("seen", torch.tensor(float(_STARTED)))
        self._sums = Sums()

    @torch.no_grad()
    def forward(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Targets (B, Q, A) float32 and weights (B, Q) float32 of teacher logits (B, outputs).

        Where `labels` (as `supervised_loss` takes them) give the answer, it is the target, with weight 1.
        """
        targets = self._aligned(self._raised(log_chances(logits, self.kind)))
        weights = self._weights(targets)
        if not self.temperature:
            targets = torch.zeros_like(targets).scatter_(2, targets.argmax(2, keepdim=True), 1.0)
        if labels is not None:
            answers, known = truths(labels.to(logits.device), logits.shape[-1])
            targets = torch.where(known[..., None], answers, targets)
            weights = torch.where(known, 1.0, weights)
        return targets, weights

    def start(self) -> None:
        """Discard what was collected since the last `move`: a step begins, or is repeated."""
        self._sums.clear()

    @torch.no_grad()
    def collect(self, logits: Tensor) -> None:
        """Collect teacher logits (B, outputs) of this step; those that are not finite are left out."""
        raised = self._raised(log_chances(logits[logits.isfinite().all(-1)], self.kind))
        sure = self._aligned(raised).amax(2)  # (B, Q)
        self._sums.add(torch.cat([raised.flatten(1), sure, (sure - self.level).square()], dim=1))

    @torch.no_grad()
    def move(self) -> None:
        """Update the running means with what all processes have collected; each has to call this."""
        now = torch.cat([self.answered.flatten(), self.level, self.spread])
        means, count = self._sums.means(now)
        self.seen += count
        now = now.lerp(means, (count / self.seen.clamp(max=MEMORY)).clamp(max=1))
        answered, level, spread = now.split([self.answered.numel(), len(self.level), len(self.level)])
        self.answered.copy_(answered.view_as(self.answered))
        self.level.copy_(level)
        self.spread.copy_(spread)

    def _raised(self, logs: Tensor) -> Tensor:
        """log probabilities (…, A) -> probabilities to the power 1 / temperature, scaled to 1."""
        return torch.softmax(logs / (self.temperature or 1.0), dim=-1)

    def _aligned(self, chances: Tensor) -> Tensor:
        ratio = (self.prior / self.answered.clamp(min=torch.finfo(chances.dtype).eps)).clamp(1 / STRONGEST, STRONGEST)
        raised = chances * ratio**self.alignment  # (B, Q, A) x (Q, A)
        return raised / raised.sum(2, keepdim=True)

    def _weights(self, targets: Tensor) -> Tensor:
        sure, answer = targets.max(2)  # (B, Q)
        if self.confidence == "all":
            return torch.ones_like(sure)
        if self.confidence == "threshold":
            return (sure >= self.threshold).float()
        if self.confidence == "adaptive":
            usual = self.answered / self.answered.amax(1, keepdim=True)  # (Q, A)
            each = usual.expand_as(targets).gather(2, answer[..., None])[..., 0]  # (B, Q)
            return (sure >= self.level * each).float()
        short = (self.level - sure).clamp(min=0)
        return torch.exp(-((_DEVIATIONS * short) ** 2) / (2 * self.spread.clamp(min=_LEAST_SPREAD)))


def consistency_loss(student: Tensor, targets: Tensor, weights: Tensor, kind: Kind = "classes") -> Tensor:
    """Weighted cross-entropy of the student's predictions towards `targets`, averaged; () float32.

    `student` (B, outputs) are logits, or (S, B, outputs) those of S crops of each case; `targets` (B, Q, A) and
    `weights` (B, Q) are those of `PseudoLabels`, through which no gradient flows. A plain mean over crops, cases and
    questions, so that small weights give a small loss. With all weights 0: 0, with zero gradients.

    Raises UsageError for shapes that do not fit.
    """
    logs = log_chances(student if student.ndim == 3 else student[None], kind)  # (S, B, Q, A)
    if logs.ndim != 4 or logs.shape[1:] != targets.shape or weights.shape != targets.shape[:2] or not logs.numel():
        raise UsageError(
            f"Student {tuple(student.shape)}, targets {tuple(targets.shape)} and weights {tuple(weights.shape)} do not "
            f"fit for {kind}: expected (S, B, outputs), (B, Q, A) and (B, Q)."
        )
    crossed = -(targets.detach() * logs.mean(0)).sum(2)  # (B, Q)
    return (crossed * weights.detach()).mean()
