"""Schedules against their formulas, and how fast each part of an adapted encoder learns."""

import math

import pytest
import torch
from torch import nn

from radapt.errors import UsageError
from radapt.mmdino.param_groups import adaptation_groups
from radapt.mmdino.schedules import cosine, linear, momentum, teacher_temperature
from radapt.training import Group


def test_the_cosine_is_that_of_dino() -> None:
    """Values of the official cosine_scheduler: final + 0.5 · (base − final) · (1 + cos(π · i / n)), after a linear
    warm-up."""
    found = [cosine(step, 10, 2.0, 1.0, warmup=0.2) for step in range(10)]
    assert found[:2] == [0.0, 1.0]
    assert found[2:] == pytest.approx([1 + 0.5 * (1 + math.cos(math.pi * i / 8)) for i in range(8)])
    assert cosine(10, 10, 2.0, 1.0) == 1.0
    assert cosine(10, 10, 2.0, 1.0, warmup=1.0) == 2.0  # the warm-up has just ended


def test_momentum_goes_from_its_start_to_one() -> None:
    found = [momentum(step, 100) for step in range(101)]
    assert (found[0], found[100]) == (0.992, 1.0)
    assert found == sorted(found)
    assert found[50] == pytest.approx(0.996)


def test_the_teachers_temperature_rises_in_a_line_and_stays() -> None:
    found = [teacher_temperature(step, 200) for step in range(200)]
    assert (found[0], found[15], found[30], found[199]) == pytest.approx((0.04, 0.055, 0.07, 0.07))
    assert linear(0, 100, 0.04, 0.07, share=0.0) == 0.07


class Encoder(nn.Module):
    """Names as in a ViT of timm with two blocks, an adapter's neighbours and an embedding of its own."""

    def __init__(self) -> None:
        super().__init__()
        vit = nn.Module()
        vit.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        vit.pos_embed = nn.Parameter(torch.zeros(1, 5, 4))
        vit.patch_embed = nn.Module()
        vit.patch_embed.proj = nn.Conv2d(3, 4, 2)
        vit.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        vit.norm = nn.LayerNorm(4)
        self.vit = vit
        self.modality_embedding = nn.Parameter(torch.zeros(3, 4))


def tower() -> nn.Module:
    module = nn.Module()
    module.encoder = Encoder()
    module.head = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 16, bias=False))
    module.teacher = nn.Linear(4, 4).requires_grad_(False)
    return module


def placed(module: nn.Module, **options: float) -> dict[str, Group]:
    groups = adaptation_groups(module, module.encoder.vit, last=[module.head[1]], **options)
    names = {id(each): name for name, each in module.named_parameters()}
    found = [(names[id(each)], group) for group in groups for each in group.parameters]
    assert len(found) == len(dict(found))
    return dict(found)


def test_layers_learn_slower_towards_the_image_and_new_parts_at_once() -> None:
    found = placed(tower(), layer_decay=0.5)
    rates = {name: group.lr_scale for name, group in found.items()}
    assert rates["encoder.vit.patch_embed.proj.weight"] == pytest.approx(0.2 / 8)
    assert rates["encoder.vit.cls_token"] == rates["encoder.vit.pos_embed"] == 1 / 8
    assert (rates["encoder.vit.blocks.0.bias"], rates["encoder.vit.blocks.1.weight"]) == (1 / 4, 1 / 2)
    for name in ("encoder.vit.norm.weight", "encoder.modality_embedding", "head.0.weight", "head.1.weight"):
        assert rates[name] == 1


def test_the_backbone_waits_and_so_do_prototypes_for_a_shorter_time() -> None:
    found = placed(tower())
    waits = {name: group.frozen for name, group in found.items()}
    assert {wait for name, wait in waits.items() if name.startswith("encoder.vit.")} == {0.05}
    assert (waits["encoder.modality_embedding"], waits["head.0.weight"], waits["head.1.weight"]) == (0, 0, 0.005)


def test_every_trained_parameter_is_placed_and_decay_is_as_elsewhere() -> None:
    module = tower()
    found = placed(module)
    assert found.keys() == {name for name, each in module.named_parameters() if each.requires_grad}
    assert not found["encoder.vit.pos_embed"].decay
    assert not found["encoder.vit.norm.weight"].decay
    assert found["encoder.vit.blocks.0.weight"].decay


def test_parts_of_something_else_are_refused() -> None:
    module = tower()
    with pytest.raises(UsageError, match="have to be submodules of the module"):
        adaptation_groups(module, Encoder().vit)
    with pytest.raises(UsageError, match="have to be submodules of the module"):
        adaptation_groups(module, module.encoder.vit, last=[nn.Linear(2, 2)])
