"""Every layout radapt knows, and which one a folder is."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

from radapt.cohorts.archives import SUFFIXES
from radapt.cohorts.layouts import table
from radapt.cohorts.layouts.image_files import files_in, folders_in, images_in, only_folder
from radapt.cohorts.layouts.layout import Layout
from radapt.cohorts.layouts.public.layout import set_layouts, sets_like
from radapt.errors import DataError, UsageError, counted, suggest
from radapt.plugins import Registry, declared

_TEXTS = {".txt", ".csv", ".xlsx", ".json", ".xml", ".md", ".pdf", ""}

LAYOUTS: Registry[Layout] = Registry(
    "radapt.layouts",
    "layout",
    lambda: {layout.name: layout for layout in (*declared("radapt.cohorts.layouts", "LAYOUT", Layout), *set_layouts())},
    lambda thing: isinstance(thing, Layout),
)
"""The `LAYOUT` of each file of this folder, the public data sets, those of other packages (see `radapt.plugins`)."""


def layout_named(name: str) -> Layout:
    if name not in LAYOUTS:
        raise UsageError(f"Unknown layout {name!r}. {suggest(name, LAYOUTS)}")
    return LAYOUTS[name]


def matching(root: Path) -> dict[str, str]:
    """Name of each layout that `root` could be → what was seen of it."""
    sets = {layout.name for layout in set_layouts()}
    others = [layout for layout in LAYOUTS.values() if layout.name not in sets]
    seen = sets_like(root) | _recognised(root, [layout for layout in others if layout.public])
    for by_content in (False, True):
        general = [layout for layout in others if not layout.public and layout.by_content == by_content]
        seen = seen or _recognised(root, general)
    return seen


def _recognised(root: Path, layouts: Iterable[Layout]) -> dict[str, str]:
    return {layout.name: saw for layout in layouts if (saw := layout.recognise(root))}


def recognise(root: Path, own: frozenset[Path] = frozenset()) -> tuple[Layout, Path]:
    """The one layout that `root`, or the only folder inside it, is; and the folder or file it starts at.

    A cohort that is already in the folder goes before any layout, unless it is the one to be written, `own`:
    scanning again looks at the data again. Raises DataError saying what was seen if no layout or several
    match.
    """
    here = root
    while True:
        if (cohort := table.cohort_file(here)) and cohort not in own:
            return LAYOUTS["table"], cohort
        seen = matching(here)
        if len(seen) == 1:
            return LAYOUTS[next(iter(seen))], here
        if seen:
            found = "; ".join(f"{name} ({saw})" for name, saw in seen.items())
            raise DataError(f"{here} could be several layouts: {found}. Choose one with --layout.")
        if here.is_dir() and (named := table.loosely_named(here)):
            return LAYOUTS["table"], named
        inner = only_folder(here)
        if inner is None:
            raise DataError(f"{root} is not a layout radapt recognises. {_seen(here)} {_nearest(here)}{_known()}")
        here = inner


_UNREAD_PACKS = (".h5", ".hdf5", ".hdf", ".tfrecord", ".tfrecords", ".pkl", ".pickle", ".pt", ".pth", ".lmdb", ".zarr")
"""Endings of files of arrays that radapt does not read."""


def _is_zip(path: Path) -> bool:
    try:
        return is_zipfile(path)
    except BadZipFile:  # an end that claims several disks
        return False


def _seen(root: Path) -> str:
    if root.is_file():
        if root.suffix.lower() == ".npz" and not _is_zip(root):
            return "It is not a whole .npz file: it is empty or breaks off. Fetch it again."
        return f"It is a single file of type {''.join(root.suffixes) or 'unknown'}."
    folders, files = [path.name for path in folders_in(root)], [path.name for path in files_in(root)]
    if not folders and not files:
        return f"The folder {root} is empty."
    parts = [f"{counted(len(folders), 'folder')} ({_some(folders)})"] if folders else []
    parts += [f"{counted(len(files), 'file')} ({_some(files)})"] if files else []
    return f"{root} holds {' and '.join(parts)}."


def _nearest(root: Path) -> str:
    """What would make a folder of images, or a file that packs some, a cohort; '' where nothing is known of it."""
    files = [root] if root.is_file() else files_in(root)
    inner = [folder for folder in folders_in(root) if images_in(folder)]
    if not inner and not images_in(root) and (hint := _of_packs(files)):
        return hint
    if files and not inner and all(path.name.lower().endswith((*SUFFIXES, ".7z", ".rar")) for path in files):
        return "Archives inside are not opened: unpack them, each into a folder. "
    if inner and (unread := [found for folder in folders_in(root) if (found := _unread(folder))]):
        return f"{' '.join(unread)} Convert them to NIfTI or PNG. "
    if images_in(root):
        return (
            "Images alone have no labels: join a table with --layout pairs --labels TABLE --on COLUMN, or put the "
            "images into one folder per class, or masks beside them (x.png, x_mask.png). "
        )
    if len(inner) > 1:
        return (
            "If the folders are sites, visits or sequences, list the files in a table with the columns patient, image "
            "(or image:t1, image:flair, …), mask, label and site, and scan the table. "
        )
    if not inner and (same := _same_inside(folders_in(root))):
        return (
            f"The folders inside are the same ones: {_some(same)}. If those are classes, scan one folder at a time, "
            f"such as {folders_in(root)[0]}, or list the files in a table with the columns image, label and site, and "
            "scan the table. "
        )
    return ""


def _same_inside(folders: Sequence[Path]) -> list[str]:
    """The names of the folders with images inside each of `folders`, if several of these hold the same ones."""
    names = [sorted(inner.name for inner in folders_in(folder) if images_in(inner)) for folder in folders]
    return names[0] if len(names) > 1 and names[0] and all(each == names[0] for each in names) else []


def _of_packs(files: Sequence[Path]) -> str:
    """How the arrays of files that pack many images become a cohort; '' without such a file."""
    if unread := [path for path in files if path.suffix.lower() in _UNREAD_PACKS]:
        return (
            f"{unread[0].suffix} files are not read: save the arrays with numpy.savez, or each image as PNG or NIfTI. "
        )
    name = next((path.name for path in files if path.suffix.lower() == ".npz" and _is_zip(path)), "")
    return name and (
        f"Of {name}, list the images in a table beside it, with the columns image ({name}::ARRAY[0], {name}::ARRAY[1], "
        "…) and label, and scan the table. "
    )


def _unread(folder: Path) -> str:
    """What a folder of files holds instead of images; '' if it holds images, or nothing of one ending."""
    endings = {path.suffix.lower() for path in files_in(folder)}
    if images_in(folder) or len(endings) != 1 or endings <= _TEXTS:
        return ""
    return f"{folder.name}/ holds {counted(len(files_in(folder)), 'file')} {endings.pop()!r}, which is no image here."


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


def _known() -> str:
    general = [f"{layout.name} ({layout.what})" for layout in LAYOUTS.values() if not layout.public]
    return f"Known layouts: {'; '.join(general)}; and those of public data sets, see `radapt datasets`."
