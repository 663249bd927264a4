"""What the MedMNIST v2 files do not contain: the names of their classes, by file name.

Source: the data set's own description (https://medmnist.com; Yang et al., Scientific Data 10, 41, 2023).
"""

from dataclasses import dataclass

from radapt.cohorts.cohort import Kind


@dataclass(frozen=True)
class Facts:
    """`names` in label order. `kind` is `other` where grey values are already windowed to 0…255: a CT window in
    Hounsfield units would make them black.
    """

    names: tuple[str, ...]
    kind: Kind = "other"
    ordered: bool = False
    licence: str = "CC BY 4.0"


_ORGANS = Facts(
    ("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left",
     "lung-right", "pancreas", "spleen")
)  # fmt: skip

FACTS: dict[str, Facts] = {
    "pathmnist": Facts(
        ("adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
         "cancer-associated stroma", "colorectal adenocarcinoma epithelium")
    ),
    "chestmnist": Facts(
        ("atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
         "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia"),
        kind="xray",
    ),
    "dermamnist": Facts(
        ("actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions",
         "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions"),
        licence="CC BY-NC 4.0",
    ),
    "octmnist": Facts(("choroidal neovascularization", "diabetic macular edema", "drusen", "normal")),
    "pneumoniamnist": Facts(("normal", "pneumonia"), kind="xray"),
    "retinamnist": Facts(("0", "1", "2", "3", "4"), ordered=True),
    "breastmnist": Facts(("malignant", "normal, benign")),
    "bloodmnist": Facts(
        ("basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte", "monocyte", "neutrophil",
         "platelet")
    ),
    "tissuemnist": Facts(
        ("Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule", "Glomerular endothelial cells",
         "Interstitial endothelial cells", "Leukocytes", "Podocytes", "Proximal Tubule Segments",
         "Thick Ascending Limb")
    ),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
    "organmnist3d": Facts(
        ("liver", "kidney-right", "kidney-left", "femur-right", "femur-left", "bladder", "heart", "lung-right",
         "lung-left", "spleen", "pancreas")
    ),
    "nodulemnist3d": Facts(("benign", "malignant")),
    "adrenalmnist3d": Facts(("normal", "hyperplasia")),
    "fracturemnist3d": Facts(("buckle rib fracture", "nondisplaced rib fracture", "displaced rib fracture")),
    "vesselmnist3d": Facts(("vessel", "aneurysm")),
    "synapsemnist3d": Facts(("inhibitory synapse", "excitatory synapse")),
}  # fmt: skip
