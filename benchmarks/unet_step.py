"""A training step of the planned U-Net, against a bare loop of MONAI's and torch's own parts, and in both dtypes.

    python benchmarks/unet_step.py [--steps 6] [--patch 40 56 40] [--batch 2] [--features 32] [--threads 1]

The bare loop trains the same network by the same optimiser: MONAI's `DeepSupervisionLoss` of `DiceCELoss` on patches
that lie in memory, without loading, sampling, augmentation, clipping and schedule. Steps of all loops are taken in
turn, so that other load meets them alike; seconds are processor time, the median over the steps. Prints float32 and
bfloat16 for both loops, radapt over the bare loop in either, and float32 over bfloat16, which is the faster where
`auto_dtype` takes it.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss

from radapt import Cohort, load_cohort
from radapt.images import Recipe
from radapt.networks import build_unet
from radapt.protocols.image_problem import ImageProblem, Machine
from radapt.segmentation.unet.fit import UNetFit
from radapt.segmentation.unet.options import UNetOptions
from radapt.training.fabric import make_fabric
from radapt.training.memory import PeakMemory
from radapt.training.small_convolutions import SmallConvolutions
from radapt.training.training_run import TrainingRun

DTYPES = ("float32", "bfloat16")
CASES, SIDE = 8, 64


def cohort(folder: Path, seed: int = 0) -> Cohort:
    """Noise with two balls each, a label apiece."""
    import nibabel as nib

    rng, rows = np.random.default_rng(seed), ["case,split,image,mask"]
    axes = np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij")
    for case in range(CASES):
        labels = np.zeros((SIDE,) * 3, np.uint8)
        for label in (1, 2):
            centre = rng.uniform(15, SIDE - 15, 3)
            labels[sum((axis - at) ** 2 for axis, at in zip(axes, centre, strict=True)) < 80] = label
        image = rng.normal(100, 20, labels.shape) + 40 * labels
        for name, values in (("image", image.astype(np.float32)), ("mask", labels)):
            nib.save(nib.Nifti1Image(values, np.eye(4)), folder / f"{case}-{name}.nii.gz")
        rows.append(f"c{case},{'test' if case == 0 else 'train'},{case}-image.nii.gz,{case}-mask.nii.gz")
    (folder / "cases.csv").write_text("\n".join(rows))
    (folder / "cohort.yaml").write_text("name: balls\nkind: mri\ncases: cases.csv\nmask_labels: {1: one, 2: two}\n")
    return load_cohort(folder / "cohort.yaml")


def radapt_loop(fit: UNetFit, precision: str, steps: int) -> Iterator[None]:
    """The training loop of radapt, one step for each item."""
    from radapt.segmentation.unet.task import UNetTask

    network = build_unet(fit.plan, 1, 3, 0)
    task = UNetTask(fit._model(network), fit.prepared, fit.problem.cohort, fit.train, fit.val, fit._sampling())
    fabric = make_fabric(torch.device("cpu"), 1, precision)
    fabric.launch()
    config = UNetOptions(steps=steps, scores=0).train_config(fit.plan.batch, precision)  # type: ignore[arg-type]
    with PeakMemory(fabric.device) as memory:
        yield from TrainingRun(fabric, task, config, 0, memory).steps()


def bare_loop(fit: UNetFit, precision: str, steps: int) -> Iterator[None]:
    """The same network and optimiser with MONAI's loss, on one batch in memory."""
    network = build_unet(fit.plan, 1, 3, 0).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    loss = DeepSupervisionLoss(DiceCELoss(to_onehot_y=True, softmax=True, include_background=False))
    images = torch.randn(fit.plan.batch, 1, *fit.plan.patch)
    labels = torch.randint(0, 3, (fit.plan.batch, 1, *fit.plan.patch)).float()
    for _ in range(steps):
        optimiser.zero_grad()
        # Small maps in float32, as torch leaves their gradients unwritten in bfloat16.
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"), SmallConvolutions():
            maps = network(images)
        loss([each.float() for each in maps], labels).backward()
        optimiser.step()
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--patch", type=int, nargs=3, default=[40, 56, 40])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = UNetOptions(patch=tuple(given.patch), batch=given.batch, features=given.features, scores=0)
        problem = ImageProblem.of(
            cohort(folder), "segmentation", Recipe.for_kind("mri"), folder / "cache", machine=Machine()
        )
        fit = UNetFit(options, problem, np.random.default_rng(0), 0)
        fit.prepared.ready([*fit.train, *fit.val])
        count = given.steps + 2
        loops = {
            (which.__name__, dtype): which(fit, dtype, count) for which in (radapt_loop, bare_loop) for dtype in DTYPES
        }
        seconds: dict[tuple[str, str], list[float]] = {key: [] for key in loops}
        for number in range(given.steps + 1):
            for key, loop in loops.items():
                start = time.process_time()
                next(loop)
                if number:  # the first step allocates
                    seconds[key].append(time.process_time() - start)
        for loop in loops.values():
            loop.close()  # type: ignore[attr-defined]
    step = {key: float(np.median(values)) for key, values in seconds.items()}
    for (loop_name, dtype), value in step.items():
        print(f"{loop_name:12} {dtype:9} {value:.3f} s per step")
    for dtype in DTYPES:
        print(f"radapt / bare loop, {dtype}: {step['radapt_loop', dtype] / step['bare_loop', dtype]:.2f}")
    print(f"radapt, float32 / bfloat16: {step['radapt_loop', 'float32'] / step['radapt_loop', 'bfloat16']:.2f}")


if __name__ == "__main__":
    main()
