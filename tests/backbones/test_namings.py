"""Weights under the names that other codes give them, brought into timm's modules, strictly.

Oracles: transformers' own models, whose files are written and read back here, and torchvision's.
"""

import re

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTMSNConfig,
    ViTMSNModel,
)

from radapt.backbones import load_backbone
from radapt.backbones.encoders import extractor_for
from radapt.backbones.namings import convert
from radapt.backbones.strict import load_strictly
from radapt.errors import UsageError

SIZE = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
MODELS = {
    "dinov2": lambda: Dinov2Model(Dinov2Config(**SIZE)),
    "dinov2 with SwiGLU": lambda: Dinov2Model(Dinov2Config(**SIZE, use_swiglu_ffn=True)),
    "dinov2 with registers": lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**SIZE)),
    "msn": lambda: ViTMSNModel(ViTMSNConfig(**SIZE, intermediate_size=96)),
    "clip": lambda: CLIPVisionModel(CLIPVisionConfig(**SIZE, intermediate_size=96)),
    "siglip": lambda: SiglipVisionModel(SiglipVisionConfig(**SIZE, intermediate_size=96)),
    "dinov3": lambda: DINOv3ViTModel(DINOv3ViTConfig(**SIZE, intermediate_size=96)),
}


@pytest.mark.parametrize("name", MODELS)
def test_transformers_models_from_their_folder(name, scatter, tmp_path):
    """At the native size no position embedding is interpolated, and tokens are transformers' own."""
    model = scatter(MODELS[name]()).eval()
    model.save_pretrained(tmp_path)
    backbone = load_backbone(f"hf:{tmp_path}")
    x = torch.rand(2, 3, 56, 56)
    with torch.no_grad():
        output = model(pixel_values=(x - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
                       / torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))  # fmt: skip
        tokens = backbone.tokens(x, layers=(-2, -1))
    last = output.last_hidden_state
    if name == "clip":
        last = model.post_layernorm(last)
    cls = output.pooler_output if name == "siglip" else last[:, 0]
    torch.testing.assert_close(tokens.patches.flatten(1, 2), last[:, -16:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tokens.cls, cls, atol=1e-5, rtol=1e-5)


def test_names_on_disk_and_in_memory_are_both_known(scatter, tiny_vit, tmp_path):
    model = scatter(Dinov2Model(Dinov2Config(**SIZE)))
    model.save_pretrained(tmp_path)
    on_disk, in_memory = load_file(tmp_path / "model.safetensors"), model.state_dict()
    assert set(on_disk) != set(in_memory)
    assert "encoder.layer.0.attention.attention.query.weight" in on_disk
    modules = [tiny_vit(), tiny_vit()]
    for module, state in zip(modules, (on_disk, in_memory), strict=True):
        load(module, state)
    for left, right in zip(*(module.parameters() for module in modules), strict=True):
        torch.testing.assert_close(left, right)


def load(module, state, recipe="dinov2"):
    return load_strictly(module, dict(state), recipe=recipe, what="a.pth", expected="tiny")


def official_dinov2(state):
    """timm's names as the official code would have them."""
    renamed = {key.replace("reg_token", "register_tokens"): value.clone() for key, value in state.items()}
    return renamed | {"mask_token": torch.zeros(1, 24)}


def chunked(state):
    return {re.sub(r"^blocks\.(\d+)\.", r"blocks.0.\1.", key): value for key, value in official_dinov2(state).items()}


def open_clip(state):
    names = [("blocks.", "transformer.resblocks."), ("attn.qkv.", "attn.in_proj_"), ("attn.proj.", "attn.out_proj."),
             (".norm1.", ".ln_1."), (".norm2.", ".ln_2."), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
             ("norm_pre.", "ln_pre."), ("patch_embed.proj", "conv1"), ("cls_token", "class_embedding"),
             ("pos_embed", "positional_embedding")]  # fmt: skip
    renamed = {}
    for key, value in state.items():
        for ours, theirs in names:
            key = key.replace(ours, theirs)
        key = re.sub(r"^norm\.", "ln_post.", key)
        renamed["visual." + key] = value[0, 0] if "class" in key else value[0] if "positional" in key else value
    text = {"transformer.resblocks.0.attn.in_proj_weight": torch.zeros(3, 3), "logit_scale": torch.zeros(())}
    return renamed | text | {"visual.proj": torch.zeros(24, 8)}


def teacher(state):
    more = {"teacher.dino_head.last_layer.weight": torch.zeros(3), "student.backbone.cls_token": torch.ones(1, 1, 24)}
    return {f"teacher.backbone.{key}": value for key, value in official_dinov2(state).items()} | more


WRAPPED = {
    "timm": (lambda state: state, {}, ""),
    "timm with a classifier": (lambda state: state | {"head.weight": torch.zeros(5, 24)}, {}, "head.weight"),
    "data parallel": (lambda state: {f"module.{key}": value for key, value in state.items()}, {}, "'module.'"),
    "official": (official_dinov2, {}, "official DINOv2"),
    "official, in chunks": (chunked, {}, "official DINOv2"),
    "training checkpoint": (teacher, {}, "dino_head"),
    "OpenCLIP": (open_clip, {"init_values": None, "pre_norm": True}, "OpenCLIP"),
    "timm trunk inside OpenCLIP": (
        lambda state: (
            {f"visual.trunk.{key}": value for key, value in state.items()}
            | {"visual.head.proj.weight": torch.zeros(2), "text.transformer.embeddings.position_ids": torch.zeros(2)}
        ),
        {},
        "image tower 'visual'",
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_weights_arrive_unchanged_and_it_is_said(name, scatter, tiny_vit):
    wrap, options, said = WRAPPED[name]
    origin, target = scatter(tiny_vit(**options)), tiny_vit(**options)
    notes = load(target, wrap(origin.state_dict()))
    assert said in " ".join(notes)
    for (key, left), right in zip(origin.named_parameters(), target.parameters(), strict=True):
        torch.testing.assert_close(left, right, msg=key)


def test_official_registers_fold_the_position_of_cls_into_it(scatter, tiny_vit):
    options = {"reg_tokens": 4, "no_embed_class": True}
    origin, target = scatter(tiny_vit(**options)), tiny_vit(**options)
    state = official_dinov2(origin.state_dict())
    of_cls = torch.randn(1, 1, 24)
    state["cls_token"] = state["cls_token"] - of_cls
    state["pos_embed"] = torch.cat([of_cls, state["pos_embed"]], dim=1)
    load(target, state, "dinov2-registers")
    torch.testing.assert_close(target.cls_token, origin.cls_token)
    torch.testing.assert_close(target.pos_embed, origin.pos_embed)


def test_a_base_grid_of_another_size_is_taken_and_said(scatter, tiny_vit):
    origin, target = scatter(tiny_vit(img_size=98)), tiny_vit(img_size=56)
    assert "7 × 7" in " ".join(load(target, origin.state_dict()))
    encoders = [extractor_for(module, "dinov2") for module in (origin, target)]
    x = torch.randn(1, 3, 42, 70)
    with torch.no_grad():
        a, b = (encoder(module, x, [2])[0] for encoder, module in zip(encoders, (origin, target), strict=True))
    torch.testing.assert_close(a.patches, b.patches)


@pytest.mark.parametrize("name", ["resnet50", pytest.param("densenet121", marks=pytest.mark.slow)])
def test_torchvision_files_load_and_give_torchvisions_features(name, tmp_path):
    model = getattr(torchvision.models, name)(weights=None).eval()
    torch.save(model.state_dict(), tmp_path / "a.pth")
    backbone = load_backbone(name, tmp_path / "a.pth")
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        normal = torchvision.transforms.Normalize(backbone.card.mean, backbone.card.std)(x)
        if name == "resnet50":
            model.fc = torch.nn.Identity()
            expected = model(normal)
        else:
            expected = model.features(normal).relu().mean((2, 3))
        got = backbone.tokens(x).cls
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda state: state.pop("blocks.1.mlp.fc1.weight"), "Missing: blocks.1.mlp.fc1.weight."),
        (lambda state: state.update({"blocks.1.extra": torch.zeros(1)}), "Unexpected: blocks.1.extra."),
        (lambda state: state.update({"norm.weight": torch.zeros(7)}), "norm.weight ((7,) instead of (24,))"),
        (
            lambda state: state.update({"norm.weight": torch.full((24,), float("nan"))}),
            "NaN or infinite values in norm",
        ),
        (lambda state: [state.pop(key) for key in list(state) if "blocks.2" in key], "2 blocks and no registers"),
        (lambda state: state.update({"reg_token": torch.zeros(1, 4, 24)}), "4 registers"),
        (
            lambda state: [state.pop(key) for key in list(state)] and state.update({"layer4.x": torch.zeros(1)}),
            "a ResNet",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(spoil, said, scatter, tiny_vit):
    state = dict(scatter(tiny_vit()).state_dict())
    spoil(state)
    with pytest.raises(UsageError) as caught:
        load(tiny_vit(), state)
    assert said in str(caught.value)
    assert "a.pth" in str(caught.value)


def tiny_dinov3() -> torch.nn.Module:
    import timm

    return timm.create_model("vit_small_patch16_dinov3", num_classes=0, embed_dim=64, depth=2, num_heads=2).eval()


def test_dinov3_from_transformers_names_gives_transformers_tokens(scatter):
    config = DINOv3ViTConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256, patch_size=16,
        num_register_tokens=4,
    )  # fmt: skip
    model, module = scatter(DINOv3ViTModel(config)).eval(), tiny_dinov3()
    with torch.no_grad():
        for layer in model.model.layer:  # the released weights have no bias here, and timm's module no place for one
            layer.attention.q_proj.bias.zero_()
            layer.attention.v_proj.bias.zero_()
        load(module, {key.removeprefix("model."): value for key, value in model.state_dict().items()}, "rope")
        x = torch.randn(1, 3, 64, 96)
        expected = model(pixel_values=x).last_hidden_state
        tokens = extractor_for(module, "rope")(module, x, [1])[0]
    torch.testing.assert_close(tokens.cls, expected[:, 0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tokens.patches.flatten(1, 2), expected[:, 5:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("bias", [0.0, 0.1])
def test_official_dinov3_names_and_a_bias_that_must_be_zero(bias, scatter):
    origin, target = scatter(tiny_dinov3()), tiny_dinov3()
    state = {}
    for key, value in origin.state_dict().items():
        key = re.sub(r"\.gamma_([12])$", r".ls\1.gamma", key).replace("reg_token", "storage_tokens")
        state[key] = value
    for index in range(2):
        state[f"blocks.{index}.attn.qkv.bias"] = torch.full((192,), bias)
        state[f"blocks.{index}.attn.qkv.bias_mask"] = torch.full((192,), float("nan"))
    state |= {"rope_embed.periods": torch.ones(8), "mask_token": torch.zeros(1, 64)}
    if bias:
        with pytest.raises(UsageError, match=r"Unexpected: blocks.0.attn.qkv.bias"):
            load(target, state, "rope")
        return
    assert "official DINOv3" in " ".join(load(target, state, "rope"))
    for left, right in zip(origin.parameters(), target.parameters(), strict=True):
        torch.testing.assert_close(left, right)


def test_official_sam_names(scatter):
    import timm

    def sam() -> torch.nn.Module:
        return timm.create_model("samvit_base_patch16", num_classes=0, embed_dim=24, depth=2, num_heads=2, img_size=64)

    origin, target = scatter(sam()), sam()
    state = {
        "image_encoder." + re.sub(r"mlp\.fc([12])", r"mlp.lin\1", key): value
        for key, value in origin.state_dict().items()
    }
    load(target, state | {"mask_decoder.x": torch.zeros(1), "prompt_encoder.y": torch.zeros(1)}, "own")
    for left, right in zip(origin.parameters(), target.parameters(), strict=True):
        torch.testing.assert_close(left, right)


def efficientnet_pytorch(state):
    """timm's names of an EfficientNet turned into those of efficientnet_pytorch, written down for Lite0's 16 blocks."""
    blocks = [(stage, number) for stage, count in enumerate((1, 2, 2, 3, 3, 4, 1)) for number in range(count)]
    whole = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    other = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
             "conv_pwl": "_project_conv", "bn3": "_bn2"}  # fmt: skip
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "blocks":
            place = blocks.index((int(parts[1]), int(parts[2])))
            renamed[f"_blocks.{place}.{(first if place == 0 else other)[parts[3]]}.{parts[4]}"] = value
        else:
            renamed[f"{whole[parts[0]]}.{parts[1]}"] = value
    return renamed


def test_efficientnet_lite_by_name_whatever_the_order(scatter, tmp_path):
    given = scatter(timm.create_model("tf_efficientnet_lite0")).state_dict()
    renamed = efficientnet_pytorch(given)
    assert "_blocks.15._project_conv.weight" in renamed
    torch.save(dict(sorted(renamed.items(), reverse=True)), tmp_path / "lite0.pth")
    backbone = load_backbone("efficientnet-lite0", tmp_path / "lite0.pth")
    loaded = backbone.module.state_dict()
    assert all(torch.equal(loaded[key], given[key]) for key in loaded)
    assert "efficientnet_pytorch names" in backbone.notes
    del renamed["_blocks.7._bn1.weight"]
    torch.save(renamed, tmp_path / "cut.pth")
    with pytest.raises(UsageError, match=r"an EfficientNet of \d+ tensors.*Missing: blocks\.3\.2\.bn2\.weight\."):
        load_backbone("efficientnet-lite0", tmp_path / "cut.pth")


def test_efficientnet_with_squeeze_and_excitation():
    names = {key: torch.zeros(8, 8, 1, 1) for key in ("_conv_stem.weight", "_blocks.0._depthwise_conv.weight",
             "_blocks.0._project_conv.weight", "_blocks.0._se_reduce.bias", "_blocks.0._se_expand.weight")}  # fmt: skip
    assert {"blocks.0.0.se.conv_reduce.bias", "blocks.0.0.se.conv_expand.weight"} < set(convert(names)[0])
