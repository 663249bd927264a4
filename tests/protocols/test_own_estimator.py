"""A classifier with scikit-learn's interface in `evaluate`."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import radapt
from radapt.errors import DataError, UsageError
from radapt.protocols import FeatureProblem
from toy_features import ArrayFeatures


def test_a_classifier_of_ones_own_is_judged_like_a_protocol(every_task: ArrayFeatures) -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    result = radapt.evaluate(every_task, pipeline, resamples=100)  # type: ignore[arg-type]
    scores = result.scores.set_index(["split", "metric"])["value"]
    guessed = radapt.evaluate(every_task, DummyClassifier(), resamples=100)  # type: ignore[arg-type]
    assert scores["test", "auroc"] > guessed.scores.set_index(["split", "metric"])["value"]["test", "auroc"] + 0.05
    assert not hasattr(pipeline[-1], "coef_"), "a copy is fitted"
    assert "LogisticRegression(C=0.1)" in str(result.fit.candidates[0].options)


def test_its_numbers_are_scikit_learns(binary: ArrayFeatures) -> None:
    result = radapt.evaluate(binary, LogisticRegression(), patch_mean=False, resamples=100)  # type: ignore[arg-type]
    problem = FeatureProblem.of(binary)  # type: ignore[arg-type]
    fitted = np.sort(np.concatenate([problem.rows("train"), problem.rows("val")]))
    source = problem.source(fitted, 1, False)
    test = np.flatnonzero(problem.splits == "test")
    own = LogisticRegression().fit(source.gather(fitted), problem.labels[fitted])
    expected = own.predict_proba(source.gather(test))[:, 1]
    found = result.predictions.query("split == 'test'")[f"p_{problem.outputs[1]}"]
    np.testing.assert_allclose(found, expected)


def test_the_seed_decides_a_random_state_that_is_open(binary: ArrayFeatures) -> None:
    def probabilities(seed: int) -> np.ndarray:
        forest = make_pipeline(StandardScaler(), RandomForestClassifier(10))
        table = radapt.evaluate(binary, forest, seed=seed, resamples=100).predictions  # type: ignore[arg-type]
        return table.filter(like="p_").to_numpy()

    assert np.array_equal(probabilities(1), probabilities(1))
    assert not np.array_equal(probabilities(1), probabilities(2))


def test_what_is_no_classifier_is_refused(binary: ArrayFeatures) -> None:
    with pytest.raises(UsageError, match=r"SVC has no predict_proba.*probability=True"):
        radapt.evaluate(binary, SVC())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"no option 'block'. Did you mean 'blocks'"):
        radapt.evaluate(binary, LogisticRegression(), block=2)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="cannot be fitted"):
        radapt.evaluate(binary, LogisticRegression(C=-1))  # type: ignore[arg-type]
