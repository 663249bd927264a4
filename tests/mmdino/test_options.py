"""The options of an adaptation: presets, and what does not go together."""

import json

import pytest

from radapt.cli.adapt import settings
from radapt.errors import UsageError
from radapt.mmdino.options import PRESETS, RENAMED, Options, options_of
from radapt.mmdino.protocol import MmDino
from radapt.protocols.registry import make


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_whole_and_survives_json(preset: str) -> None:
    options = options_of(preset)
    assert Options(**json.loads(json.dumps(options.plain()))) == options


def test_the_published_preset_has_the_published_figures() -> None:
    published = options_of("mm-dinov2")
    figures = (published.epochs, published.batch, published.lr, published.drop_path, published.layer_decay)
    assert figures == (200, 64, 1e-4, 0.3, 0.9)
    assert (published.masked_modalities, published.supervision, published.supervised) == ("one", "prototypes", 0.5)
    assert published.hidden_blocks is None
    assert published.prototypes is None
    assert not published.consistency
    assert not published.lesion_loss_weight


def test_supervised_learns_from_labels_alone() -> None:
    assert not options_of("supervised").self_supervised
    assert all(options_of(preset).self_supervised for preset in PRESETS if preset != "supervised")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"epochs": 0}, "'epochs'"),
        ({"lr": float("nan")}, "'lr'"),
        ({"global_scale": (0.9, 0.5)}, "smaller number first"),
        ({"masked_modalities": "two"}, "'masked_modalities'"),
        ({"prototypes": None}, "only with supervision: prototypes"),
        ({"supervision": "prototypes"}, "set prototypes to none"),
        ({"supervision": "none", "consistency": 0.0, "classifier": "head"}, "needs a trained head"),
        ({"supervision": "none"}, "consistency"),
        ({"supervision": "none", "consistency": 0.0, "dino": 0.0, "ibot": 0.0}, "nothing to learn"),
        ({"dinno": 1.0}, "Did you mean 'dino'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changed: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        options_of("default", **changed)


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'mm-dinov2'"):
        options_of("mmdinov2")


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_option_of_earlier_versions_is_answered_with_its_new_name(old: str, new: str) -> None:
    said = rf"no option '{old}'. It is called '{new}' now"
    assert hasattr(options_of(), new)
    with pytest.raises(UsageError, match=said):
        options_of(**{old: 1})
    with pytest.raises(UsageError, match=said):
        make("mmdino", **{old: 1})
    with pytest.raises(UsageError, match=said):
        settings([f"{old}=1"], MmDino.known_options(), MmDino.renamed_options)
