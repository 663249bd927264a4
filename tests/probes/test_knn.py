"""Neighbours against scikit-learn and against ML-kNN as its paper writes it, case by case."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from array_matrix import ArrayMatrix
from radapt.features import Pooling
from radapt.probes import knn_classifiers, neighbours
from radapt.probes.knn import KnnFamily
from radapt.probes.knn_classifiers import FindingTables, class_votes
from radapt.probes.neighbours import Gallery
from radapt.protocols import FeatureProblem, evaluate

KS = (1, 5, 20, 100)


def _vectors(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1, (n, 12)).astype(np.float32)


def _gallery(x: np.ndarray, n: int, patients: np.ndarray | None = None) -> Gallery:
    return Gallery.of(ArrayMatrix(x), np.arange(n), np.arange(len(x)) if patients is None else patients)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("small", [False, True], ids=["float64", "float32 gallery"])
def test_votes_equal_scikit_learn(classes: int, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if small:
        monkeypatch.setattr(neighbours, "_DOUBLE_BYTES", 0)
        monkeypatch.setattr(neighbours, "_BLOCK_VALUES", 1000)
    x = _vectors(260, 0)
    y = np.random.default_rng(1).integers(0, classes, 200)
    found = class_votes(_gallery(x, 200), y, classes, np.arange(200, 260), KS, 0.07)
    for k, probabilities in zip(KS, found, strict=True):
        oracle = KNeighborsClassifier(
            k, metric="cosine", algorithm="brute", weights=lambda distance: np.exp((1 - distance) / 0.07)
        )
        expected = oracle.fit(x[:200].astype(np.float64), y).predict_proba(x[200:].astype(np.float64))
        np.testing.assert_allclose(probabilities, expected, atol=1e-5 if small else 1e-9)


def _textbook_ml_knn(x, y, patients, queries, k, s=1.0):
    """Zhang & Zhou 2007, section 3, plainly; other patients only, and unknown findings left out."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    out = np.zeros((len(queries), y.shape[1]))

    def neighbours_of(i: int, allowed: list[int]) -> list[int]:
        return sorted(allowed, key=lambda j: -float(unit[i] @ unit[j]))[:k]

    n = len(y)
    for finding in range(y.shape[1]):
        known = [i for i in range(n) if not np.isnan(y[i, finding])]
        prior = (s + sum(y[i, finding] == 1 for i in known)) / (2 * s + len(known))
        tally = {True: np.zeros(k + 1), False: np.zeros(k + 1)}
        for i in known:
            near = neighbours_of(i, [j for j in range(n) if patients[j] != patients[i]])
            tally[bool(y[i, finding] == 1)][sum(y[j, finding] == 1 for j in near)] += 1
        like = {h: (s + tally[h]) / (s * (k + 1) + tally[h].sum()) for h in tally}
        for row, q in enumerate(queries):
            j = sum(y[i, finding] == 1 for i in neighbours_of(q, list(range(n))))
            yes, no = prior * like[True][j], (1 - prior) * like[False][j]
            out[row, finding] = yes / (yes + no)
    return out


@pytest.mark.parametrize("per_patient", [1, 3])
def test_findings_equal_the_textbook(per_patient: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK_VALUES", 700)
    monkeypatch.setattr(knn_classifiers, "_BLOCK_VALUES", 100)
    rng = np.random.default_rng(2)
    x = _vectors(75, 3)
    y = (x[:60, :3] + rng.normal(size=(60, 3)) > 0.5).astype(float)
    y[rng.random((60, 3)) < 0.25] = np.nan
    patients = np.arange(75) // per_patient
    gallery, queries, ks = _gallery(x, 60, patients), np.arange(60, 75), (1, 4, 10, 58)
    found = FindingTables.fit(gallery, y, ks).predict(queries)
    for k, probabilities in zip(ks, found, strict=True):
        expected = _textbook_ml_knn(x.astype(np.float64), y, patients, queries, k)
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-12)


def test_many_cases_ask_in_blocks_even_of_a_small_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few labelled cases and a large test set: what is held at once is bounded by the length of the vectors."""
    monkeypatch.setattr(neighbours, "_BLOCK_VALUES", 240)
    places = [place for place, *_ in _gallery(_vectors(100, 0), 3).nearest(np.arange(3, 100), 1)]
    assert max(place.stop - place.start for place in places) == 240 // 12
    assert sum(place.stop - place.start for place in places) == 97


def test_length_of_a_vector_does_not_matter_and_a_zero_one_is_harmless() -> None:
    x = _vectors(50, 4)
    y = np.random.default_rng(5).integers(0, 3, 40)
    longer = x * np.random.default_rng(6).uniform(0.1, 9, (50, 1)).astype(np.float32)
    queries = np.arange(40, 50)
    np.testing.assert_allclose(
        class_votes(_gallery(x, 40), y, 3, queries, (7,), 0.07),
        class_votes(_gallery(longer, 40), y, 3, queries, (7,), 0.07),
        atol=1e-5,
    )
    x[3] = x[45] = 0
    found = class_votes(_gallery(x, 40), y, 3, queries, (7,), 1e-4)  # a temperature that would overflow
    np.testing.assert_allclose(found.sum(-1), 1)


def _with_gaps(features_of: Any, modalities: int = 3) -> Any:
    rng = np.random.default_rng(7)
    missing = rng.random((120, modalities)) < 0.3
    missing[np.arange(120), rng.integers(0, modalities, 120)] = False
    return features_of(rng.integers(0, 3, 120), np.repeat(["train", "val", "test"], 40), missing=missing)


@pytest.mark.parametrize("modalities", ["concat", "mean"])
def test_the_size_of_a_modality_or_of_all_does_not_matter(modalities: Any, features_of: Any) -> None:
    features = _with_gaps(features_of)
    names = ["p_k0", "p_k1", "p_k2"]
    first, whole = np.array([100, 1, 1], np.float32)[:, None], np.float32(0.01)
    expected, *scaled = (
        evaluate(
            replace(features, values=features.values * size), "knn", pooling=Pooling(modalities=modalities), resamples=0
        )
        for size in (np.float32(1), first, whole)
    )
    assert any("unit length" in note for note in expected.fit.notes)
    for found in scaled:
        np.testing.assert_allclose(found.predictions[names], expected.predictions[names], atol=1e-5)
        assert found.fit.winner.options["k"] == expected.fit.winner.options["k"]


@pytest.mark.parametrize("modalities", [1, 2])
def test_without_gaps_the_vote_is_over_the_mean_of_the_modalities_cosines(features_of: Any, modalities: int) -> None:
    labels, fitted_on, asked = np.random.default_rng(8).integers(0, 2, 90), np.arange(60), np.arange(60, 90)
    features = features_of(labels, np.repeat(["train", "test"], [60, 30]), missing=np.zeros((90, modalities), bool))
    models = KnnFamily((60,), 0.07).fit(FeatureProblem.of(features), fitted_on, np.random.default_rng(0))
    last_cls = features.values[:, :, 6:12].astype(np.float64)
    unit = last_cls / np.linalg.norm(last_cls, axis=2, keepdims=True)
    weight = np.exp(np.einsum("qmk,nmk->qn", unit[asked], unit[fitted_on]) / modalities / 0.07)
    expected = weight @ labels[fitted_on] / weight.sum(1)
    np.testing.assert_allclose(models.predict_all(asked)[0, :, 1], expected, atol=1e-5)
