"""The training cases most similar to a new one, computed by hand."""

from pathlib import Path

import numpy as np
import pytest

from radapt.errors import UsageError
from radapt.features.case_vectors import CaseVectors, read_case_vectors

NAN = float("nan")
HALF = 0.5**0.5

# Means of those that have a modality: (0.5, 0.5) in the first, (1, 0) in the second.
TRAINED = CaseVectors(
    ("a", "b", "c"),
    ("x", "", "y"),
    ("t1", "t2"),
    np.array([[[1, 0], [NAN, NAN]], [[0, 1], [2, 0]], [[NAN, NAN], [0, 0]]], np.float32),
)


def asked(*vectors: list[list[float]]) -> CaseVectors:
    names = tuple(f"new{number}" for number in range(len(vectors)))
    return CaseVectors(names, ("",) * len(names), ("t1", "t2"), np.array(vectors, np.float32))


def test_similarity_is_the_mean_cosine_over_common_modalities() -> None:
    both, first = TRAINED.nearest(asked([[2, 0.5], [3, 0]], [[2, 0.5], [NAN, NAN]]), 5)
    assert [(one.case, one.label) for one in both] == [("a", "x"), ("b", ""), ("c", "y")]
    np.testing.assert_allclose([one.similarity for one in both], [HALF, (1 - HALF) / 2, -1], rtol=1e-6)
    assert [one.case for one in first] == ["a", "b"]  # c has no t1
    np.testing.assert_allclose([one.similarity for one in first], [HALF, -HALF], rtol=1e-6)


def test_only_the_nearest_are_given_and_what_equals_the_mean_is_like_nothing() -> None:
    (one,) = TRAINED.nearest(asked([[NAN, NAN], [-1, 0]]), 1)
    assert [(each.case, each.similarity) for each in one] == [("c", 1.0)]
    (mean,) = TRAINED.nearest(asked([[0.5, 0.5], [NAN, NAN]]), 3)
    assert [(each.case, each.similarity) for each in mean] == [("a", 0.0), ("b", 0.0)]


def test_they_are_read_as_they_were_saved(tmp_path: Path) -> None:
    TRAINED.save(tmp_path / "training.safetensors")
    found = read_case_vectors(tmp_path / "training.safetensors")
    assert (found.cases, found.labels, found.modalities) == (TRAINED.cases, TRAINED.labels, TRAINED.modalities)
    np.testing.assert_array_equal(found.vectors, TRAINED.vectors)
    np.testing.assert_array_equal(found.presence, [[True, False], [True, True], [False, True]])
    chosen = found.at(np.array([2, 0]))
    assert (chosen.cases, chosen.labels) == (("c", "a"), ("y", "x"))
    np.testing.assert_array_equal(chosen.vectors, TRAINED.vectors[[2, 0]])


def test_other_modalities_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="cannot be compared"):
        TRAINED.nearest(CaseVectors(("d",), ("",), ("t2", "t1"), np.zeros((1, 2, 2), np.float32)), 1)
