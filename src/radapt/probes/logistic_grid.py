"""L2-regularised logistic regression over a whole grid of C, solved to convergence in one batch.

For each C the objective is scikit-learn's, C · Σ_i s_i loss_i + ‖w‖²/2 over standardised features with the intercept
unpenalised, divided by C · Σ s so that λ = 1 / (C Σ s). Two classes are one logit, more are multinomial, findings are
independent binary problems over the cases whose finding is known.

Features are first rotated to their principal axes: with standardised X (n, K) = Z Vᵀ, V orthonormal, weights
w = V u give the same logits X w = Z u and the same penalty ‖w‖ = ‖u‖, so the optimum is the same, while the columns
of Z are uncorrelated and their curvature follows directly (see lbfgs.py). Where n < K, Z has only n columns.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from radapt.probes.lbfgs import Loss, Solution, Table, minimise
from radapt.probes.linear_models import LinearModels
from radapt.probes.logistic_losses import SigmoidLoss, SoftmaxLoss
from radapt.protocols.feature_matrix import FeatureMatrix, Scale, blocks
from radapt.protocols.targets import Targets

_LARGEST_ROTATION = 2048
"""Beyond this many axes the eigendecomposition costs more than the iterations it saves."""

SOLVED, COMPARED = 1e-9, 1e-6
"""How close logits come to their optimum: in a model that is kept alone, and among candidates that are compared."""

_RANK = 1e-14  # relative variance below which an axis is float64 rounding error
_DOUBLE_BYTES = 160 << 20  # a larger table is held in float32, and multiplied in float64 a block at a time
_BATCH_VALUES = 2 << 20  # logits held at once per array: 16 MB


def fit_logistic(
    source: FeatureMatrix, rows: np.ndarray, targets: Targets, grid: Sequence[float], *, tolerance: float = SOLVED
) -> LinearModels:
    """Solve for every C of `grid`. `targets` describes the cases at `rows` in their order."""
    scale = Scale.fit(source, rows)
    c, shape = len(targets.values.T), (source.columns, len(grid), len(targets.values.T))
    if c == 0:
        return LinearModels(
            targets, torch.zeros(shape).double(), torch.zeros(shape[1:]).double(), np.ones(len(grid), bool)
        )
    table, axes = _principal(source, rows, scale)
    solutions = [
        minimise(table, loss, ridge, curvature, tolerance=tolerance)
        for loss, ridge, curvature in _batches(targets, grid)
    ]
    solved, converged = _gather(solutions, shape)
    flat = solved[:-1].flatten(1)
    weights = (axes @ flat if axes is not None else flat).view(shape)
    weights = weights / scale.deviation[:, None, None]
    bias = solved[-1] - torch.einsum("k,kgc->gc", scale.mean, weights)
    return LinearModels(targets, weights, bias, converged)


def _batches(targets: Targets, grid: Sequence[float]) -> list[tuple[Loss, Tensor, Tensor]]:
    """(loss, λ, curvature) of problems solved together: the grid for a softmax, grid × findings for sigmoids."""
    strengths = torch.tensor(grid, dtype=torch.float64)
    totals = torch.from_numpy(targets.totals)
    weights = torch.from_numpy(targets.weights) / totals  # (n, c)
    desired = torch.from_numpy(targets.values)
    curvature = torch.from_numpy(targets.curvature)
    n, c = desired.shape
    if targets.link == "softmax":
        ridge = 1 / (strengths * totals[0])
        step = max(1, _BATCH_VALUES // (n * c))
        loss = SoftmaxLoss(weights[:, :1], desired[:, None])
        # One curvature for all classes: then the scaling keeps Σ_c w_c = 0, the subspace of the optimum. Outside it
        # the loss is flat, and L-BFGS would converge slowly.
        shared = curvature.mean()
        return [(loss, part, shared.expand(len(part), c)) for part in torch.split(ridge, step)]
    step = max(1, _BATCH_VALUES // (n * len(grid)))
    batches: list[tuple[Loss, Tensor, Tensor]] = []
    for findings in torch.split(torch.arange(c), step):  # problems of a batch: finding-major, then the grid
        ridge = (1 / (strengths * totals[findings, None])).flatten()
        column = findings.repeat_interleave(len(grid)) if c > 1 else findings
        positive = weights[:, column] * desired[:, column]
        curve = curvature[findings].repeat_interleave(len(grid))[:, None]
        batches.append((SigmoidLoss(weights[:, column], positive), ridge, curve))
    return batches


def _gather(solutions: Sequence[Solution], shape: tuple[int, int, int]) -> tuple[Tensor, np.ndarray]:
    """Solutions of `_batches` -> weights (r + 1, G, c), converged (G,)."""
    _, grid, c = shape
    weights = torch.cat([solution.weights for solution in solutions]).transpose(0, 1).contiguous()
    converged = torch.cat([solution.converged for solution in solutions])
    if weights.shape[1:] == (grid, c):
        return weights, converged.numpy()
    weights = weights.view(len(weights), c, grid).transpose(1, 2).contiguous()
    return weights, converged.view(c, grid).all(0).numpy()


def _principal(source: FeatureMatrix, rows: np.ndarray, scale: Scale) -> tuple[Table, Tensor | None]:
    """Standardised rows in their principal axes, Z (n, r), and the axes V (K, r); None where they are not rotated."""
    n, columns = len(rows), source.columns
    if min(n, columns) > _LARGEST_ROTATION:
        return Table(_project(source, rows, scale, None)), None
    if n < columns:
        standard = torch.cat([scale.apply(values) for _, values in blocks(source, rows)])
        variance, left = _significant(standard @ standard.T)
        spread = variance.sqrt()
        return Table(left * spread), standard.T @ (left / spread)
    gram = torch.zeros(columns, columns, dtype=torch.float64)
    for _, values in blocks(source, rows):
        standard = scale.apply(values)
        gram.addmm_(standard.T, standard)
    _, axes = _significant(gram)
    return Table(_project(source, rows, scale, axes)), axes


def _significant(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (r,) and eigenvectors (·, r) above rounding; at least one."""
    values, vectors = torch.linalg.eigh(gram)
    keep = values > _RANK * values[-1].clamp(min=torch.finfo(torch.float64).tiny)
    keep[-1] = True
    return values[keep].clamp(min=torch.finfo(torch.float64).tiny), vectors[:, keep].contiguous()


def _project(source: FeatureMatrix, rows: np.ndarray, scale: Scale, axes: Tensor | None) -> Tensor:
    width = source.columns if axes is None else axes.shape[1]
    dtype = torch.float64 if len(rows) * width * 8 <= _DOUBLE_BYTES else torch.float32
    out = torch.empty(len(rows), width, dtype=dtype)
    for place, values in blocks(source, rows):
        standard = scale.apply(values)
        out[place] = standard if axes is None else standard @ axes
    return out
