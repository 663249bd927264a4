"""Slices become images, images cases; what is missing is never zero by accident, and neighbours do not matter."""

import pytest
import torch
from torch import Tensor, nn

from radapt.networks.aggregators import AGGREGATORS, make_aggregator
from radapt.networks.case_classifier import CaseClassifier

WIDTH = 8

# Three cases with modalities 0 and 1; case 1 lacks modality 1. Five images have 2, 1, 3, 1 and 2 slices.
IMAGE = torch.tensor([0, 0, 1, 2, 2, 2, 3, 4, 4])
POSITION = torch.tensor([0, 1, 0.5, 0, 0.5, 1, 0.5, 0, 1])
CASE = torch.tensor([0, 0, 1, 2, 2])
MODALITY = torch.tensor([0, 1, 0, 0, 1])


def network(
    use: str = "concat", partial: tuple[bool, ...] = (False, True), slices: str = "mean", outputs: int = 3
) -> CaseClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        aggregator = make_aggregator(slices, WIDTH)
        made = CaseClassifier(
            nn.Identity(), _flat, aggregator, WIDTH, aggregator.width_out, outputs, use, partial,  # type: ignore[arg-type]
        )  # fmt: skip
        nn.init.normal_(made.head.weight)
    return made.eval()


def _flat(images: Tensor) -> Tensor:
    return images.flatten(1)


def pixels(count: int = len(IMAGE), seed: int = 0) -> Tensor:
    return torch.rand(count, 1, 2, WIDTH // 2, generator=torch.Generator().manual_seed(seed))


def test_the_head_starts_from_zero() -> None:
    aggregator = make_aggregator("mean", WIDTH)
    made = CaseClassifier(nn.Identity(), _flat, aggregator, WIDTH, WIDTH, 3, "concat", (False, False))
    assert (made(pixels(), IMAGE, POSITION, CASE, MODALITY, 3) == 0).all()


def test_mean_over_slices_and_concatenation_by_hand() -> None:
    made, images = network(), pixels()
    found = made(images, IMAGE, POSITION, CASE, MODALITY, 3)
    vectors, normed = images.flatten(1), nn.functional.layer_norm
    for case, (first, second) in {0: (slice(0, 2), slice(2, 3)), 2: (slice(6, 7), slice(7, 9))}.items():
        whole = torch.cat([normed(vectors[part].mean(0), (WIDTH,)) for part in (first, second)])
        torch.testing.assert_close(found[case], made.head(whole))


def test_mean_over_modalities_by_hand() -> None:
    made, images = network("mean"), pixels()
    found = made(images, IMAGE, POSITION, CASE, MODALITY, 3)
    vectors, normed = images.flatten(1), nn.functional.layer_norm
    both = (normed(vectors[0:2].mean(0), (WIDTH,)) + normed(vectors[2], (WIDTH,))) / 2
    torch.testing.assert_close(found[0], made.head(both))
    torch.testing.assert_close(found[1], made.head(normed(vectors[3:6].mean(0), (WIDTH,))))


@pytest.mark.parametrize("use", ["concat", "mean"])
@pytest.mark.parametrize("slices", sorted(AGGREGATORS))
def test_a_case_is_answered_the_same_among_others(use: str, slices: str) -> None:
    made, images = network(use, slices=slices), pixels()
    together = made(images, IMAGE, POSITION, CASE, MODALITY, 3)
    mine = IMAGE >= 3  # case 2
    alone = made(images[mine], IMAGE[mine] - 3, POSITION[mine], CASE[3:] - 2, MODALITY[3:], 1)
    torch.testing.assert_close(alone[0], together[2])


def test_a_missing_modality_has_a_learned_embedding() -> None:
    made, images = network(), pixels()
    before = made(images, IMAGE, POSITION, CASE, MODALITY, 3)
    before.sum().backward()
    assert made.missing.grad is not None
    assert made.missing.grad[1].abs().sum() > 0
    assert made.missing.grad[0].abs().sum() == 0
    with torch.no_grad():
        made.missing[1] += 1
    after = made(images, IMAGE, POSITION, CASE, MODALITY, 3)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])


def test_a_modality_that_no_training_case_lacks_is_filled_with_its_mean() -> None:
    made = network(partial=(False, False))
    assert not made.missing.requires_grad
    made.train()
    seen = []
    for seed in range(4):
        images = pixels(4, seed)
        owner, place = torch.arange(4), torch.full((4,), 0.5)
        made(images, owner, place, torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]), 2)
        seen.append(nn.functional.layer_norm(images.flatten(1), (WIDTH,))[[1, 3]])
    torch.testing.assert_close(made.mean[1], torch.cat(seen).mean(0))
    made.eval()
    one = pixels(1, 9)
    zero = torch.zeros(1, dtype=torch.int64)
    found = made(one, zero, torch.tensor([0.5]), zero, zero, 1)
    whole = torch.cat([nn.functional.layer_norm(one.flatten(), (WIDTH,)), made.mean[1]])
    torch.testing.assert_close(found[0], made.head(whole))


@pytest.mark.parametrize("use", ["concat", "mean"])
def test_a_case_without_any_image_gets_an_answer(use: str) -> None:
    none = torch.zeros(0, dtype=torch.int64)
    found = network(use).classify(torch.zeros(0, WIDTH), none, torch.zeros(0), none, none, 2)
    assert found.shape == (2, 3)
    assert torch.isfinite(found).all()


def test_what_weighs_slices_knows_the_modality() -> None:
    assert network(slices="mean").kind is None
    assert network(slices="attention", partial=(False,)).kind is None
    made, images = network(slices="attention"), pixels()
    before = made(images, IMAGE, POSITION, CASE, MODALITY, 3)
    assert made.kind is not None
    with torch.no_grad():
        made.kind.weight[1, 0] += 3
    after = made(images, IMAGE, POSITION, CASE, MODALITY, 3)
    assert torch.equal(before[1], after[1])  # it has no image of modality 1
    assert not torch.allclose(before[0], after[0])


def test_answers_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network()(pixels(), IMAGE, POSITION, CASE, MODALITY, 3).dtype == torch.float32
