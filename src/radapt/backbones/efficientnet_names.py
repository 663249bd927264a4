"""The names of `efficientnet_pytorch` (EfficientNet and EfficientNet-Lite) converted to timm's.

There blocks are numbered through, here within their stage; a stage ends where the number of channels changes. The
first layers of a block have other names in timm where the block does not expand its channels.
"""

import re

import torch

State = dict[str, torch.Tensor]

MARKS = (r"^_conv_stem\.weight$", r"^_blocks\.\d+\._depthwise_conv\.weight$")
_WHOLE = (
    (r"^_conv_stem\.", "conv_stem."), (r"^_bn0\.", "bn1."), (r"^_conv_head\.", "conv_head."), (r"^_bn1\.", "bn2."),
    (r"^_fc\.", "classifier."),
)  # fmt: skip
_EXPANDING = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3", "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand",
}  # fmt: skip
_PLAIN = {
    "_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2",
    "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand",
}  # fmt: skip


def to_timm(state: State) -> State:
    """`state` under timm's names; names that the scheme does not cover stay as they are."""
    stages = _stages(state)
    return {_renamed(key, stages, state): value for key, value in state.items()}


def _stages(state: State) -> dict[int, tuple[int, int]]:
    """The stage of each block, and its number in the stage."""
    found = (re.match(r"_blocks\.(\d+)\._project_conv\.weight$", key) for key in state)
    numbers = sorted(int(block[1]) for block in found if block)
    places: dict[int, tuple[int, int]] = {}
    stage, within, channels = -1, 0, None
    for number in numbers:
        width = state[f"_blocks.{number}._project_conv.weight"].shape[0]
        stage, within = (stage, within + 1) if width == channels else (stage + 1, 0)
        places[number], channels = (stage, within), width
    return places


def _renamed(key: str, stages: dict[int, tuple[int, int]], state: State) -> str:
    block = re.match(r"_blocks\.(\d+)\.(\w+)\.(.+)$", key)
    if block is None:
        for pattern, replacement in _WHOLE:
            key = re.sub(pattern, replacement, key)
        return key
    number = int(block[1])
    layers = _EXPANDING if f"_blocks.{number}._expand_conv.weight" in state else _PLAIN
    if number not in stages or block[2] not in layers:
        return key
    stage, within = stages[number]
    return f"blocks.{stage}.{within}.{layers[block[2]]}.{block[3]}"
