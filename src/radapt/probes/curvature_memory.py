"""What L-BFGS remembers of the curvature of many problems, and the direction that follows from it.

With the last m steps S and gradient changes Y as columns, R the upper triangle of SᵀY, D its diagonal, and
γ = sᵀy / yᵀy of the newest pair, the inverse Hessian of L-BFGS times a gradient g is, in its compact form,

    H g = γ g + S q - γ Y p,    p = R⁻¹ Sᵀg,    q = R⁻ᵀ ((D + γ YᵀY) p - γ Yᵀg).
"""

import torch
from torch import Tensor

MEMORY = 10
"""Pairs of step and gradient change that are kept, as in scikit-learn's and SciPy's lbfgs."""


class CurvatureMemory:
    """The last pairs of B problems with Q unknowns each, in a ring: the place of the oldest is used again."""

    def __init__(self, problems: int, unknowns: int) -> None:
        self._pairs = torch.zeros(problems, 2 * MEMORY, unknowns, dtype=torch.float64)  # steps, then changes
        self._products = torch.zeros(problems, 2 * MEMORY, MEMORY, dtype=torch.float64)  # of all pairs with changes
        self._gamma = torch.ones(problems, dtype=torch.float64)
        self._count = 0

    def keep(self, problems: Tensor) -> "CurvatureMemory":
        """The memory of a selection of problems."""
        kept = CurvatureMemory(0, 0)
        kept._pairs, kept._products = self._pairs[problems], self._products[problems]
        kept._gamma, kept._count = self._gamma[problems], self._count
        return kept

    def add(self, step: Tensor, change: Tensor) -> None:
        """Remember a pair (B, Q) each; one without curvature counts for nothing in its problem."""
        pair = torch.stack([step, change], dim=1)
        inner = pair @ pair.transpose(1, 2)  # (B, 2, 2)
        length, curvature, square = inner[:, 0, 0], inner[:, 0, 1], inner[:, 1, 1]
        useful = curvature > 0
        self._gamma = torch.where(useful, curvature / square, 1.0)
        # A pair may be scaled: unit steps keep the entries of SᵀY alike however small steps become.
        pair *= torch.where(useful, length.rsqrt(), 0.0)[:, None, None]
        place = self._count % MEMORY
        self._pairs[:, place::MEMORY] = pair
        products = self._pairs @ pair.transpose(1, 2)  # (B, 2 m, 2): with the new step and change
        self._products[:, :, place] = products[:, :, 1]
        self._products[:, place::MEMORY] = products[:, MEMORY:].transpose(1, 2)
        self._count += 1

    def direction(self, gradient: Tensor) -> Tensor:
        """(B, Q) -H g; without any pair, the direction of steepest descent."""
        held = min(self._count, MEMORY)
        order = (torch.arange(held) + self._count - held) % MEMORY  # the oldest first
        both = torch.cat([order, order + MEMORY])
        gamma = self._gamma[:, None, None]
        inner, along = self._products[:, both][:, :, order], (self._pairs @ gradient[..., None])[:, both]
        diagonal = inner[:, :held].diagonal(dim1=1, dim2=2)
        upper = inner[:, :held] + torch.diag_embed((diagonal <= 0).double())  # 1 for a pair that counts for nothing
        p = torch.linalg.solve_triangular(upper, along[:, :held], upper=True)
        right = diagonal[..., None] * p + gamma * (inner[:, held:] @ p - along[:, held:])
        q = torch.linalg.solve_triangular(upper.transpose(1, 2), right, upper=False)
        shares = torch.zeros(len(gradient), 1, 2 * MEMORY, dtype=torch.float64)
        shares[:, 0, both] = torch.cat([q, -gamma * p], dim=1)[..., 0]
        return -(gamma[..., 0] * gradient + (shares @ self._pairs)[:, 0])


def dot(left: Tensor, right: Tensor) -> Tensor:
    """(B, Q) twice -> (B,)"""
    return (left[:, None] @ right[..., None])[:, 0, 0]
