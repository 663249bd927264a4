"""The study file of `radapt demo`, with the options chosen for it."""

from collections.abc import Sequence
from pathlib import Path

TRANSFORMER, CONVOLUTIONAL = "dinov2-s-focus", "efficientnet-lite0"
ENCODERS = (TRANSFORMER, CONVOLUTIONAL)
"""The pretrained encoders, both from Python packages. The first whose weights can be had is also probed with random
weights, as a control; the transformer is adapted."""

PROBES = ("knn", "linear", "logistic")
"""The frozen probes."""

ADAPTED = "adapted"
"""The title of the adaptation in tables."""

RANDOM_WEIGHTS = "random-weights"
"""The control that repeats a probe on the same network with random weights."""

SPLIT, METRIC = "external", "auroc"
"""Where, and by what, methods are compared."""

_STUDY = """\
# The study of `radapt demo`. Edit it and run: radapt run {out}/study.yaml --out {out}/run --cache {out}/cache
name: demo
cohorts: [cohort.yaml]
backbones:
{backbones}
protocols:
{probes}
# Adapted: a small network, trained on the stored tokens of all sequences of a patient, of which any may be missing.
# With `trained: fusion`, which is chosen for a pretrained vision transformer, it is also done for the other encoders.
# The default, 40 epochs of three networks, takes six times as long.
- {{mmdino: {{{trained}slices: {slices}, fusion: {{epochs: 20, members: 1}}}}, title: {adapted}}}
# Trained on images instead of stored features, which is slower:  - bitfit  - lora  - {{scratch: {{network: resnet18}}}}
# Segmentation of the tumour masks:  - {{segment: {{decoder: conv}}}}  - unet
image:
  size: {size}              # side in pixels
  slices: {{count: {slices}}}   # evenly spaced through each volume
controls: [{controls}]
seeds: [0]
"""


def study_text(out: Path, size: int, slices: int, pretrained: Sequence[str] = ENCODERS) -> str:
    """The study file for a demo in the folder `out`, with the encoders whose `pretrained` weights can be had."""
    # Without the vision transformer, which alone is worth the minutes, the others are adapted.
    trained = "" if TRANSFORMER in pretrained else "trained: fusion, "
    backbones = [f"- {name}" for name in pretrained]
    if not backbones:
        backbones = [f"- {{name: {CONVOLUTIONAL}-random, as: {CONVOLUTIONAL}, weights: random}}"]
    controls = ["age-sex", "first-order", "shuffled-labels", *([RANDOM_WEIGHTS] if pretrained else [])]
    return _STUDY.format(
        out=out, size=size, slices=slices, adapted=ADAPTED, trained=trained, controls=", ".join(controls),
        probes="\n".join(f"- {name}" for name in PROBES), backbones="\n".join(backbones),
    )  # fmt: skip
