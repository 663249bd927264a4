"""Aggregators against plain loops over cases, and relations that hold whatever their weights."""

import math

import pytest
import torch
from torch import Tensor, nn

from radapt.errors import UsageError
from radapt.networks import AGGREGATORS, Aggregator, make_aggregator
from radapt.networks.aggregators import Attention, Transformer

WIDTH = 6
COUNTS = [3, 1, 7, 2]
OPTIONS: dict[str, dict] = {"topk": {"k": 3}, "transformer": {"inner": 8, "heads": 2}, "attention": {"hidden": 5}}


def made(name: str, **options: object) -> Aggregator:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        found = make_aggregator(name, WIDTH, **{**OPTIONS.get(name, {}), **options})
        for parameter in found.parameters():
            nn.init.normal_(parameter, std=0.5)
    return found.eval()


def slices(counts: list[int] = COUNTS, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(sum(counts), WIDTH, generator=generator)
    owner = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return vectors, owner, torch.rand(sum(counts), generator=generator)


def naive(aggregator: Aggregator, name: str, case: Tensor, position: Tensor) -> Tensor:
    """One case (n, D) by the papers' words."""
    if name == "mean":
        return case.mean(0)
    if name == "max":
        return case.max(0).values
    if name == "topk":
        return case.sort(dim=0, descending=True).values[:3].mean(0)
    if isinstance(aggregator, Attention):
        scores = [aggregator.score(aggregator.value(h).tanh() * aggregator.gate(h).sigmoid()) for h in case]
        weights = torch.softmax(torch.cat(scores), 0)
        return sum(weight * h for weight, h in zip(weights, case, strict=True))  # type: ignore[return-value]
    assert isinstance(aggregator, Transformer)
    tokens = [aggregator.cls]
    for h, place in zip(case, position.tolist(), strict=True):
        angles = [math.pi * 2.0 ** (9 * i / 3) * place for i in range(4)]
        waves = torch.tensor([math.sin(a) for a in angles] + [math.cos(a) for a in angles])
        tokens.append(aggregator.project(h) + waves)
    return aggregator.layers(torch.stack(tokens)[None])[0, 0]


@pytest.mark.parametrize("name", AGGREGATORS)
def test_equals_a_loop_over_cases(name: str) -> None:
    aggregator = made(name)
    vectors, owner, position = slices()
    found = aggregator(vectors, owner, len(COUNTS), position)
    assert found.shape == (len(COUNTS), aggregator.width_out)
    cases = zip(vectors.split(COUNTS), position.split(COUNTS), strict=True)
    expected = torch.stack([naive(aggregator, name, case, places) for case, places in cases])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_a_case_does_not_see_its_neighbours(name: str) -> None:
    aggregator = made(name)
    vectors, owner, position = slices()
    together = aggregator(vectors, owner, len(COUNTS), position)
    for index in range(len(COUNTS)):
        own = owner == index
        alone = aggregator(vectors[own], torch.zeros_like(owner[own]), 1, position[own])
        torch.testing.assert_close(alone[0], together[index])
    spoiled = torch.where((owner == 2)[:, None], torch.nan, vectors)
    others = torch.tensor([0, 1, 3])
    torch.testing.assert_close(aggregator(spoiled, owner, len(COUNTS), position)[others], together[others])


@pytest.mark.parametrize("name", AGGREGATORS)
@pytest.mark.parametrize("placed", [True, False])
def test_the_order_in_which_slices_come_is_no_matter(name: str, placed: bool) -> None:
    aggregator = made(name)
    vectors, owner, position = slices()
    generator = torch.Generator().manual_seed(1)
    order = torch.cat(
        [start + torch.randperm(n, generator=generator) for start, n in ((0, 3), (3, 1), (4, 7), (11, 2))]
    )
    before = aggregator(vectors, owner, 4, position if placed else None)
    after = aggregator(vectors[order], owner, 4, position[order] if placed else None)
    torch.testing.assert_close(after, before)


def test_the_transformer_sees_where_slices_lie() -> None:
    aggregator = made("transformer")
    vectors, owner, position = slices()
    assert not torch.allclose(aggregator(vectors, owner, 4, position), aggregator(vectors, owner, 4, 1 - position))


@pytest.mark.parametrize("name", ["mean", "max", "topk", "attention"])
def test_one_slice_stands_for_itself(name: str) -> None:
    vectors, owner, _ = slices([1, 1])
    torch.testing.assert_close(made(name)(vectors, owner, 2), vectors)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_a_case_without_slices_is_zero(name: str) -> None:
    aggregator = made(name)
    vectors, owner, position = slices([2, 0, 3])
    vectors.requires_grad_(True)
    found = aggregator(vectors, owner, 3, position)
    assert torch.equal(found[1], torch.zeros(aggregator.width_out))
    found.sum().backward()
    assert vectors.grad is not None
    assert bool(vectors.grad.isfinite().all())
    none = aggregator(torch.zeros(0, WIDTH), torch.zeros(0, dtype=torch.int64), 2, torch.zeros(0))
    assert torch.equal(none, torch.zeros(2, aggregator.width_out))


@pytest.mark.parametrize("name", AGGREGATORS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    small: dict[str, object] = {"inner": 4, "heads": 1, "layers": 1} if name == "transformer" else {}
    aggregator = made(name, **small).double()
    vectors, owner, position = slices()
    given = vectors.double().requires_grad_(True)
    counts = torch.tensor(COUNTS)
    parameters = tuple(aggregator.parameters())
    assert torch.autograd.gradcheck(
        lambda x, *_: aggregator.pool(x, owner, counts, position.double()), (given, *parameters)
    )


@pytest.mark.parametrize("name", AGGREGATORS)
def test_training_reaches_every_parameter(name: str) -> None:
    aggregator = made(name).train()
    vectors, owner, position = slices()
    aggregator(vectors.requires_grad_(True), owner, 4, position).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in aggregator.parameters())


def test_attention_says_how_much_each_slice_counted() -> None:
    aggregator = made("attention")
    vectors, owner, _ = slices()
    with torch.no_grad():
        aggregator.get_parameter("score.weight").mul_(1e3)  # far out, where a softmax without care overflows
    aggregator(vectors, owner, 4)
    weights = aggregator.weights
    assert weights is not None
    torch.testing.assert_close(torch.zeros(4).index_add(0, owner, weights), torch.ones(4))


def test_top_k_lies_between_the_maximum_and_the_mean() -> None:
    vectors, owner, _ = slices()
    torch.testing.assert_close(made("topk", k=1)(vectors, owner, 4), made("max")(vectors, owner, 4))
    torch.testing.assert_close(made("topk", k=99)(vectors, owner, 4), made("mean")(vectors, owner, 4))


def test_half_precision_slices_are_summed_in_float32() -> None:
    vectors = torch.full((3000, WIDTH), 1.0, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        found = made("mean")(vectors, torch.zeros(3000, dtype=torch.int64), 1)
    assert torch.equal(found, torch.ones(1, WIDTH))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("atention", {}, "Did you mean 'attention'"),
        ("mean", {"k": 3}, "no option 'k'"),
        ("topk", {"kk": 3}, "Did you mean 'k'"),
        ("topk", {"k": 0}, "at least 1"),
        ("attention", {"dropout": 1.0}, "Dropout"),
        ("transformer", {"inner": 10, "heads": 4}, "divisible"),
        ("transformer", {"layers": 0}, "at least one layer"),
    ],
)
def test_bad_requests_are_refused(name: str, options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_aggregator(name, WIDTH, **options)


@pytest.mark.parametrize(
    ("vectors", "owner", "said"),
    [
        (torch.zeros(3, 6), torch.tensor([0, 1, 0]), "ascend"),
        (torch.zeros(3, 6), torch.tensor([0, 1, 2]), "below"),
        (torch.zeros(3, 6), torch.tensor([0, 1]), "owners"),
        (torch.zeros(3), torch.tensor([0, 1, 1]), "vectors"),
    ],
)
def test_slices_that_are_no_bags_are_refused(vectors: Tensor, owner: Tensor, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        made("mean")(vectors, owner, 2)


def test_attention_has_no_constant_that_its_softmax_would_cancel() -> None:
    weights = {name: tuple(parameter.shape) for name, parameter in made("attention").named_parameters()}
    gates = {"value.weight": (5, WIDTH), "value.bias": (5,), "gate.weight": (5, WIDTH), "gate.bias": (5,)}
    assert weights == {**gates, "score.weight": (1, 5)}
