"""Memory and time per step of every adaptation method, relative to full fine-tuning.

    python benchmarks/adaptation.py [--backbone dinov2-s] [--size 98] [--batch 16] [--steps 12] [--repeats 3]

Every method trains the same encoder (random weights) under a linear head with AdamW, in its own process. The processes
take turns, and the fastest step of all turns counts, so that other load affects all methods alike. Memory is the peak
resident memory during training beyond that of the loaded encoder: gradients, optimiser moments, activations and the
adapters. Ratios are relative to full fine-tuning.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

METHODS = ("full", "partial", "lora", "dora", "ia3", "norm", "bitfit", "frozen")


def trained_alone(method: str, given: argparse.Namespace) -> dict[str, Any]:
    """The measurements of a separate process that only trains with one method."""
    options = [f"--{name}={getattr(given, name)}" for name in ("backbone", "size", "batch", "steps", "threads")]
    command = [sys.executable, __file__, "--method", method, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def train(method: str, given: argparse.Namespace) -> dict[str, Any]:
    import torch

    from radapt.backbones import load_backbone
    from radapt.networks import adapt, train_mode
    from radapt.training import count_parameters, parameter_groups

    torch.set_num_threads(given.threads)
    backbone = load_backbone(given.backbone, "random")
    head = torch.nn.Linear(backbone.width, 2)
    images, labels = torch.rand(given.batch, 3, given.size, given.size), torch.arange(given.batch) % 2
    warm_up(given.batch)
    start = memory_mb("VmRSS")
    reset_peak()
    adapt(backbone.module, method)
    train_mode(backbone.module)
    groups = [*parameter_groups(backbone.module), *parameter_groups(head)]
    optimiser = torch.optim.AdamW([{"params": group.parameters} for group in groups], lr=1e-4)
    seconds = []
    for _ in range(given.steps):
        begun = time.perf_counter()
        torch.nn.functional.cross_entropy(head(backbone.tokens(images).cls), labels).backward()
        optimiser.step()
        optimiser.zero_grad()
        seconds.append(time.perf_counter() - begun)
    trained, every = count_parameters(backbone.module)
    return {
        "seconds": min(seconds[1:]),
        "memory_mb": memory_mb("VmHWM") - start,
        "trained": trained,
        "share": trained / every,
    }


def warm_up(batch: int) -> None:
    """Start the threads of torch and load optional libraries, so that their memory is attributed to no method."""
    import peft  # noqa: F401
    import torch

    layer = torch.nn.Linear(64, 64)
    layer(torch.rand(batch, 64)).sum().backward()
    torch.optim.AdamW(layer.parameters()).step()


def memory_mb(name: str) -> float:
    """VmRSS, the current resident memory, or VmHWM, its peak since `reset_peak`."""
    return float(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) / 1024


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="dinov2-s")
    parser.add_argument("--size", type=int, default=98)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.method:
        print(json.dumps(train(given.method, given)))
        return
    if not Path("/proc/self/clear_refs").exists():
        sys.exit("This benchmark reads peak memory from /proc, which only Linux has.")
    turns = [{method: trained_alone(method, given) for method in METHODS} for _ in range(given.repeats)]
    measured = {
        method: {
            **turns[0][method],
            "seconds": min(turn[method]["seconds"] for turn in turns),
            "memory_mb": sorted(turn[method]["memory_mb"] for turn in turns)[len(turns) // 2],
        }
        for method in METHODS
    }
    print(f"{given.backbone}, {given.size} px, batch {given.batch}, {given.threads} threads, {given.repeats} turns")
    print(f"{'method':>8} {'trained':>11} {'share':>7} {'memory MB':>10} {'ratio':>6} {'ms/step':>8} {'ratio':>6}")
    full = measured["full"]
    for method, numbers in measured.items():
        print(
            f"{method:>8} {numbers['trained']:11,d} {numbers['share']:7.2%} {numbers['memory_mb']:10.0f} "
            f"{numbers['memory_mb'] / full['memory_mb']:6.2f} {numbers['seconds'] * 1e3:8.0f} "
            f"{numbers['seconds'] / full['seconds']:6.2f}"
        )
    print("aim: lora and bitfit below 1 in memory, at most 1 in time")


if __name__ == "__main__":
    main()
