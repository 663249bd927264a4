"""What a scan of the miniature of each public data set has to find."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from public_set_builders import (
    acdc,
    adni,
    amos,
    brats2020,
    brats2021,
    brats_men_rt,
    brats_tcga,
    brats_visits,
    brats_years,
    btcv,
    busi,
    cheng,
    chexpert,
    egd,
    isic,
    ixi,
    kits,
    lidc,
    lumiere,
    mimic,
    montgomery,
    sars,
    shenzhen,
    total,
    ucsf,
    upenn,
    vindr,
)


@dataclass(frozen=True)
class Miniature:
    """A builder of a data set, and the facts of its cohort: `labels` counts classes, `said` are words of the notes."""

    build: Callable[[Path], None]
    cases: int
    patients: int | None
    modalities: tuple[str, ...] = ("image",)
    masks: int = 0
    mask_labels: dict[int, str] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    said: tuple[str, ...] = ()


_BRATS = ("flair", "t1", "t1ce", "t2")
_CORE = {1: "necrotic and non-enhancing core", 2: "oedema", 4: "enhancing tumour"}
_NO_TABLE = "without a row in"

MINIATURES: dict[str, Miniature] = {
    "brats2018": Miniature(
        brats_years("Brats18", "survival_data.csv"), 6, 6, _BRATS, 5, _CORE, {"HGG": 3, "LGG": 3}, said=(_NO_TABLE,)
    ),
    "brats2019": Miniature(
        brats_years("BraTS19", "survival_data.csv"), 6, 6, _BRATS, 5, _CORE, {"HGG": 3, "LGG": 3}, said=(_NO_TABLE,)
    ),
    "brats2020": Miniature(
        brats2020,
        5,
        5,
        _BRATS,
        4,
        _CORE,
        {"HGG": 2, "LGG": 2, "": 1},
        said=("1 case without a mask", "1 row of name_mapping.csv left out"),
    ),
    "brats2021": Miniature(brats2021, 4, 4, _BRATS, 3, _CORE | {1: "necrotic core"}, said=("1 case without a mask",)),
    "brats2023": Miniature(
        brats_visits(("000", "001")),
        7,
        4,
        ("t1c", "t1n", "t2f", "t2w"),
        7,
        {1: "necrotic or non-enhancing core", 2: "oedema or FLAIR hyperintensity", 3: "enhancing tumour"},
    ),
    "brats2024": Miniature(
        brats_visits(("100", "101")),
        7,
        4,
        ("t1c", "t1n", "t2f", "t2w"),
        7,
        {1: "non-enhancing core", 2: "FLAIR hyperintensity", 3: "enhancing tissue", 4: "resection cavity"},
    ),
    "brats-ped": Miniature(
        brats_visits(("000", "001"), "PED"),
        7,
        4,
        ("t1c", "t1n", "t2f", "t2w"),
        7,
        said=("Name them under mask_labels",),
    ),
    "brats-men-rt": Miniature(brats_men_rt, 4, 3, masks=4, mask_labels={1: "gross tumour volume"}),
    "brats-tcga": Miniature(
        brats_tcga,
        4,
        4,
        ("flair", "t1", "t1gd", "t2"),
        4,
        _CORE,
        said=("1 case: the mask is that of the program", "Left out: 3 further masks of a case"),
    ),
    "cheng": Miniature(
        cheng,
        5,
        4,
        masks=5,
        mask_labels={1: "tumour"},
        labels={"meningioma": 2, "glioma": 1, "pituitary tumour": 2},
        said=("1 file left out",),
    ),
    "egd": Miniature(
        egd,
        5,
        5,
        ("flair", "t1", "t1gd", "t2"),
        4,
        {1: "tumour"},
        {"mutated": 2, "wildtype": 2, "": 1},
        said=("1 case with 'IDH' unknown",),
    ),
    "ixi": Miniature(ixi, 5, 5, ("pd", "t1", "t2"), said=("1 case without a row", "1 row of IXI.csv left out")),
    "adni": Miniature(adni, 9, 6, labels={"CN": 3, "AD": 3, "MCI": 3}),
    "upenn-gbm": Miniature(
        upenn,
        6,
        5,
        ("flair", "t1", "t1gd", "t2"),
        6,
        _CORE | {1: "necrotic core"},
        {"Wildtype": 2, "Mutated": 1, "": 3},
        said=(
            "2 cases: the mask was drawn by a program",
            "2 cases without a row",
            "28 image files of no case left out",
        ),
    ),
    "ucsf-pdgm": Miniature(
        ucsf,
        4,
        3,
        ("adc", "flair", "t1", "t1c", "t2"),
        4,
        _CORE | {1: "necrotic core"},
        {"4": 1, "2": 1, "3": 2},
    ),
    "lidc-idri": Miniature(
        lidc,
        5,
        4,
        masks=4,
        mask_labels={1: "nodule"},
        labels={"malignant": 1, "benign": 1, "": 3},
        said=("1 case without annotations", "1 case without a rated nodule", "median 3", "DX, no CT"),
    ),
    "lumiere": Miniature(
        lumiere,
        9,
        3,
        ("ct1", "flair", "t1", "t2"),
        0,
        {},
        {"Pre-Op": 3, "SD": 3, "PD": 2, "": 1},
        said=("drawn by programs",),
    ),
    "kits19": Miniature(
        kits("segmentation.nii.gz", "kits.json"),
        5,
        5,
        masks=4,
        mask_labels={1: "kidney", 2: "tumour"},
        labels={"malignant": 3, "benign": 1, "": 1},
        said=("Cysts are part of the kidney",),
    ),
    "kits21": Miniature(
        kits("aggregated_MAJ_seg.nii.gz", "kits.json", "segmentations/kidney_instance-1_annotation-1.nii.gz"),
        5,
        5,
        masks=4,
        mask_labels={1: "kidney", 2: "tumour", 3: "cyst"},
        labels={"malignant": 3, "benign": 1, "": 1},
    ),
    "kits23": Miniature(
        kits("segmentation.nii.gz", "kits23.json"),
        5,
        5,
        masks=4,
        mask_labels={1: "kidney", 2: "tumour", 3: "cyst"},
        labels={"malignant": 3, "benign": 1, "": 1},
        said=("1 case without a mask",),
    ),
    "totalsegmentator": Miniature(
        total("ct", ("liver", "spleen", "face")),
        4,
        4,
        masks=4,
        mask_labels={1: "spleen", 5: "liver", 118: "face"},
        splits={"train": 1, "val": 2, "test": 1},
        said=("1 case without the file of some structure", "next free ones: face"),
    ),
    "totalsegmentator-mri": Miniature(
        total("mri", ("brain", "spleen")),
        4,
        4,
        masks=4,
        mask_labels={1: "spleen", 50: "brain"},
        splits={"train": 1, "val": 2, "test": 1},
    ),
    "amos22": Miniature(
        amos,
        5,
        5,
        ("ct", "mr"),
        5,
        splits={"train": 3, "val": 2},
        said=("1 image file of no case left out",),
    ),
    "btcv": Miniature(btcv, 5, 5, masks=5, said=("1 image file of no case left out",)),
    "chexpert": Miniature(
        chexpert,
        13,
        7,
        findings={"Edema": ["", "", "0", "0", "1"]},
        splits={"train": 9, "val": 4},
        said=("uncertain", "read as '0'", "1 row of train.csv and valid.csv left out"),
    ),
    "mimic-cxr-jpg": Miniature(
        mimic,
        5,
        3,
        findings={"Edema": ["1", "", "", "0", "1"]},
        splits={"train": 4, "test": 1},
        said=("1 case without a row in mimic-cxr-2.0.0-chexpert.csv.gz", "1 label that the readers left uncertain"),
    ),
    "vindr-cxr": Miniature(
        vindr,
        8,
        None,
        findings={"Cardiomegaly": ["", "0", "1", "0", "0", "1", "0", "1"]},
        splits={"train": 4, "test": 4},
        said=("readers per image", "a tie in 2"),
    ),
    "montgomery": Miniature(
        montgomery,
        6,
        6,
        masks=6,
        mask_labels={1: "left lung", 2: "right lung"},
        labels={"normal": 3, "tuberculosis": 3},
        said=("1 case without the file of some structure",),
    ),
    "shenzhen": Miniature(
        shenzhen,
        6,
        6,
        masks=4,
        mask_labels={1: "lungs"},
        labels={"normal": 3, "tuberculosis": 3},
        said=("2 cases without a mask",),
    ),
    "sars-cov-2-ct": Miniature(sars, 10, None, labels={"COVID": 5, "non-COVID": 5}, said=("Patients unknown",)),
    "busi": Miniature(
        busi,
        12,
        None,
        masks=11,
        mask_labels={1: "lesion"},
        labels={"benign": 4, "malignant": 4, "normal": 4},
        said=("Patients unknown", "1 case without a mask"),
    ),
    "isic2020": Miniature(isic, 7, 4, labels={"benign": 5, "malignant": 2}, said=("1 row of",)),
    "acdc": Miniature(
        acdc,
        10,
        5,
        masks=10,
        mask_labels={1: "right ventricle", 2: "myocardium", 3: "left ventricle"},
        labels={"DCM": 4, "HCM": 4, "": 2},
        said=("5 image files of no case left out",),
    ),
}
