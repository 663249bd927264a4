"""The study file of `radapt demo`, with the options chosen for it."""

from collections.abc import Sequence
from pathlib import Path

CONTROL, TRANSFORMER = "efficientnet-lite0", "dinov2-s-focus"
ENCODERS = (CONTROL, TRANSFORMER)
"""The pretrained encoders: a small convolutional network and a vision transformer, both from Python packages. The
first also runs with random weights, the second is adapted; the other way round would take minutes more."""

RANDOM = "-random"
"""The end of the name of an encoder with random weights."""

PROBES = ("knn", "linear", "logistic")
"""The frozen probes."""

ADAPTED = "adapted"
"""The title of the adaptation in tables."""

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
controls: [age-sex, first-order, shuffled-labels]   # random weights stand among the backbones
seeds: [0]
"""


def study_text(out: Path, size: int, slices: int, pretrained: Sequence[str] = ENCODERS) -> str:
    """The study file for a demo in the folder `out`, with the encoders whose `pretrained` weights can be had."""
    # Without the vision transformer, which alone is worth the minutes, the others are adapted.
    trained = "" if TRANSFORMER in pretrained else "trained: fusion, "
    control = f"- {{name: {CONTROL}{RANDOM}, as: {CONTROL}, weights: random}}  # the control"
    return _STUDY.format(
        out=out, size=size, slices=slices, adapted=ADAPTED, trained=trained,
        probes="\n".join(f"- {name}" for name in PROBES),
        backbones="\n".join([*(f"- {name}" for name in pretrained), control]),
    )  # fmt: skip
