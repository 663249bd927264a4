"""BIDS file names: `sub-01_ses-2_acq-x_ce-gad_T1w.nii.gz` → subject, session, entities and suffix."""

import re
from dataclasses import dataclass
from pathlib import Path

from radapt.cohorts.image_names import NIFTI, is_image, stem

MASK_SUFFIXES = ("mask", "dseg")
_ENTITY = re.compile(r"(?P<key>[a-zA-Z]+)-(?P<value>[a-zA-Z0-9+]+)")


@dataclass(frozen=True)
class BidsName:
    """The parts of a name. `entities` holds the pairs other than subject and session, in the order of the name."""

    path: Path
    subject: str
    session: str | None
    entities: tuple[tuple[str, str], ...]
    suffix: str

    @property
    def case(self) -> str:
        return f"sub-{self.subject}" + (f"_ses-{self.session}" if self.session else "")

    def entity(self, key: str) -> str | None:
        return dict(self.entities).get(key)

    def modality(self, *, with_run: bool = True) -> str:
        """Entities and suffix that distinguish this image from the others of its case: `ce-gad_T1w`."""
        pairs = [f"{key}-{value}" for key, value in self.entities if with_run or key != "run"]
        return "_".join([*pairs, self.suffix])


def parse(path: Path) -> BidsName | None:
    """The parts of a NIfTI file's name, None if it is not a BIDS name."""
    if not is_image(path.name, NIFTI):
        return None
    *pairs, suffix = stem(path.name).split("_")
    matches = [_ENTITY.fullmatch(pair) for pair in pairs]
    if not pairs or "-" in suffix or not suffix or None in matches:
        return None
    entities = [(match["key"], match["value"]) for match in matches if match]
    values = dict(entities)
    if "sub" not in values:
        return None
    rest = tuple((key, value) for key, value in entities if key not in ("sub", "ses"))
    return BidsName(path, values["sub"], values.get("ses"), rest, suffix)
