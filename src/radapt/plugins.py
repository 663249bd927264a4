"""Names that stand for code: what radapt's own files declare, and what other installed packages add.

Another package adds one thing with one entry point, in its `pyproject.toml`:

    [project.entry-points."radapt.backbones"]
    our-encoder = "our_package.encoder:CARD"

Groups: `radapt.backbones`, `radapt.layouts`, `radapt.protocols`, `radapt.metrics`, `radapt.decoders`.
"""

import pkgutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Generic, TypeVar

from radapt.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")
K = TypeVar("K")


class Registry(MutableMapping[str, T], Generic[T]):
    """Everything of one kind, by name: radapt's own first, then what other packages add, in order of their names.

    Listing names imports nothing. An entry is imported on first use, so a broken package affects only those who
    use its entries, and loops over all entries. `registry[name] = thing` adds one for this process alone.

    `registry[name]` raises KeyError for an unknown name, and UsageError naming the package for an entry point that
    cannot be imported, that is no `noun`, or whose name is taken.
    """

    def __init__(
        self, group: str, noun: str, own: Callable[[], Mapping[str, T | str]], fits: Callable[[object], bool]
    ) -> None:
        """`own` gives radapt's own things by name, or where each stands as `module:attribute`; it is called once, when
        first needed."""
        self._group, self._noun, self._find, self._fits = group, noun, own, fits
        self._set: dict[str, T] = {}
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name in self._set:
            return self._set[name]
        if name not in self:
            raise KeyError(name)
        if name not in self._loaded:
            added = self._added.get(name, [])
            self._refuse_clash(name, added)
            self._loaded[name] = self._load_own(name) if name in self._own else self._import(name, added[0])
        return self._loaded[name]

    def __setitem__(self, name: str, thing: T) -> None:
        self._set[name] = thing

    def __delitem__(self, name: str) -> None:
        del self._set[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._own, *sorted(self._added), *self._set]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._set or name in self._own or name in self._added

    def forget(self) -> None:
        """Look for packages again: another one may have been installed."""
        self._loaded.clear()
        self.__dict__.pop("_added", None)

    @cached_property
    def _own(self) -> Mapping[str, T | str]:
        return self._find()

    @cached_property
    def _added(self) -> Mapping[str, "list[EntryPoint]"]:
        from importlib.metadata import entry_points  # 80 ms, and commands that list nothing need none of it

        added = defaultdict(list)
        for entry in entry_points(group=self._group):
            added[entry.name].append(entry)
        return dict(added)

    def _load_own(self, name: str) -> T:
        thing = self._own[name]
        if not isinstance(thing, str):
            return thing
        module, _, attribute = thing.partition(":")
        return getattr(import_module(module), attribute)

    def _refuse_clash(self, name: str, added: "list[EntryPoint]") -> None:
        packages = sorted({_package(entry) for entry in added})
        if name in self._own and added:
            raise UsageError(
                f"Package {' and '.join(packages)} adds a {self._noun} named {name!r}, as radapt's own is; rename it "
                "there, or uninstall the package."
            )
        if len(added) > 1:
            raise UsageError(
                f"The name {name!r} of a {self._noun} is added {len(added)} times, by {' and '.join(packages)}; rename "
                "one there, or uninstall one package."
            )

    def _import(self, name: str, entry: "EntryPoint") -> T:
        what = f"{self._noun.capitalize()} {name!r} of package {_package(entry)}"
        try:
            thing = entry.load()
        except Exception as error:
            raise UsageError(
                f"{what} cannot be imported from {entry.value} ({type(error).__name__}: {error}); repair the package, "
                "or uninstall it."
            ) from error
        if not self._fits(thing):
            raise UsageError(f"{what} is no {self._noun}: {entry.value} is {_kind(thing)}; see examples/ for one.")
        if getattr(thing, "name", None) != name:
            raise UsageError(f"{what} has the name {getattr(thing, 'name', None)!r}; give the entry point that name.")
        return thing


def modules_in(package: str) -> list[ModuleType]:
    """Every module of a package and of those inside it, imported, in order of their names."""
    folder = import_module(package)
    return [import_module(found.name) for found in pkgutil.walk_packages(folder.__path__, f"{package}.")]


def declared(package: str, attribute: str, kind: type[K]) -> list[K]:
    """What the modules of a package declare at their top as `attribute`, each of `kind` or a tuple of these.

    Raises TypeError for anything else.
    """
    found: list[K] = []
    for module in modules_in(package):
        given = getattr(module, attribute, ())
        for thing in given if isinstance(given, tuple) else (given,):
            if not isinstance(thing, kind):
                raise TypeError(f"{attribute} of {module.__name__} is {_kind(thing)}, not a {kind.__name__}.")
            found.append(thing)
    return found


def _package(entry: "EntryPoint") -> str:
    return entry.dist.name if entry.dist is not None else entry.module


def _kind(thing: object) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else f"of type {type(thing).__name__}"
