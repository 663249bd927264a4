"""Adapting trains exactly what it says, in every family, and leaves everything else alone bit by bit."""

import copy
import pickle
import re

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from radapt.backbones.backbone import Backbone
from radapt.errors import UsageError
from radapt.networks import (
    METHODS,
    adapt,
    blocks,
    fingerprint,
    layer_of,
    load_trained_state,
    train_mode,
    trained_state,
)
from toy_encoders import FAMILIES, toy_backbone

RANK = 3
LORA = {"rank": RANK, "alpha": 6.0, "dropout": 0.25}
OPTIONS = {"partial": {"blocks": 2}, "lora": LORA, "dora": LORA}

# Weights that LoRA goes beside by default, written out by hand from each family's published layout.
TIMM_VIT = r"blocks\.\d+\.(attn\.qkv|mlp\.fc1|mlp\.fc2)"
HF = r"(encoder\.)?layers?\.\d+\.(attention|self_attn|mlp)\.(q_proj|k_proj|v_proj|fc1|fc2)"
LORA_TARGETS = {
    "vit": TIMM_VIT,
    "vit-layerscale-registers": TIMM_VIT,
    "dinov3": TIMM_VIT,
    "sam": TIMM_VIT,
    "swin": r"layers\.\d\.blocks\.\d\.(attn\.qkv|mlp\.fc1|mlp\.fc2)",
    "convnext": r"stages\.\d\.blocks\.\d\.mlp\.fc[12]",
    "resnet": r"layer\d\.\d\.(conv\d|downsample\.1)",
    "vgg": r"features\.\d+",
    "densenet": r"features\.denseblock\d\.denselayer\d\.conv\d",
    "hf-dinov2": HF,
    "hf-msn": HF,
    "hf-siglip": HF,
}
IA3_OUTPUTS = {
    **dict.fromkeys(("vit", "vit-layerscale-registers", "dinov3", "sam", "swin"), r".*attn\.qkv"),
    **dict.fromkeys(("hf-dinov2", "hf-msn", "hf-siglip"), r".*\.[kv]_proj"),
    **{family: LORA_TARGETS[family] for family in ("resnet", "vgg", "densenet")},
    "convnext": r"nothing",
}
# Layers of the two last blocks, and what follows them.
PARTIAL = {
    "vit": r"blocks\.[12]\..*|norm\..*",
    "vit-layerscale-registers": r"blocks\.[12]\..*|norm\..*",
    "dinov3": r"blocks\.[12]\..*|norm\..*",
    "sam": r"blocks\.[12]\..*|neck\..*",
    "swin": r"layers\.2\.blocks\.1\..*|layers\.3\..*|norm\..*",
    "convnext": r"stages\.2\.blocks\.1\..*|stages\.3\..*|head\..*",
    "resnet": r"layer[34]\..*",
    "vgg": r"features\.(11|14)\..*",
    "densenet": r"features\.(denseblock4|norm5)\..*",
    "hf-dinov2": r"encoder\.layer\.[12]\..*|layernorm\..*",
    "hf-msn": r"layers\.[12]\..*|layernorm\..*",
    "hf-siglip": r"encoder\.layers\.[12]\..*|post_layernorm\..*|head\..*",
}
PLAIN_NORMS = r"(.*\.)?(norm\d?|layernorm(_\w+)?|layer_norm\d|post_layernorm)"
NORMS = {
    "sam": rf"{PLAIN_NORMS}|neck\.[13]",
    "convnext": rf"{PLAIN_NORMS}|stem\.1|stages\.\d\.downsample\.0",
    "resnet": r"(.*\.)?bn\d|conv1\.[14]|layer\d\.\d\.downsample\.2",
}
# Parameters that take no part in tokens: SAM's neck, tokens for masked training, transformers' pooling.
IDLE = re.compile(r"neck\..*|embeddings\.mask_token|head\..*")


def names(module: nn.Module, pattern: str) -> set[str]:
    return {name for name, _ in module.named_parameters() if re.fullmatch(pattern, name)}


def lora_layers(family: str, module: nn.Module) -> dict[str, Tensor]:
    """Weights of at least two dimensions that stand at the family's LoRA targets."""
    weights = {name.removesuffix(".weight"): p for name, p in module.named_parameters() if name.endswith(".weight")}
    return {name: p.detach() for name, p in weights.items() if p.ndim > 1 and re.fullmatch(LORA_TARGETS[family], name)}


def expected(family: str, method: str, plain: nn.Module) -> set[str]:
    """The names that should require gradients, from the unadapted module."""
    if method == "frozen":
        return set()
    if method == "full":
        return names(plain, ".*")
    if method == "partial":
        return names(plain, PARTIAL[family])
    if method == "bitfit":
        return names(plain, r".*(\.|in_proj_)bias")
    if method == "norm":
        return names(plain, rf"({NORMS.get(family, PLAIN_NORMS)})\.(weight|bias)")
    if method in ("lora", "dora"):
        parts = ["lora_A.default.weight", "lora_B.default.weight"]
        parts += ["lora_magnitude_vector.default.weight"] if method == "dora" else []
        return {f"{name}.{part}" for name in lora_layers(family, plain) for part in parts}
    scaled = names(plain, rf"({IA3_OUTPUTS[family]})\.weight") | names(plain, r".*\.(mlp\.)fc2\.weight") - names(
        plain, r"head\..*"
    )
    return {name.removesuffix("weight") + "ia3_l.default" for name in scaled if plain.get_parameter(name).ndim > 1}


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def everything(module: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in [*module.named_parameters(), *module.named_buffers()]}


def loss_of(backbone: Backbone) -> Tensor:
    images = torch.rand(4, 3, 56, 56, generator=torch.Generator().manual_seed(5))
    tokens = backbone.tokens(images, layers=(-2, -1), gradients=True)
    # Uneven weights: a plain square of normalised tokens would be the same for every weight.
    parts = [part for each in tokens.layers for part in (each.cls, each.patches)]
    return torch.stack([(part * torch.linspace(-1, 1, part.shape[-1])).tanh().sum() for part in parts]).sum()


def three_steps(backbone: Backbone) -> None:
    found = list(trained(backbone.module).values())
    optimiser = torch.optim.AdamW(found, lr=1e-3, weight_decay=0.05)
    train_mode(backbone.module)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(3):
            optimiser.zero_grad()
            loss_of(backbone).backward()
            optimiser.step()


CASES = [(f, m) for f in FAMILIES for m in METHODS if (f, m) != ("vgg", "norm")]


@pytest.mark.parametrize(("family", "method"), CASES)
def test_trains_exactly_what_it_says(family: str, method: str) -> None:
    backbone = toy_backbone(family)
    plain = copy.deepcopy(backbone.module)
    with torch.no_grad():
        before = backbone.tokens(torch.full((1, 3, 56, 56), 0.3), layers=(-2, -1))
    adapt(backbone.module, method, **OPTIONS.get(method, {}))
    assert type(backbone.module) is type(plain)
    assert set(trained(backbone.module)) == expected(family, method, plain)
    with torch.no_grad():
        after = backbone.tokens(torch.full((1, 3, 56, 56), 0.3), layers=(-2, -1))
    for old, new in zip(before.layers, after.layers, strict=True):
        torch.testing.assert_close(new.cls, old.cls, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(new.patches, old.patches, rtol=1e-5, atol=1e-5)
    if method == "frozen":
        return
    mark, start = fingerprint(backbone.module), everything(backbone.module)
    three_steps(backbone)
    assert fingerprint(backbone.module) == mark
    end = everything(backbone.module)
    changed = {name for name in start if not torch.equal(start[name], end[name])}
    moving = set(trained_state(backbone.module)) - set(trained(backbone.module))
    idle = {name for name in trained(backbone.module) if IDLE.fullmatch(name)}
    assert changed | idle == set(trained_state(backbone.module)) | idle
    assert not moving or method in ("full", "partial")
    assert all("running" in name or "num_batches" in name for name in moving)


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_equal_the_formulas_of_the_papers(family: str) -> None:
    layers = lora_layers(family, toy_backbone(family).module)
    assert layers
    pairs = [(w[0].numel(), w.shape[0]) for w in layers.values()]  # (inputs × kernel, outputs)
    updates = sum(RANK * (inputs + outputs) for inputs, outputs in pairs)
    for method, wanted in (("lora", updates), ("dora", updates + sum(outputs for _, outputs in pairs))):
        module = toy_backbone(family).module
        adapt(module, method, **LORA)
        assert sum(p.numel() for p in trained(module).values()) == wanted


def test_the_study_trains_5_4_percent_of_vit_l() -> None:
    with torch.device("meta"):
        module = VisionTransformer(img_size=518, patch_size=14, embed_dim=1024, depth=24, num_heads=16, num_classes=0,
                                   init_values=1e-5)  # fmt: skip
        whole = sum(p.numel() for p in module.parameters())
        adapt(module, "lora")
    count = sum(p.numel() for p in trained(module).values())
    assert whole == 304_367_616  # as the catalog has it
    assert count == 24 * 48 * ((1024 + 3072) + 2 * (1024 + 4096))
    assert round(100 * count / whole, 1) == 5.4


@pytest.mark.parametrize("family", ["resnet", "densenet"])
@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("full", "frozen")])
def test_statistics_of_frozen_layers_stay(family: str, method: str) -> None:
    backbone = toy_backbone(family)
    first = next(m for m in backbone.module.modules() if isinstance(m, nn.BatchNorm2d))
    adapt(backbone.module, method, **OPTIONS.get(method, {}))
    three_steps(backbone)
    assert float(first.running_mean.abs().sum()) == 0
    assert int(first.num_batches_tracked) == 0


def test_statistics_move_where_layers_are_trained_whole() -> None:
    backbone = toy_backbone("resnet")
    adapt(backbone.module, "partial", blocks=1)
    three_steps(backbone)
    assert int(backbone.module.layer4[0].bn1.num_batches_tracked) == 3
    assert int(backbone.module.layer3[0].bn1.num_batches_tracked) == 0
    assert not backbone.module.layer3[0].bn1.training


def test_only_adapters_drop_out() -> None:
    module = VisionTransformer(img_size=28, patch_size=14, embed_dim=8, depth=2, num_heads=2, num_classes=0,
                               proj_drop_rate=0.5, attn_drop_rate=0.5, drop_path_rate=0.5)  # fmt: skip
    adapt(module, "lora", **LORA)
    module.train()
    train_mode(module)
    active = {name for name, part in module.named_modules() if part.training and "drop" in type(part).__name__.lower()}
    targets = ("attn.qkv", "mlp.fc1", "mlp.fc2")
    assert active == {f"blocks.{i}.{target}.lora_dropout.default" for i in (0, 1) for target in targets}


@pytest.mark.parametrize("family", ["vit", "resnet"])
@pytest.mark.parametrize("method", ["lora", "dora"])
def test_dropout_acts_in_training_and_rests_otherwise(family: str, method: str) -> None:
    backbone = toy_backbone(family)
    adapt(backbone.module, method, rank=2, dropout=0.5)
    with torch.no_grad():
        for name, p in trained(backbone.module).items():
            if "lora_B" in name:
                p.fill_(0.1)
        train_mode(backbone.module)
        assert loss_of(backbone) != loss_of(backbone)
        backbone.module.eval()
        assert loss_of(backbone) == loss_of(backbone)


def test_lora_starts_at_the_layer_itself_with_first_matrices_drawn_as_in_peft() -> None:
    """Kaiming's uniform with a = √5: within ± 1 / √(inputs), so with a deviation of 1 / √(3 · inputs)."""
    module = toy_backbone("vit").module
    adapt(module, "lora", rank=40, alpha=16.0)
    for name, weight in trained(module).items():
        if ".lora_A." in name:
            bound = weight.shape[1] ** -0.5
            assert 0.98 * bound < float(weight.detach().abs().max()) <= bound
            assert float(weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.05)
        else:
            assert not weight.any()


def test_the_first_matrices_depend_on_the_seed_alone() -> None:
    states = []
    for seed, disturb in ((1, 0), (1, 7), (2, 0)):
        backbone = toy_backbone("vit")
        torch.manual_seed(disturb)
        before = torch.get_rng_state()
        adapt(backbone.module, "lora", seed=seed)
        assert torch.equal(before, torch.get_rng_state())
        states.append(trained_state(backbone.module)["blocks.0.attn.qkv.lora_A.default.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize("method", ["full", "partial", "bitfit", "norm", "lora", "dora", "ia3"])
def test_state_goes_from_one_copy_to_another(method: str) -> None:
    backbone, other = toy_backbone("resnet"), toy_backbone("resnet")
    for each in (backbone, other):
        adapt(each.module, method, **OPTIONS.get(method, {}))
    three_steps(backbone)
    state = trained_state(backbone.module)
    load_trained_state(other.module, state)
    for each in (backbone, other):
        each.module.eval()
    with torch.no_grad():
        assert torch.equal(loss_of(backbone), loss_of(other))
    three_steps(backbone)
    assert not torch.equal(state[next(iter(state))], trained_state(backbone.module)[next(iter(state))])


def test_states_that_do_not_fit_are_refused() -> None:
    module = toy_backbone("vit").module
    adapt(module, "bitfit")
    state = trained_state(module)
    name, value = next(iter(state.items()))
    for wrong, said in (
        ({k: v for k, v in state.items() if k != name}, "lacks"),
        (state | {"blocks.0.attn.qkv.weight": value}, "does not train"),
        (state | {name: value.repeat(2)}, "here and"),
    ):
        with pytest.raises(UsageError, match=said):
            load_trained_state(module, wrong)


def test_a_frozen_weight_that_changes_shows_in_the_fingerprint() -> None:
    module = toy_backbone("vit").module
    adapt(module, "lora")
    mark = fingerprint(module)
    with torch.no_grad():
        module.blocks[1].attn.qkv.base_layer.weight[0, 0] += 1e-6
    assert fingerprint(module) != mark


def test_adapters_compute_in_bfloat16() -> None:
    backbone = toy_backbone("vit")
    adapt(backbone.module, "dora", **LORA)
    train_mode(backbone.module)
    with torch.autocast("cpu", torch.bfloat16):
        loss_of(backbone).backward()
    assert all(torch.isfinite(p.grad).all() for p in trained(backbone.module).values())
    adapted = toy_backbone("vit")
    adapted.module.bfloat16()
    adapt(adapted.module, "lora", **LORA)
    loss_of(adapted).backward()


def test_adapted_modules_are_copied_and_sent_to_other_processes() -> None:
    backbone = toy_backbone("vit")
    adapt(backbone.module, "lora", **LORA)
    for twin in (copy.deepcopy(backbone.module), pickle.loads(pickle.dumps(backbone.module))):
        images = torch.zeros(1, 3, 56, 56)
        assert torch.equal(twin(images), backbone.module(images))


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_run_from_the_first_to_the_last(family: str) -> None:
    module = toy_backbone(family).module
    layer, last = layer_of(module)
    found = [layer(name) for name, _ in module.named_parameters()]
    assert last == len(blocks(module)) + 1
    assert found == sorted(found)
    assert set(range(1, last)) <= set(found)
    adapt(module, "lora", rank=1)
    adapted, again = layer_of(module)
    assert again == last
    assert {adapted(name) for name in trained(module)} == set(range(1, last))
    with pytest.raises(UsageError, match="no parameter"):
        layer("blocks.99.weight")


def test_targets_are_ends_of_names() -> None:
    backbone = toy_backbone("vit")
    adapt(backbone.module, "lora", rank=2, targets=("attn.proj", "blocks.1.mlp.fc2"))
    assert {name.partition(".lora")[0] for name in trained(backbone.module)} == {
        *(f"blocks.{i}.attn.proj" for i in range(3)),
        "blocks.1.mlp.fc2",
    }
    scaled = toy_backbone("vit")
    adapt(scaled.module, "ia3", targets=("proj",), feed_forward=("fc2",))
    widths = {name: p.numel() for name, p in trained(scaled.module).items()}
    assert sum(widths.values()) == 3 * (24 + 96)


@pytest.mark.parametrize(
    ("family", "method", "options", "said"),
    [
        ("vit", "loraa", {}, "Did you mean 'lora'"),
        ("vit", "lora", {"ranks": 3}, "Did you mean 'rank'"),
        ("vit", "lora", {"rank": 0}, "rank ≥ 1"),
        ("vit", "lora", {"dropout": 1.0}, "dropout in"),
        ("vit", "lora", {"targets": ("qvk",)}, "Did you mean 'qkv'"),
        ("vit", "lora", {"targets": ("qkv", "nothing")}, r"called 'nothing'.*qkv, proj, fc1, fc2"),
        ("vit", "lora", {"targets": ()}, "Give targets"),
        ("vit", "ia3", {"feed_forward": ("fc3",)}, "Did you mean"),
        ("vit", "ia3", {"targets": (), "feed_forward": ()}, "Give targets"),
        ("convnext", "lora", {"targets": ("conv_dw",)}, "called 'conv_dw'.*fc1"),
        ("vit", "partial", {"blocks": 4}, "1 to 3 blocks"),
        ("vit", "partial", {"blocks": 0}, "got 0"),
        ("vgg", "norm", {}, "no normalisation layer"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused(family: str, method: str, options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        adapt(toy_backbone(family).module, method, **options)


def test_adapting_twice_is_refused() -> None:
    module = toy_backbone("vit").module
    adapt(module, "lora")
    with pytest.raises(UsageError, match="already"):
        adapt(module, "bitfit")


def test_adapters_that_would_have_no_effect_are_refused() -> None:
    import timm

    module = timm.create_model("beit_base_patch16_224", img_size=32, embed_dim=24, depth=2, num_heads=2, num_classes=0)
    adapt(module, "lora", rank=2)
    with pytest.raises(UsageError, match=r"blocks\.0\.attn\.qkv.*no effect"):
        module(torch.zeros(1, 3, 32, 32))
    other = timm.create_model("beit_base_patch16_224", img_size=32, embed_dim=24, depth=2, num_heads=2, num_classes=0)
    adapt(other, "lora", rank=2, targets=("fc1",))
    other(torch.zeros(1, 3, 32, 32))


def test_a_network_of_another_kind_is_adapted_in_its_top_level_parts() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    assert [name for name, _ in blocks(module)] == ["0", "2"]
    adapt(module, "partial", blocks=1)
    assert set(trained(module)) == {"2.weight", "2.bias"}
    with pytest.raises(UsageError, match="no modules"):
        blocks(nn.ReLU())


def test_attention_that_torch_computes_offers_no_targets_inside() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    module = nn.Module()
    module.layers = nn.ModuleList([layer])
    with pytest.raises(UsageError, match=r"called 'out_proj'\. Known: linear1, linear2"):
        adapt(module, "lora", targets=("out_proj",))
