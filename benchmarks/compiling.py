"""Whether `torch.compile` pays: fine-tuning an encoder, a training step of the U-Net, and extraction.

    python benchmarks/compiling.py [--work finetune unet extract] [--dtypes float32 bfloat16] [--steps 6] [--threads 1]

The same network with equal weights works as it is and compiled. Their steps alternate, so that other load affects both
alike; seconds are processor time, the median over the steps. The time of compilation is what the first two steps take
beyond two later ones, by the wall clock and from an empty cache. Blocks of an encoder are compiled one by one, equal
ones once (PyTorch's regional compilation, the quickest to compile); the U-Net is compiled as a whole. Prints plain over
compiled, above 1 if compilation makes steps faster, and the number of steps that win its time back. Weights are random,
which changes no arithmetic.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss
from torch import nn

from radapt import load_backbone
from radapt.networks import build_unet
from radapt.networks.unet.architecture import Budget, Channel, Fingerprint, plan_unet
from radapt.training.small_convolutions import SmallConvolutions

Step = Callable[[], object]
BATCH, SIDE_PX, CLASSES = 8, 98, 3
PATCH, PATCHES = (40, 56, 40), 2
FIRST = 2
"""Steps in which torch compiles the forward and the backward pass."""


def finetune(compiled: bool, dtype: str) -> Step:
    """Eight slices at 98 px by ViT-S/14 with a linear layer on the CLS token; every weight is trained."""
    backbone = load_backbone("dinov2-s", "random")
    backbone.module.train().requires_grad_(True)
    head = nn.Linear(backbone.width, CLASSES)
    if compiled:
        compile_blocks(backbone.module)
    optimiser = torch.optim.AdamW([*backbone.module.parameters(), *head.parameters()], lr=1e-5, fused=True)
    images, truth = torch.rand(BATCH, 3, SIDE_PX, SIDE_PX), torch.arange(BATCH) % CLASSES

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            logits = head(backbone.tokens(images, gradients=True).cls)
        nn.functional.cross_entropy(logits.float(), truth).backward()
        optimiser.step()

    return step


def unet(compiled: bool, dtype: str) -> Step:
    """Two patches of 40 × 56 × 40 voxels by the planned U-Net with deep supervision."""
    grey = Channel("t1", low=50.0, high=150.0, mean=100.0, sd=20.0, zeros=0.0)
    fingerprint = Fingerprint("mri", ((64, 64, 64),), ((1.0, 1.0, 1.0),), (grey,))
    network = build_unet(plan_unet(fingerprint, 3, Budget(patch=PATCH, batch=PATCHES)), 1, CLASSES).train()
    if compiled:
        network.compile()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    loss = DeepSupervisionLoss(DiceCELoss(to_onehot_y=True, softmax=True, include_background=False))
    images, labels = torch.randn(PATCHES, 1, *PATCH), torch.randint(0, CLASSES, (PATCHES, 1, *PATCH)).float()

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"), SmallConvolutions():
            maps = network(images)
        loss([each.float() for each in maps], labels).backward()
        optimiser.step()

    return step


def extract(compiled: bool, dtype: str) -> Step:
    """Tokens of eight slices at 98 px by ViT-S/14."""
    backbone = load_backbone("dinov2-s", "random", dtype=dtype)
    if compiled:
        compile_blocks(backbone.module)
    images = torch.rand(BATCH, 3, SIDE_PX, SIDE_PX)
    return lambda: backbone.tokens(images)


def compile_blocks(vit: nn.Module) -> None:
    for block in vit.blocks:
        block.compile()


def measure(build: Callable[[bool, str], Step], dtype: str, steps: int) -> tuple[float, float, float]:
    """Seconds of a plain and a compiled step, and of compilation."""
    torch.compiler.reset()
    plain, compiled = build(False, dtype), build(True, dtype)
    for _ in range(FIRST):
        plain()
    start = time.perf_counter()
    for _ in range(FIRST):
        compiled()
    first = time.perf_counter() - start
    seconds: dict[str, list[tuple[float, float]]] = {"plain": [], "compiled": []}
    for _ in range(steps):
        for name, step in (("plain", plain), ("compiled", compiled)):
            begun = time.process_time(), time.perf_counter()
            step()
            seconds[name].append((time.process_time() - begun[0], time.perf_counter() - begun[1]))
    cpu = {name: statistics.median(value for value, _ in values) for name, values in seconds.items()}
    later = statistics.median(wall for _, wall in seconds["compiled"])
    return cpu["plain"], cpu["compiled"], first - FIRST * later


def main() -> None:
    kinds = {build.__name__: build for build in (finetune, unet, extract)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", nargs="+", choices=kinds, default=list(kinds))
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{'work':9} {'dtype':9} {'plain s':>8} {'compiled s':>11} {'ratio':>6} {'compiling s':>12}  won back after")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for name in given.work:
            for dtype in given.dtypes:
                plain, compiled, compiling = measure(kinds[name], dtype, given.steps)
                after = f"{compiling / (plain - compiled):,.0f} steps" if plain > compiled else "never"
                row = f"{name:9} {dtype:9} {plain:8.3f} {compiled:11.3f} {plain / compiled:6.2f} {compiling:12.1f}"
                print(f"{row}  {after}", flush=True)


if __name__ == "__main__":
    main()
