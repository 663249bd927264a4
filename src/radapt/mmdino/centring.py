"""How a teacher's logits become targets that do not all fall on one prototype: a running centre, or Sinkhorn–Knopp.

Both look at many samples. What they look at lies in the past: the steps before, in all processes where
torch.distributed runs. So a step may be learned in pieces of any size, and no process waits for another in the middle
of one. A step is `start`, any number of `probabilities` and `collect`, and `move`, which every process has to call.
"""

import abc

import torch
from torch import Tensor, nn

from radapt.errors import UsageError
from radapt.mmdino.distributed import Sums, gathered

CENTRE_MOMENTUM = 0.9
"""As in DINO, which found 0.9 to 0.999 to work alike."""

SINKHORN_ITERATIONS = 3
"""As in SwAV and DINOv2."""

SINKHORN_MEMORY = 1024
"""Samples of earlier steps that Sinkhorn–Knopp looks at: as many as our default has prototypes. SwAV keeps 3840 for
3000."""


class Centring(nn.Module, abc.ABC):
    """Keeps a teacher's answers apart. What it remembers are buffers, which have to go into checkpoints."""

    @abc.abstractmethod
    def probabilities(self, logits: Tensor, temperature: float) -> Tensor:
        """Targets (…, K) float32, each summing to 1, of the teacher's logits (…, K); all leading axes are samples.

        Raises UsageError for a temperature that is not positive.
        """

    @abc.abstractmethod
    def start(self) -> None:
        """Forget what was collected and not remembered: a step begins, or is tried again."""

    @abc.abstractmethod
    def collect(self, logits: Tensor) -> None:
        """Note logits (…, K) of this step. `probabilities` does not see them before `move`."""

    @abc.abstractmethod
    def move(self) -> None:
        """Remember what all processes have collected. Without any sample nothing changes."""


class Centre(Centring):
    """The running mean of a teacher's logits, taken away before the softmax (Caron et al. 2021, section 3.1).

    `centre` (K,) starts at zero. A step's answers are centred with what the steps before it left, as in the official
    code. A mean that is not finite leaves the centre where it is.
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

    A small batch cannot use many prototypes alike: with fewer samples than prototypes each sample is spread over
    several, and alone over all. So samples of the steps before stand beside it, as the queue of SwAV (Caron et al.
    2020, section 4) does; a teacher moves slowly enough for them to be still true. DINOv2 has none (0), and batches of
    thousands. `recent` (memory, K), newest last, of which the last `filled` are in use.
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
        known = self.recent[len(self.recent) - int(self.filled) :]
        return sinkhorn(torch.cat([rows, known]), temperature, self.iterations)[: len(rows)].view(logits.shape)

    def start(self) -> None:
        self._rows.clear()

    @torch.no_grad()
    def collect(self, logits: Tensor) -> None:
        if len(self.recent):
            rows = logits.float().flatten(0, -2)
            # Of more than fit, as iBOT's hidden patches are, some of every image rather than all of the last ones.
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
    """Teacher logits (…, K) -> probabilities (…, K) float32 in which every prototype is used alike.

    Sinkhorn–Knopp (Cuturi 2013) as SwAV (Caron et al. 2020) and DINOv2 use it: in turns the prototypes are scaled to
    equal totals over all samples, and each sample to 1, which comes last. Computed with logarithms, so that no logit
    is too large and no sample or prototype vanishes. `shares` (K,) ask for totals in other proportions than equal
    ones: for prototypes that are classes, those of the cohort.

    All leading axes are samples. With n samples and K > n prototypes each sample is spread over some K / n of them,
    and a single sample over all: it is answered with `shares`, whatever its logits. No samples give none. Only the
    samples that are given are looked at, not those of other processes; `Sinkhorn` remembers those of earlier steps.

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
