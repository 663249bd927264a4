"""Networks trained from scratch are the networks of their papers, and start from their seed alone."""

import pytest
import torch
import torchvision

from radapt.errors import UsageError
from radapt.networks.classifiers import WIDTHS, PlainEncoder, Stem, check_sides, scratch_classifier, stem_for

EVERY = [(name, dims) for name in WIDTHS for dims in (2, 3)]


@pytest.mark.parametrize("name", list(WIDTHS))
def test_2d_networks_are_torchvision_s(name: str) -> None:
    ours = scratch_classifier(name, 2, 3, 1000).eval()
    oracle = getattr(torchvision.models, name)(weights=None).eval()
    named = ours.state_dict()
    if name != "densenet121":  # DenseNet's layers have other names there
        oracle.load_state_dict(named)
        images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            torch.testing.assert_close(ours(images), oracle(images))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in oracle.parameters())


@pytest.mark.parametrize(("name", "dims"), EVERY)
@pytest.mark.parametrize("stem", ["standard", "small"])
def test_every_network_gives_logits_and_vectors(name: str, dims: int, stem: str) -> None:
    with torch.device("meta"):  # shapes need no numbers
        images = torch.empty(2, 2, *(32,) * dims)
        for outputs, expected in ((3, 3), (0, WIDTHS[name])):
            network = scratch_classifier(name, dims, 2, outputs, stem=stem).eval()  # type: ignore[arg-type]
            assert network(images).shape == (2, expected)


def _map_sides(name: str, dims: int, stem: Stem, side: int) -> tuple[int, ...]:
    """The sides of the maps that enter the first block."""
    with torch.device("meta"):
        network, images = scratch_classifier(name, dims, 1, 0, stem=stem).eval(), torch.empty(1, 1, *(side,) * dims)
    first = network.layer1 if hasattr(network, "layer1") else network.features.denseblock1
    seen: list[torch.Size] = []
    handle = first.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    network(images)
    handle.remove()
    return tuple(seen[0][2:])


@pytest.mark.parametrize(("name", "dims"), EVERY)
def test_the_small_stem_keeps_resolution_and_the_standard_one_quarters_it(name: str, dims: int) -> None:
    assert _map_sides(name, dims, "small", 16) == (16,) * dims
    assert _map_sides(name, dims, "standard", 32) == (8,) * dims


@pytest.mark.parametrize(("name", "dims"), [("resnet18", 2), ("densenet121", 2), ("densenet121", 3)])
def test_equal_seeds_give_equal_networks_and_the_random_state_is_left_alone(name: str, dims: int) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second, other = (
        torch.cat([p.flatten() for p in scratch_classifier(name, dims, 1, 2, seed=seed).parameters()])
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_grey_levels_of_both_types_are_one() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    encoder = PlainEncoder(torch.nn.Flatten())
    torch.testing.assert_close(encoder(levels), encoder(levels.float() / 255))
    assert encoder(levels).min() == -2


@pytest.mark.parametrize(("sides", "stem"), [((28, 28), "small"), ((64, 224), "small"), ((224, 224), "standard")])
def test_small_images_get_the_small_stem(sides: tuple[int, ...], stem: str) -> None:
    assert stem_for(sides) == stem


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "resnet19"}, "Did you mean 'resnet18'"),
        ({"stem": "smal"}, "Did you mean 'small'"),
        ({"dims": 4}, "2 or 3 dimensions"),
    ],
)
def test_bad_requests_are_refused(given: dict, said: str) -> None:
    asked = {"name": "resnet18", "dims": 2, "in_channels": 1, "outputs": 2} | given
    with pytest.raises(UsageError, match=said):
        scratch_classifier(**asked)


def test_images_that_would_vanish_are_refused() -> None:
    check_sides("densenet121", (32, 32), "standard")
    check_sides("resnet50", (3, 3), "standard")
    with pytest.raises(UsageError, match="sides of at least 32 px; the images have 28 × 28"):
        check_sides("densenet121", (28, 28), "standard")
    with pytest.raises(UsageError, match="at least 8"):
        check_sides("densenet121", (5, 64, 64), "small")
