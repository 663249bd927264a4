"""Images with masks: `x.png` with `x_mask.png` in one folder, or folders of both; perhaps with a table."""

from pathlib import Path

from radapt.cohorts.draft import CohortDraft, ScanOptions, text_table
from radapt.cohorts.layouts.classes.folders import IMAGE_FOLDERS
from radapt.cohorts.layouts.drawn_structures import note_other_images
from radapt.cohorts.layouts.image_files import folders_in, images_in, unique
from radapt.cohorts.layouts.layout import ROLES, Layout
from radapt.cohorts.layouts.mask_names import PairedImage, chosen_masks
from radapt.cohorts.layouts.names import kind_of
from radapt.cohorts.layouts.pairs.finding import PairedCase, Pairs, find_pairs
from radapt.cohorts.layouts.pairs.structures import are_structures, can_be_joined, drawn_twice, joined
from radapt.cohorts.layouts.patients.table import add_table
from radapt.cohorts.layouts.tables import tables_in
from radapt.errors import DataError, counted

_OTHERS = ("participants", "data_entry_2017")
"""Tables that belong to other layouts."""


def recognise(root: Path) -> str | None:
    if not root.is_dir():
        return None
    if saw := beside_table(root):
        return saw
    found = find_pairs(root)
    if not found.are_likely():
        return None
    masks = sum(bool(case.masks) for case in found.cases)
    where = f" in {', '.join(found.image_folders[:4])}" if found.mask_folders or len(found.image_folders) > 1 else ""
    return f"{counted(len(found.cases), 'case')}{where}, {masks} with a mask named after the image"


def beside_table(root: Path) -> str | None:
    """What is seen of images/ with a folder of masks or a table beside it; None for another folder."""
    images = [path for path in folders_in(root) if path.name.casefold() in IMAGE_FOLDERS and images_in(path)]
    tables = tables_in(root)
    if not images or any(path.name.lower().startswith(_OTHERS) for path in tables):
        return None
    found = find_pairs(root)
    beside = [f"{name}/" for name in found.mask_folders[:1]] + [path.name for path in tables[:1]]
    return f"{images[0].name}/ with {' and '.join(beside)}" if beside and found.cases else None


def read(root: Path, options: ScanOptions) -> CohortDraft:
    found = find_pairs(root)
    if not found.cases:
        raise DataError(
            f"{root} holds no images beside masks; expected files such as x.png and x_mask.png in one folder, or a "
            "folder of images and one of masks with the same names."
        )
    _refuse_repeated(root, found)
    notes: list[str] = []
    masks, values = _masks(found, notes)
    note_other_images([path for case in found.cases for path in case.images.values()], notes)
    names = sorted({name for case in found.cases for name in case.images})
    columns = {name: "image" if len(names) == 1 else f"image:{name.replace(':', '-')}" for name in names}
    labelled = any(case.label for case in found.cases)
    rows = [
        {"case": name, "split": case.split}
        | {columns[sequence]: str(path) for sequence, path in case.images.items()}
        | ({"mask": mask} if any(masks) else {})
        | ({"label": case.label} if labelled else {})
        | ({"patient": case.patient} if case.patient else {})
        for case, mask, name in zip(found.cases, masks, unique(case.name for case in found.cases), strict=True)
    ]
    draft = CohortDraft(options.name or root.name, "pairs", text_table(rows), notes=notes)
    draft.kind, draft.mask_labels = kind_of(names), values
    if patients := sorted({case.patient for case in found.cases if case.patient}):
        notes.append(f"Every folder inside {found.image_folders[0]}/, such as {patients[0]}, counts as one patient.")
    if labelled:
        draft.classes = tuple(sorted({case.label for case in found.cases}))
        notes.append(f"The folders of images are read as classes: {', '.join(draft.classes)}.")
    add_table(draft, root, options)
    if any(masks):  # the task is to draw them
        draft.notes = [note for note in draft.notes if not note.startswith("No label")]
    return draft


def _masks(found: Pairs, notes: list[str]) -> tuple[list[str], dict[int, str]]:
    """The mask of each case, '' without one, of one kind or of all structures; and the names of their values, where
    these are known. What is left out is noted."""
    own = [case.masks for case in found.cases]
    if found.structures and are_structures(found.structures) and can_be_joined(own) and not drawn_twice(own):
        masks, values = joined(own, found.structures, notes)
        where = "the folders of structures"
    else:
        masks, values = _of_one_kind(found, notes), {}
        where = f"{found.mask_folders[0]}/" if found.mask_folders else ""
    if where and (without := masks.count("")):
        notes.append(f"{counted(without, 'image')} without a mask in {where}.")
    for folder, count in found.unused.items():
        notes.append(f"{counted(count, 'mask')} in {folder}/ left out: no such image.")
    return masks, values


def _of_one_kind(found: Pairs, notes: list[str]) -> list[str]:
    first = next(iter(found.mask_folders), "").casefold()
    images = [PairedImage(next(iter(case.images.values())), tuple(case.masks)) for case in found.cases]
    said: list[str] = []
    masks = chosen_masks(images, said, prefer=first)
    if first:
        said[0:1] = [f"Masks are the files of the same names in {found.mask_folders[0]}/."]
    notes += said
    return masks


def _refuse_repeated(root: Path, found: Pairs) -> None:
    """Raise DataError if a name stands for several files of one split: their mask and their row could not be known."""
    seen: dict[tuple[str, str], PairedCase] = {}
    for case in found.cases:
        first = seen.setdefault((case.split, case.name), case)
        if first is not case:
            folder = next(iter(case.images.values())).parent
            raise DataError(f"{folder} holds {case.name!r} with several suffixes; keep one file of each name.")


LAYOUT = Layout(
    "pairs",
    "images with masks: x.png and x_mask.png, or folders of images and of masks; or images/ with a table",
    recognise,
    read,
    by_content=True,
    columns=(*ROLES, "sheet"),
)
