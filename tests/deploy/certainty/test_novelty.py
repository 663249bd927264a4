"""Novelty: scikit-learn is the oracle of the shrinkage, and refusals are as rare as stated among true patients."""

import json

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from radapt.deploy.certainty.distances import TrainingCloud, ledoit_wolf
from radapt.deploy.certainty.novelty import LEAST_PATIENTS, Novelty, fit_novelty
from radapt.durable import plain
from radapt.errors import DataError

SEQUENCES = "flair", "t1c"


def drawn(n: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    """(n, 2, 12) features with a few strong directions."""
    mixing = np.random.default_rng(99).normal(size=(4, 12))
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 2, 4)) @ mixing + 0.3 * rng.normal(size=(n, 2, 12)) + shift
    return values.astype(np.float32)


@pytest.mark.parametrize("shape", [(30, 12), (10, 40), (200, 5)])
def test_shrinkage_agrees_with_scikit_learn(shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).normal(size=shape) @ np.diag(np.linspace(0.1, 2, shape[1]))
    rows -= rows.mean(axis=0)
    oracle = LedoitWolf(assume_centered=True).fit(rows)
    shrinkage, target = ledoit_wolf(rows)
    assert shrinkage == pytest.approx(oracle.shrinkage_)
    assert target == pytest.approx(np.trace(rows.T @ rows) / rows.size)


@pytest.mark.parametrize("shape", [(30, 12), (10, 40)])
def test_distances_agree_with_scipy(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    train, new = rng.normal(size=shape) * 3 + 1, rng.normal(size=(7, shape[1]))
    rows, given = (train - train.mean(0)) / train.std(0), (new - train.mean(0)) / train.std(0)
    precision = np.linalg.inv(LedoitWolf(assume_centered=True).fit(rows).covariance_)
    found = TrainingCloud.fit(train).distances(new)
    assert found == pytest.approx([mahalanobis(row, np.zeros(shape[1]), precision) for row in given])


def test_constant_columns_and_equal_images_stay_finite() -> None:
    same = np.ones((30, 6), dtype=np.float32)
    assert np.isfinite(TrainingCloud.fit(same).distances(same + 1)).all()


def test_true_patients_are_refused_as_rarely_as_stated() -> None:
    refused = []
    for seed in range(20):
        novelty = fit_novelty(drawn(150, seed), np.arange(150), SEQUENCES, rng=np.random.default_rng(0))
        refused.append(np.mean(novelty.p_values(drawn(200, 1000 + seed)) <= 0.05))
    assert 0.03 < np.mean(refused) < 0.07


def test_foreign_cases_are_refused() -> None:
    novelty = fit_novelty(drawn(100), np.arange(100), SEQUENCES, rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    shifted, scaled = drawn(50, 1, shift=4.0), 3 * drawn(50, 2)
    unstructured = (2 * rng.normal(size=(50, 2, 12))).astype(np.float32)
    for foreign in (shifted, scaled, unstructured):
        assert np.mean(novelty.p_values(foreign) <= 0.05) > 0.9


def test_only_the_available_sequences_are_compared() -> None:
    """A case without t1c is compared with the flair of training patients, also of those who lack t1c."""
    train, new = drawn(120), drawn(40, 1)
    train[:40, 1] = np.nan
    new[:20, 1] = np.nan
    both = fit_novelty(train, np.arange(120), SEQUENCES, rng=np.random.default_rng(0)).p_values(new)
    train[:, 1] = np.nan
    flair = fit_novelty(train, np.arange(120), SEQUENCES, rng=np.random.default_rng(0))
    assert np.array_equal(flair.p_values(new)[:20], both[:20])
    assert not np.array_equal(flair.p_values(new)[20:], both[20:])
    assert any(note.startswith("t1c is not compared: 0 patients") for note in flair.notes)


def test_a_case_without_a_known_sequence_has_no_p_value() -> None:
    novelty = fit_novelty(drawn(60), np.arange(60), SEQUENCES, rng=np.random.default_rng(0))
    assert np.isnan(novelty.p_values(np.full((1, 2, 12), np.nan))).all()
    assert novelty.p_values(np.empty((0, 2, 12))).shape == (0,)


@pytest.mark.parametrize(("complete", "compared"), [(LEAST_PATIENTS - 1, LEAST_PATIENTS - 1), (LEAST_PATIENTS - 2, 60)])
def test_too_few_complete_patients_are_joined_by_the_others(complete: int, compared: int) -> None:
    features = drawn(60)
    features[complete:40, 1] = np.nan
    features[40:, 0] = np.nan
    novelty = fit_novelty(features, np.arange(60), SEQUENCES, rng=np.random.default_rng(0))
    assert novelty.p_values(drawn(1, shift=100.0)) == pytest.approx(1 / (1 + compared))


def test_sites_make_a_new_hospital_ordinary() -> None:
    """Hospitals differ: against other patients of the same ones a new hospital is novel, against others it is not."""
    rng = np.random.default_rng(0)
    site = np.repeat(np.arange(6), 40)
    offset = rng.normal(scale=1.5, size=(7, 1, 12))
    train, new = drawn(240) + offset[site], drawn(100, 1) + offset[6]
    by_patient = fit_novelty(train, np.arange(240), SEQUENCES, rng=np.random.default_rng(0)).p_values(new)
    by_site = fit_novelty(train, np.arange(240), SEQUENCES, sites=site, rng=np.random.default_rng(0)).p_values(new)
    assert np.mean(by_site <= 0.05) < 0.5 * np.mean(by_patient <= 0.05)


def test_copies_of_a_training_case_change_little() -> None:
    """Fifty copies of one patient do not make his distance that of half of the patients."""
    train = drawn(60)
    again = np.concatenate([np.arange(60), np.repeat(int(np.abs(train[:, 0]).max(axis=1).argmax()), 50)])
    novelty = fit_novelty(train[again], again, SEQUENCES, rng=np.random.default_rng(0))
    assert novelty.weights.sum() == pytest.approx(60)
    assert novelty.p_values(train[:1] + 100)[0] == pytest.approx(1 / 61)


def test_a_case_is_judged_alone() -> None:
    novelty = fit_novelty(drawn(60), np.arange(60), SEQUENCES, rng=np.random.default_rng(0))
    new = drawn(10, 1)
    assert novelty.p_values(new)[:1] == pytest.approx(novelty.p_values(new[:1]), abs=0)


def test_features_of_another_shape_are_refused() -> None:
    novelty = fit_novelty(drawn(60), np.arange(60), SEQUENCES, rng=np.random.default_rng(0))
    with pytest.raises(DataError, match=r"expected \(cases, 2, 12\)"):
        novelty.p_values(drawn(3)[:, :, :5])
    with pytest.raises(DataError, match="every case"):
        fit_novelty(drawn(60), np.arange(50), SEQUENCES, rng=np.random.default_rng(0))


def test_many_cases_are_represented_by_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radapt.deploy.certainty.novelty.MOST_CASES", 50)
    train, new = drawn(120), drawn(20, 1)
    novelty = fit_novelty(train, np.arange(120), SEQUENCES, rng=np.random.default_rng(0))
    assert len(novelty.rows) == 50
    read = Novelty.from_json(json.loads(json.dumps(plain(novelty.to_json()))), train)
    assert np.array_equal(read.p_values(new), novelty.p_values(new))
