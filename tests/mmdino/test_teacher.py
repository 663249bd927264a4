"""The teacher against its formula, shared weights, modes and copies."""

import copy
import pickle

import pytest
import torch
from torch import nn

from radapt.mmdino.teacher import Teacher


def student() -> nn.Module:
    """A trained layer, a frozen one and a norm with buffers."""
    torch_rng = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.9), nn.Linear(4, 2))
    for each in module.parameters():
        each.data = torch.randn(each.shape, generator=torch_rng)
    module[3].weight.requires_grad_(False)
    return module


def moved(module: nn.Module, by: float = 1.0) -> None:
    with torch.no_grad():
        for each in module.parameters():
            if each.requires_grad:
                each += by
    module[1].running_mean.fill_(7.0)
    module[1].num_batches_tracked.fill_(5)


def test_it_is_the_moving_average_of_its_student() -> None:
    """After steps of +1 with momentum 0.75: by hand, ((0 · 0.75 + 1 · 0.25) · 0.75 + 2 · 0.25)."""
    learner = student()
    before = copy.deepcopy(learner)
    teacher = Teacher(learner)
    for _ in range(2):
        moved(learner)
        teacher.update(learner, 0.75)
    wanted = (1 * 0.25) * 0.75 + 2 * 0.25
    for name in ("0.weight", "0.bias", "1.weight", "1.bias", "3.bias"):
        torch.testing.assert_close(teacher.network.get_parameter(name), before.get_parameter(name) + wanted)
    assert torch.equal(teacher.network[1].running_mean, torch.full((4,), 7.0))
    assert int(teacher.network[1].num_batches_tracked) == 5


@pytest.mark.parametrize(("momentum", "follows"), [(1.0, False), (0.0, True)])
def test_momentum_one_stays_and_zero_copies(momentum: float, follows: bool) -> None:
    learner = student()
    teacher = Teacher(learner)
    moved(learner)
    teacher.update(learner, momentum)
    assert torch.equal(teacher.network[0].weight, learner[0].weight) == follows


def test_what_is_frozen_is_shared_and_not_in_its_state() -> None:
    learner = student()
    teacher = Teacher(learner)
    assert teacher.network[3].weight is learner[3].weight
    assert teacher.network[3].bias is not learner[3].bias
    buffers = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert teacher.state().keys() == {"0.weight", "0.bias", "1.weight", "1.bias", "3.bias"} | buffers
    assert all(each.requires_grad for name, each in learner.named_parameters() if name != "3.weight")
    assert not any(each.requires_grad for each in teacher.parameters())


def test_its_state_is_live() -> None:
    teacher = Teacher(student())
    teacher.state()["0.bias"].fill_(3.0)
    assert torch.equal(teacher.network[0].bias, torch.full((4,), 3.0))


def test_it_drops_nothing_and_learns_nothing_whatever_mode_it_is_put_in() -> None:
    learner = student()
    module = nn.ModuleList([learner, Teacher(learner)])
    module.train()
    assert learner.training
    assert not any(each.training for each in module[1].modules())
    given = torch.randn(5, 3, requires_grad=True)
    found = module[1](given)
    assert not found.requires_grad
    assert torch.equal(found, module[1](given))


def test_adapters_are_followed_and_the_weights_beside_them_shared() -> None:
    from peft import LoraConfig, inject_adapter_in_model

    learner = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2))
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["0"], init_lora_weights=True), learner)
    learner[2].requires_grad_(False)
    teacher = Teacher(learner)
    assert teacher.network[0].base_layer.weight is learner[0].base_layer.weight
    assert all("lora" in name for name in teacher.state())
    given = torch.randn(4, 6)
    assert torch.equal(teacher(given), learner(given))
    with torch.no_grad():
        learner[0].lora_B["default"].weight.fill_(0.5)
    assert not torch.equal(teacher(given), learner(given))
    teacher.update(learner, 0.0)
    assert torch.equal(teacher(given), learner(given))


def test_sent_to_another_process_it_still_shares() -> None:
    learner = student()
    again = pickle.loads(pickle.dumps(nn.ModuleList([learner, Teacher(learner)])))
    assert again[1].network[3].weight is again[0][3].weight


def test_tied_weights_stay_tied() -> None:
    learner = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    learner[1].weight = learner[0].weight
    teacher = Teacher(learner)
    assert teacher.network[1].weight is teacher.network[0].weight is not learner[0].weight
    with torch.no_grad():
        learner[0].weight.fill_(2.0)
    teacher.update(learner, 0.0)
    assert torch.equal(teacher.network[1].weight, torch.full((3, 3), 2.0))
