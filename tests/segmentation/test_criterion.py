"""What candidates that segment are compared by."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from radapt.segmentation.criterion import best_dice, mean_dice


def volume(*values: int) -> Any:
    return SimpleNamespace(array=np.array(values))


def test_cases_are_averaged_by_label_and_labels_then_weigh_the_same() -> None:
    """Label 1 is found in one of two cases, label 2 in the only case that has it, label 3 in none of no case."""
    truth = [volume(1, 1, 2, 0), volume(1, 0, 0, 0)]
    predicted = [volume(1, 1, 2, 0), volume(0, 0, 0, 0)]
    data: Any = SimpleNamespace(labels={1: "a", 2: "b", 3: "c"}, truth=truth.__getitem__)
    assert mean_dice(data, [0, 1], predicted.__getitem__) == pytest.approx((0.5 + 1) / 2)
    assert math.isnan(mean_dice(data, [], predicted.__getitem__))


def test_an_undefined_dice_never_beats_another_and_the_first_of_equals_wins() -> None:
    assert best_dice([{"dice": math.nan}, {"dice": 0.0}, {"dice": 0.5}, {"dice": 0.5}]) == 2
    assert best_dice([{"dice": math.nan}, {"dice": 0.0}]) == 1
    assert best_dice([{}, {"dice": math.nan}]) == 0
