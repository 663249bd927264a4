"""Which parameters decay, and how fast each layer learns."""

import pytest
import torch
from torch import nn

from radapt.training import count_parameters, parameter_groups


def tower() -> nn.Module:
    """Two layers and a head; a position embedding and a frozen part."""
    module = nn.Module()
    module.pos_embed = nn.Parameter(torch.zeros(1, 4, 3))
    module.blocks = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    module.norm = nn.LayerNorm(3)
    module.head = nn.Linear(3, 2)
    module.frozen = nn.Linear(3, 100)
    return module


def layer_of(name: str) -> int:
    return int(name.split(".")[1]) + 1 if name.startswith("blocks") else 0 if name == "pos_embed" else 3


def frozen_tower() -> nn.Module:
    module = tower()
    module.frozen.requires_grad_(False)
    return module


def test_matrices_decay_and_nothing_else_does() -> None:
    module = frozen_tower()
    groups = parameter_groups(module)
    decayed = {id(each) for group in groups if group.decay for each in group.parameters}
    assert decayed == {id(each.weight) for each in (*module.blocks, module.head)}


def test_each_trained_parameter_is_in_one_group_and_frozen_ones_in_none() -> None:
    module = frozen_tower()
    members = [id(each) for group in parameter_groups(module) for each in group.parameters]
    assert sorted(members) == sorted(id(each) for each in module.parameters() if each.requires_grad)


def test_layers_learn_slower_the_further_they_are_from_the_head() -> None:
    module = frozen_tower()
    groups = parameter_groups(module, layer_of=layer_of, layers=3, layer_decay=0.5)
    scale = {id(each): group.lr_scale for group in groups for each in group.parameters}
    assert scale[id(module.head.weight)] == scale[id(module.norm.bias)] == 1
    assert scale[id(module.blocks[1].bias)] == 0.5
    assert scale[id(module.blocks[0].weight)] == 0.25
    assert scale[id(module.pos_embed)] == 0.125


def test_parameters_are_counted_once_and_buffers_not() -> None:
    module = frozen_tower()
    trained = 12 + 2 * 12 + 6 + 8
    assert count_parameters(module) == (trained, trained + 400)
    module.tied = module.head
    module.register_buffer("extra", torch.zeros(50))
    assert count_parameters(module) == (trained, trained + 400)


@pytest.mark.parametrize("module", [nn.BatchNorm2d(3), nn.Embedding(2, 1)])
def test_scales_of_a_norm_do_not_decay(module: nn.Module) -> None:
    assert [group.decay for group in parameter_groups(module)] == [isinstance(module, nn.Embedding)]
