"""What holds for the tokens of every kind of encoder."""

import copy

import numpy as np
import pytest
import torch

from radapt.backbones import load_backbone
from radapt.errors import UsageError

TINY_DINOV3 = "timm:vit_tiny_patch16_dinov3_qkvb"
KINDS = ("tiny", "timm:resnet10t", "timm:test_convnext", TINY_DINOV3)


@pytest.fixture(params=KINDS)
def backbone(request, tiny):
    return load_backbone(request.param, "random:3")


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_an_image_does_not_know_its_batch(backbone):
    batch = images(3, 3, 64, 96)
    with torch.no_grad():
        together, alone = backbone.tokens(batch), backbone.tokens(batch[1:2])
    torch.testing.assert_close(together.cls[1:2], alone.cls, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.patches[1:2], alone.patches, atol=1e-5, rtol=1e-4)


def test_images_differ_so_do_their_tokens(backbone):
    with torch.no_grad():
        cls = backbone.tokens(images(2, 3, 64, 64)).cls
        assert float((cls[0] - cls[1]).norm() / cls[0].norm()) > 1e-3


def test_bytes_grey_and_floats_are_the_same_image(backbone):
    grey = (images(1, 1, 50, 70) * 255).to(torch.uint8)
    with torch.no_grad():
        as_bytes = backbone.tokens(grey).patches
        as_floats = backbone.tokens((grey / 255).expand(1, 3, 50, 70)).patches
    torch.testing.assert_close(as_bytes, as_floats, atol=1e-4, rtol=1e-4)


def test_bytes_of_a_size_that_fits_are_the_floats_over_255(backbone):
    """Nothing is resized here, so that the scale of bytes is part of the normalisation."""
    white = torch.full((1, 3, 64, 64), 255, dtype=torch.uint8)
    images_of_bytes = torch.cat([white, (images(1, 3, 64, 64) * 255).to(torch.uint8)])
    with torch.no_grad():
        as_bytes, as_floats = backbone.tokens(images_of_bytes), backbone.tokens(images_of_bytes / 255)
    torch.testing.assert_close(as_bytes.patches, as_floats.patches, atol=1e-4, rtol=1e-4)


def test_sides_are_rounded_to_the_nearest_multiple_of_the_patch(backbone):
    patch = backbone.card.patch
    half = 2 * patch + patch // 2
    assert backbone.grid(half, half - 1) == (3, 2)
    assert backbone.grid(half + 1, 1) == (3, 1)
    assert backbone.tokens(images(1, 3, half, half - 1)).patches.shape[1:3] == (3, 2)


def test_layers_come_in_the_order_asked_for(backbone):
    x = images(1, 3, 64, 64)
    with torch.no_grad():
        swapped = backbone.tokens(x, layers=(-1, -2))
        straight = backbone.tokens(x, layers=(-2, -1))
    for left, right in zip(swapped.layers, reversed(straight.layers), strict=True):
        torch.testing.assert_close(left.cls, right.cls)
    torch.testing.assert_close(swapped.cls, straight.cls)
    torch.testing.assert_close(swapped.cls, swapped.layers[0].cls)


def test_gradients_reach_every_parameter_the_tokens_use(backbone):
    tokens = backbone.tokens(images(1, 3, 64, 64), gradients=True)
    (tokens.cls.square().sum() + tokens.patches.square().sum()).backward()
    silent = [name for name, p in backbone.module.named_parameters() if p.grad is None]
    assert not [name for name in silent if "head" not in name and "norm" not in name]


def test_tokens_follow_the_module_when_it_changes(tiny):
    backbone = load_backbone("tiny", "random")
    x = images(1, 3, 42, 42)
    with torch.no_grad():
        before = backbone.tokens(x).cls
        backbone.module.pos_embed.add_(torch.randn(1, 1, 24))
        after = backbone.tokens(x).cls
    assert not torch.allclose(before, after)
    twin = copy.deepcopy(backbone)
    with torch.no_grad():
        twin.module.cls_token.add_(1)
        torch.testing.assert_close(backbone.tokens(x).cls, after)


def test_inference_mode_first_and_training_later(tiny):
    """What inference left behind (the position table of a size) neither stops training nor changes a gradient."""
    found = []
    for inferred in (True, False):
        backbone = load_backbone("tiny", "random")
        if inferred:
            with torch.inference_mode():
                backbone.tokens(images(1, 3, 42, 70))
        backbone.module.pos_embed.requires_grad_(False)
        backbone.tokens(images(1, 3, 42, 70), gradients=True).cls[
            :, 0
        ].sum().backward()  # the sum of all is 0 after the final norm
        trained = {name: value.grad for name, value in backbone.module.named_parameters() if value.grad is not None}
        found.append(trained)
    assert found[0].keys() == found[1].keys()
    assert "pos_embed" not in found[0]
    assert float(found[0]["patch_embed.proj.weight"].norm()) > 1e-6
    torch.testing.assert_close(found[0], found[1])


def test_bfloat16_is_near_and_its_tokens_are_float32(tiny):
    exact, coarse = (load_backbone("tiny", "random", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert coarse.dtype == torch.bfloat16
    with torch.no_grad():
        a, b = (each.tokens(images(2, 3, 56, 56)).patches for each in (exact, coarse))
    assert b.dtype == torch.float32
    assert float((a - b).norm() / a.norm()) < 0.03


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(3, 64, 64),
        torch.zeros(1, 2, 64, 64),
        torch.zeros(0, 3, 64, 64),
        torch.zeros(1, 3, 64, 64, dtype=torch.int64),
        torch.full((1, 3, 64, 64), 200.0),
        torch.full((1, 3, 64, 64), -2.0),
        np.zeros((1, 3, 64, 64), dtype=np.float32),
        [[1.0]],
    ],
)
def test_what_is_no_image_is_refused(wrong, tiny):
    with pytest.raises(UsageError, match="Images should"):
        load_backbone("tiny", "random").tokens(wrong)


@pytest.mark.parametrize("layers", [(), (0,), (-4,), (1, -1)])
def test_layers_that_do_not_exist_are_refused(layers, tiny):
    with pytest.raises(UsageError, match=r"-1 \(the last\) to -3"):
        load_backbone("tiny", "random").tokens(images(1, 3, 56, 56), layers=layers)


def test_an_array_is_told_from_a_tensor(tiny):
    with pytest.raises(UsageError, match=r"torch tensor .* not numpy\.ndarray\. torch\.from_numpy"):
        load_backbone("tiny", "random").tokens(np.zeros((1, 3, 64, 64), dtype=np.float32))


def test_many_wrong_layers_are_counted_not_listed():
    with pytest.raises(UsageError) as caught:
        load_backbone("resnet50", "random").widths(range(-99, 0))
    expected = "resnet50 has 5 layers, counted from the end: -1 (the last) to -5. Asked for: 99 layers from -99 to -1."
    assert str(caught.value) == expected


def test_at_its_native_size_a_vit_is_timms():
    backbone = load_backbone("timm:test_vit", "random")
    module, side = backbone.module, backbone.card.native_size
    x = images(2, 3, side, side)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.card.mean, backbone.card.std))
    with torch.no_grad():
        expected = module.forward_features((x - mean) / std)
        tokens = backbone.tokens(x)
    torch.testing.assert_close(tokens.cls, expected[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tokens.patches.flatten(1, 2), expected[:, 1:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["timm:resnet10t", "timm:test_convnext", pytest.param("densenet121", marks=pytest.mark.slow)]
)
def test_a_cnn_is_timms(name):
    backbone = load_backbone(name, "random")
    x = images(1, 3, 64, 96)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.card.mean, backbone.card.std))
    with torch.no_grad():
        expected = backbone.module((x - mean) / std)  # pooled (and normalised) features, as timm gives them
        torch.testing.assert_close(backbone.tokens(x).cls, expected, atol=1e-4, rtol=1e-4)


def test_dinov3_is_timms():
    backbone = load_backbone(TINY_DINOV3, "random")
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.card.mean, backbone.card.std))
    x = images(1, 3, 64, 96)
    with torch.no_grad():
        expected = backbone.module.forward_features((x - mean) / std)
        tokens = backbone.tokens(x)
    torch.testing.assert_close(tokens.cls, expected[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tokens.patches.flatten(1, 2), expected[:, 5:], atol=1e-5, rtol=1e-5)


def test_tokens_carry_gradients_only_if_asked() -> None:
    backbone = load_backbone("timm:test_vit", "random")
    assert not backbone.tokens(images(1, 3, 56, 56)).cls.requires_grad
    assert backbone.tokens(images(1, 3, 56, 56), gradients=True).cls.requires_grad
    with torch.no_grad():
        assert not backbone.tokens(images(1, 3, 56, 56), gradients=True).cls.requires_grad
