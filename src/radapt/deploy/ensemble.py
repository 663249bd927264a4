"""The models of several folds as one: the mean of their probabilities, and of label maps the most frequent label."""

from collections.abc import Sequence

import numpy as np

from radapt.images import Volume
from radapt.protocols.decisions import decide
from radapt.training.fit_record import Decision


def mean_decision(decisions: Sequence[Decision]) -> Decision:
    """One decision for the mean of the probabilities: the mean of the weights, or of the thresholds."""
    if all(each == decisions[0] for each in decisions):
        return decisions[0]
    rules = {each.rule for each in decisions}
    rule = decisions[0].rule if len(rules) == 1 else "balanced"
    why = f"the mean over {len(decisions)} models: {decisions[0].why}"
    if decisions[0].thresholds:
        return Decision(rule, why, thresholds=tuple(np.mean([each.thresholds for each in decisions], axis=0).tolist()))
    weights = [np.asarray(each.weights) / np.mean(each.weights) for each in decisions]
    return Decision(rule, why, weights=tuple(np.mean(weights, axis=0).tolist()))


def agreement(decision: Decision, members: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """(n,): the share of the members, probabilities (members, n, outputs), that decide as was `decided`; over all
    findings for several."""
    same = decide(decision, members) == decided
    return np.asarray(same.reshape(*same.shape[:2], -1).mean(axis=(0, 2)))


def majority(masks: Sequence[Volume]) -> tuple[Volume, float]:
    """The most frequent label of each voxel, the lowest of equally frequent ones, and the mean share of the masks that
    agree with it where any has a structure; 1 where none has."""
    labels = np.unique(np.concatenate([np.unique(mask.array) for mask in masks]))
    votes = np.stack([np.sum([mask.array == label for mask in masks], axis=0, dtype=np.uint8) for label in labels])
    winner = votes.argmax(axis=0)
    array = labels[winner].astype(masks[0].array.dtype)
    somewhere = np.any([mask.array > 0 for mask in masks], axis=0)
    agreed = np.take_along_axis(votes, winner[None], axis=0)[0][somewhere] / len(masks)
    return Volume(array, masks[0].affine), float(agreed.mean()) if agreed.size else 1.0
