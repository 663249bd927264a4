"""Conversion of the parameter names of other code bases to timm's, which radapt's modules use.

A naming is recognised by patterns in its keys and defined as a table of substitutions. Nothing is dropped here except a
text tower next to an image tower; `strict` reports what does not fit.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from radapt.backbones import efficientnet_names

State = dict[str, torch.Tensor]

# Prefixes of wrappers, removed as often as they occur; a name that would then occur twice keeps its prefix.
PREFIXES = (
    "_orig_mod.", "module.", "teacher.backbone.", "teacher.", "student.backbone.", "student.", "backbone.", "model.",
    "dinov2_with_registers.", "dinov2.", "vit.", "trunk.",
)  # fmt: skip
# The image tower of a model with several towers; the others are left out.
TOWERS = ("vision_model.", "visual.", "image_encoder.", "vision_tower.")


@dataclass(frozen=True)
class Naming:
    """The names of one code base, recognised if a key matches each of `marks`; `rules` apply in order.

    `to_timm` does what substitutions cannot, where names depend on other tensors.
    """

    name: str
    marks: tuple[str, ...]
    rules: tuple[tuple[str, str], ...] = ()
    to_timm: Callable[[State], State] | None = None


_TRANSFORMERS_VIT = (
    (r"^embeddings\.patch_embeddings?\.(?:projection\.)?", "patch_embed.proj."),
    (r"^embeddings\.(?:position_embeddings|position_embedding\.weight)$", "pos_embed"),
    (r"^embeddings\.(?:cls_token|class_embedding)$", "cls_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^(?:encoder\.)?layers?\.(\d+)\.", r"blocks.\1."),
    (r"\.attention\.output\.dense\.|\.attention\.o_proj\.|\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.(?:attention\.)*(?:attention|self_attn)\.(q|k|v)(?:uery|ey|alue|_proj)\.", r".attn.\1."),
    (r"\.(?:layernorm_before|layer_norm1)\.", ".norm1."),
    (r"\.(?:layernorm_after|layer_norm2)\.", ".norm2."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"\.intermediate\.dense\.|\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"(?<=\d)\.output\.dense\.|\.mlp\.weights_out\.|\.mlp\.down_proj\.", ".mlp.fc2."),
    (r"^(?:layernorm|post_layernorm)\.", "norm."),
    (r"^pre_layrnorm\.", "norm_pre."),
    (r"^head\.probe$", "attn_pool.latent"),
    (r"^head\.attention\.in_proj_", "attn_pool.qkv."),
    (r"^head\.attention\.out_proj\.", "attn_pool.proj."),
    (r"^head\.layernorm\.", "attn_pool.norm."),
    (r"^head\.mlp\.", "attn_pool.mlp."),
)

NAMINGS = (
    Naming("transformers", (r"^embeddings\.patch_embedding",), _TRANSFORMERS_VIT),
    Naming(
        "OpenCLIP",
        (r"^transformer\.resblocks\.", r"^conv1\.weight$"),
        (
            (r"^class_embedding$", "cls_token"),
            (r"^positional_embedding$", "pos_embed"),
            (r"^conv1\.", "patch_embed.proj."),
            (r"^transformer\.resblocks\.", "blocks."),
            (r"\.attn\.in_proj_", ".attn.qkv."),
            (r"\.attn\.out_proj\.", ".attn.proj."),
            (r"\.ln_([12])\.", r".norm\1."),
            (r"\.mlp\.c_fc\.", ".mlp.fc1."),
            (r"\.mlp\.c_proj\.", ".mlp.fc2."),
            (r"^ln_pre\.", "norm_pre."),
            (r"^ln_post\.", "norm."),
        ),
    ),
    Naming(
        "official DINOv3 ConvNeXt",
        (r"^downsample_layers\.", r"\.dwconv\."),
        (
            (r"^downsample_layers\.0\.", "stem."),
            (r"^downsample_layers\.(\d+)\.", r"stages.\1.downsample."),
            (r"^stages\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
            (r"\.dwconv\.", ".conv_dw."),
            (r"\.pwconv([12])\.", r".mlp.fc\1."),
            (r"^norm\.", "head.norm."),
        ),
    ),
    Naming("official SAM", (r"\.mlp\.lin1\.",), ((r"\.mlp\.lin([12])\.", r".mlp.fc\1."),)),
    Naming("official DINOv3", (r"^storage_tokens$",), ((r"^storage_tokens$", "reg_token"),)),
    Naming(
        "official DINOv2",
        (r"^(register_tokens|mask_token)$|^blocks\.\d+\.\d+\.|\.mlp\.w12\.", r"^patch_embed\."),
        (
            (r"^register_tokens$", "reg_token"),
            (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),  # blocks in chunks, as its training code saves them
            (r"\.mlp\.w12\.", ".mlp.fc1."),
            (r"\.mlp\.w3\.", ".mlp.fc2."),
        ),
    ),
    Naming(
        "torchvision",
        (r"\.denselayer\d+\.norm\.1\.",),
        ((r"(\.denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),),
    ),
    Naming("efficientnet_pytorch", efficientnet_names.MARKS, to_timm=efficientnet_names.to_timm),
)


def convert(state: State) -> tuple[State, tuple[str, ...]]:
    """The weights under timm's names, and notes on what was recognised and left out."""
    state, notes = unwrap(state)
    naming = recognise(state)
    if naming is not None:
        notes = (*notes, f"{naming.name} names")
        state = naming.to_timm(state) if naming.to_timm else state
        state = {_rename(key, naming): value for key, value in state.items()}
    return _shape(_fuse(state)), notes


def recognise(state: State) -> Naming | None:
    """The first naming whose marks all occur; None for timm's own (or an unknown one)."""
    for naming in NAMINGS:
        if all(any(re.search(mark, key) for key in state) for mark in naming.marks):
            return naming
    return None


def unwrap(state: State) -> tuple[State, tuple[str, ...]]:
    """Weights without the prefixes of wrappers, and without towers other than the image tower."""
    notes: list[str] = []
    students = [key for key in state if key.startswith("student.")]
    if students and any(key.startswith("teacher.") for key in state):
        notes.append(f"the teacher's weights, {len(students)} of the student left out")
        state = {key: value for key, value in state.items() if not key.startswith("student.")}
    changed = True
    while changed:
        changed = False
        for prefix in TOWERS:
            inside = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
            if inside:
                notes.append(f"image tower {prefix[:-1]!r}, {len(state) - len(inside)} other tensors left out")
                state, changed = inside, True
        for prefix in PREFIXES:
            prefixed = {key for key in state if key.startswith(prefix) and key[len(prefix) :] not in state}
            if prefixed:
                notes.append(f"prefix {prefix!r} removed")
                state = {key[len(prefix) :] if key in prefixed else key: value for key, value in state.items()}
                changed = True
    return state, tuple(notes)


def _rename(key: str, naming: Naming) -> str:
    for pattern, replacement in naming.rules:
        key = re.sub(pattern, replacement, key)
    return key


def _fuse(state: State) -> State:
    """Separate query, key and value become qkv; gate and up become the first layer of a SwiGLU."""
    fused: State = {}
    for key, value in state.items():
        projection = re.fullmatch(r"(.*\.attn\.)([qkv])\.(weight|bias)", key)
        swiglu = re.fullmatch(r"(.*\.mlp\.)(gate|up)_proj\.(weight|bias)", key)
        if projection:
            triple = [state.get(f"{projection[1]}{letter}.{projection[3]}") for letter in "qkv"]
            like = next(tensor for tensor in triple if tensor is not None)
            # The key projections of DINOv3 have no bias.
            whole = [
                torch.zeros_like(like) if tensor is None and projection[3] == "bias" else tensor for tensor in triple
            ]
            if all(tensor is not None for tensor in whole):
                fused[f"{projection[1]}qkv.{projection[3]}"] = torch.cat([t for t in whole if t is not None])
                continue
        elif swiglu:
            gate, up = (state.get(f"{swiglu[1]}{side}_proj.{swiglu[3]}") for side in ("gate", "up"))
            pair = [tensor for tensor in (gate, up) if tensor is not None]
            fused[f"{swiglu[1]}fc1.{swiglu[3]}"] = torch.cat(pair)
            continue
        fused[key] = value
    return fused


def _shape(state: State) -> State:
    """Add leading dimensions that some code bases omit, and split the joint projection of the pooling head."""
    shaped: State = {}
    for key, value in state.items():
        if key == "attn_pool.qkv.weight" or key == "attn_pool.qkv.bias":
            end = key.rpartition(".")[2]
            query, pair = value.split([len(value) // 3, 2 * len(value) // 3])
            shaped |= {f"attn_pool.q.{end}": query, f"attn_pool.kv.{end}": pair}
        elif key == "cls_token" and value.ndim == 1:
            shaped[key] = value[None, None]
        elif key == "pos_embed" and value.ndim == 2:
            shaped[key] = value[None]
        else:
            shaped[key] = value
    return shaped
