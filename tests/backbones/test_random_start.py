"""Where a vision transformer that is there to be trained starts from."""

import numpy as np
import pytest
import torch

from radapt.backbones.backbone import Backbone
from radapt.backbones.load import load_backbone


@pytest.fixture(scope="module")
def nano() -> Backbone:
    return load_backbone("vit-nano", "random:3")


def test_positions_are_those_of_timm_at_half_the_height(nano: Backbone) -> None:
    """In some order of the dimensions, and whichever of row and column comes first."""
    from timm.layers import build_sincos2d_pos_embed

    table = nano.module.pos_embed[0].detach()
    side = int(np.sqrt(table.shape[0]))
    first = table.shape[0] - side * side
    waves = build_sincos2d_pos_embed([side, side], dim=table.shape[1], interleave_sin_cos=False).view(side * side, -1)
    ours = 2 * table[first:].reshape(side, side, -1)
    theirs = waves.view(side, side, -1)
    for step in ((0, 1), (1, 0), (2, 3)):
        moved = ours[step[0], step[1]] - ours[0, 0]
        expected = (theirs[step[0], step[1]] - theirs[0, 0]).norm(), (theirs[step[1], step[0]] - theirs[0, 0]).norm()
        assert any(torch.isclose(moved.norm(), each, rtol=1e-4) for each in expected)
    assert table[:first].std() < 0.05


def test_attention_looks_at_what_is_alike(nano: Backbone) -> None:
    """Of 64 random tokens, most attend most to themselves; and takes off what it attends to."""
    tokens = torch.randn(64, nano.module.embed_dim, generator=torch.Generator().manual_seed(0))
    for block in nano.module.blocks:
        attention = block.attn
        query, key, value = attention.qkv(tokens).detach().chunk(3, dim=1)
        for head in range(attention.num_heads):
            part = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
            alike = query[:, part] @ key[:, part].T
            assert (alike.argmax(1) == torch.arange(64)).float().mean() > 0.8
        back = attention.proj(value).detach()
        assert torch.cosine_similarity(back, tokens, dim=1).mean() < -0.3


def test_it_depends_on_the_seed_alone(nano: Backbone) -> None:
    again, other = load_backbone("vit-nano", "random:3"), load_backbone("vit-nano", "random:4")
    for name, each in nano.module.state_dict().items():
        assert torch.equal(each, again.module.state_dict()[name])
    weights = nano.module.blocks[0].attn.qkv.weight
    assert not torch.equal(weights, other.module.blocks[0].attn.qkv.weight)


def test_signals_neither_fade_nor_grow(nano: Backbone) -> None:
    """Four blocks leave noise images apart from each other, on the scale that a norm gives."""
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = nano.module.forward_features(images)
    assert torch.isfinite(tokens).all()
    apart = torch.cdist(tokens[:, 0], tokens[:, 0])[~torch.eye(4, dtype=torch.bool)]
    assert apart.min() > 0.1


def test_what_stands_for_a_pretrained_encoder_is_plainly_random() -> None:
    attention = load_backbone("timm:test_vit", "random:3").module.blocks[0].attn
    query, key, _ = attention.qkv.weight.detach().chunk(3)
    assert abs(torch.cosine_similarity(query.flatten(), key.flatten(), dim=0)) < 0.1
