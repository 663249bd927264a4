"""How long every protocol trains, and that it can be shortened."""

from typing import Any

import pytest

from radapt.protocols.fewshot import AtDefaults
from radapt.protocols.length import Length
from radapt.protocols.registry import PROTOCOLS, make

OTHERS = ("fewshot", "mmdino")
TRAINED = [
    (name, {})
    for name in sorted(set(PROTOCOLS).difference(OTHERS))
    if PROTOCOLS[name].reads == "images" and not PROTOCOLS[name].control
]
MMDINO = [("mmdino", {"trained": trained}) for trained in ("full", "lora", "fusion", "partial")]


@pytest.mark.parametrize(("name", "options"), TRAINED + MMDINO)
def test_what_trains_on_images_can_be_shortened(name: str, options: dict[str, Any]) -> None:
    protocol = make(name, **options)
    long = protocol.length(100)
    assert long is not None
    assert long.value > 3
    short = protocol.shortened(3)
    assert short.length(100) == Length(3, long.by_steps)
    assert AtDefaults(protocol).shortened(3).length(100) == Length(3, long.by_steps)
    assert short.settings != protocol.settings


def test_steps_end_the_epochs_of_many_samples() -> None:
    assert Length.within(30, None, 16, 10_000) == Length(30)
    assert Length.within(30, 100, 16, 160) == Length(10)
    assert Length.within(30, 100, 16, 161) == Length(100 / 11)
    assert Length.within(5, 100, 16, 161) == Length(5)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("lora", {"epochs": 20, "patience": 19, "lr": [1e-3]}, Length(20)),
        ("lora", {"epochs": 20, "patience": 4, "lr": [1e-3]}, Length(10)),  # the geometric mean of 5 and 20
        ("lora", {"epochs": 20, "patience": 4, "lr": [1e-3, 1e-2, 1e-1]}, Length(24)),  # 10 × (0.3 + 3 × 0.7)
        ("lora", {"epochs": 20, "steps": 35, "batch": 10, "patience": 19, "lr": [1e-3]}, Length(3.5)),
        ("mil", {"epochs": 20, "patience": 4, "lr": [1e-3]}, Length(10)),
        ("unet", {"steps": 500}, Length(500, by_steps=True)),
        ("mmdino", {"trained": "lora", "epochs": 7}, Length(7)),
        ("mmdino", {"trained": "fusion", "fusion": {"epochs": 9}}, Length(9)),
        ("mmdino", {"trained": "partial", "fusion": {"epochs": 9, "steps": 14, "batch": 50}}, Length(7)),
    ],
)
def test_the_length_of_a_training_on_a_hundred_cases(name: str, options: dict[str, Any], expected: Length) -> None:
    found = make(name, **options).length(100)
    assert found is not None
    assert (found.value, found.by_steps) == (pytest.approx(expected.value), expected.by_steps)


@pytest.mark.parametrize("name", ["knn", "logistic", "first-order"])
def test_what_reads_features_is_not_shortened(name: str) -> None:
    assert make(name).length(100) is None
    with pytest.raises(TypeError, match="has no length"):
        make(name).shortened(3)
