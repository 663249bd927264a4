"""Cost of a training step of the adaptation, relative to a plain implementation of the published one.

    python benchmarks/mmdino_step.py [--sides plain default …] [--precision bfloat16] [--steps 4] [--turns 2]

The setting is that of MM-DINOv2 (arXiv 2509.06617): ViT-S/14 with random weights, 4 sequences, 2 × 98 + 8 × 56 px,
batch 8. A step consists of crops and their augmentation (the same code for all), student, teacher, heads, losses,
backward pass, gradient clipping, AdamW and the update of the teacher.

    plain      the published step: grey images in three channels, every case padded to four sequences and masked, hidden
               patches as mask tokens in every block, every branch computed and multiplied with zero for some cases
    subset     the same, but each branch is computed only for the cases that pass it, as in the code of DINOv2
    published  radapt with `--preset mm-dinov2`: the same method
    default    radapt's default, which also learns from masks

Every side runs in its own process. The processes take turns; the fastest turn of each step counts, without the first
step. Memory is the peak resident memory during training beyond that of the loaded networks. Ratios are relative to
`plain`.
"""

import argparse
import json
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radapt import load_backbone
from radapt.backbones.position import RECIPES, interpolate_positions
from radapt.mmdino.losses import dino_loss, ibot_loss, koleo
from radapt.mmdino.options import options_of
from radapt.mmdino.slices import Sample
from radapt.mmdino.student import SampleLabels, StudentModel
from radapt.mmdino.supervision import prototype_loss, share_weights
from radapt.mmdino.task import AdaptTask, SampleBatch
from radapt.training.seeds import sample_seeds

SIDES = ("plain", "subset", "published", "default")
MODALITIES = ("t1", "t1c", "t2", "flair")
BATCH, SIZE_PX, TOTAL = 8, 240, 1000
LABELS = SampleLabels("classes", 3, torch.tensor([0.2, 0.6, 0.2]))
RATES = (0.05,)  # of the crops, what masks mark


class CaseLoader:
    """Simulated slices with masks, with a quarter of the sequences missing, or none."""

    cohort = SimpleNamespace(kind="mri", patients=np.arange(BATCH).astype(str))

    def __init__(self, missing: bool) -> None:
        lacking = np.tile([0, 1, 2, 1], BATCH)[:BATCH] if missing else np.zeros(BATCH, int)
        order = (np.arange(4) + np.arange(BATCH)[:, None]) % 4
        self.present = torch.from_numpy(order >= lacking[:, None])

    def sample(self, rows: np.ndarray, seeds: np.ndarray) -> Sample:
        planes = np.random.default_rng(int(seeds[0])).integers(0, 256, (len(rows), 4, 1, SIZE_PX, SIZE_PX), np.uint8)
        boxes = torch.tensor([20.0, 30.0, 220.0, 210.0]).repeat(len(rows), 1)
        nothing = torch.zeros(len(rows))
        return Sample(
            torch.from_numpy(planes) * self.present[:, :, None, None, None],
            self.present,
            boxes,
            nothing,
            nothing.long(),
        )

    def marked_planes(self, rows: np.ndarray, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        masks = np.zeros((len(rows), SIZE_PX, SIZE_PX), np.uint8)
        masks[:, 90:150, 80:140] = 1
        return masks, np.ones(len(rows), bool)


class Plain(AdaptTask):
    """The published step on padded batches. Heads, losses, masks and crops are radapt's."""

    subset = False

    def loss(self, batch: SampleBatch, seeds: np.ndarray) -> Tensor:
        options, student, count = self.options, self.module.student, len(batch.present)
        views = self._views(batch)
        with torch.no_grad():
            teacher = self.module.teacher.network
            cls, patches = self.encode(teacher, views.large, views.present, None)
            logits, hidden_logits = (
                teacher.head(cls.unflatten(0, (-1, count))),
                teacher.head(patches[views.hidden.flatten(1)]),
            )
            crops = self.module.centre.probabilities(logits, self._temperature)
            targets = self.module.patch_centre.probabilities(hidden_logits, self._temperature)
            self.module.centre.collect(logits)
            self.module.patch_centre.collect(hidden_logits)
        large, patches = self.encode(student, views.large, views.present, views.hidden)
        small, _ = self.encode(student, views.small, views.small_present, None)
        seen = student.head(torch.cat([large, small]).unflatten(0, (-1, count)))
        hidden = views.hidden.flatten(1)
        predicted, owner = student.head(patches[hidden]), hidden.nonzero()[:, 0]
        known, weights = torch.as_tensor(batch.labels), share_weights(LABELS.shares)
        heat, smoothing = options.student_temperature, options.label_smoothing
        return (
            options.dino * dino_loss(seen, crops, heat)
            + options.ibot * ibot_loss(predicted, targets, owner, len(large), heat)
            + options.koleo * koleo(large.unflatten(0, (-1, count)))
            + options.supervised * prototype_loss(seen, known, temperature=heat, weights=weights, smoothing=smoothing)
        )

    def encode(
        self, learner: StudentModel, images: Tensor, present: Tensor, hidden: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """(B, M, 1, H, W) -> CLS (B, D) and patches (B, M·h·w, D)."""
        net, vit, cases = learner.encoder, learner.encoder.vit, len(images)
        grey = images.flatten(0, 1).repeat(1, 3, 1, 1)
        x = vit.patch_embed((grey - net.mean[:, None, None]) / net.std[:, None, None])  # (B·M, h, w, D)
        size = (x.shape[1], x.shape[2])
        x = x.flatten(1, 2).unflatten(0, (cases, -1))  # (B, M, h·w, D)
        if hidden is not None:
            x = torch.where(hidden.flatten(2)[..., None], net.mask_token.to(x.dtype), x)
        places = interpolate_positions(vit.pos_embed[:, 1:], size, RECIPES[net.position_recipe])
        x = x + places + nn.functional.normalize(net.modality_embedding, dim=1)[:, None]
        x = torch.cat([(vit.cls_token + vit.pos_embed[:, :1]).expand(cases, -1, -1), x.flatten(1, 2)], dim=1)
        mask = None
        if not present.all():
            there = present.repeat_interleave(size[0] * size[1], dim=1)
            mask = torch.cat([torch.ones(cases, 1, dtype=torch.bool), there], dim=1)[:, None, None]
        for block in vit.blocks:
            x = self.passed(x, mask, net, lambda x, m, b=block: b.ls1(b.attn(b.norm1(x), attn_mask=m)))
            x = self.passed(x, mask, net, lambda x, m, b=block: b.ls2(b.mlp(b.norm2(x))))
        x = vit.norm(x)
        return x[:, 0], x[:, 1:]

    def passed(self, x: Tensor, mask: Tensor | None, net: Any, branch: Any) -> Tensor:
        """`x` plus the output of a branch for the cases that pass it."""
        rate = net.drop_path if net.training else 0.0
        if not rate:
            return x + branch(x, mask)
        if self.subset:
            kept = torch.randperm(len(x))[: max(1, int(len(x) * (1 - rate)))]
            added = branch(x[kept], None if mask is None else mask[kept])
            return x.index_add(0, kept, added.to(x.dtype), alpha=len(x) / len(kept))
        return x + branch(x, mask) * (torch.rand(len(x), 1, 1) >= rate) / (1 - rate)


class Subset(Plain):
    """Computes each branch only for the cases that pass it."""

    subset = True


def task_of(side: str, missing: bool) -> AdaptTask:
    options = options_of("default" if side == "default" else "mm-dinov2", batch=BATCH)
    backbone = load_backbone("dinov2-s", "random")
    learner = StudentModel.of(backbone, MODALITIES, options, LABELS, RATES, seed=0)
    targets = np.where(np.arange(BATCH) % 2, -1, np.arange(BATCH) % 3)
    kind = {"plain": Plain, "subset": Subset}.get(side, AdaptTask)
    feed: Any = CaseLoader(missing)
    return kind(learner, feed, np.arange(BATCH), targets, options, LABELS, 0.5, 1.0, RATES)


def train(given: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(given.threads)
    task = task_of(given.side, given.missing)
    task.train_mode()
    parameters = [p for p in task.module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=1e-5, weight_decay=0.04)
    start = memory_mb("VmRSS")
    reset_peak()
    seconds = []
    for step in range(given.steps + 1):
        seeds = sample_seeds(0, step, np.arange(BATCH))
        batch = task.load(np.arange(BATCH), seeds)
        torch.manual_seed(step)
        begun = time.perf_counter(), time.process_time()
        task.before_step(TOTAL // 2 + step, TOTAL)
        with torch.autocast("cpu", torch.bfloat16) if given.precision == "bfloat16" else nullcontext():
            loss = task.loss(batch, seeds)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 3.0)
        optimiser.step()
        optimiser.zero_grad()
        task.after_step(TOTAL // 2 + step, TOTAL)
        seconds.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    return {"seconds": seconds[1:], "memory_mb": memory_mb("VmHWM") - start, "loss": loss.item()}


def trained_alone(side: str, missing: bool, given: argparse.Namespace) -> dict[str, Any]:
    """The measurements of a separate process that only trains."""
    options = [f"--{name}={getattr(given, name)}" for name in ("precision", "steps", "threads")]
    command = [sys.executable, __file__, "--side", side, *options, *(["--missing"] if missing else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def memory_mb(name: str) -> float:
    """VmRSS, the current resident memory, or VmHWM, its peak since `reset_peak`."""
    return float(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) / 1024


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def table(missing: bool, given: argparse.Namespace) -> None:
    turns = [{side: trained_alone(side, missing, given) for side in given.sides} for _ in range(given.turns)]
    quickest = {side: np.min([turn[side]["seconds"] for turn in turns], axis=0).mean(axis=0) for side in given.sides}
    memory = {side: np.median([turn[side]["memory_mb"] for turn in turns]) for side in given.sides}
    print("a quarter of the sequences missing" if missing else "all sequences there")
    print(f"{'':>10} {'s/step':>7} {'ratio':>6} {'CPU s':>7} {'ratio':>6} {'memory MB':>10} {'ratio':>6}")
    first = given.sides[0]
    for side in given.sides:
        (wall, processor), (wall_1, processor_1) = quickest[side], quickest[first]
        print(
            f"{side:>10} {wall:7.2f} {wall / wall_1:6.2f} {processor:7.2f} {processor / processor_1:6.2f} "
            f"{memory[side]:10.0f} {memory[side] / memory[first]:6.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--missing", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(train(given)))
        return
    if not Path("/proc/self/clear_refs").exists():
        sys.exit("This benchmark reads peak memory from /proc, which only Linux has.")
    print(f"ViT-S/14, 4 sequences, 2 × 98 + 8 × 56 px, batch {BATCH}, {given.precision}, {given.threads} threads")
    for missing in (False, True):
        table(missing, given)
    print("aim: default at most 0.7 in time and memory, and 0.5 in time where a quarter is missing")


if __name__ == "__main__":
    main()
