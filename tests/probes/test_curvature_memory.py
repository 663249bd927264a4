"""The compact form of L-BFGS against its two-loop recursion."""

import torch
from torch import Tensor

from radapt.probes.curvature_memory import MEMORY, CurvatureMemory


def _two_loops(pairs: list[tuple[Tensor, Tensor]], gradient: Tensor) -> Tensor:
    """Nocedal & Wright, Numerical Optimization (2006), algorithm 7.4, of one problem; pairs are oldest first."""
    step, change = pairs[-1]
    gamma = max(float(step @ change / (change @ change)), 0.0) or 1.0
    pairs = [(step, change) for step, change in pairs if step @ change > 0]
    direction, shares = gradient.clone(), []
    for step, change in reversed(pairs):
        share = step @ direction / (step @ change)
        direction -= share * change
        shares.append(share)
    direction *= gamma
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        direction += (share - change @ direction / (step @ change)) * step
    return -direction


def test_the_direction_is_that_of_the_two_loop_recursion() -> None:
    generator = torch.Generator().manual_seed(0)
    problems, unknowns = 3, 25
    memory, pairs = CurvatureMemory(problems, unknowns), []
    curvature = torch.linspace(0.5, 2, unknowns, dtype=torch.float64)
    gradient = torch.randn(problems, unknowns, generator=generator, dtype=torch.float64)
    assert torch.equal(memory.direction(gradient), -gradient)
    for number in range(MEMORY + 4):
        step = torch.randn(problems, unknowns, generator=generator, dtype=torch.float64) / 10**number
        change = step * curvature
        if number == MEMORY:
            change[1] = -change[1]  # a pair without curvature, which is skipped in this problem alone
        memory.add(step, change)
        pairs.append((step, change))
        direction = memory.direction(gradient)
        for problem in range(problems):
            own = [(step[problem], change[problem]) for step, change in pairs[-MEMORY:]]
            torch.testing.assert_close(direction[problem], _two_loops(own, gradient[problem]), rtol=1e-7, atol=1e-9)
    kept = memory.keep(torch.tensor([True, False, True]))
    torch.testing.assert_close(kept.direction(gradient[[0, 2]]), direction[[0, 2]])
