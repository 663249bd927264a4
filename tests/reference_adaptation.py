"""One step of the adaptation in NumPy and float64, written from the definitions: encoder, heads, and every loss.

Nothing here calls radapt. A network is the dict of its parameters by name, as `state_dict` gives them. Axes: b cases,
M sequences, G large and S small crops, h × w patches of p × p grey pixels, D the width, K prototypes, c classes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Params = Mapping[str, np.ndarray]
Array = np.ndarray


@dataclass(frozen=True)
class Tokens:
    """One crop of one case after the encoder: `cls` (D,) and `patches` (M, h, w, D), NaN at absent sequences."""

    cls: Array
    patches: Array


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_softmax(x: Array) -> Array:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))


def unit(x: Array) -> Array:
    return x / np.sqrt((x**2).sum(-1, keepdims=True))


def layer_norm(x: Array, net: Params, name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * net[f"{name}.weight"] + net[f"{name}.bias"]


def linear(x: Array, net: Params, name: str) -> Array:
    return x @ net[f"{name}.weight"].T + net[f"{name}.bias"]


def block(x: Array, net: Params, name: str, heads: int) -> Array:
    """A transformer block with LayerScale on the tokens (L, D) of one sequence."""
    length, width = x.shape
    qkv = linear(layer_norm(x, net, f"{name}.norm1"), net, f"{name}.attn.qkv")
    q, k, v = qkv.reshape(length, 3, heads, width // heads).transpose(1, 2, 0, 3)  # each (heads, L, d)
    weights = softmax(q @ k.transpose(0, 2, 1) / math.sqrt(width // heads))
    attended = (weights @ v).transpose(1, 0, 2).reshape(length, width)
    x = x + net[f"{name}.ls1.gamma"] * linear(attended, net, f"{name}.attn.proj")
    y = gelu(linear(layer_norm(x, net, f"{name}.norm2"), net, f"{name}.mlp.fc1"))
    return x + net[f"{name}.ls2.gamma"] * linear(y, net, f"{name}.mlp.fc2")


def encode(
    net: Params, image: Array, present: Array, masked: Array, positions: Array, hidden_blocks: int | None,
    *, mean: Array, std: Array, heads: int = 2, depth: int = 2,
) -> Tokens:  # fmt: skip
    """One crop (M, H, W) in [0, 1] of one case with `present` (M,) sequences and `masked` (M, h, w) patches.

    Each sequence is grey → three equal channels, normalised, cut into patches and embedded by the same kernel; the
    position embedding `positions` (h·w, D) and the sequence embedding of length 1 are added. Masked patches enter the
    last `hidden_blocks` blocks (None: all) as mask tokens with position and sequence. Absent sequences have no tokens.
    """
    sequences, rows, columns = masked.shape
    side = image.shape[1] // rows
    kernel = net["vit.patch_embed.proj.weight"]  # (D, 3, p, p)
    embedding = unit(net["modality_embedding"])  # (M, D)
    places = [(m, r, c) for m in range(sequences) if present[m] for r in range(rows) for c in range(columns)]
    inputs: dict[tuple[int, int, int], Array] = {}
    for m, r, c in places:
        where = positions[r * columns + c] + embedding[m]
        if masked[m, r, c]:
            inputs[m, r, c] = net["mask_token"] + where
        else:
            pixels = image[m, r * side : (r + 1) * side, c * side : (c + 1) * side]
            colour = (pixels - mean[:, None, None]) / std[:, None, None]  # (3, p, p)
            inputs[m, r, c] = (kernel * colour).sum((1, 2, 3)) + net["vit.patch_embed.proj.bias"] + where
    visible = [place for place in places if not masked[place]]
    joining = 0 if hidden_blocks is None else max(0, depth - hidden_blocks)
    cls = net["vit.cls_token"][0, 0] + net["vit.pos_embed"][0, 0]
    order, x = visible, np.stack([cls, *(inputs[place] for place in visible)])
    for number in range(depth):
        if number == joining:
            x = np.concatenate([x, *(inputs[place][None] for place in places if masked[place])])
            order = visible + [place for place in places if masked[place]]
        x = block(x, net, f"vit.blocks.{number}", heads)
    x = layer_norm(x, net, "vit.norm")
    patches = np.full((sequences, rows, columns, x.shape[1]), np.nan)
    for place, token in zip(order, x[1:], strict=True):
        patches[place] = token
    return Tokens(x[0], patches)


def project(net: Params, features: Array, head: str = "head") -> Array:
    """(…, D) -> (…, K): an MLP of three layers, then scaled cosines with the prototypes."""
    y = gelu(linear(features, net, f"{head}.mlp.0"))
    y = linear(gelu(linear(y, net, f"{head}.mlp.2")), net, f"{head}.mlp.4")
    return unit(y) @ unit(net[f"{head}.last.directions"]).T * net[f"{head}.last.logit_scale"]


def sinkhorn(logits: Array, temperature: float) -> Array:
    """(n, K): in turns prototypes to equal totals and samples to 1, three times."""
    q = np.exp((logits - logits.max()) / temperature)
    for _ in range(3):
        q = q / q.sum(0) / q.shape[1]
        q = q / q.sum(1, keepdims=True) / len(q)
    return q * len(q)


def dino(student: Array, targets: Array, temperature: float) -> float:
    """Logits (G + S, b, K), the first G those of the teacher's crops, and targets (G, b, K): the mean over all pairs of
    different crops and over cases."""
    pairs = [(s, g) for s in range(len(student)) for g in range(len(targets)) if s != g]
    terms = [-(targets[g] * log_softmax(student[s] / temperature)).sum(-1).mean() for s, g in pairs]
    return float(np.mean(terms))


def ibot(student: list[Array], targets: list[Array], temperature: float) -> float:
    """Per crop, logits (n, K) of its masked patches and targets (n, K): the mean over patches, then over all crops."""
    crops = [
        -(t * log_softmax(s / temperature)).sum(1).mean() if len(s) else 0.0
        for s, t in zip(student, targets, strict=True)
    ]
    return float(np.mean(crops))


def koleo(cls: Array) -> float:
    """(G, b, D): minus the log of the distance to the nearest other case of the same crop, in the mean over cases."""
    total = 0.0
    for crop in unit(cls):
        for at, feature in enumerate(crop):
            others = np.delete(crop, at, axis=0)
            total -= math.log(np.sqrt(((others - feature) ** 2).sum(1)).min()) / len(crop)
    return total


def lesion_logits(net: Params, patches: Array, visible: Array) -> Array:
    """(L, h, w) from patch tokens (M, h, w, D) of one crop: the evidence of the sequences `visible` (M, h, w) at a
    place, summed and divided by the root of their number."""
    evidence = np.where(visible[..., None], np.nan_to_num(patches) @ net["reader.weight"].T, 0.0)  # (M, h, w, L)
    count = visible.sum(0)[..., None]  # (h, w, 1)
    return np.moveaxis(evidence.sum(0) / np.sqrt(np.maximum(count, 1)) + net["reader.bias"], -1, 0)


def lesion_vector(tokens: Tokens, logits: Array, visible: Array) -> Array:
    """(2 D + L,): the CLS token, the patch tokens weighted by the probability of any lesion, log shares of lesions."""
    seen = visible.any(0)  # (h, w)
    probability = (1 - np.prod(sigmoid(-logits), axis=0)) * seen
    weights = (probability * visible)[..., None]  # (M, h, w, 1)
    attended = (weights * np.nan_to_num(tokens.patches)).sum((0, 1, 2)) / weights.sum()
    shares = (sigmoid(logits) * seen).sum((1, 2)) / seen.sum()
    return np.concatenate([tokens.cls, attended, np.log(np.maximum(shares, 1e-4))])


def lesion_loss(logits: Array, seen: Array, targets: Array, rates: Array) -> float:
    """Of one crop: logits and targets (L, h, w), seen (h, w): cross-entropy in units of the entropy of each rate."""
    crossed = -(targets * np.log(sigmoid(logits)) + (1 - targets) * np.log(sigmoid(-logits)))
    entropy = -(rates * np.log(rates) + (1 - rates) * np.log(1 - rates))
    return float(((crossed / entropy[:, None, None]).mean(0) * seen).sum() / seen.sum())


def smoothed(label: int, classes: int, smoothing: float) -> Array:
    return np.eye(classes)[label] * (1 - smoothing) + smoothing / classes
