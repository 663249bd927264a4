"""YAML read within bounds: a small file cannot take long, fill the memory, or end in an exception of Python.

Every failure is a `yaml.YAMLError`, with the line where it happened if there is one.
"""

import re
from typing import Any

import yaml

MOST_DEPTH = 50
"""Levels of nesting; a study file has about six."""

MOST_NODES = 200_000
"""Values after all aliases are followed."""

MOST_DIGITS = 40
"""Characters of a number. Python refuses to print integers of a few thousand digits."""

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_SHOWN = 40
_MOST_BRACKETS = 2 * MOST_DEPTH  # text in quotes may hold some
_BRACKET = re.compile(r"[\[\]{}]")


class _Loader(yaml.SafeLoader):
    """A SafeLoader whose every fault in a scalar names the scalar."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep=deep)
        if node.tag in _NUMBERS and len(node.value) > MOST_DIGITS:
            raise _error(node.start_mark, f"a number of {len(node.value):,} characters; text needs quotes")
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            shown = node.value[:_SHOWN] + ("…" if len(node.value) > _SHOWN else "")
            raise _error(node.start_mark, f"{shown!r} is not a valid {kind}; text needs quotes") from error


def compose_yaml(text: str) -> yaml.Node | None:
    """The tree of nodes of `text`, None if it is empty. Raises YAMLError."""
    _check(text)
    node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    return node


def construct_yaml(node: yaml.Node | None) -> Any:
    """The value of a tree of nodes. Raises YAMLError."""
    if node is None:
        return None
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def load_yaml(text: str) -> Any:
    """The value of `text`. Raises YAMLError."""
    return construct_yaml(compose_yaml(text))


def _check(text: str) -> None:
    """Raise YAMLError for nesting or aliases beyond the bounds, without building anything."""
    _check_brackets(text)
    sizes: list[int] = [0]  # values in each open collection, aliases followed
    anchors: list[str | None] = [None]
    known: dict[str, int] = {}
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            sizes.append(1)
            anchors.append(event.anchor)
            if len(sizes) > MOST_DEPTH:
                raise _error(event.start_mark, f"more than {MOST_DEPTH} levels of nesting")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            size, anchor = sizes.pop(), anchors.pop()
            if anchor is not None:
                known[anchor] = size
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in anchors:
                raise _error(event.start_mark, f"*{event.anchor} holds itself")
            size = known.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            size = 1
            if event.anchor is not None:
                known[event.anchor] = 1
        else:
            continue
        sizes[-1] += size
        if sizes[-1] > MOST_NODES:
            raise _error(event.start_mark, f"more than {MOST_NODES:,} values, counting what aliases repeat")


def _check_brackets(text: str) -> None:
    """Raise YAMLError for brackets nested so deeply that YAML's scanner itself, which looks ahead, would take long."""
    depth = 0
    for found in _BRACKET.finditer(text):
        depth = depth + 1 if found[0] in "[{" else max(0, depth - 1)
        if depth > _MOST_BRACKETS:
            line = text.count("\n", 0, found.start())
            raise _error(
                yaml.Mark("", found.start(), line, 0, None, 0), f"more than {MOST_DEPTH} levels of nesting in brackets"
            )


def _error(mark: Any, problem: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
