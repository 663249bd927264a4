"""Whether the folders of a tree are patients rather than classes, by their names and those of the files in them."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radapt.cohorts.image_names import RASTER, VOLUMES, stem
from radapt.cohorts.layouts.image_files import folders_in, images_in
from radapt.cohorts.layouts.mask_names import MASK_WORDS, is_mask_name
from radapt.cohorts.layouts.names import names_sequence

READ = (*RASTER, *VOLUMES, ".npy")
_DEPTH = 4
_SAMPLED = 200
_MOST = 0.8
"""The share of folders, or of files, that must agree."""
_CLASS_WORD = re.compile(
    r"^(grade|class|cls|level|stage|score|type|birads|bi-rads|kl|category|cat|isup|gleason|tirads|label)", re.I
)
_PERSON = re.compile(r"^(p|pt|pat|patient|person|case|subj|subject|sub|proband|id|s|mrn|pid|volunteer)[ _-]*\d+", re.I)
_SEQUENCE_NUMBER = re.compile(r"^(t1|t2|pd)", re.I)
_YEAR = re.compile(r"(19|20)\d\d")
_VISIT = re.compile(
    r"^(visit|session|ses|baseline|bl|follow[ _-]?up|fu|week|month|day|year|timepoint|tp)[ _-]*\d*$", re.I
)
_TIMEPOINT = re.compile(r"^t[03-9]$", re.I)
_EDGES = " _.-()"


@dataclass(frozen=True)
class PatientFolder:
    """The folder of one patient; `leaves` are the folders with images in it, itself included.

    A patient with a folder in each of several folders of sequences has the `path` around these, and an `own_name`.
    """

    path: Path
    leaves: tuple[Path, ...]
    split: str = ""
    own_name: str = ""

    @property
    def name(self) -> str:
        return self.own_name or self.path.name

    def files(self) -> list[Path]:
        return [path for leaf in self.leaves for path in images_in(leaf, READ)]

    def has_images_beside(self, leaf: Path) -> bool:
        """Whether a folder that may hold masks lies beside others or inside one, so that it can belong to these."""
        return any(other != leaf and leaf.parent in (other, other.parent) for other in self.leaves)

    def is_of_masks(self, leaf: Path) -> bool:
        """Whether a folder holds masks of images beside it."""
        return is_mask_name(self.kind_of(leaf)) and (bool(self.own_name) or self.has_images_beside(leaf))

    def within(self, leaf: Path) -> str:
        """The path of a folder inside that of the patient, without the patient's name."""
        parts = self._inside(leaf)
        return "/".join(parts[:1] + parts[2:] if self.own_name else parts)

    def kind_of(self, leaf: Path) -> str:
        """The name of the folder that says what the files in it show."""
        return self._inside(leaf)[0] if self.own_name else leaf.name

    def sequence_at(self, leaf: Path) -> tuple[Path, str] | None:
        """For a folder that is named by a sequence, or lies in one: the folder around that, and the sequence in lower
        case. None where `T1` and `T2` stand beside `T0` or `T3`, so that they are points in time."""
        parts = self._inside(leaf)
        at = next((at for at in reversed(range(len(parts))) if names_sequence(parts[at])), None)
        if at is None:
            return None
        others = [self._inside(other) for other in self.leaves]
        beside = {other[at] for other in others if other[:at] == parts[:at] and len(other) > at}
        if any(map(_TIMEPOINT.match, beside)):
            return None
        return self.path.joinpath(*parts[:at]), parts[at].casefold()

    def roles(self) -> list[tuple[str, Path]]:
        """What each file shows, by its name and its folder, and the file."""
        return [(name, path) for leaf in self.leaves for path, name in self.roles_in(leaf).items()]

    def roles_in(self, leaf: Path) -> dict[Path, str]:
        """What each file of a folder shows, in lower case: its name beyond those of the folders that it lies in
        (`P01/P01_T1.nii.gz` → `t1`), and the folder if that names a sequence (`P01/T1/brain.nii.gz` → `t1`).

        An id that all names in the folder begin with says nothing, either: `7/Pat0`, `7/Pat0_seg` → ``, `seg`. Of
        numbered files in the folder of a sequence each is as it is named.
        """
        roles = self._roles_by_name(leaf)
        found = None if self.is_of_masks(leaf) else self.sequence_at(leaf)
        if found is None:
            return roles
        alone = sum(not is_mask_name(role) for role in roles.values()) == 1
        return {path: _of_sequence(role, found[1], alone=alone) for path, role in roles.items()}

    def _roles_by_name(self, leaf: Path) -> dict[Path, str]:
        inside = [self.name, *self._inside(leaf)]
        folders = sorted((text.casefold() for text in inside), key=len, reverse=True)
        roles = {}
        for path in images_in(leaf, READ):
            name = stem(path.name).casefold()
            for folder in folders:
                name = _without_beginning(name, folder)
            roles[path] = name.strip(_EDGES)
        shared = _shared_id(list(roles.values()))
        return {path: name[len(shared) :].strip(_EDGES) for path, name in roles.items()}

    def _inside(self, leaf: Path) -> tuple[str, ...]:
        return leaf.relative_to(self.path).parts


def patient_folder(path: Path, split: str = "") -> PatientFolder:
    return PatientFolder(path, tuple(_leaves(path, _DEPTH)), split)


def across_sequences(folders: Sequence[PatientFolder]) -> list[PatientFolder]:
    """The patients that have a folder in several of the `folders`, which are named by sequences: `T1/P01`, `FLAIR/P01`.

    Folders of masks may stand beside them. None where a folder has another name, or holds images itself, and where most
    patients are in one folder: these are classes.
    """
    names = [folder.path.name for folder in folders]
    if not all(names_sequence(name) or is_mask_name(name) for name in names):
        return []
    if any(folder.path in folder.leaves for folder in folders):
        return []
    leaves: dict[tuple[Path, str, str], list[Path]] = {}
    for folder in folders:
        for inner in folders_in(folder.path):
            leaves.setdefault((folder.path.parent, inner.name, folder.split), []).extend(_leaves(inner, _DEPTH))
    patients = [PatientFolder(path, tuple(of), split, name) for (path, name, split), of in leaves.items() if of]
    several = sum(len({leaf.relative_to(patient.path).parts[0] for leaf in patient.leaves}) > 1 for patient in patients)
    return patients if several * 2 > len(patients) else []


def is_numbered(name: str) -> bool:
    """Whether a role is a number, alone or after a word, as the slices of a series have; `t1` and `t2` are not."""
    return not name or bool(re.fullmatch(r"[^\d]*\d+([ _.\-]\d+)*", name) and not _SEQUENCE_NUMBER.match(name))


def is_visit(name: str) -> bool:
    """Whether a role says when an image was taken, as `baseline` and `week-12` do; it shows no sequence."""
    return bool(_VISIT.match(name))


def is_year(name: str) -> bool:
    """Whether a folder is named by a year."""
    return bool(_YEAR.fullmatch(name))


def are_patients(folders: Sequence[PatientFolder]) -> bool:
    """Whether every folder looks like one patient.

    Names such as `Patient_001` count together with files that repeat the folder's name or are the same in all folders;
    so do folders of any name if they all hold the same sequences (`t1`, `flair`, `seg`).
    """
    sample = [folder for folder in folders[:_SAMPLED] if folder.leaves]
    if len(sample) < 2 or len(sample) < _MOST * len(folders[:_SAMPLED]):
        return False
    roles = [folder.roles() for folder in sample]
    shared = _shared([{name for name, _ in files} for files in roles])
    files = [name for named in roles for name, _ in named]
    agree = bool(shared) and sum(name in shared for name in files) >= _MOST * len(files)
    agree = agree and sum(any(name in shared for name, _ in named) for named in roles) >= _MOST * len(roles)
    if agree and _are_sequences(shared, roles) and _are_single(sample) and _lie_alike(sample):
        return True
    if not _named_as_ids([folder.name for folder in sample]):
        return False
    inside_often = sum(_repeats(folder) for folder in sample) >= _MOST * len(sample)
    few = max(len(named) for named in roles) <= 4 * len(sample)
    return agree or inside_often or few


def _leaves(path: Path, depth: int) -> list[Path]:
    here = [path] if images_in(path, READ) else []
    return here + [leaf for inner in folders_in(path) if depth > 1 for leaf in _leaves(inner, depth - 1)]


def _of_sequence(role: str, sequence: str, *, alone: bool) -> str:
    """What a file in the folder of a sequence shows, whose name says `role`."""
    if is_mask_name(role) or names_sequence(role):
        return role
    if alone:
        return sequence
    return role if is_numbered(role) else f"{sequence}_{role}"


def _without_beginning(name: str, folder: str) -> str:
    """`name` without the words at its start that `folder` starts with, too."""
    words, same = re.split(r"(?<=[ _.\-])", name), 0
    for at in range(len(words), 0, -1):
        beginning = "".join(words[:at])
        if folder.startswith(beginning.rstrip(_EDGES)) and _ends_word(folder, len(beginning.rstrip(_EDGES))):
            same = len(beginning)
            break
    return name[same:]


def _shared_id(names: Sequence[str]) -> str:
    """The words with a number that several names all begin with; '' without any, and for `t1_pre`, `t1_post`."""
    if len(names) < 2:
        return ""
    words = [re.split(r"(?<=[ _.\-])", name) for name in names]
    same = 0
    while all(same < len(name) for name in words) and len({name[same].rstrip(_EDGES) for name in words}) == 1:
        same += 1
    text = "".join(words[0][:same]).rstrip(_EDGES)
    return text if any(map(str.isdigit, text)) and not _SEQUENCE_NUMBER.match(text) else ""


def _ends_word(text: str, at: int) -> bool:
    return at >= len(text) or text[at] in _EDGES


def _shared(roles: Sequence[set[str]]) -> set[str]:
    counts = Counter(name for names in roles for name in names)
    return {name for name, count in counts.items() if count > 1 and count * 2 >= len(roles)}


def _are_sequences(shared: set[str], roles: Sequence[Sequence[tuple[str, Path]]]) -> bool:
    """Whether the shared names are those of sequences and masks, and not of the pictures of a class."""
    words = [name for name in shared if name and not is_numbered(name)]
    alike = Counter(re.sub(r"\d+", "#", name) for name in words)
    words = [name for name in words if alike[re.sub(r"\d+", "#", name)] <= max(2, len(roles))]  # `p1_ct`, `p2_ct` …
    if not words or len(words) * 2 <= len(shared - {""}):
        return False
    volumes = all(path.name.lower().endswith(VOLUMES) for named in roles for _, path in named)
    return volumes or any(is_mask_name(name) for name in words) or len(roles) > max(2, len(shared))


def _are_single(folders: Sequence[PatientFolder]) -> bool:
    """Whether no folder holds two files of one sequence, as a class with `pat1`, `pat1_mask`, `pat2` … does."""
    leaves = [list(folder.roles_in(leaf).values()) for folder in folders for leaf in folder.leaves]
    return sum(len(set(names)) == len(names) for names in leaves) >= _MOST * len(leaves)


def _lie_alike(folders: Sequence[PatientFolder]) -> bool:
    """Whether the images lie in the folders themselves, or in inner folders of the same names (visits)."""
    inner = [{folder.within(leaf) for leaf in folder.leaves} for folder in folders]
    return sum(bool(names & _shared(inner)) for names in inner) >= _MOST * len(inner)


def _named_as_ids(names: Sequence[str]) -> bool:
    if any(_CLASS_WORD.match(name) or name.casefold() in MASK_WORDS for name in names):
        return False
    if all(name.isdigit() for name in names):
        return len(names) > 10 or all(len(name) > 2 for name in names)
    ids = sum(bool(_PERSON.match(name)) or sum(letter.isdigit() for letter in name) >= 3 for name in names)
    return ids >= _MOST * len(names)


def _repeats(folder: PatientFolder) -> bool:
    """Whether the name of the folder is part of all names in it: of the files, or of the folders inside."""
    name = folder.name.casefold()
    inner = [leaf.name.casefold() for leaf in folder.leaves if leaf != folder.path]
    files = [stem(path.name).casefold() for path in folder.files()]
    return all(name in text for text in files) or (bool(inner) and all(name in text for text in inner))
