"""The study that `radapt demo` writes and runs, and everything that was chosen for it."""

from pathlib import Path

CNN, VIT = "timm:resnet18", "vit-nano"
"""The encoders, both small enough for a laptop. Only a plain vision transformer can be adapted to several sequences."""

LABELS = 0.25
"""The share of the labels that both adaptations learn from."""

STEPS = 300
"""Steps of training of each adaptation."""

ADAPTED, SUPERVISED = "adapted", "supervised only"
"""What tables call the two."""

OPTIONS: dict[str, object] = {
    "batch": 8, "global_size": 64, "local_size": 32, "slices": 16, "lr": 0.008, "warmup": 0.03, "frozen": 0.0,
    "layer_decay": 1.0, "patch_lr_scale": 1.0, "drop_path": 0.0, "weight_decay_end": 0.04,
}  # fmt: skip
"""Of both. An encoder without any pretraining needs a higher learning rate, in all of its layers and from the start:
nothing in it is worth being spared. In so few steps it does not overfit, so that it is hardly regularised."""

PRESETS: dict[str, tuple[str, dict[str, object]]] = {
    ADAPTED: (
        "cpu",
        {"local_crops": 2, "dino": 0.1, "ibot": 0.0, "koleo": 0.01, "consistency": 0.1, "supervised": 0.2},
    ),
    SUPERVISED: ("supervised", {}),
}  # fmt: skip
"""Preset and options of each. From scratch, self-distillation takes thousands of steps to be of use, and at full weight
it would drown what masks say in the first hundreds, as would the labels of a few patients."""

_STUDY = """\
# The study behind `radapt demo`. Change it and say: radapt run {out}/study.yaml --out {out}/run --cache {out}/cache
name: demo
cohorts: [cohort.yaml]
backbones:
# Small encoders with RANDOM weights: nothing is downloaded, and nothing was ever learned from images.
# A trained one from the hub instead, or beside them:  - dinov2-s
- {{name: "{cnn}", weights: random}}
- {{name: "{vit}", weights: random}}
protocols:
- knn
- linear
- logistic
- {{fewshot: {{shots: [2, 8], repeats: 3}}}}     # what a few labelled patients of each class give, drawn three times
# Adapted to all four sequences at once with a quarter of the labels, and judged on every subset of the sequences: by
# self-supervision on all patients beside these labels, and by the labels alone. Both see the same tokens.
{adaptations}
# Trained on images, not on stored features, which takes longer:  - bitfit  - lora  - {{scratch: {{network: resnet18}}}}
# The patients have tumour masks, too:  - {{segment: {{decoder: conv}}}}  - unet
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
