"""What the page of results prints of which data set: its cohorts, metrics, methods, and published figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from radapt.errors import UsageError

ENCODERS = ("dinov2-s-focus", "efficientnet-lite0", "random")
RANDOM = "random"
COLUMNS = ("dataset", "size", "model", "protocol", "metric", "value", "source", "mark")
FROM_MEMORY = "M"
MARKS = {"F-eye": "read from a picture", "S": "second-hand"}

LOGISTIC_AND_TABLE, FUSION_AND_TABLE = "logistic with age and sex", "fusion with age and sex"

ON_LESIONS = " on lesions"

Place = tuple[str, str]
"""A row by its family, `ON_LESIONS` added where it looks at lesions, and its encoder as `ENCODERS` names it; a control
by its name and ''."""


@dataclass(frozen=True)
class Family:
    """Rows of one method. `protocols` are names of protocols; `options` what their options must be.

    Where it is not `everywhere`, it needs what not every data set has, and is not said to be not run.
    """

    name: str
    protocols: tuple[str, ...]
    with_encoder: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    everywhere: bool = True


FAMILIES: Mapping[str, tuple[Family, ...]] = {
    "classification": (
        Family("kNN", ("knn",)),
        Family("linear", ("linear",)),
        Family("logistic", ("logistic",)),
        Family("few-shot", ("fewshot",)),
        Family("mil", ("mil",)),
        Family("LoRA", ("lora",)),
        Family("fusion", ("mmdino",)),
        Family(LOGISTIC_AND_TABLE, ("combined",), options={"protocol": "logistic"}, everywhere=False),
        Family(FUSION_AND_TABLE, ("combined",), options={"protocol": "mmdino"}, everywhere=False),
    ),
    "segmentation": (
        Family("linear decoder", ("segment",), options={"decoder": "linear", "encoder": "frozen"}),
        Family("conv decoder", ("segment",), options={"decoder": "conv", "encoder": "frozen"}),
        Family("LoRA", ("segment",), options={"encoder": "lora"}),
        Family("U-Net", ("unet",), with_encoder=False),
    ),
}
"""The methods that a data set should have, in the order of their rows."""


@dataclass(frozen=True)
class Beside:
    """Published figures of one data set that stand beside a metric of ours.

    `family` is the row, or the control, that they compare with; `models` and `protocols` select among the figures,
    empty: all of them.
    """

    dataset: str
    metrics: Mapping[str, str]
    family: str
    differs: str
    sizes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """A section of the page: cohorts by name, and `metrics` as {name in results: column}. `remark` ends it.

    `paired` are pairs of rows whose difference by patient is printed.
    """

    title: str
    cohorts: tuple[str, ...]
    aim: str
    metrics: Mapping[str, str]
    tested: str
    beside: tuple[Beside, ...] = ()
    paired: tuple[tuple[Place, Place], ...] = ()
    remark: str = ""


@dataclass(frozen=True)
class Published:
    """One line of the CSV, as its columns."""

    dataset: str
    size: str
    model: str
    protocol: str
    metric: str
    value: str
    source: str
    mark: str

    @property
    def shown(self) -> str:
        """The value as a share, percentages divided by 100, and how it was read; what is not one number as it is."""
        try:
            number = float(self.value)
            figure = f"{number / 100 if number > 1 else number:.3f}"
        except ValueError:
            figure = self.value
        return f"{figure} ({MARKS[self.mark]})" if self.mark in MARKS else figure

    @classmethod
    def read(cls, file: Path) -> "list[Published]":
        """The figures of a CSV that may be printed. Raises UsageError for a file without the columns."""
        try:
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            raise UsageError(f"--published {file} cannot be read: {error}") from None
        lacking = [name for name in COLUMNS if name not in table]
        if lacking:
            raise UsageError(f"--published {file} has no column {', '.join(lacking)}; it needs {', '.join(COLUMNS)}.")
        every = [cls(*(row[name].strip() for name in COLUMNS)) for _, row in table.iterrows()]
        return [one for one in every if one.mark != FROM_MEMORY]


CLASSES = {"auroc": "AUROC", "mcc": "MCC", "balanced_accuracy": "balanced accuracy"}
GLIOMA = "TCGA lower-grade glioma, three MRI sequences, the slices with tumour (at most ten)"
DICE = {"dice": "Dice"}

AGE_SEX = ("age-sex", "")
BEST_PROBE = ("logistic" + ON_LESIONS, "efficientnet-lite0")
JOINED = (FUSION_AND_TABLE, "dinov2-s-focus")
GLIOMA_PAIRS = (
    (JOINED, AGE_SEX),
    (JOINED, BEST_PROBE),
    (JOINED, ("fusion", "dinov2-s-focus")),
    ((LOGISTIC_AND_TABLE + ON_LESIONS, "efficientnet-lite0"), AGE_SEX),
    ((LOGISTIC_AND_TABLE + ON_LESIONS, "efficientnet-lite0"), BEST_PROBE),
)

DATA_SETS = (
    DataSet(
        "PneumoniaMNIST (28 px)",
        ("pneumoniamnist",),
        "classification",
        {"auroc": "AUROC", "accuracy": "accuracy"},
        "The protocol of the MedMNIST+ benchmark (`studies/medmnist-plus.yaml`): 28 px, official split. Every image "
        "counts as a patient, as MedMNIST names none.",
        (
            Beside(
                "PneumoniaMNIST",
                {"AUROC": "auroc", "ACC": "accuracy"},
                "linear",
                "AdamW for at most 100 epochs, stopped early by val, three seeds; ours is a logistic regression, L2 "
                "chosen by the loss on val, refitted on train and val",
                ("28",),
                protocols=("linear",),
            ),
            Beside(
                "PneumoniaMNIST",
                {"ACC": "accuracy"},
                "kNN",
                "Euclidean neighbours of the pooled features; ours are found by cosine",
                ("28",),
                protocols=("kNN11",),
            ),
        ),
        remark="Why the AUROC of `dinov2-s-focus` is below that of DINO v1 ViT-B/16, on the same features: it is "
        "not the readout (0.957 with C = 0.1, 0.950 with 0.01; 0.958 with the mean patch beside the CLS), and not how "
        "the layer is trained (the benchmark's own way, AdamW at 1e-4 for 100 epochs, three seeds: AUROC 0.942, "
        "accuracy 0.847, its loss on val still falling). Euclidean neighbours have an accuracy of 0.857. What is left "
        "is the encoder: 384 features against 768, and a film that covers 2 × 2 of its 256 patches of 14 px.",
    ),
    DataSet(
        "AdrenalMNIST3D",
        ("adrenalmnist3d", "adrenalmnist3d_64"),
        "classification",
        {"auroc": "AUROC", "accuracy": "accuracy"},
        "Volumes of 64 voxels, official split. Every volume counts as a patient, as MedMNIST names none.",
        (
            Beside(
                "AdrenalMNIST3D",
                {"AUROC": "auroc"},
                "logistic",
                "a 3D network trained end to end on volumes of 28 voxels; ours are frozen 2D encoders",
            ),
        ),
    ),
    DataSet(
        "NIH ChestX-ray14, a subset of 1,000 films",
        ("nih-subset", "nih_chestxray14_subset"),
        "classification",
        {"auroc": "mean AUROC", "average_precision": "mean average precision"},
        "1,000 films of 682 patients. Rare findings have a handful of films; undefined ones are left out of means.",
        (
            Beside(
                "NIH ChestX-ray14",
                {"mean AUROC": "auroc"},
                "logistic",
                "the official split of 112,120 films; ours is a subset of 1,000, half of them with pneumonia",
                models=("Wang 2017 ResNet-50", "DINOv2", "view position only", "ConvNeXt / Swin / ensemble"),
            ),
        ),
    ),
    DataSet(
        "Lungs on chest X-rays",
        ("lungs", "cxr_lung_masks"),
        "segmentation",
        DICE,
        "57 films whose masks were drawn on them.",
        paired=(
            (("conv decoder", "dinov2-s-focus"), ("conv decoder", RANDOM)),
            (("conv decoder", "dinov2-s-focus"), ("linear decoder", "dinov2-s-focus")),
            (("conv decoder", "dinov2-s-focus"), ("U-Net", "")),
        ),
        remark="Decoders learned from all 45 or 46 other films at one rate, without a choice: the conv decoder on "
        "`dinov2-s-focus` for 80 epochs, the others for 25, with which it had 0.934 [0.923, 0.943]. Learning from 36 "
        "and choosing the epoch on nine gave 0.929 [0.917, 0.938]. Its median over films is 0.952; three films (069, "
        "097, 098), on which the U-Net fails too, cost the mean. The U-Net is a small one: 160 px, 16 features, 300 "
        "steps.",
    ),
    DataSet(
        "LGG molecular subtype",
        ("lgg", "lgg-subtype"),
        "classification",
        CLASSES,
        f"{GLIOMA}; three classes.",
        paired=GLIOMA_PAIRS,
        remark="Without one sequence the MCC of fusion with age and sex is 0.360 (no FLAIR), 0.294 (no T1w) or 0.319 "
        "(no contrast).",
    ),
    DataSet(
        "LGG IDH mutation",
        ("lgg-idh",),
        "classification",
        CLASSES,
        f"{GLIOMA}; mutant or wildtype.",
        (
            Beside(
                "TCGA glioma IDH",
                {"AUROC": "auroc"},
                "logistic",
                "patients of all grades, where stated an external test or radiomics; ours are of lower grade alone",
                models=("FoundBioNet", "radiomics elastic net"),
            ),
            Beside(
                "TCGA glioma IDH",
                {"AUROC": "auroc"},
                "age-sex",
                "patients of all grades; ours are of lower grade alone",
                models=("age + sex",),
            ),
        ),
        GLIOMA_PAIRS,
    ),
    DataSet(
        "LGG grade",
        ("lgg-grade",),
        "classification",
        CLASSES,
        f"{GLIOMA}; grade 2 or 3.",
        paired=GLIOMA_PAIRS,
    ),
    DataSet(
        "LGG tumour",
        ("lgg", "lgg-tumour", "lgg-subtype"),
        "segmentation",
        DICE,
        f"{GLIOMA}; the FLAIR abnormality, Dice per patient.",
        (
            Beside(
                "LGG/Buda FLAIR",
                {"Dice per volume mean/median": "dice", "Dice": "dice"},
                "U-Net",
                "22 folds across hospitals, all slices; ours leaves hospitals out and has slices with tumour",
            ),
        ),
        remark="The same model on every subset of the sequences, out of fold (FLAIR, T1w, contrast-enhanced T1w): all "
        "0.791, FLAIR + T1w 0.781, FLAIR + contrast 0.770, T1w + contrast 0.584, FLAIR 0.736, T1w 0.509, contrast "
        "0.478. Without FLAIR it loses 0.207 [0.172, 0.246], without T1w 0.021 [0.014, 0.030], without contrast 0.010 "
        "[0.005, 0.016]; Shapley values 0.408, 0.202, 0.181. One rate, 300 steps, no choice.",
    ),
    DataSet(
        "Hippocampus (MSD Task04)",
        ("hippocampus", "Task04_Hippocampus"),
        "segmentation",
        {"dice": "Dice", "dice:Anterior": "Dice anterior", "dice:Posterior": "Dice posterior"},
        "Fold 0 of the published five (KFold over the sorted cases, shuffled with 12345).",
        (
            Beside(
                "MSD Task04 hippocampus",
                {"Dice anterior": "dice:Anterior", "Dice posterior": "dice:Posterior"},
                "U-Net",
                "mean of all five folds, 250,000 steps on a GPU",
                models=("nnU-Net PlainConv 3d_fullres", "nnU-Net ResEncM", "nnU-Net ResEncL"),
                protocols=("5-fold CV, 260 cases",),
            ),
        ),
        remark="Where a training step of the planned U-Net goes (two patches of 40 × 56 × 40, bfloat16, one thread, "
        "1.39 s): convolutions, norms and their gradients 96 %, augmentation 2 %, the optimiser 1.5 %, loading, loss "
        "1 %. Ten validation passes over 42 patients add 8 % (`scores: 0` leaves them out, and learns from all). With "
        "16 features in place of 32 a step takes 0.43 s. 3,000 such steps took 42 minutes of CPU time on a shared "
        "machine, in float32; 1,000 steps of the same network had a Dice of 0.876 [0.865, 0.886].",
    ),
)
