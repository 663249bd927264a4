"""Throughput of an encoder: float32 against bfloat16 by batch size, and the memory format of a CNN.

    python benchmarks/encoder.py [BACKBONE] [--size 224] [--repeats 3]

Ratios are relative to float32 at batch 8. Variants take turns and the best repeat counts, so that other load affects
all alike. The last lines print the choice of `auto_dtype` and the overhead of a backbone around its module (checks,
normalisation, splitting).
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch

from radapt.backbones import auto_dtype, load_backbone
from radapt.backbones.backbone import Backbone

BATCHES = (1, 8, 16, 32)


def best_seconds(variants: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    best = dict.fromkeys(variants, float("inf"))
    for _ in range(repeats):
        for name, work in variants.items():
            start = time.perf_counter()
            work()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def rates(backbones: dict[str, Backbone], size: int, repeats: int) -> dict[tuple[str, int], float]:
    """Images per second by dtype and batch."""
    measured = {}
    for batch in BATCHES:
        images = torch.rand(batch, 3, size, size)
        work = {name: partial(backbone.tokens, images) for name, backbone in backbones.items()}
        for name, seconds in best_seconds(work, repeats).items():
            measured[name, batch] = batch / seconds
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone", nargs="?", default="dinov2-s")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    backbones = {d: load_backbone(given.backbone, "random", dtype=d) for d in ("float32", "bfloat16")}
    print(f"{given.backbone}, {given.size} px, {torch.get_num_threads()} threads")
    print(f"{'dtype':>10} {'batch':>6} {'images/s':>10} {'ratio':>7}")
    with torch.inference_mode():
        measured = rates(backbones, given.size, given.repeats)
        for (name, batch), rate in measured.items():
            print(f"{name:>10} {batch:6d} {rate:10.2f} {rate / measured['float32', 8]:7.2f}")
        exact = backbones["float32"]
        if exact.card.position_recipe == "none":
            print_memory_format(exact, given.size, given.repeats)
        print_overhead(exact, given.size, given.repeats)
    faster = "bfloat16" if measured["bfloat16", 8] > measured["float32", 8] else "float32"
    print(f"auto picks {auto_dtype()}; faster here at batch 8: {faster}")


def print_memory_format(backbone: Backbone, size: int, repeats: int) -> None:
    plain = load_backbone(backbone.name, "random")
    plain.module.to(memory_format=torch.contiguous_format)
    images = torch.rand(8, 3, size, size)
    seconds = best_seconds({"last": lambda: backbone.tokens(images), "plain": lambda: plain.tokens(images)}, repeats)
    print(f"channels_last against contiguous, batch 8: {seconds['plain'] / seconds['last']:.2f}")


def print_overhead(backbone: Backbone, size: int, repeats: int) -> None:
    images = torch.rand(8, 3, size, size)
    forward = getattr(backbone.module, "forward_features", backbone.module)
    side = size // backbone.card.patch * backbone.card.patch
    inside = images[:, :, :side, :side].contiguous()
    seconds = best_seconds({"tokens": lambda: backbone.tokens(inside), "module": lambda: forward(inside)}, repeats)
    print(f"tokens() against the bare module, batch 8: {seconds['module'] / seconds['tokens']:.2f} of its throughput")


if __name__ == "__main__":
    main()
