"""Many small convex problems over one table, solved together: L-BFGS in which every product with the table is one
matrix product for all problems.

Problem p asks for the minimiser over W (columns × c outputs, the last row an unpenalised intercept) of

    f_p(W) = 1/n_p · Σ_i s_ip · loss(z_i W, y_i) + λ_p/2 · ‖W without its last row‖²,      n_p = Σ_i s_ip.

Each problem has its own step length and curvature memory, and leaves the batch once it has converged.
Following Liu & Nocedal 1989 (L-BFGS) with a backtracking line search (Armijo). Three things make it cheap:

* Logits are linear in the step, so a line search multiplies the table once: logits(t) = Z W + t · Z d.
* Columns of Z are principal axes, so the curvature of column i is close to h · σ_i² + λ, where h is the variance of
  the outcome and σ_i² of the column. Solving for W / D with D = (h σ² + λ)^(-1/2) makes the curvature close to the
  identity and the number of iterations nearly independent of how correlated the features were.
* The direction is the compact form of L-BFGS (Byrd, Nocedal & Schnabel, Math Program 1994;63:129, theorem 2.2): a few
  products of all remembered pairs at once instead of two loops over them (see curvature_memory.py).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from radapt.probes.curvature_memory import CurvatureMemory, dot

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
        """(B, r + 1, c) -> (n, B, c)"""
        flat = weights.transpose(0, 1).flatten(1)
        out = torch.empty(len(self.values), flat.shape[1], dtype=torch.float64)
        for start in range(0, len(self.values), self.block):
            rows = self.values[start : start + self.block].double()
            torch.mm(rows, flat[:-1], out=out[start : start + self.block])
        out += flat[-1]
        return out.view(len(out), len(weights), -1)

    def backward(self, residual: Tensor) -> Tensor:
        """(n, B, c) -> (B, r + 1, c)"""
        flat = residual.flatten(1)
        out = torch.zeros(self.values.shape[1] + 1, flat.shape[1], dtype=torch.float64)
        for start in range(0, len(self.values), self.block):
            rows = self.values[start : start + self.block].double()
            out[:-1].addmm_(rows.T, flat[start : start + self.block])
        out[-1] = flat.sum(0)
        return out.view(len(out), *residual.shape[1:]).transpose(0, 1).contiguous()


@dataclass(frozen=True)
class Solution:
    """`weights` (B, r + 1, c), the intercept last; `converged` (B,) bool; `iterations` made."""

    weights: Tensor
    converged: Tensor
    iterations: int


@dataclass
class _State:
    """The problems still being solved, in scaled coordinates U = W / D; Q = (r + 1) c."""

    index: Tensor  # (B,) position in the solution
    point: Tensor  # (B, Q)
    scale: Tensor  # (B, Q) D
    ridge: Tensor  # (B, Q) λ D², zero for the intercept
    logits: Tensor  # (n, B, c)
    loss: Loss
    value: Tensor  # (B,)
    gradient: Tensor  # (B, Q)
    memory: CurvatureMemory

    def keep(self, problems: Tensor) -> "_State":
        return _State(
            self.index[problems], self.point[problems], self.scale[problems], self.ridge[problems],
            self.logits[:, problems].contiguous(), self.loss.keep(problems), self.value[problems],
            self.gradient[problems], self.memory.keep(problems),
        )  # fmt: skip


def minimise(
    table: Table,
    loss: Loss,
    ridge: Tensor,
    curvature: Tensor,
    *,
    tolerance: float,
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
        finished = dot(state.gradient, state.gradient).sqrt() <= tolerance
        stuck = finished | ~_advance(table, state, finished)
        if stuck.any():
            solution[state.index] = state.point * state.scale
            converged[state.index[stuck]] = True
            if stuck.all():
                break
            state = state.keep(~stuck)
    solution[state.index] = state.point * state.scale
    return Solution(solution.view(len(ridge), -1, curvature.shape[1]), converged, done)


def _start(table: Table, loss: Loss, ridge: Tensor, curvature: Tensor) -> _State:
    variances = table.variances
    penalty = torch.cat([ridge[:, None].expand(-1, len(variances)), torch.zeros(len(ridge), 1)], dim=1).double()
    spread = torch.cat([variances, torch.ones(1, dtype=torch.float64)])
    inverse = curvature[:, None] * spread[:, None] + penalty[..., None]  # (B, r + 1, c)
    scale = inverse.rsqrt().flatten(1)
    weighted = (penalty[..., None] / inverse).flatten(1)
    logits = torch.zeros(len(table.values), *curvature.shape, dtype=torch.float64)
    gradient = table.backward(loss.residual(logits)).flatten(1) * scale
    return _State(
        torch.arange(len(ridge)), torch.zeros_like(scale), scale, weighted, logits, loss, loss.value(logits), gradient,
        CurvatureMemory(*scale.shape),
    )  # fmt: skip


def _advance(table: Table, state: _State, finished: Tensor) -> Tensor:
    """One step of every problem, in place. Returns (B,) bool: which problems could be improved."""
    direction = state.memory.direction(state.gradient)
    slope = dot(direction, state.gradient)  # (B,) negative
    toward = table.forward((direction * state.scale).view(len(slope), -1, state.logits.shape[2]))  # (n, B, c)
    length, value = _line_search(state, direction, toward, slope, finished)
    step = direction * length[:, None]
    state.point += step
    state.logits += toward * length[:, None]
    state.value = value
    gradient = table.backward(state.loss.residual(state.logits)).flatten(1) * state.scale
    gradient += state.ridge * state.point
    state.memory.add(step, gradient - state.gradient)
    state.gradient = gradient
    return length > 0


def _line_search(
    state: _State, direction: Tensor, toward: Tensor, slope: Tensor, finished: Tensor
) -> tuple[Tensor, Tensor]:
    """Halve each problem's step from 1 until the value falls enough; length 0 where it never does."""
    weighted = state.ridge * direction
    linear, square = dot(weighted, state.point), dot(weighted, direction)
    base = state.value + _ROUNDING * state.value.abs()
    penalty = dot(state.ridge * state.point, state.point) / 2
    length = torch.where(finished | ~(slope < 0), 0.0, torch.ones_like(slope))
    for _ in range(_HALVINGS):
        value = state.loss.value(state.logits + toward * length[:, None])
        value = value + penalty + length * linear + length.square() * square / 2
        enough = value <= base + _ARMIJO * length * slope
        if (enough | (length == 0)).all():
            return length, value
        length = torch.where(enough, length, length / 2)
    return torch.where(enough, length, 0.0), torch.where(enough, value, state.value)
