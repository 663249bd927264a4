"""cohort.yaml, read strictly: errors name the line, the key and the nearest known key.

Values are read as written, so that a class called `no` or a name like `2024` stays text.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from radapt.cohorts.cohort import KINDS, Kind
from radapt.cohorts.fold_rule import FoldRule
from radapt.errors import UsageError, suggest
from radapt.locations import is_file
from radapt.parsing.yaml import compose_yaml

KEYS = ("name", "kind", "cases", "classes", "ordered", "mask_labels", "split", "source")
_FOLD_KINDS = ("folds", "by", "folds_column", "folds_file")
_FOLD_KEYS = (*_FOLD_KINDS, "merge")
_SPLIT_KEYS = ("seed", "val", "test", *_FOLD_KEYS)
_WITH_FOLDS = {"folds": "seed", "by": "merge"}
"""What may stand beside each kind of folds."""
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fractions:
    """Fractions of the patients drawn for `val` and `test`; the rest is `train`. 0 draws none."""

    val: float = 0.15
    test: float = 0.2


@dataclass(frozen=True)
class CohortFile:
    """The content of cohort.yaml. `kind` is None if it is not given; `cases` is the path of the table."""

    path: Path
    name: str
    cases: Path
    kind: Kind | None = None
    classes: tuple[str, ...] = ()
    ordered: bool = False
    mask_labels: Mapping[int, str] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    fractions: Fractions = field(default_factory=Fractions)
    fold_rule: FoldRule | None = None


def read_config(path: Path) -> CohortFile:
    """Read cohort.yaml. Raises a UsageError that lists the file, line and fix of every error in it."""
    values, errors = _ConfigReader(path, _compose(path)).read()
    cases = path.parent / values.pop("cases", _default_table(path.parent))
    if not errors and not is_file(cases):
        errors.append(f"the table of cases {cases} does not exist; give its path under 'cases:'.")
    elif not errors and cases.suffix.lower() not in TABLE_SUFFIXES:
        errors.append(f"the table of cases {cases} must be one of {', '.join(TABLE_SUFFIXES)}.")
    if errors:
        raise UsageError("\n".join(f"{path}: {message}" for message in errors))
    values.setdefault("name", path.resolve().parent.name or path.stem)
    return CohortFile(path=path, cases=cases, **values)


def _default_table(folder: Path) -> str:
    return "cases.parquet" if (folder / "cases.parquet").is_file() else "cases.csv"


def _compose(path: Path) -> yaml.MappingNode:
    if (path / "cohort.yaml").is_file():
        raise UsageError(f"{path} is a folder; give the cohort file in it: {path / 'cohort.yaml'}")
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(
            f"{path} is not a cohort file; expected a cohort.yaml. "
            f"Make one from a table or folder with: radapt scan {path} --out cohort.yaml"
        )
    try:
        node = compose_yaml(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"Cohort file {path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"Cohort file {path} is not UTF-8 text. Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"Cohort file {path}{line} is not valid YAML: {what}.") from error
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"Cohort file {path} must hold 'key: value' lines. Known keys: {', '.join(KEYS)}.")
    return node


class _ValueError(Exception):
    """The value of a key is not valid."""

    def __init__(self, node: yaml.Node, message: str) -> None:
        self.line = node.start_mark.line + 1
        super().__init__(message)


class _ConfigReader:
    """Converts the YAML tree to values and collects errors."""

    def __init__(self, path: Path, root: yaml.MappingNode) -> None:
        self.path, self.root = path, root
        self.errors: list[str] = []

    def read(self) -> tuple[dict[str, Any], list[str]]:
        values: dict[str, Any] = {}
        readers: dict[str, Callable[[yaml.Node], Any]] = {
            "name": _name, "kind": _kind, "cases": _text, "classes": _classes, "ordered": _flag,
            "mask_labels": _mask_labels, "source": _source,
        }  # fmt: skip
        for key, node in self._items(self.root, KEYS, ""):
            if _empty(node):
                continue
            if key == "split":
                values.update(self._split(node))
            else:
                self._take(values, key, readers[key], node)
        return values, self.errors

    def _split(self, node: yaml.Node) -> dict[str, Any]:
        if not isinstance(node, yaml.MappingNode):
            self._add_error(
                node,
                "'split' must hold seed, val and test, such as {seed: 0, val: 0.15, test: 0.2}, or folds, such as "
                "{folds: 5}, {by: site} or {folds_column: fold}.",
            )
            return {}
        if any(key.value in _FOLD_KEYS for key, _ in node.value):
            return self._folds(node)
        values: dict[str, Any] = {}
        for key, value in self._items(node, _SPLIT_KEYS, "split: "):
            self._take(values, key, _seed if key == "seed" else _share, value)
        shares = Fractions(**{key: values.pop(key) for key in ("val", "test") if key in values})
        if shares.val + shares.test >= 1:
            self._add_error(
                node,
                f"'split' leaves no patients for train: val {shares.val} + test {shares.test} must be below 1.",
            )
        return {**values, "fractions": shares}

    def _folds(self, node: yaml.MappingNode) -> dict[str, Any]:
        """`folds` with `seed`, `by: site` with `merge`, or `folds_column`."""
        readers: dict[str, Callable[[yaml.Node], Any]] = {
            "folds": _fold_count, "seed": _seed, "by": _by_site, "merge": _merge, "folds_column": _text,
            "folds_file": _text,
        }  # fmt: skip
        values: dict[str, Any] = {}
        items = self._items(node, _SPLIT_KEYS, "split: ")
        for key, value in items:
            if key in readers:
                self._take(values, key, readers[key], value)
        given = [key for key, _ in items]
        kind = next((key for key in _FOLD_KINDS if key in given), None)
        if kind is None:
            self._add_error(node, "'split' has 'merge' without 'by: site'; give {by: site, merge: {A: B}}.")
            return {}
        wrong = [key for key in given if key not in (kind, _WITH_FOLDS.get(kind))]
        if wrong:
            self._add_error(
                node,
                f"'split' has {', '.join(map(repr, wrong))} beside {kind!r}. With folds every patient is tested once, "
                "and there is no val or test; give {folds: 5, seed: 0}, {by: site, merge: {A: B}} or "
                "{folds_column: fold}.",
            )
        rule = FoldRule(
            values.get("folds"), "by" in values, values.get("folds_column"), values.get("folds_file"),
            values.get("merge", {}), values.get("seed", 0),
        )  # fmt: skip
        return {"fold_rule": rule, "seed": rule.seed}

    def _take(self, into: dict[str, Any], key: str, read: Callable[[yaml.Node], T], node: yaml.Node) -> None:
        try:
            into[key] = read(node)
        except _ValueError as error:
            self.errors.append(f"line {error.line}: '{key}' {error}")

    def _items(self, node: yaml.MappingNode, known: tuple[str, ...], prefix: str) -> list[tuple[str, yaml.Node]]:
        items: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            if not key:
                self._add_error(key_node, f"a key is a list or empty, expected one word of {', '.join(known)}")
            elif key not in known:
                self._add_error(key_node, f"unknown key '{prefix}{key}'. {suggest(key, known)}")
            elif key in items:
                self._add_error(key_node, f"key '{prefix}{key}' is given twice; keep one.")
            else:
                items[key] = value
        return list(items.items())

    def _add_error(self, node: yaml.Node, message: str) -> None:
        self.errors.append(f"line {node.start_mark.line + 1}: {message}")


_WHOLE = re.compile(r"[0-9]{1,18}")


def _empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _text(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
        raise _ValueError(node, "must be text.")
    return str(node.value).strip()


def _name(node: yaml.Node) -> str:
    # The name becomes the name of a folder in the run folder.
    name = _text(node)
    if name.startswith(".") or re.search(r"[\\/:\x00-\x1f]", name):
        raise _ValueError(node, f"is {name!r}, but may not start with '.' or hold '/', '\\' or ':'.")
    return name


def _kind(node: yaml.Node) -> Kind:
    given = _text(node)
    for kind in KINDS:
        if given == kind:
            return kind
    raise _ValueError(node, f"is {given!r}. {suggest(given, KINDS)}")


def _flag(node: yaml.Node) -> bool:
    given = _text(node).lower()
    if given not in ("true", "false", "yes", "no"):
        raise _ValueError(node, f"is {given!r}, expected true or false.")
    return given in ("true", "yes")


def _seed(node: yaml.Node) -> int:
    given = _text(node)
    if not _WHOLE.fullmatch(given):
        raise _ValueError(node, f"is {given[:40]!r}, expected a whole number from 0 up, of at most 18 digits.")
    return int(given)


def _fold_count(node: yaml.Node) -> int:
    given = _text(node)
    if not _WHOLE.fullmatch(given) or int(given) < 2:
        raise _ValueError(node, f"is {given[:40]!r}, expected a whole number from 2 up.")
    return int(given)


def _by_site(node: yaml.Node) -> str:
    given = _text(node)
    if given != "site":
        raise _ValueError(node, f"is {given!r}, expected site. Folds of another column: {{folds_column: {given}}}.")
    return given


def _merge(node: yaml.Node) -> dict[str, str]:
    if not isinstance(node, yaml.MappingNode):
        raise _ValueError(node, "must map a site to the site whose fold it joins, such as {EZ: FG}.")
    return {str(key.value).strip(): _text(value) for key, value in node.value}


def _share(node: yaml.Node) -> float:
    try:
        share = float(_text(node))
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise _ValueError(node, f"is {node.value!r}, expected a fraction from 0 to below 1, such as 0.2.")
    return share


def _classes(node: yaml.Node) -> tuple[str, ...]:
    if not isinstance(node, yaml.SequenceNode):
        raise _ValueError(node, "must be a list of class names, such as [healthy, ill].")
    names = tuple(_text(item) for item in node.value)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise _ValueError(node, f"names {repeated[0]!r} twice; give every class a different name.")
    if len(names) < 2:
        raise _ValueError(node, f"names {len(names)} class{'' if len(names) == 1 else 'es'}, expected at least 2.")
    return names


def _mask_labels(node: yaml.Node) -> dict[int, str]:
    if not isinstance(node, yaml.MappingNode):
        raise _ValueError(node, "must map the numbers in the masks to names, such as {1: tumour}.")
    labels: dict[int, str] = {}
    for key, value in node.value:
        if not _WHOLE.fullmatch(str(key.value)):
            raise _ValueError(key, f"has the key {str(key.value)[:40]!r}, expected a whole number such as 1.")
        if int(key.value) in labels:
            raise _ValueError(key, f"gives the number {key.value} twice; keep one.")
        name = _text(value)
        if name in labels.values():
            raise _ValueError(value, f"names two numbers {name!r}; give each a different name.")
        labels[int(key.value)] = name
    return labels


def _source(node: yaml.Node) -> dict[str, str]:
    if not isinstance(node, yaml.MappingNode):
        raise _ValueError(node, "must hold lines such as 'title: ...', 'licence: ...', 'url: ...', 'version: ...'.")
    return {str(key.value): "" if _empty(value) else _text(value) for key, value in node.value}
