"""Every layout radapt knows, and which one a folder is."""

from collections.abc import Iterable
from pathlib import Path

from radapt.cohorts.layouts import table
from radapt.cohorts.layouts.image_files import only_folder
from radapt.cohorts.layouts.layout import Layout
from radapt.cohorts.layouts.public.layout import set_layouts, sets_like
from radapt.cohorts.layouts.unrecognised import nearest, seen_in
from radapt.errors import DataError, UsageError, suggest
from radapt.plugins import Registry, declared

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
            raise DataError(f"{root} is not a layout radapt recognises. {seen_in(here)} {nearest(here)}{_known()}")
        here = inner


def _known() -> str:
    general = [f"{layout.name} ({layout.what})" for layout in LAYOUTS.values() if not layout.public]
    return f"Known layouts: {'; '.join(general)}; and those of public data sets, see `radapt datasets`."
