"""From a teacher's logits to targets that do not collapse to one prototype: a running centre, or Sinkhorn–Knopp.

Both use statistics of many samples. These come from earlier steps, of all processes where torch.distributed runs, so
that gradient accumulation changes nothing and no process waits for another in the middle of a step. A step is `start`,
any number of `probabilities` and `collect`, and `move`, which every process has to call.
"""

import abc

import torch
from torch import Tensor, nn

from radapt.errors import UsageError
from radapt.mmdino.distributed import Sums, gathered

CENTRE_MOMENTUM = 0.9
"""As in DINO, which found values from 0.9 to 0.999 equally good."""

SINKHORN_ITERATIONS = 3
"""As in SwAV and DINOv2."""

SINKHORN_MEMORY = 1024
"""Samples of earlier steps that Sinkhorn–Knopp includes: the default number of prototypes. SwAV keeps 3840 for 3000."""


class Centring(nn.Module, abc.ABC):
    """Keeps a teacher's targets from collapsing. Its statistics are buffers, which have to go into checkpoints."""

    @abc.abstractmethod
    def probabilities(self, logits: Tensor, temperature: float) -> Tensor:
        """Targets (…, K) float32, each summing to 1, of the teacher's logits (…, K); all leading axes are samples.

        Raises UsageError for a temperature that is not positive.
        """

    @abc.abstractmethod
    def start(self) -> None:
        """Discard what was collected since the last `move`: a step begins, or is repeated."""

    @abc.abstractmethod
    def collect(self, logits: Tensor) -> None:
        """Collect logits (…, K) of this step; `probabilities` uses them after `move`."""

    @abc.abstractmethod
    def move(self) -> None:
        """Update the statistics with what all processes have collected. Without any sample nothing changes."""


class Centre(Centring):
    """Subtracts the running mean of the teacher's logits before the softmax (Caron et al. 2021, section 3.1).

    `centre` (K,) starts at zero. A step uses the centre of the steps before it, as in the official code. A mean that is
    not finite leaves the centre unchanged.
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
        self._sums = Sums()

    @torch.no_grad()
    def probabilities(self, logits: Tensor, temperature: float) -> Tensor:
        check_temperature(temperature)
        return torch.softmax((logits.float() - self.centre) / temperature, dim=-1)

    def start(self) -> None:
        self._sums.clear()

    @torch.no_grad()
    def collect(self, logits: Tensor) -> None:
        self._sums.add(logits.float().flatten(0, -2))

    @torch.no_grad()
    def move(self) -> None:
        mean, count = self._sums.means(self.centre)
        moved = self.centre * self.momentum + mean * (1 - self.momentum)
        self.centre.copy_(torch.where((count > 0) & moved.isfinite().all(), moved, self.centre))


class Sinkhorn(Centring):
    """`sinkhorn` over the samples at hand and the last `memory` samples of earlier steps.

    A small batch cannot use many prototypes equally: with fewer samples than prototypes each sample is spread over
    several prototypes, and a single sample over all. Samples of earlier steps therefore join it, like the queue of SwAV
    (Caron et al. 2020, section 4); a teacher changes slowly enough for them to stay valid. DINOv2 has no memory (0) and
    batches of thousands. `recent` (memory, K), newest last, of which the last `filled` are in use.
    """

    recent: Tensor
    filled: Tensor

    def __init__(
        self, prototypes: int, memory: int = SINKHORN_MEMORY, *, iterations: int = SINKHORN_ITERATIONS
    ) -> None:
        super().__init__()
        if prototypes < 1 or memory < 0:
            raise UsageError(f"Sinkhorn–Knopp needs prototypes and no negative memory, not {prototypes!r}, {memory!r}.")
        self.iterations = iterations
        self.register_buffer("recent", torch.zeros(memory, prototypes))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self._rows: list[Tensor] = []

    @torch.no_grad()
    def probabilities(self, logits: Tensor, temperature: float) -> Tensor:
        rows = logits.float().flatten(0, -2)
        recent = self.recent[len(self.recent) - int(self.filled) :]
        return sinkhorn(torch.cat([rows, recent]), temperature, self.iterations)[: len(rows)].view(logits.shape)

    def start(self) -> None:
        self._rows.clear()

    @torch.no_grad()
    def collect(self, logits: Tensor) -> None:
        if len(self.recent):
            rows = logits.float().flatten(0, -2)
            # Where more come than fit, such as iBOT's masked patches: every k-th row, so that every image contributes.
            self._rows.append(rows[:: max(-(-len(rows) // len(self.recent)), 1)].clone())

    @torch.no_grad()
    def move(self) -> None:
        if not len(self.recent):
            return
        rows = gathered(torch.cat([self.recent[:0], *self._rows])[-len(self.recent) :])
        rows = rows[rows.isfinite().all(1)]
        self._rows.clear()
        self.recent.copy_(torch.cat([self.recent, rows])[-len(self.recent) :])
        self.filled.add_(len(rows)).clamp_(max=len(self.recent))


@torch.no_grad()
def sinkhorn(
    logits: Tensor, temperature: float, iterations: int = SINKHORN_ITERATIONS, *, shares: Tensor | None = None
) -> Tensor:
    """Teacher logits (…, K) -> probabilities (…, K) float32 that use every prototype equally.

    Sinkhorn–Knopp (Cuturi 2013) as in SwAV (Caron et al. 2020) and DINOv2: alternately, prototypes are scaled to equal
    totals over all samples, and samples to a total of 1, which comes last. Computed in logarithms, so that no logit
    overflows and no sample or prototype vanishes. `shares` (K,) set other totals, such as the class frequencies of the
    cohort for prototypes that are classes.

    All leading axes are samples. With n samples and K > n prototypes each sample is spread over about K / n of them,
    and a single sample gets `shares`, whatever its logits. Without samples the result is empty. Uses the given samples
    only, not those of other processes; `Sinkhorn` adds those of earlier steps.

    Raises UsageError for a temperature or number of iterations that is not positive, or shares that do not fit.
    """
    check_temperature(temperature)
    if iterations < 1:
        raise UsageError(f"Sinkhorn–Knopp needs at least one iteration, not {iterations!r}.")
    logs = logits.float().flatten(0, -2) / temperature  # (…, K) -> (n, K)
    wanted = logs.new_ones(logs.shape[1]) if shares is None else shares.to(logs)
    if wanted.shape != logs.shape[1:] or not bool((wanted > 0).all()):
        raise UsageError(f"Expected a positive share for each of {logs.shape[1]} prototypes, got {wanted.tolist()}.")
    for _ in range(iterations):
        logs = logs - torch.logsumexp(logs, dim=0) + wanted.log()  # prototypes to shares; scaling both cancels below
        logs = torch.log_softmax(logs, dim=1)  # samples to 1
    return logs.exp().view(logits.shape)


def check_temperature(temperature: float) -> None:
    """Raises UsageError unless the temperature is positive."""
    if not temperature > 0:
        raise UsageError(f"A temperature must be positive, not {temperature!r}.")
