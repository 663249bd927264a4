"""The study file of `radapt demo`, with the options chosen for it."""

from pathlib import Path

CNN, VIT = "timm:resnet18", "vit-nano"
"""The encoders, both small enough for a laptop. Only a plain vision transformer can be adapted to several sequences."""

LABELS = 0.25
"""The fraction of the labels that both adaptations train on."""

STEPS = 300
"""Training steps of each adaptation."""

ADAPTED, SUPERVISED = "adapted", "supervised only"
"""The titles of the two adaptations in tables."""

OPTIONS: dict[str, object] = {
    "batch": 8, "global_size": 64, "local_size": 32, "slices": 16, "lr": 0.008, "warmup": 0.03, "frozen": 0.0,
    "layer_decay": 1.0, "patch_lr_scale": 1.0, "drop_path": 0.0, "weight_decay_end": 0.04,
}  # fmt: skip
"""Options of both adaptations. An encoder without pretraining needs a higher learning rate, in all layers and from the
start. In so few steps it does not overfit, so it is hardly regularised."""

PRESETS: dict[str, tuple[str, dict[str, object]]] = {
    ADAPTED: (
        "cpu",
        {"local_crops": 2, "dino": 0.1, "ibot": 0.0, "koleo": 0.01, "consistency": 0.1, "supervised": 0.2},
    ),
    SUPERVISED: ("supervised", {}),
}  # fmt: skip
"""Preset and options of each. From scratch, self-distillation needs thousands of steps to help, and at full weight it
would outweigh the masks in the first hundreds of steps, as would the labels of a few patients."""

_STUDY = """\
# The study of `radapt demo`. Edit it and run: radapt run {out}/study.yaml --out {out}/run --cache {out}/cache
name: demo
cohorts: [cohort.yaml]
backbones:
# Small encoders with RANDOM weights, without a download. A pretrained one from the hub:  - dinov2-s
- {{name: "{cnn}", weights: random}}
- {{name: "{vit}", weights: random}}
protocols:
- knn
- linear
- logistic
- {{fewshot: {{shots: [2, 8], repeats: 3}}}}  # 2 and 8 labelled patients per class, drawn 3 times
# Adapted to all four sequences with a quarter of the labels, and evaluated on every subset of the sequences: by
# self-supervision on all patients plus these labels, and by the labels alone. Both see the same tokens.
{adaptations}
# Trained on images instead of stored features, which is slower:  - bitfit  - lora  - {{scratch: {{network: resnet18}}}}
# Segmentation of the tumour masks:  - {{segment: {{decoder: conv}}}}  - unet
image:
  size: {size}              # side in pixels
  slices: {{count: {slices}}}   # evenly spaced through each volume
seeds: [0]
"""

_ADAPTATION = """\
- title: {title}
  fewshot:
    fractions: [{labels}]
    shots: []
    repeats: 1
    protocol: mmdino
    options: {{preset: {preset}, {options}}}"""


def study_text(out: Path, size: int, slices: int, steps: int) -> str:
    """The study file for a demo in the folder `out`."""
    adaptations = [
        _ADAPTATION.format(
            title=title, labels=LABELS, preset=preset,
            options=", ".join(f"{name}: {value}" for name, value in {**OPTIONS, **more, "steps": steps}.items()),
        )
        for title, (preset, more) in PRESETS.items()
    ]  # fmt: skip
    return _STUDY.format(out=out, size=size, slices=slices, cnn=CNN, vit=VIT, adaptations="\n".join(adaptations))
