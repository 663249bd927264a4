"""How many labelled patients a metric needs to reach a target, from its learning curve.

A curve is a power law, value(n) = a − b · n^(−c), of the number n of labelled patients, with an asymptote a up to the
end of the metric's range, b ≥ 0 and an exponent c of 0.1 to 1.5 (Hestness et al. 2017 find 0.07 to 0.5 for networks).
The answer weighs all such curves by how well they fit the points (a flat prior in a, b and log c): its interval holds
the number with a probability of 95 % where the curve is one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from radapt.errors import DataError

Outcome = Literal["reached", "more labels", "unreachable", "flat", "unknown"]

_ASYMPTOTES, _EXPONENTS, _QUANTILES = 150, 60, 15
_SMALLEST_ERROR = 0.002  # finer than the grid of curves resolves
_FEWEST_POINTS = 3
_SURE = 0.95


@dataclass(frozen=True)
class LabelPrice:
    """The labelled patients that a target needs: the median over curves and the ends of a 95 % interval.

    Infinite where the target may lie above the asymptote; `reachable` is the probability that it does not. `outcome`:

    - `reached`: the largest number of labels tried has the target with a probability of 95 %;
    - `more labels`: it is reached with `needed` patients, if that is finite;
    - `flat`: the points do not show that labels help at all, and the target is not reached;
    - `unreachable`: the asymptote is below the target with a probability of 95 %;
    - `unknown`: fewer than three sizes with a value and an interval; all numbers are NaN.
    """

    target: float
    tried: float
    needed: float
    low: float
    high: float
    reachable: float
    outcome: Outcome


def label_price(
    sizes: Sequence[float], values: Sequence[float], errors: Sequence[float], target: float, *, best: float = 1.0
) -> LabelPrice:
    """The price of `target` from the mean `values` (K,) at `sizes` (K,) labelled patients, with standard `errors` (K,).
    Errors below 0.002 count as 0.002.

    Larger values are better and `best` is the end of their range; give those of a loss with the other sign. Points
    without a value or an error are left out. Raises DataError for sizes below 1, sequences of other lengths, and a
    target beyond `best`.
    """
    n, mean, error = (np.asarray(each, dtype=np.float64) for each in (sizes, values, errors))
    if not n.shape == mean.shape == error.shape or n.ndim != 1 or (n < 1).any():
        raise DataError(
            f"Sizes {n.shape}, values {mean.shape} and errors {error.shape}; expected one of each, sizes ≥ 1."
        )
    if target > best:
        raise DataError(f"The target {target:g} is beyond the end of the range, {best:g}.")
    kept = np.isfinite(mean) & np.isfinite(error)
    n, mean, error = n[kept], mean[kept], np.maximum(error[kept], _SMALLEST_ERROR)
    if len(set(n)) < _FEWEST_POINTS:
        nan = float("nan")
        return LabelPrice(target, float(n.max(initial=0)), nan, nan, nan, nan, "unknown")
    tried, weight = float(n.max()), 1 / error**2
    asymptote, exponent, b, mass = _curves(n, mean, weight, best)
    gap = asymptote - target
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        needed = np.where(gap > 0, (b / gap) ** (1 / exponent), np.inf)
    needed = np.maximum(np.nan_to_num(needed, nan=np.inf, posinf=np.inf), 1.0)
    low, middle, high = _quantiles(needed, mass, [0.025, 0.5, 0.975])
    reachable = float(mass[np.isfinite(needed)].sum())
    return LabelPrice(target, tried, middle, low, high, reachable, _outcome(n, mean, weight, high, low, tried))


def _curves(n: np.ndarray, mean: np.ndarray, weight: np.ndarray, best: float) -> tuple[np.ndarray, ...]:
    """Curves, each (C,), and their mass: a grid of a and c, and for both the normal posterior of b, cut off at 0."""
    lowest = float(mean.max()) - 3 / np.sqrt(weight[int(np.argmax(mean))])
    a = np.linspace(min(lowest, best - 1e-9), best, _ASYMPTOTES)[:, None]
    c = np.geomspace(0.1, 1.5, _EXPONENTS)[None, :]
    basis = n[:, None, None] ** -c  # (K, 1, C)
    lack = a - mean[:, None, None]  # (K, A, 1)
    scale = np.einsum("k,kac->ac", weight, basis**2)
    fitted = np.einsum("k,kac->ac", weight, basis * lack) / scale
    misfit = np.einsum("k,kac->ac", weight, (lack - fitted * basis) ** 2)
    spread = 1 / np.sqrt(scale)
    positive = ndtr(fitted / spread)
    log_mass = -misfit / 2 + np.log(spread) + np.log(np.maximum(positive, 1e-300))
    share = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    b = fitted[..., None] - spread[..., None] * ndtri(np.maximum(positive[..., None] * share, 1e-300))
    mass = np.exp(log_mass - log_mass.max())[..., None] / _QUANTILES
    shape = b.shape
    every = [np.broadcast_to(each, shape).ravel() for each in (a[..., None], c[..., None], np.maximum(b, 0), mass)]
    return every[0], every[1], every[2], every[3] / every[3].sum()


def _quantiles(values: np.ndarray, mass: np.ndarray, at: Sequence[float]) -> list[float]:
    order = np.argsort(values)
    reached = np.searchsorted(np.cumsum(mass[order]), np.asarray(at) * (1 - 1e-12))
    return [float(value) for value in values[order][np.minimum(reached, len(order) - 1)]]


def _outcome(n: np.ndarray, mean: np.ndarray, weight: np.ndarray, high: float, low: float, tried: float) -> Outcome:
    if high <= tried:
        return "reached"
    if np.isinf(low):
        return "unreachable"
    # The slope over log n, with its standard error: does the metric rise at all?
    x = np.log(n) - np.average(np.log(n), weights=weight)
    slope, error = (weight * x * mean).sum() / (weight * x**2).sum(), 1 / np.sqrt((weight * x**2).sum())
    return "flat" if slope < ndtri(_SURE) * error else "more labels"
