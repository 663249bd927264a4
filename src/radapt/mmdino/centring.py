"""How a teacher's logits become targets that do not all fall on one prototype: a running centre, or Sinkhorn–Knopp.

Both look at many samples at once, at those of all processes where torch.distributed runs. So a target depends on the
samples beside it: a batch that is learned in pieces is centred piece by piece, and in every process each of these
functions has to be called equally often.
"""

import torch
from torch import Tensor, nn
from torch.distributed import ReduceOp

from radapt.errors import UsageError

SINKHORN_ITERATIONS = 3
"""As in SwAV and DINOv2."""

CENTRE_MOMENTUM = 0.9
"""As in DINO, which found 0.9 to 0.999 to work alike."""


class Centre(nn.Module):
    """The running mean of a teacher's logits, taken away before the softmax (Caron et al. 2021, section 3.1).

    `centre` (K,) starts at zero and is a buffer: it has to go into checkpoints. The teacher's answers of a step are
    centred with what the steps before it left, then `update` moves the centre, as in the official code.
    """

    centre: Tensor

    def __init__(self, prototypes: int, momentum: float = CENTRE_MOMENTUM) -> None:
        super().__init__()
        if prototypes < 1 or not 0 <= momentum <= 1:
            raise UsageError(
                f"A centre needs a prototype or more and a momentum from 0 to 1, not {prototypes!r} and {momentum!r}."
            )
        self.momentum = momentum
        self.register_buffer("centre", torch.zeros(prototypes))

    @torch.no_grad()
    def probabilities(self, logits: Tensor, temperature: float) -> Tensor:
        """(…, K) -> (…, K) float32: the softmax of what is left without the centre, over `temperature`."""
        check_temperature(temperature)
        return torch.softmax((logits.float() - self.centre) / temperature, dim=-1)

    @torch.no_grad()
    def update(self, logits: Tensor) -> None:
        """Move the centre towards the mean of `logits` (…, K) over all samples of all processes.

        Without any sample in any process, or with a logit that is not finite, it stays where it is.
        """
        rows = logits.float().flatten(0, -2)  # (…, K) -> (n, K)
        total = reduced(torch.cat([rows.sum(0), rows.new_tensor([len(rows)])]))
        mean = total[:-1] / total[-1].clamp(min=1)
        moved = self.centre * self.momentum + mean * (1 - self.momentum)
        self.centre.copy_(torch.where((total[-1] > 0) & moved.isfinite().all(), moved, self.centre))


@torch.no_grad()
def sinkhorn(
    logits: Tensor, temperature: float, iterations: int = SINKHORN_ITERATIONS, *, shares: Tensor | None = None
) -> Tensor:
    """Teacher logits (…, K) -> probabilities (…, K) float32 in which every prototype is used alike.

    Sinkhorn–Knopp (Cuturi 2013) as SwAV (Caron et al. 2020) and DINOv2 use it: in turns the prototypes are scaled to
    equal totals over all samples, and each sample to 1, which comes last. Computed with logarithms, so that no logit
    is too large and no sample or prototype vanishes. `shares` (K,), summing to 1, asks for other totals than equal
    ones: for prototypes that are classes, those of the cohort.

    All leading axes are samples, so give all teacher crops at once. With n samples and K > n prototypes each sample
    is spread over some K / n of them, and a single sample over all: it is answered with `shares`, whatever its
    logits. No samples give none.

    Raises UsageError for a temperature or number of iterations that is not positive, or shares that do not fit.
    """
    check_temperature(temperature)
    if iterations < 1:
        raise UsageError(f"Sinkhorn–Knopp needs at least one iteration, not {iterations!r}.")
    prototypes = logits.shape[-1]
    if shares is not None and (shares.shape != (prototypes,) or not bool((shares > 0).all())):
        raise UsageError(f"Expected a positive share for each of {prototypes} prototypes, got {shares.tolist()}.")
    wanted = logits.new_full((prototypes,), 1 / prototypes, dtype=torch.float32) if shares is None else shares.float()
    logs = logits.float().flatten(0, -2) / temperature  # (…, K) -> (n, K)
    for _ in range(iterations):
        logs = logs - _log_totals(logs) + wanted.log()  # prototypes to their shares; the number of samples cancels
        logs = torch.log_softmax(logs, dim=1)  # samples to 1
    return logs.exp().view(logits.shape)


def check_temperature(temperature: float) -> None:
    """Raises UsageError unless the temperature is positive."""
    if not temperature > 0:
        raise UsageError(f"A temperature must be positive, not {temperature!r}.")


def _log_totals(logs: Tensor) -> Tensor:
    """log Σ_n exp (K,) over the samples of all processes."""
    least = torch.finfo(logs.dtype).min
    top = logs.amax(0) if len(logs) else logs.new_full((logs.shape[1],), least)
    top = reduced(top, ReduceOp.MAX)
    total = reduced((logs - top).exp().sum(0))
    return top + total.clamp(min=torch.finfo(logs.dtype).tiny).log()


def reduced(values: Tensor, how: ReduceOp.RedOpType = ReduceOp.SUM) -> Tensor:
    """`values`, reduced over processes where there are several."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(values, op=how)
    return values
