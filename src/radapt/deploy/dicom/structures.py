"""The codes and colours of segments: names of structures to SNOMED CT and NCI Thesaurus."""

import colorsys
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple


class ConceptCode(NamedTuple):
    """A code with its scheme and meaning, as DICOM's code sequences hold them."""

    value: str
    scheme: str
    meaning: str


ANATOMY = ConceptCode("91723000", "SCT", "Anatomical Structure")
ALTERED = ConceptCode("49755003", "SCT", "Morphologically Abnormal Structure")
TISSUE = ConceptCode("85756007", "SCT", "Tissue")

MODIFIERS = {
    "left": ConceptCode("7771000", "SCT", "Left"),
    "right": ConceptCode("24028007", "SCT", "Right"),
    "anterior": ConceptCode("255549009", "SCT", "Anterior"),
    "posterior": ConceptCode("255551008", "SCT", "Posterior"),
}
"""Words in front of or behind the name of a structure."""

BRITISH = {"tumour": "tumor", "oedema": "edema", "oesophagus": "esophagus", "grey": "gray", "haemorrhage": "hemorrhage"}


@dataclass(frozen=True)
class Structure:
    """What a segment shows. `modifier` is a side or a part; `rgb` is its colour, 0 to 255.

    `is_known` is False for the generic code of a name that the table does not have.
    """

    category: ConceptCode
    type: ConceptCode
    rgb: tuple[int, int, int]
    modifier: ConceptCode | None = None
    is_known: bool = True


def structure_of(name: str, context: str = "") -> Structure:
    """The codes and the colour for a segment called `name`, such as `tumour`, `Left Lung` or `kidney_right`.

    Case, `_`, `-` and British spelling do not matter, nor do sides and parts in front or behind. A name that is only a
    side or a part (`Anterior`) takes the structure from `context`, such as the cohort's name. A name that the table
    lacks gets the generic code `Tissue` (85756007) and a colour drawn from its letters.
    """
    words = _words(name)
    structure = _exact(words) or _modified(words)
    if structure is None and words and set(words) <= set(MODIFIERS):
        around = _words(context)  # such as `Task04 Hippocampus`: the structure is the last of the words
        structure = next((match for start in range(len(around)) if (match := _modified(around[start:] + words))), None)
    return structure or Structure(TISSUE, TISSUE, _drawn_colour(" ".join(words)), is_known=False)


def uncoded_names(names: Iterable[str], context: str = "") -> list[str]:
    """The names among `names` that get the generic code."""
    return [name for name in names if not structure_of(name, context).is_known]


def _exact(words: list[str]) -> Structure | None:
    return _TABLE.get(" ".join(words)) or _TABLE.get(" ".join(words).removesuffix("s"))


def _modified(words: list[str]) -> Structure | None:
    modifiers = [word for word in words if word in MODIFIERS]
    found = _exact([word for word in words if word not in MODIFIERS])
    if len(modifiers) != 1 or found is None:
        return None
    return replace(found, modifier=MODIFIERS[modifiers[0]], rgb=_shifted(found.rgb, modifiers[0]))


def _words(name: str) -> list[str]:
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return [BRITISH.get(word, word) for word in re.findall(r"[^\W_]+", words.casefold())]


def _shifted(rgb: tuple[int, int, int], modifier: str) -> tuple[int, int, int]:
    """A darker colour for the right and posterior of a pair, so that they differ."""
    if modifier in ("left", "anterior"):
        return rgb
    red, green, blue = (round(0.7 * channel) for channel in rgb)
    return red, green, blue


def _drawn_colour(name: str) -> tuple[int, int, int]:
    hue = zlib.crc32(name.encode()) % 360 / 360
    red, green, blue = (round(255 * channel) for channel in colorsys.hsv_to_rgb(hue, 0.65, 0.9))
    return red, green, blue


def _rows() -> dict[str, Structure]:
    table = {}
    for names, category, value, meaning, colour in _ENTRIES:
        scheme = "NCIt" if value.startswith("C") else "SCT"
        rgb = tuple(bytes.fromhex(colour))
        for name in names.split("|"):
            table[name] = Structure(category, ConceptCode(value, scheme, meaning), (rgb[0], rgb[1], rgb[2]))
    return table


_ENTRIES: tuple[tuple[str, ConceptCode, str, str, str], ...] = (
    ("tumor|neoplasm|whole tumor|tumor core|glioma", ALTERED, "108369006", "Neoplasm", "90ee90"),
    ("lesion", ALTERED, "52988006", "Lesion", "ee9040"),
    ("nodule", ALTERED, "27925004", "Nodule", "ee9070"),
    ("mass", ALTERED, "4147007", "Mass", "b06060"),
    ("cyst", ALTERED, "367643001", "Cyst", "70b0e0"),
    (
        "enhancing tumor|enhancing lesion|enhancing|gd enhancing tumor",
        ALTERED,
        "C113842",
        "Enhancing Lesion",
        "f0d040",
    ),
    (
        "non enhancing tumor|non enhancing lesion",
        ALTERED,
        "C81175",
        "Non-Enhancing Lesion",
        "d06050",
    ),
    ("necrosis|necrotic|necrotic core|necrotic tumor core", ALTERED, "6574001", "Necrosis", "d8bfd8"),
    ("edema|peritumoral edema|perifocal edema", ALTERED, "79654002", "Edema", "8cc8e0"),
    ("hemorrhage", ALTERED, "50960005", "Hemorrhage", "c00000"),
    ("brain", ANATOMY, "12738006", "Brain", "fac8b4"),
    ("hippocampus", ANATOMY, "5366008", "Hippocampus", "f0a050"),
    ("amygdala", ANATOMY, "4958002", "Amygdala", "60c0a0"),
    ("thalamus", ANATOMY, "42695009", "Thalamus", "a08cd8"),
    ("caudate|caudate nucleus", ANATOMY, "11000004", "Caudate Nucleus", "7898d0"),
    ("putamen", ANATOMY, "89278009", "Putamen", "d078b0"),
    ("pallidum|globus pallidus", ANATOMY, "14738005", "Globus Pallidus", "3c64a0"),
    ("cerebellum", ANATOMY, "113305005", "Cerebellum", "c49c64"),
    ("brainstem|brain stem", ANATOMY, "119238007", "Brain Stem", "a0a064"),
    ("white matter", ANATOMY, "389080008", "White Matter", "fafae1"),
    ("gray matter", ANATOMY, "389081007", "Gray Matter", "c8c8a0"),
    ("csf|cerebrospinal fluid", ANATOMY, "65216001", "Cerebrospinal Fluid", "55bcff"),
    ("lateral ventricle", ANATOMY, "66720007", "Lateral Ventricle", "5a8cd2"),
    ("spinal cord", ANATOMY, "2748008", "Spinal cord", "f4d631"),
    ("heart", ANATOMY, "80891009", "Heart", "ce6e54"),
    ("left ventricle|heart ventricle left|lv", ANATOMY, "87878005", "Left ventricle", "b05050"),
    ("right ventricle|heart ventricle right|rv", ANATOMY, "53085002", "Right ventricle", "5070b0"),
    ("left atrium|heart atrium left|la", ANATOMY, "82471001", "Left atrium", "d07070"),
    ("right atrium|heart atrium right|ra", ANATOMY, "73829009", "Right atrium", "7090d0"),
    ("myocardium|heart myocardium", ANATOMY, "49848007", "Left Ventricle Myocardium", "c07a58"),
    ("aorta", ANATOMY, "15825003", "Aorta", "e06040"),
    ("pulmonary artery", ANATOMY, "81040000", "Pulmonary artery", "5aa0d2"),
    ("portal vein", ANATOMY, "32764006", "Portal vein", "4068b0"),
    ("inferior vena cava|ivc", ANATOMY, "64131007", "Inferior vena cava", "0097ce"),
    ("lung", ANATOMY, "39607008", "Lung", "c5a591"),
    ("trachea", ANATOMY, "44567001", "Trachea", "b6e4ff"),
    ("pleural effusion", ALTERED, "60046008", "Pleural effusion", "80a0f0"),
    ("esophagus", ANATOMY, "32849002", "Esophagus", "d3ab8f"),
    ("liver", ANATOMY, "10200004", "Liver", "dd8265"),
    ("gallbladder", ANATOMY, "28231008", "Gallbladder", "8bab65"),
    ("spleen", ANATOMY, "78961009", "Spleen", "9d6ca2"),
    ("pancreas", ANATOMY, "15776009", "Pancreas", "f9b46f"),
    ("kidney", ANATOMY, "64033007", "Kidney", "b9663c"),
    ("adrenal|adrenal gland", ANATOMY, "23451007", "Adrenal gland", "f4ba96"),
    ("stomach", ANATOMY, "69695003", "Stomach", "d884a0"),
    ("duodenum", ANATOMY, "38848004", "Duodenum", "fffd77"),
    ("small bowel|small intestine", ANATOMY, "30315005", "Small intestine", "cda78e"),
    ("colon|large bowel", ANATOMY, "71854001", "Colon", "cc9a5a"),
    ("rectum", ANATOMY, "34402009", "Rectum", "a87850"),
    ("bladder|urinary bladder", ANATOMY, "89837001", "Bladder", "deab5b"),
    ("prostate", ANATOMY, "41216001", "Prostate", "e6a0b4"),
    (
        "peripheral zone|prostate peripheral zone",
        ANATOMY,
        "279706003",
        "Peripheral zone of the prostate",
        "b4d2e6",
    ),
    ("transition zone|prostate transition zone", ANATOMY, "399384005", "Transition zone of the prostate", "e6c878"),
    ("uterus", ANATOMY, "35039007", "Uterus", "ffb6c1"),
    ("ovary", ANATOMY, "15497006", "Ovary", "d0a0d0"),
    ("breast", ANATOMY, "76752008", "Breast", "f0c0b0"),
    ("thyroid|thyroid gland", ANATOMY, "69748006", "Thyroid", "3eb17d"),
    ("bone", TISSUE, "3138006", "Bone", "f1d691"),
    ("muscle", TISSUE, "91727004", "Muscle", "c06858"),
    ("fat", TISSUE, "55603005", "Fat", "e6dc46"),
    ("vertebra", ANATOMY, "51282000", "Vertebra", "e8d8a0"),
    ("rib", ANATOMY, "113197003", "Rib", "fde9c8"),
    ("clavicle", ANATOMY, "51299004", "Clavicle", "e0c880"),
    ("scapula", ANATOMY, "79601000", "Scapula", "d8b878"),
    ("femur", ANATOMY, "71341001", "Femur", "f0e0b0"),
    ("humerus", ANATOMY, "85050009", "Humerus", "e8d0a0"),
    ("sacrum", ANATOMY, "54735007", "Sacrum", "d4bc66"),
    ("mandible", ANATOMY, "91609006", "Mandible", "debe9a"),
    ("tooth|teeth", ANATOMY, "38199008", "Tooth", "fffadc"),
)

_TABLE = _rows()
