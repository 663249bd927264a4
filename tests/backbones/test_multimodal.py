"""The encoder of several modalities against the plain backbone, a padded and masked transcription, and itself."""

import copy

import pytest
import torch

from radapt.backbones.backbone import Backbone
from radapt.backbones.card import WeightCard
from radapt.backbones.encoders import extractor_for
from radapt.backbones.multimodal_vit.vit import Crops, Encoded, MultiModalViT
from radapt.backbones.position import RECIPES, interpolate_positions
from radapt.backbones.weights import WeightSource
from radapt.errors import DataError, UsageError
from radapt.networks import adapt

NAMES = ("t1", "t2", "flair")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHAPES = {
    "s14": ({}, "dinov2"),
    "reg4": ({"reg_tokens": 4, "no_embed_class": True}, "dinov2-registers"),
    "plain": ({"init_values": None, "qk_norm": True}, "timm"),
    "clip": ({"pre_norm": True, "reg_tokens": 1}, "bicubic"),
}


@pytest.fixture
def network(tiny_vit, scatter):
    def make(shape: str = "s14", names=NAMES, **options) -> MultiModalViT:
        settings, recipe = SHAPES[shape]
        vit = scatter(tiny_vit(**settings))
        made = MultiModalViT(vit, modalities=names, mean=MEAN, std=STD, position_recipe=recipe, **options)
        with torch.no_grad():
            made.mask_token.copy_(torch.randn(24, generator=torch.Generator().manual_seed(5)) * 0.3)
        return made.eval()

    return make


def crops(cases: int = 4, size: tuple[int, int] = (42, 56), *, seed: int = 0, channels: int = 1, hide: float = 0.0):
    """Cases with one to all of three modalities: 3 × 4 patches of 14 px."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(cases, 3, channels, *size, generator=draw)
    present = torch.rand(cases, 3, generator=draw) < 0.6
    present[torch.arange(cases), torch.arange(cases) % 3] = True
    grid = (size[0] // 14, size[1] // 14)
    hidden = torch.rand(cases, 3, *grid, generator=draw) < hide if hide else None
    return Crops(images, present, hidden)


def close(one: Encoded, other: Encoded, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(one.cls, other.cls, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(one.tokens, other.tokens, atol=tolerance, rtol=tolerance)
    assert torch.equal(one.index, other.index)
    assert torch.equal(one.hidden, other.hidden)


def rows(given: Crops, which: list[int]) -> Crops:
    return Crops(*(None if part is None else part[which] for part in (given.images, given.present, given.hidden)))


def padded(net: MultiModalViT, given: Crops) -> tuple[torch.Tensor, torch.Tensor]:
    """CLS (B, D) and patch tokens (B, M·h·w, D) as the published method computes them: every case has all tokens in
    three channels, what is not there is masked in attention, timm's own blocks do the rest. What stands at absent
    places means nothing. Draws the cases that each branch leaves out as the network does."""
    vit, (cases, count, *_) = net.vit, given.images.shape
    images = given.images.expand(-1, -1, 3, -1, -1).flatten(0, 1)
    normal = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    patches = vit.patch_embed(normal).flatten(1, 2).unflatten(0, (cases, count))  # (B, M, h·w, D)
    size = tuple(side // 14 for side in images.shape[2:])
    ahead = 0 if vit.no_embed_class else vit.num_prefix_tokens
    places = interpolate_positions(vit.pos_embed[:, ahead:], size, RECIPES[net.position_recipe])
    unit = torch.nn.functional.normalize(net.modality_embedding, dim=1)
    hidden = torch.zeros(cases, count, *size, dtype=torch.bool) if given.hidden is None else given.hidden
    hidden = hidden.flatten(2)[..., None]
    masks = (net.mask_token + places + unit[:, None]).expand(cases, -1, -1, -1).flatten(1, 2)
    x = torch.where(hidden, net.mask_token, patches) + places + unit[:, None]
    prefix = torch.cat([t for t in (vit.cls_token, vit.reg_token) if t is not None], 1)
    prefix = (prefix + vit.pos_embed[:, :ahead] if ahead else prefix).expand(cases, -1, -1)
    x = vit.norm_pre(torch.cat([prefix, x.flatten(1, 2)], 1))
    there = given.present.repeat_interleave(size[0] * size[1], 1)
    hidden, always = hidden.flatten(1), torch.ones(prefix.shape[:2], dtype=torch.bool)
    joins = 0 if net.hidden_blocks is None else len(vit.blocks) - net.hidden_blocks
    for number, block in enumerate(vit.blocks):
        if number == joins:
            late = torch.where(hidden[..., None], vit.norm_pre(masks), x[:, prefix.shape[1] :])
            x = torch.cat([x[:, : prefix.shape[1]], late], 1)
        seen = torch.cat([always, there & ~hidden if number < joins else there], 1)[:, None, None]
        x = x + passing(net, cases) * block.ls1(block.attn(block.norm1(x), attn_mask=seen))
        x = x + passing(net, cases) * block.ls2(block.mlp(block.norm2(x)))
    x = vit.norm(x)
    return x[:, 0], x[:, prefix.shape[1] :]


def passing(net: MultiModalViT, cases: int) -> torch.Tensor:
    """(B, 1, 1): what a branch's output is multiplied with."""
    if not (net.training and net.drop_path):
        return torch.ones(cases, 1, 1)
    kept = torch.randperm(cases)[: round(cases * (1 - net.drop_path))]
    return torch.zeros(cases, 1, 1).index_fill(0, kept, cases / len(kept))


def score(cls: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """A loss that no token is without effect on."""
    return cls.sin().sum() + (tokens * torch.linspace(-1, 1, 24)).cos().sum()


def backbone_of(vit: torch.nn.Module, recipe: str) -> Backbone:
    card = WeightCard(
        name="tiny", family="toy", architecture="toy", repo="nobody/tiny", licence="none", pretraining=(),
        width=24, depth=3, parameters=0, patch=14, native_size=56, mean=MEAN, std=STD, position_recipe=recipe,
    )  # fmt: skip
    return Backbone("tiny", card, WeightSource("random", "random:0", True, "", seed=0), vit, extractor_for(vit, recipe))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(42, 56), (56, 56), (60, 45)])
def test_one_modality_without_embedding_is_the_plain_backbone(network, shape, channels, size):
    net = network(shape)
    plain = backbone_of(net.vit, SHAPES[shape][1])
    net = MultiModalViT.of(plain, NAMES).eval()
    torch.nn.init.zeros_(net.modality_embedding)
    images = torch.zeros(2, 3, channels, *size)
    images[:, 1] = torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(1))
    present = torch.tensor([[False, True, False]] * 2)
    for given in (images, (images * 255).round().to(torch.uint8)):
        expected = plain.tokens(given[:, 1], (-1, -3))
        found = net(Crops(given, present), layers=(-1, -3))
        torch.testing.assert_close(found.cls, expected.cls, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.tokens, expected.patches.flatten(0, 2), atol=1e-5, rtol=1e-5)
        for summary, layer in zip(found.layers, expected.layers, strict=True):
            torch.testing.assert_close(summary.cls, layer.cls, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(summary.mean, layer.patches.mean((1, 2)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("blocks", [None, 1, 0])
def test_a_case_does_not_depend_on_its_neighbours(network, blocks):
    net = network()
    net.hidden_blocks = blocks
    given = crops(hide=0.4)
    together = net(given)
    for case in range(4):
        alone = net(rows(given, [case]))
        here = together.case == case
        torch.testing.assert_close(together.cls[case], alone.cls[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(together.tokens[here], alone.tokens, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", ["s14", "reg4"])
@pytest.mark.parametrize("blocks", [None, 2, 1, 0])
def test_the_order_of_modalities_says_nothing(network, shape, blocks):
    net, order = network(shape), [2, 0, 1]
    other = network(shape, [NAMES[column] for column in order])
    other.load_state_dict({**net.state_dict(), "modality_embedding": net.modality_embedding[order]})
    net.hidden_blocks = other.hidden_blocks = blocks
    given = crops(hide=0.4)
    assert net.columns(other.modalities) == tuple(order)
    moved = Crops(given.images[:, order], given.present[:, order], given.hidden[:, order])
    first, second = net(given), other(moved)
    torch.testing.assert_close(first.cls, second.cls, atol=1e-5, rtol=1e-5)
    dense = [torch.full((4, 3, 12, 24), 7.0).flatten(0, 2).index_copy(0, e.index, e.tokens) for e in (first, second)]
    torch.testing.assert_close(dense[0].view(4, 3, 12, 24)[:, order], dense[1].view(4, 3, 12, 24), atol=1e-5, rtol=1e-5)


def test_a_missing_modality_is_as_one_never_given(network):
    net, given = network(), crops()
    spoiled = given.images.clone()
    spoiled[~given.present] = float("nan")
    close(net(given), net(Crops(spoiled, given.present)), 0)
    fewer = network(names=NAMES[:2])
    fewer.load_state_dict({**net.state_dict(), "modality_embedding": net.modality_embedding[:2]})
    present = torch.tensor([[True, True, False]] * 4)
    one, other = net(Crops(given.images, present)), fewer(Crops(given.images[:, :2], present[:, :2]))
    torch.testing.assert_close(one.cls, other.cls)
    torch.testing.assert_close(one.tokens, other.tokens)


def test_what_is_hidden_has_no_influence(network):
    net, given = network(), crops(hide=0.4)
    cover = given.hidden.repeat_interleave(14, 2).repeat_interleave(14, 3)[:, :, None]
    for blocks in (None, 2, 0):
        net.hidden_blocks = blocks
        close(net(given), net(Crops(given.images.masked_fill(cover, 0.9), given.present, given.hidden)), 0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("blocks", [None, 1, 0])
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_gradients_are_those_of_padding_and_masking(network, shape, blocks, rate):
    net, given = network(shape).train(), crops(hide=0.4)
    net.hidden_blocks, net.drop_path = blocks, rate
    reference = copy.deepcopy(net)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        found = net(given)
        torch.manual_seed(3)
        cls, tokens = padded(reference, given)
    tokens = tokens.flatten(0, 1)[found.index]
    torch.testing.assert_close(found.cls, cls, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.tokens, tokens, atol=1e-5, rtol=1e-5)
    score(found.cls, found.tokens).backward()
    score(cls, tokens).backward()
    expected = dict(reference.named_parameters())
    for name, parameter in net.named_parameters():
        one, two = (torch.zeros(()) if p.grad is None else p.grad for p in (parameter, expected[name]))
        torch.testing.assert_close(*torch.broadcast_tensors(one, two), atol=2e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("blocks", [None, 1])
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_what_nobody_wants_changes_nothing_else(network, blocks, rate):
    net, given = network("reg4").train(), crops(hide=0.4)
    net.hidden_blocks, net.drop_path = blocks, rate
    other = copy.deepcopy(net)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        every = net(given)
        torch.manual_seed(3)
        some = other(Crops(given.images, given.present, given.hidden, wanted=given.hidden))
    tokens, index = every.of_hidden()
    torch.testing.assert_close(some.cls, every.cls)
    torch.testing.assert_close(some.tokens, tokens)
    assert torch.equal(some.index, index)
    score(every.cls, tokens).backward()
    score(some.cls, some.tokens).backward()
    for (name, one), two in zip(net.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(two.grad, one.grad, atol=1e-4, rtol=1e-4, msg=name)


def test_tiled_positions_are_those_of_one_wide_image(network):
    net = network("s14", positions="tiled", modality_embedding=False)
    images = crops().images
    found = net(Crops(images, torch.ones(4, 3, dtype=torch.bool)))
    expected = backbone_of(net.vit, "dinov2").tokens(torch.cat(list(images.unbind(1)), dim=3))
    torch.testing.assert_close(found.cls, expected.cls, atol=1e-5, rtol=1e-5)
    tokens = expected.patches.unflatten(2, (3, 4)).transpose(1, 2)  # (B, h, M·w, D) -> (B, M, h, w, D)
    torch.testing.assert_close(found.tokens, tokens.flatten(0, 3), atol=1e-5, rtol=1e-5)


def test_crops_of_several_sizes_are_the_same_together(network):
    net = network("reg4")
    net.hidden_blocks = 1
    large, small = crops(hide=0.4), crops(5, (28, 28), seed=1, channels=3)
    small = Crops(small.images, small.present, wanted=torch.zeros(5, 3, 2, 2, dtype=torch.bool))
    for together, alone in zip(net.encode([large, small]), (net(large), net(small)), strict=True):
        close(together, alone)
        assert together.shape == alone.shape
    assert net(small).tokens.shape == (0, 24)


def test_means_are_over_the_tokens_of_a_case(network):
    given = crops()
    found = network()(given)
    for case in range(4):
        torch.testing.assert_close(found.means()[case], found.tokens[found.case == case].mean(0))
    nothing = torch.zeros(4, 3, 3, 4, dtype=torch.bool)
    assert not network()(Crops(given.images, given.present, wanted=nothing)).means().any()


def test_a_row_of_zeros_stays_one_and_learns(network):
    net, given = network(), crops()
    torch.nn.init.zeros_(net.modality_embedding)
    found = net(given)
    close(found, network(modality_embedding=False)(given))
    found.cls.sum().backward()
    assert net.modality_embedding.grad.isfinite().all()
    assert 0 < net.modality_embedding.grad.abs().max() < 1e4


def test_embeddings_have_length_one_and_follow_the_seed(network):
    long = network()
    with torch.no_grad():
        long.modality_embedding.mul_(9)
    close(network()(crops()), long(crops()))
    free = network(unit_embedding=False)
    with pytest.raises(AssertionError):
        close(network()(crops()), free(crops()))
    assert torch.equal(network(seed=4).modality_embedding, network(seed=4).modality_embedding)
    assert not torch.equal(network(seed=4).modality_embedding, network(seed=5).modality_embedding)


def test_bfloat16_autocast(network):
    net, given = network("plain").train(), crops(hide=0.4)
    net.hidden_blocks, net.drop_path = 1, 0.0
    exact = net(given)
    with torch.autocast("cpu", torch.bfloat16):
        found = net(given)
    assert found.cls.dtype == found.tokens.dtype == torch.float32
    assert (found.cls - exact.cls).norm() < 0.05 * exact.cls.norm()
    assert (found.tokens - exact.tokens).norm() < 0.05 * exact.tokens.norm()
    net.drop_path = 0.4
    with torch.autocast("cpu", torch.bfloat16):
        score(*(lambda e: (e.cls, e.tokens))(net(given))).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("method", ["lora", "dora", "bitfit"])
def test_adapters_go_on_working(network, method):
    net, given = network(), crops(hide=0.4)
    before = net(given)
    adapt(net.vit, method)
    close(net(given), before)
    found = net(given)
    score(found.cls, found.tokens).backward()
    trained = {name: p for name, p in net.vit.named_parameters() if p.requires_grad}
    reached = [name for name, p in trained.items() if p.grad is not None and p.grad.any()]
    assert set(trained) - set(reached) <= {name for name in trained if "lora_A" in name or "patch_embed" in name}
    assert reached


def test_drop_path_is_of_training_and_follows_the_random_state(network):
    net, given = network(), crops(hide=0.4)
    exact = net(given)
    net.drop_path = 0.5
    close(net(given), exact, 0)
    net.train()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = net(given)
        torch.manual_seed(1)
        close(net(given), first, 0)
        assert not torch.equal(net(given).cls, first.cls)


def test_a_copy_and_the_plain_state_make_the_same_network(network):
    net, other = network(), network(seed=9)
    other.load_state_dict(net.state_dict())
    close(net(crops()), other(crops()), 0)
    close(net(crops()), copy.deepcopy(net)(crops()), 0)


@pytest.mark.parametrize("blocks", [None, 1])
def test_every_step_reaches_the_same_parameters(network, blocks):
    """Processes that learn together wait for a gradient of each: also where by chance nothing was hidden."""
    net, given = network(), crops()
    net.hidden_blocks = blocks
    nothing = torch.zeros(4, 3, 3, 4, dtype=torch.bool)
    found = net(Crops(given.images, given.present, nothing))
    close(found, net(given))
    found.cls.sum().backward()
    assert net.mask_token.grad is not None
    assert not net.mask_token.grad.any()


GOOD = crops(2)
BAD_CROPS = {
    "no modality": (Crops(GOOD.images, torch.tensor([[True, True, True], [False] * 3])), DataError, "rows 1.*flair"),
    "too few columns": (Crops(GOOD.images[:, :2], GOOD.present[:, :2]), UsageError, "t1, t2, flair"),
    "two channels": (Crops(GOOD.images.repeat(1, 1, 2, 1, 1), GOOD.present), UsageError, "1 or 3"),
    "no case": (Crops(GOOD.images[:0], GOOD.present[:0]), UsageError, "shape"),
    "present is float": (Crops(GOOD.images, GOOD.present.float()), UsageError, "present should be bool"),
    "present is of others": (Crops(GOOD.images, GOOD.present[:1]), UsageError, r"present .*\(2, 3\)"),
    "hidden is of pixels": (Crops(GOOD.images, GOOD.present, GOOD.images[:, :, 0] > 1), UsageError, "hidden"),
    "wanted is short": (Crops(GOOD.images, GOOD.present, None, GOOD.present), UsageError, r"wanted .*\(2, 3, 3, 4\)"),
    "beyond 1": (Crops(GOOD.images * 255, GOOD.present), UsageError, "float in"),
    "NaN": (Crops(GOOD.images * float("nan"), GOOD.present), UsageError, "nan"),
    "integers": (Crops(GOOD.images.long(), GOOD.present), UsageError, "int64"),
}


@pytest.mark.parametrize(("given", "kind", "said"), BAD_CROPS.values(), ids=BAD_CROPS)
def test_what_does_not_fit_is_refused(network, given, kind, said):
    with pytest.raises(kind, match=said):
        network()(given)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"modalities": ()}, "none"),
        ({"modalities": ("t1", "t1")}, "each once"),
        ({"position_recipe": "dinov"}, "dinov2"),
        ({"positions": "wide"}, "tiled"),
        ({"vit": torch.nn.Linear(2, 2)}, "Linear"),
    ],
)
def test_an_encoder_that_cannot_be_is_refused(tiny_vit, change, said):
    settings = {"vit": tiny_vit(), "modalities": NAMES, "mean": MEAN, "std": STD, "position_recipe": "dinov2"}
    with pytest.raises(UsageError, match=said):
        MultiModalViT(**{**settings, **change})


def test_unknown_names_and_layers_are_named_with_those_known(network):
    assert network().columns(("flair", "t1")) == (2, 0)
    with pytest.raises(UsageError, match=r"'flare'.*'flair'.*t1, t2, flair"):
        network().columns(("t1", "flare"))
    with pytest.raises(UsageError, match="-3"):
        network()(crops(), layers=(-4,))
    with pytest.raises(UsageError, match="wanted"):
        network()(Crops(GOOD.images, GOOD.present, None, torch.ones(2, 3, 3, 4, dtype=torch.bool)), layers=(-1,))
