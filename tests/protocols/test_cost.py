"""What heads on stored features report as trained is what the live model holds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from radapt.probes.linear_models import LinearModel
from radapt.protocols import FeatureProblem, evaluate, make


@pytest.mark.parametrize("name", ["logistic", "linear"])
@pytest.mark.parametrize("refit", [True, False])
def test_trained_numbers_are_those_of_the_live_head(name: str, refit: bool, every_task: Any) -> None:
    fitted = make(name, C=[1e-3, 1e-1]).fit(FeatureProblem.of(every_task, refit=refit), np.random.default_rng(0))
    assert isinstance(fitted.final, LinearModel)
    weights, bias = fitted.final.models.weights[:, 0], fitted.final.models.bias[0]
    read = int((weights != 0).any(dim=1).sum())  # a head that reads some columns only has zeros for the others
    assert fitted.record.cost.trained == fitted.record.cost.parameters == (read + 1) * bias.numel()
    assert 0 < fitted.record.cost.seconds < 60
    assert np.isnan(fitted.record.cost.peak_memory_mb)


def test_two_classes_are_one_logit_and_several_one_each(binary: Any, multiclass: Any, multilabel: Any) -> None:
    for features, logits in ((binary, 1), (multiclass, 4), (multilabel, 3)):
        cost = evaluate(features, "logistic", resamples=0, choose="val", blocks=1, patch_mean=False).cost
        assert cost.trained == (6 + 1) * logits


def test_neighbours_are_not_trained(every_task: Any) -> None:
    cost = evaluate(every_task, "knn", resamples=0).cost
    assert (cost.trained, cost.parameters) == (0, 0)


def test_a_learning_curve_costs_what_its_draws_cost_together(binary: Any) -> None:
    result = evaluate(
        binary, "fewshot", shots=[1, 2], repeats=2, resamples=0, options={"blocks": 1, "patch_mean": False}
    )
    assert result.cost.trained == 6 + 1
    assert result.cost.seconds > 0


def test_the_default_without_val_says_what_it_trained(binary: Any) -> None:
    fitted = make("logistic").fit(replace(FeatureProblem.of(binary), choose=False), np.random.default_rng(0))
    assert fitted.record.cost.trained == 6 + 1
