"""The models of several folds as one: the mean of their probabilities, and of label maps the most frequent label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from radapt.images import Volume
from radapt.protocols.decisions import decide
from radapt.protocols.fitted import DrawnMask, SliceWeights
from radapt.protocols.load_model import LoadedModel
from radapt.segmentation.encoder_decoder.model import SegmentModel
from radapt.segmentation.encoder_decoder.shared_maps import SharedMaps
from radapt.segmentation.trained import TrainedSegmenter
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


def mean_weights(members: Sequence[tuple[SliceWeights, ...]]) -> tuple[SliceWeights, ...]:
    """The mean of the slice weights of several models, which read the same slices; none if one has none."""
    if not all(members):
        return ()
    return tuple(
        SliceWeights(own[0].modality, own[0].planes, tuple(np.mean([each.weights for each in own], axis=0).tolist()))
        for own in zip(*members, strict=True)
    )


def share_maps(members: Sequence[LoadedModel]) -> None:
    """Let models of masks that stand on one frozen encoder encode the planes of a case once: the same bits sooner."""
    shared = SharedMaps(len(members))
    for member in members if len(members) > 1 else ():
        trained = member.model
        if isinstance(trained, TrainedSegmenter) and isinstance(trained.model, SegmentModel):
            member.model = replace(trained, model=trained.model.sharing(shared))


@dataclass(frozen=True, eq=False)
class JointMask:
    """The mask of one model or of several together."""

    mask: Volume
    agreement: float | None
    """The mean share of the models that agree with it where any has a structure; 1 where none has. None for one."""
    uncertainty: np.ndarray | None
    """float32, of the shape of the mask: the probability that a voxel's label is not the one drawn, at most; None if a
    model has no probabilities."""
    soft_dice: Mapping[int, float]
    """By label value: the mean over the models that draw it; NaN if none does."""


def joint_mask(drawn: Sequence[DrawnMask]) -> JointMask:
    """The most frequent label of each voxel, the lowest of equally frequent ones.

    A model with another label at a voxel gives the joint label 1 - p at most, p being the probability of its own.
    """
    if len(drawn) == 1:
        mask, agreed = drawn[0].mask, None
    else:
        mask, agreed = majority([each.mask for each in drawn])
    uncertainty = np.zeros(mask.array.shape, dtype=np.float32)
    for each in drawn:
        if each.probability is None:
            return JointMask(mask, agreed, None, {})
        own = each.probability.astype(np.float32)
        uncertainty += np.where(each.mask.array == mask.array, 1 - own, own) / len(drawn)
    soft = {}
    for value in drawn[0].soft_dice:
        known = [each.soft_dice[value] for each in drawn if each.soft_dice[value] == each.soft_dice[value]]
        soft[value] = float(np.mean(known)) if known else float("nan")
    return JointMask(mask, agreed, uncertainty, soft)


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
