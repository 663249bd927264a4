"""Accuracy of nearest neighbours against a plain transcription, and in cases one can draw."""

import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import Tensor

from radapt.errors import UsageError
from radapt.mmdino.neighbours import chance, knn_accuracy


def by_hand(features: np.ndarray, labels: np.ndarray, patients: np.ndarray, k: int) -> float:
    """One sample after the other; classes only."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    right: dict[int, list[bool]] = defaultdict(list)
    for one in range(len(labels)):
        others = [i for i in range(len(labels)) if patients[i] != patients[one] and labels[i] >= 0]
        near = sorted(others, key=lambda i: -float(unit[one] @ unit[i]))[:k]
        if labels[one] < 0 or not near:
            continue
        votes: dict[int, float] = defaultdict(float)
        for each in near:
            votes[int(labels[each])] += 1 + float(unit[one] @ unit[each])
        right[int(labels[one])].append(max(votes, key=lambda c: votes[c]) == labels[one])
    return float(np.mean([np.mean(each) for each in right.values()])) if len(right) > 1 else math.nan


@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_a_plain_loop_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 3, 40)
    features = rng.normal(size=(40, 4)) + 0.8 * np.eye(4)[labels]
    patients = rng.integers(0, 15, 40)
    found = knn_accuracy(torch.tensor(features), torch.tensor(labels), torch.tensor(patients))
    assert found == pytest.approx(by_hand(features, labels, patients, 5))


def two_groups() -> Tensor:
    """Four samples along x, four along y."""
    return torch.tensor([[1.0, 0.1 * i] for i in range(4)] + [[0.1 * i, 1.0] for i in range(4)])


def test_a_patient_never_answers_for_himself() -> None:
    """Each class is one patient: the nearest of others is always of the other class."""
    labels = torch.tensor([0] * 4 + [1] * 4)
    assert knn_accuracy(two_groups(), labels, torch.arange(8), 3) == 1
    assert knn_accuracy(two_groups(), labels, labels, 3) == 0


def test_large_classes_do_not_outweigh_small_ones() -> None:
    """Seven of class 0 and one of class 1, which nobody can recognise: half, not seven eighths."""
    labels = torch.tensor([0] * 7 + [1])
    assert knn_accuracy(two_groups(), labels, torch.arange(8)) == 0.5


def test_findings_are_questions_of_their_own() -> None:
    first = torch.tensor([0.0] * 4 + [1.0] * 4)
    second = 1 - first
    second[3] = torch.nan
    both = torch.stack([first, second, torch.full((8,), torch.nan)], 1)
    assert knn_accuracy(two_groups(), both, torch.arange(8), 3) == 1
    mixed = torch.stack([first, torch.tensor([0.0, 1.0] * 4)], 1)
    alone = knn_accuracy(two_groups(), mixed[:, 1:], torch.arange(8), 3)
    assert knn_accuracy(two_groups(), mixed, torch.arange(8), 3) == pytest.approx((1 + alone) / 2)


@pytest.mark.parametrize(
    ("labels", "patients"),
    [
        (torch.full((8,), -1), torch.arange(8)),
        (torch.zeros(8, dtype=torch.int64), torch.arange(8)),
        (torch.tensor([0, 1] * 4), torch.zeros(8, dtype=torch.int64)),
        (torch.full((8, 2), torch.nan), torch.arange(8)),
        (torch.zeros(8, 0), torch.arange(8)),
    ],
    ids=["no label", "one class", "one patient", "no finding known", "no findings"],
)
def test_without_a_choice_it_is_undefined(labels: Tensor, patients: Tensor) -> None:
    assert math.isnan(knn_accuracy(two_groups(), labels, patients))


def test_order_and_length_of_features_do_not_matter() -> None:
    rng = torch.Generator().manual_seed(3)
    features, labels = torch.randn(30, 5, generator=rng), torch.arange(30) % 3
    patients, order = torch.arange(30) // 2, torch.randperm(30, generator=rng)
    expected = knn_accuracy(features, labels, patients)
    assert knn_accuracy(features[order] * 7, labels[order], patients[order]) == pytest.approx(expected)


def test_features_that_are_not_finite_are_no_neighbours_of_note() -> None:
    features = two_groups()
    features[0] = torch.nan
    assert knn_accuracy(features, torch.tensor([0] * 4 + [1] * 4), torch.arange(8), 3) > 0.8


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="8 features, 7 labels and 8 patients"):
        knn_accuracy(two_groups(), torch.zeros(7), torch.arange(8))


def test_chance_is_one_of_the_classes_that_occur() -> None:
    assert chance(torch.tensor([0, 2, 4, -1])) == pytest.approx(1 / 3)
    assert chance(torch.zeros(4, 2)) == 0.5
    assert math.isnan(chance(torch.tensor([1, 1, -1])))
