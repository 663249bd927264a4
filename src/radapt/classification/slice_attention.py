"""The attention of a trained network to the slices of a case."""

from collections.abc import Sequence
from typing import Any

from radapt.classification.task import TrainableModel
from radapt.networks.aggregators import Aggregator
from radapt.networks.case_classifier import CaseClassifier
from radapt.protocols.fitted import SliceWeights


def weighs_slices(trainee: TrainableModel) -> bool:
    """Whether the network weighs slices by their content."""
    network = trainee.network
    return (
        isinstance(network, CaseClassifier) and isinstance(network.aggregator, Aggregator) and network.aggregator.weighs
    )


def weights_of(
    trainee: TrainableModel, cases: Any, row: int, images: Sequence[tuple[str, int]]
) -> tuple[SliceWeights, ...]:
    """The weights of the slices of a case of `cases`, whose `images` are (modality, number of slices) in the order of
    the model; empty for a network that does not weigh slices."""
    if not weighs_slices(trainee) or not images:
        return ()
    trainee.feed.answers(cases, [row])
    weights = trainee.network.aggregator.weights.tolist()  # type: ignore[union-attr, operator]
    found, start = [], 0
    for modality, count in images:
        found.append(SliceWeights(modality, tuple(range(count)), tuple(weights[start : start + count])))
        start += count
    return tuple(found)
