"""Quadratically weighted kappa of ordered classes."""

from radapt.metrics.confusion import quadratic_kappa_of
from radapt.metrics.metric import Metric

METRIC = Metric(
    name="quadratic_kappa",
    title="Quadratic κ",
    meaning="Agreement beyond chance for ordered classes; larger errors cost more.",
    low=-1.0,
    chance=0.0,
    compute=lambda given: quadratic_kappa_of(given.confusion),
    ordered_only=True,
    of_decisions=True,
    place=100,
)
