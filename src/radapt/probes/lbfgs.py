"""Many small convex problems over one table, solved together: L-BFGS in which every product with the table is one
matrix product for all problems.

Problem p asks for the minimiser over W (columns × c outputs, the last row an unpenalised intercept) of

    f_p(W) = 1/n_p · Σ_i s_ip · loss(z_i W, y_i) + λ_p/2 · ‖W without its last row‖²,      n_p = Σ_i s_ip.

Each problem has its own step length and curvature memory, and leaves the batch once it has converged.
Following Liu & Nocedal 1989 (L-BFGS) with a backtracking line search (Armijo). Two things make it cheap:

* Logits are linear in the step, so a line search multiplies the table once: logits(t) = Z W + t · Z d.
* Columns of Z are principal axes, so the curvature of column i is close to h · σ_i² + λ, where h is the variance of
  the outcome and σ_i² of the column. Solving for W / D with D = (h σ² + λ)^(-1/2) makes the curvature close to the
  identity and the number of iterations nearly independent of how correlated the features were.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

MEMORY = 10
"""Pairs of step and gradient change that are kept, as in scikit-learn's and SciPy's lbfgs."""

_ARMIJO = 1e-4
_HALVINGS = 40
_ROUNDING = 1e-14  # relative: a value no larger than this above the old one is no increase


class Loss(Protocol):
    """Weighted losses of B problems with c outputs each, over n cases. Already divided by n_p."""

    def value(self, logits: Tensor) -> Tensor:
        """(n, B, c) -> (B,)"""

    def residual(self, logits: Tensor) -> Tensor:
        """(n, B, c) -> (n, B, c), the gradient with respect to the logits"""

    def keep(self, problems: Tensor) -> "Loss":
        """The same losses for a selection of problems."""


@dataclass(frozen=True)
class Table:
    """Rows of features Z (n, r) with a column of ones behind them; products are made in float64, block by block."""

    values: Tensor
    block: int = 4096

    @property
    def variances(self) -> Tensor:
        """(r,) mean square of each column in float64."""
        total = torch.zeros(self.values.shape[1], dtype=torch.float64)
        for start in range(0, len(self.values), self.block):
            total += self.values[start : start + self.block].double().square().sum(0)
        return total / max(1, len(self.values))

    def forward(self, weights: Tensor) -> Tensor:
        """(r + 1, B, c) -> (n, B, c)"""
        flat = weights.flatten(1)
        out = torch.empty(len(self.values), flat.shape[1], dtype=torch.float64)
        for start in range(0, len(self.values), self.block):
            rows = self.values[start : start + self.block].double()
            torch.mm(rows, flat[:-1], out=out[start : start + self.block])
        out += flat[-1]
        return out.view(-1, *weights.shape[1:])

    def backward(self, residual: Tensor) -> Tensor:
        """(n, B, c) -> (r + 1, B, c)"""
        flat = residual.flatten(1)
        out = torch.zeros(self.values.shape[1] + 1, flat.shape[1], dtype=torch.float64)
        for start in range(0, len(self.values), self.block):
            rows = self.values[start : start + self.block].double()
            out[:-1].addmm_(rows.T, flat[start : start + self.block])
        out[-1] = flat.sum(0)
        return out.view(-1, *residual.shape[1:])


@dataclass(frozen=True)
class Solution:
    """`weights` (r + 1, B, c), the intercept last; `converged` (B,) bool; `iterations` made."""

    weights: Tensor
    converged: Tensor
    iterations: int


@dataclass
class _State:
    """The problems still being solved, in scaled coordinates U = W / D."""

    index: Tensor  # (B,) position in the solution
    point: Tensor  # (r + 1, B, c)
    scale: Tensor  # (r + 1, B, c) D
    ridge: Tensor  # (r + 1, B, 1) λ, zero for the intercept
    logits: Tensor  # (n, B, c)
    loss: Loss
    value: Tensor  # (B,)
    gradient: Tensor  # (r + 1, B, c)
    steps: list[Tensor]
    changes: list[Tensor]

    def keep(self, problems: Tensor) -> "_State":
        def part(tensor: Tensor) -> Tensor:
            return tensor[:, problems].contiguous()

        return _State(
            self.index[problems], part(self.point), part(self.scale), part(self.ridge), part(self.logits),
            self.loss.keep(problems), self.value[problems], part(self.gradient),
            [part(step) for step in self.steps], [part(change) for change in self.changes],
        )  # fmt: skip


def minimise(
    table: Table,
    loss: Loss,
    ridge: Tensor,
    curvature: Tensor,
    *,
    tolerance: float = 1e-9,
    iterations: int = 1000,
) -> Solution:
    """Solve every problem from zero weights.

    `ridge` (B,) is λ; `curvature` (B, c) is h, the outcome's variance. `tolerance` bounds the norm of the scaled
    gradient, which bounds how far the logits are from their optimum. A problem that float64 cannot
    improve any further counts as converged.
    """
    state = _start(table, loss, ridge, curvature)
    solution = torch.zeros_like(state.point)
    converged = torch.zeros(len(ridge), dtype=torch.bool)
    done = 0
    while done < iterations:
        done += 1
        finished = _norm(state.gradient) <= tolerance
        stuck = finished | ~_advance(table, state, finished)
        if stuck.any():
            solution[:, state.index] = state.point * state.scale
            converged[state.index[stuck]] = True
            if stuck.all():
                break
            state = state.keep(~stuck)
    solution[:, state.index] = state.point * state.scale
    return Solution(solution, converged, done)


def _start(table: Table, loss: Loss, ridge: Tensor, curvature: Tensor) -> _State:
    variances = table.variances
    penalty = torch.cat([ridge.expand(len(variances), -1), torch.zeros(1, len(ridge))])[..., None].double()
    spread = torch.cat([variances, torch.ones(1, dtype=torch.float64)])[:, None, None]  # (r + 1, 1, 1)
    scale = (curvature * spread + penalty).rsqrt()  # (r + 1, B, c)
    point = torch.zeros_like(scale)
    logits = torch.zeros(len(table.values), *curvature.shape, dtype=torch.float64)
    gradient = table.backward(loss.residual(logits)) * scale
    index = torch.arange(len(ridge))
    return _State(index, point, scale, penalty, logits, loss, loss.value(logits), gradient, [], [])


def _advance(table: Table, state: _State, finished: Tensor) -> Tensor:
    """One step of every problem, in place. Returns (B,) bool: which problems could be improved."""
    direction = _direction(state)
    slope = _dot(direction, state.gradient)  # (B,) negative
    toward = table.forward(direction * state.scale)  # (n, B, c)
    length, value = _line_search(state, direction, toward, slope, finished)
    moved = length > 0
    step = direction * length[:, None]
    state.point += step
    state.logits += toward * length[:, None]
    state.value = value
    penalty = state.ridge * state.scale.square() * state.point
    gradient = table.backward(state.loss.residual(state.logits)) * state.scale + penalty
    state.steps.append(step)
    state.changes.append(gradient - state.gradient)
    del state.steps[:-MEMORY], state.changes[:-MEMORY]
    state.gradient = gradient
    return moved


def _direction(state: _State) -> Tensor:
    """The two-loop recursion, for all problems at once. A pair without curvature is skipped."""
    direction = -state.gradient
    remembered = []
    for step, change in zip(reversed(state.steps), reversed(state.changes), strict=True):
        curvature = _dot(step, change)
        rho = torch.where(curvature > 0, 1 / curvature, 0.0)
        alpha = rho * _dot(step, direction)
        direction = direction - change * alpha[:, None]
        remembered.append((step, change, rho, alpha))
    if state.steps:
        step, change = state.steps[-1], state.changes[-1]
        gamma = _dot(step, change) / _dot(change, change)
        direction = direction * torch.where(gamma > 0, gamma, 1.0)[:, None]  # NaN (0/0) becomes 1
    for step, change, rho, alpha in reversed(remembered):
        beta = rho * _dot(change, direction)
        direction = direction + step * (alpha - beta)[:, None]
    return direction


def _line_search(
    state: _State, direction: Tensor, toward: Tensor, slope: Tensor, finished: Tensor
) -> tuple[Tensor, Tensor]:
    """Halve each problem's step from 1 until the value falls enough; length 0 where it never does."""
    weighted = state.ridge * state.scale.square()
    linear = (weighted * state.point * direction).sum((0, 2))
    square = (weighted * direction * direction).sum((0, 2))
    base = state.value + _ROUNDING * state.value.abs()
    penalty = (weighted * state.point * state.point).sum((0, 2)) / 2
    length = torch.where(finished | ~(slope < 0), 0.0, torch.ones_like(slope))
    for _ in range(_HALVINGS):
        value = state.loss.value(state.logits + toward * length[:, None])
        value = value + penalty + length * linear + length.square() * square / 2
        enough = value <= base + _ARMIJO * length * slope
        if (enough | (length == 0)).all():
            return length, value
        length = torch.where(enough, length, length / 2)
    return torch.where(enough, length, 0.0), torch.where(enough, value, state.value)


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """(r + 1, B, c) twice -> (B,)"""
    return (left * right).sum((0, 2))


def _norm(tensor: Tensor) -> Tensor:
    return _dot(tensor, tensor).sqrt()
