"""The U-Net of a plan: shapes at every resolution, equal weights for equal seeds, and that it learns."""

import copy

import pytest
import torch
from safetensors.torch import save

from radapt.errors import UsageError
from radapt.networks.unet.architecture import Budget, Channel, Fingerprint, UNetPlan, plan_unet
from radapt.networks.unet.network import build_unet, dynunet

GREY = Channel("t1", 0.0, 1.0, 0.5, 0.2, 0.0)


def small_plan(dims: int, shape: tuple[int, ...] = (32, 32, 16), mm: tuple[float, ...] = (1.0, 1.0, 1.0)) -> UNetPlan:
    return plan_unet(Fingerprint("mri", (shape,), (mm,), (GREY,)), dims, Budget(features=4))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("mm", [(1.0, 1.0, 1.0), (1.0, 1.0, 4.0)])
def test_training_gives_every_resolution_and_eval_the_full_one(dims: int, mm: tuple[float, ...]) -> None:
    made = small_plan(dims, mm=mm)
    net = build_unet(made, 2, 3)
    x = torch.randn(2, 2, *made.patch)
    maps = net.train()(x)
    assert tuple(maps[0].shape) == (2, 3, *made.patch)
    assert len(maps) == max(1, len(made.strides) - 3) + 1
    steps = torch.tensor(made.strides).cumprod(0)
    for found, step in zip(maps, steps, strict=False):
        assert tuple(found.shape[2:]) == tuple(side // int(n) for side, n in zip(made.patch, step, strict=True))
    assert torch.allclose(net.eval()(x), maps[0], atol=1e-5)  # instance norm knows no batch statistics


@pytest.mark.parametrize("dims", [2, 3])
def test_it_is_monais_network(dims: int) -> None:
    """The same blocks give the same logits as DynUNet's own forward, full and lower resolutions."""
    made = small_plan(dims, shape=(48, 64, 32))
    with torch.random.fork_rng():
        torch.manual_seed(7)
        theirs = dynunet(made, 1, 3)
    ours = build_unet(made, 1, 3, seed=7)
    x = torch.randn(1, 1, *made.patch)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
    stacked, maps = theirs.train()(x), ours.train()(x)
    assert stacked.shape[1] == len(maps) > 2
    for number, found in enumerate(maps):
        enlarged = torch.nn.functional.interpolate(found, made.patch)
        assert torch.equal(stacked[:, number], enlarged)


def test_every_parameter_learns() -> None:
    made = small_plan(3)
    net = build_unet(made, 1, 2).train()
    sum(found.square().mean() for found in net(torch.randn(1, 1, *made.patch))).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


def test_the_seed_decides_the_weights_and_the_random_state_is_left_alone() -> None:
    made = small_plan(2)
    before = torch.get_rng_state()
    first, same, other = (build_unet(made, 1, 2, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_it_can_be_copied_and_saved_after_a_training_step() -> None:
    made = small_plan(2)
    net = build_unet(made, 1, 2).train()
    net(torch.randn(1, 1, *made.patch))[0].mean().backward()
    copied = copy.deepcopy(net).eval()
    save(net.state_dict())  # refuses weights that stand under two names
    x = torch.randn(1, 1, *made.patch)
    assert torch.equal(copied(x), net.eval()(x))


def test_it_learns_to_find_a_bright_square() -> None:
    made = small_plan(2)
    net = build_unet(made, 1, 2).train()
    made_of = torch.Generator().manual_seed(0)
    labels = torch.zeros(8, *made.patch, dtype=torch.int64)
    for number in range(8):
        row, column = (int(n) for n in torch.randint(0, 16, (2,), generator=made_of))
        labels[number, row : row + 10, column : column + 10] = 1
    images = labels[:, None] + 0.3 * torch.randn(8, 1, *made.patch, generator=made_of)
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(net(images)[0], labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]


@pytest.mark.parametrize("side", [(1, 1, 33, 32), (1, 1, 32, 30)])
def test_a_patch_that_cannot_be_halved_is_said(side: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="multiple"):
        build_unet(small_plan(2), 1, 2)(torch.zeros(side))
