"""Every decoder on maps of ViTs and CNNs, odd sizes, and few layers; fusion of modalities that may be missing."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from radapt.errors import UsageError
from radapt.networks.decoders.base import Decoder
from radapt.networks.decoders.dpt import _Fusion, _resample
from radapt.networks.decoders.fusion import Fusion, SegmentationHead
from radapt.networks.decoders.layers import doubled, finest, group_norm, pyramid_factors, resized
from radapt.networks.decoders.registry import DECODERS, decoder_layers, make_decoder

NAMES = sorted(DECODERS)
VIT = [(5, 6, 12)] * 5
CNN = [(24, 28, 8), (12, 14, 12), (6, 7, 16), (3, 4, 20), (2, 2, 24)]
SIZE = (67, 81)


def built(name: str, shapes: list[tuple[int, ...]], outputs: int = 3) -> tuple[Decoder, list[torch.Tensor]]:
    """A decoder and the maps it reads, the deepest of `shapes` (h, w, D)."""
    read = [shapes[layer] for layer in range(-min(DECODERS[name].reads, len(shapes)), 0)]
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, *shape, generator=generator) for shape in read]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = make_decoder(name, [shape[-1] for shape in read], outputs)
    return decoder, maps


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shapes", [VIT, CNN, VIT[:2], CNN[-1:]], ids=["vit", "cnn", "two-blocks", "one-stage"])
@pytest.mark.parametrize("size", [SIZE, (5, 6), (1, 3)], ids=str)
def test_a_logit_for_every_pixel(name: str, shapes: list[tuple[int, ...]], size: tuple[int, int]) -> None:
    decoder, maps = built(name, shapes)
    logits = decoder(maps, size)
    assert logits.shape == (2, 3, *size)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shapes", [VIT, CNN, VIT[:1]], ids=["vit", "cnn", "one"])
def test_every_parameter_and_every_map_has_a_say(name: str, shapes: list[tuple[int, ...]]) -> None:
    """A parameter without a gradient would be counted as trained, and stop training on several devices."""
    decoder, maps = built(name, shapes)
    for m in maps:
        m.requires_grad_()
    decoder(maps, SIZE).square().sum().backward()
    assert [n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert all(m.grad.any() for m in maps)


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_not_cut_off(name: str) -> None:
    """The study's decoders ended in a ReLU: half of what a logit can say."""
    decoder, maps = built(name, VIT)
    logits = decoder(maps, SIZE)
    assert (logits < 0).float().mean() > 0.05
    assert (logits > 0).float().mean() > 0.05


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_does_not_depend_on_its_batch(name: str) -> None:
    decoder, maps = built(name, VIT)
    decoder.train()
    whole = decoder(maps, SIZE)
    alone = decoder([m[:1] for m in maps], SIZE)
    torch.testing.assert_close(whole[:1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_right_is_right(name: str) -> None:
    """Tokens that differ on the right side only change pixels of the right side most: no axis is swapped."""
    decoder, maps = built(name, VIT)
    changed = [m.clone() for m in maps]
    for m in changed:
        m[:, :, -1] = m[:, :, -1].flip(-1)
    moved = (decoder(maps, (60, 72)) - decoder(changed, (60, 72))).abs().mean((0, 1))
    assert moved[:, -12:].mean() > 2 * moved[:, :12].mean()
    assert moved[:30].mean() > 0.3 * moved[:, -12:].mean() * 12 / 72
    assert moved[30:].mean() > 0.3 * moved[:, -12:].mean() * 12 / 72


def test_a_linear_decoder_is_linear_in_the_normalised_tokens() -> None:
    decoder, maps = built("linear", VIT)
    project = decoder.project  # type: ignore[attr-defined]
    assert sum(p.numel() for p in project.linear.parameters()) == 12 * 3 + 3
    by_hand = F.layer_norm(maps[0], (12,)) @ project.linear.weight.T + project.linear.bias
    expected = F.interpolate(by_hand.permute(0, 3, 1, 2), size=SIZE, mode="bilinear")
    torch.testing.assert_close(decoder(maps, SIZE), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("before", "after"), [((5, 7), (64, 33)), ((9, 9), (4, 5)), ((1, 1), (3, 3)), ((6, 4), (6, 9))]
)
def test_resizing_by_products_is_torch_s(before: tuple[int, int], after: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *before, generator=torch.Generator().manual_seed(1))
    expected = F.interpolate(maps, size=after, mode="bilinear", align_corners=False)
    torch.testing.assert_close(resized(maps, after), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "depth", "expected"),
    [
        ("conv", 12, (-10, -7, -4, -1)),  # blocks 3, 6, 9 and 12
        ("dpt", 24, (-19, -13, -7, -1)),
        ("unet", 40, (-33, -25, -17, -9, -1)),
        ("unet", 5, (-5, -4, -3, -2, -1)),  # a ResNet's stem and stages
        ("upernet", 5, (-4, -3, -2, -1)),
        ("conv", 3, (-3, -2, -1)),  # fewer than it wants: all there are
        ("conv", 1, (-1,)),
        ("linear", 12, (-1,)),
    ],
)
def test_layers_are_read_at_even_distances(name: str, depth: int, expected: tuple[int, ...]) -> None:
    assert decoder_layers(name, depth) == expected


@pytest.mark.parametrize("name", NAMES)
def test_layers_exist_rise_and_end_with_the_last(name: str) -> None:
    for depth in range(1, 49):
        layers = decoder_layers(name, depth)
        assert len(layers) == min(depth, DECODERS[name].reads)
        assert list(layers) == sorted(set(layers))
        assert layers[0] >= -depth
        assert layers[-1] == -1


def test_blocks_of_one_size_become_a_pyramid() -> None:
    assert pyramid_factors((8, 8, 8, 8), None) == (4, 2, 1, 0.5)
    assert pyramid_factors((8, 16, 32, 64), None) == (1, 1, 1, 1)
    assert pyramid_factors((8, 8, 8, 8), False) == (1, 1, 1, 1)
    assert pyramid_factors((8,), None) == (1,)
    assert pyramid_factors((8, 8), None) == (1, 0.5)


@pytest.mark.parametrize("channels", [1, 3, 8, 12, 17, 64])
def test_groups_divide_channels(channels: int) -> None:
    assert channels % group_norm(channels).num_groups == 0


def test_groups_are_eight_or_the_most_that_divide() -> None:
    assert [group_norm(channels).num_groups for channels in (64, 12, 9, 7, 17)] == [8, 6, 3, 7, 1]


@pytest.mark.parametrize(
    ("name", "widths", "outputs", "options", "words"),
    [
        ("unett", (8,), 2, {}, "Did you mean 'unet'"),
        ("conv", (8,), 2, {"widht": 8}, "Did you mean 'width'"),
        ("linear", (8,), 2, {"width": 8}, "no option 'width'"),
        ("conv", (8,), 2, {"width": 0}, "from 1"),
        ("conv", (8,), 1, {}, "two outputs"),
        ("conv", (), 2, {}, "at least one map"),
    ],
)
def test_what_cannot_be_built_is_refused(
    name: str, widths: tuple[int, ...], outputs: int, options: dict, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        make_decoder(name, widths, outputs, **options)


@pytest.mark.parametrize("shapes", [[(2, 3, 3, 7)] * 4, [(2, 3, 3, 8)] * 3, [(2, 3, 8)] * 4, []])
def test_maps_of_another_encoder_are_refused(shapes: list[tuple[int, ...]]) -> None:
    decoder = make_decoder("conv", (8, 8, 8, 8), 2)
    with pytest.raises(UsageError, match="reads maps"):
        decoder([torch.zeros(shape) for shape in shapes], SIZE)


def fusion(modalities: int, widths: tuple[int, ...] = (6, 8), width: int = 5) -> Fusion:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Fusion(widths, modalities, width)


def test_one_modality_passes_as_it_is() -> None:
    module = fusion(1)
    maps = [torch.randn(2, 1, 3, 4, 6), torch.randn(2, 1, 2, 2, 8)]
    out = module(maps, torch.ones(2, 1, dtype=torch.bool))
    assert not list(module.parameters())
    assert module.widths == (6, 8)
    assert all(torch.equal(o, m[:, 0]) for o, m in zip(out, maps, strict=True))


def test_what_a_missing_modality_holds_does_not_matter_and_it_is_not_zero() -> None:
    module = fusion(3)
    maps = [torch.randn(2, 3, 3, 4, 6), torch.randn(2, 3, 2, 2, 8)]
    present = torch.tensor([[True, True, True], [True, False, True]])
    out = module(maps, present)
    assert [tuple(o.shape) for o in out] == [(2, 3, 4, 5), (2, 2, 2, 5)]
    for m in maps:
        m[1, 1] = torch.nan
    assert all(torch.equal(a, b) for a, b in zip(out, module(maps, present), strict=True))
    with torch.no_grad():
        for absent in module.absent:
            absent += 1
    shifted = module(maps, present)
    torch.testing.assert_close(shifted[0][0], out[0][0])  # nothing is missing in the first case
    torch.testing.assert_close(shifted[0][1], out[0][1] + 3**-0.5)


def test_a_missing_modality_sends_no_gradient_astray() -> None:
    module = fusion(2)
    maps = [torch.randn(2, 2, 3, 4, 6), torch.randn(2, 2, 2, 2, 8)]
    maps[0][0, 1] = torch.nan
    present = torch.tensor([[True, False], [True, True]])
    sum(o.square().sum() for o in module(maps, present)).backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in module.parameters())


def test_modalities_are_told_apart() -> None:
    module = fusion(2)
    maps = [torch.randn(1, 2, 3, 4, 6), torch.randn(1, 2, 2, 2, 8)]
    there = torch.ones(1, 2, dtype=torch.bool)
    swapped = module([m.flip(1) for m in maps], there)
    assert not torch.allclose(module(maps, there)[0], swapped[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_head_learns_two_quadrants(name: str) -> None:
    """Tokens say where the label is; forty steps on four images are enough for every decoder."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.zeros(4, 8, 8, dtype=torch.int64)
    for image, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        truth[image, row : row + 4, column : column + 4] = 1
    layers = len(decoder_layers(name, 12))
    small = {} if name == "linear" else {"width": 16}
    codes = torch.randn(2, 12, generator=generator)
    maps = [codes[truth][:, None] + 0.1 * torch.randn(4, 1, 8, 8, 12, generator=generator) for _ in range(layers)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = SegmentationHead(Fusion((12,) * layers, 1), make_decoder(name, (12,) * layers, 2, **small))
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-2)
    wanted = truth.repeat_interleave(2, 1).repeat_interleave(2, 2)
    present = torch.ones(4, 1, dtype=torch.bool)
    for _ in range(40):
        optimiser.zero_grad()
        F.cross_entropy(head(maps, present, (16, 16)), wanted).backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()
    found = head(maps, present, (16, 16)).argmax(1)
    assert (found == wanted).float().mean() > 0.95


def test_grids_of_odd_sides_are_rounded_up_in_both_directions() -> None:
    assert finest((5, 7), 2) == (3, 4)
    assert finest((6, 8), 2) == (3, 4)


def test_levels_of_a_dpt_keep_double_or_halve_their_grid() -> None:
    maps = torch.randn(2, 8, 6, 4)
    assert _Fusion(8, joins=True)(maps, maps).shape == (2, 8, 6, 4)
    for factor, grid in ((0.5, (3, 2)), (1, (6, 4)), (2, (12, 8))):
        assert _resample(8, factor)(maps).shape == (2, 8, *grid)


def test_decoders_have_the_weights_of_their_papers() -> None:
    """Only layers without a norm behind them have a bias; a norm has two weights per channel."""
    read, width, outputs = (12,) * 4, 64, 3
    square, norm, classified = width * width, 2 * width, width * outputs + outputs
    project = 4 * (12 * width + width)
    refined = 9 * square + norm
    pools = 4 * (square + norm) + 5 * 9 * square + norm
    upernet = project + pools + 3 * refined + 4 * 9 * square + norm + classified
    resampled = (16 + 4 + 9) * square + 3 * width
    dpt = project + resampled + 4 * 9 * square + 7 * 2 * refined + 4 * (square + width) + refined + classified
    for name, weights in (("upernet", upernet), ("dpt", dpt)):
        assert sum(p.numel() for p in make_decoder(name, read, outputs).parameters()) == weights


def test_upernet_pools_to_the_grids_of_pspnet() -> None:
    decoder, maps = built("upernet", VIT)
    sides = []
    for pool in decoder.pools:  # type: ignore[attr-defined]
        pool.register_forward_pre_hook(lambda _, given: sides.append(tuple(given[0].shape[2:])))
    decoder(maps, SIZE)
    assert sides == [(1, 1), (2, 2), (3, 3), (6, 6)]


def test_a_convolution_of_a_dpt_keeps_the_grid_and_halving_sees_every_location() -> None:
    kernels = [(m.kernel_size, m.padding) for m in _Fusion(8, joins=True).modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [((3, 3), (1, 1))] * 4 + [((1, 1), (0, 0))]
    maps = torch.zeros(1, 8, 6, 4, requires_grad=True)
    _resample(8, 0.5)(maps).sum().backward()
    assert maps.grad is not None
    assert maps.grad.any(1).all()


def test_doubling_stops_at_the_limit_and_never_shrinks() -> None:
    maps = torch.zeros(1, 1, 5, 7)
    for limit, size in (((20, 20), (10, 14)), ((9, 13), (9, 13)), ((3, 20), (5, 14)), ((20, 3), (10, 7))):
        assert doubled(maps, limit).shape[2:] == size


def test_a_fusion_is_the_sum_of_projections_over_the_root_of_their_number() -> None:
    module = fusion(3)
    maps = [torch.randn(2, 3, 3, 4, 6), torch.randn(2, 3, 2, 2, 8)]
    found = module(maps, torch.ones(2, 3, dtype=torch.bool))
    for m, weights, out in zip(maps, module.projections, found, strict=True):
        normed = F.layer_norm(m, m.shape[-1:])
        torch.testing.assert_close(out, sum(normed[:, one] @ weights[one] for one in range(3)) / 3**0.5)
    assert sum(p.numel() for p in module.parameters()) == 3 * (6 + 1) * 5 + 3 * (8 + 1) * 5


def test_a_new_fusion_keeps_the_magnitude_of_normalised_maps() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Fusion((256,), 4)
        maps = [torch.randn(2, 4, 8, 8, 256)]
    assert module(maps, torch.ones(2, 4, dtype=torch.bool))[0].std().item() == pytest.approx(1, rel=0.05)
    assert module.absent[0].std().item() == pytest.approx(0.02, rel=0.1)


def test_coarse_logits_are_those_before_the_resize() -> None:
    decoder, maps = built("conv", VIT)
    head = SegmentationHead(Fusion([m.shape[-1] for m in maps], 1), decoder)
    given, present = [m[:, None] for m in maps], torch.ones(2, 1, dtype=torch.bool)
    coarse = head.coarse(given, present, SIZE)
    assert coarse.shape[2] < SIZE[0]
    torch.testing.assert_close(resized(coarse, SIZE), head(given, present, SIZE), rtol=1e-4, atol=1e-5)
    assert head.coarse(given, present, (4, 81)).shape[2:] == (4, coarse.shape[3])
