"""DINOv2's tokens against the official implementation.

The figures in data/ were computed in float32 on a CPU with the official DINOv2 code (`dinov2_vits14`, position
embedding interpolated the original way, and `dinov2_vits14_reg4`, the register way) on weights and images that a
seed regenerates as below; a few rows of them are kept here.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from radapt.backbones import load_backbone

DATA = Path(__file__).parent / "data"
WIDTH, DEPTH = 384, 12


def official_shapes(registers: int) -> dict[str, tuple[int, ...]]:
    shapes = {
        "cls_token": (1, 1, WIDTH), "pos_embed": (1, 1370, WIDTH), "mask_token": (1, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 14, 14), "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,), "norm.bias": (WIDTH,),
    }  # fmt: skip
    if registers:
        shapes["register_tokens"] = (1, registers, WIDTH)
    block = {
        "norm1.weight": (WIDTH,), "norm1.bias": (WIDTH,), "attn.qkv.weight": (3 * WIDTH, WIDTH),
        "attn.qkv.bias": (3 * WIDTH,), "attn.proj.weight": (WIDTH, WIDTH), "attn.proj.bias": (WIDTH,),
        "ls1.gamma": (WIDTH,), "norm2.weight": (WIDTH,), "norm2.bias": (WIDTH,),
        "mlp.fc1.weight": (4 * WIDTH, WIDTH), "mlp.fc1.bias": (4 * WIDTH,), "mlp.fc2.weight": (WIDTH, 4 * WIDTH),
        "mlp.fc2.bias": (WIDTH,), "ls2.gamma": (WIDTH,),
    }  # fmt: skip
    for index in range(DEPTH):
        shapes |= {f"blocks.{index}.{name}": shape for name, shape in block.items()}
    return shapes


def official_weights(registers: int, seed: int) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in sorted(official_shapes(registers).items()):
        x = rng.standard_normal(shape, dtype=np.float32)
        if name.endswith("gamma"):
            x = 0.5 + 0.1 * x
        elif name.endswith("weight") and "norm" in name:
            x = 1 + 0.1 * x
        elif name.endswith("bias"):
            x = 0.05 * x
        elif name in ("cls_token", "mask_token", "pos_embed", "register_tokens"):
            x = 0.5 * x
        else:
            x = x / math.sqrt(math.prod(shape[1:]))
        weights[name] = torch.from_numpy(np.asarray(x, dtype=np.float32))
    return weights


@pytest.mark.parametrize(
    ("backbone", "figures", "registers", "seed"),
    [("dinov2-s", "dinov2_vits14", 0, 14), ("dinov2-s-reg", "dinov2_vits14_reg4", 4, 15)],
)
def test_tokens_are_the_official_ones(tmp_path, backbone, figures, registers, seed):
    torch.save(official_weights(registers, seed), tmp_path / "official.pth")
    encoder = load_backbone(backbone, tmp_path / "official.pth")
    assert "official DINOv2 names" in encoder.notes
    with np.load(DATA / f"{figures}.npz") as expected, torch.no_grad():
        for side in (518, 224, 98):
            images = np.random.default_rng([seed, side, side]).random((2, 3, side, side), dtype=np.float32)
            tokens = encoder.tokens(torch.from_numpy(images[:1]), layers=(-4, -3, -2, -1))
            key = f"{side}x{side}"
            some = tokens.patches.flatten(1, 2)[:, expected[f"{key}/patch_index"]]
            last4 = torch.stack([layer.cls for layer in tokens.layers])
            for got, name in ((tokens.cls, "cls"), (some, "patches"), (last4, "last4_cls")):
                np.testing.assert_allclose(got, expected[f"{key}/{name}"], atol=1e-4, rtol=0, err_msg=f"{key} {name}")
