"""Modalities as shell patterns of names: `T1c='*km*|*post*'`, on the command line or in a mapping file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from radapt.errors import UsageError
from radapt.parsing.yaml import load_yaml

_NAME = re.compile(r"[^\W_][\w.+ -]*")
_FILES = (".yaml", ".yml")


@dataclass(frozen=True)
class ModalityPattern:
    """A modality and the shell patterns of its names; an earlier pattern goes before a later one."""

    name: str
    patterns: tuple[str, ...]

    def rank(self, texts: Sequence[str]) -> int | None:
        """The place of the first pattern that one of `texts` fits, without regard to letter case; None without."""
        folded = [text.casefold() for text in texts]
        return next(
            (
                at
                for at, pattern in enumerate(self.patterns)
                if any(fnmatchcase(text, pattern.casefold()) for text in folded)
            ),
            None,
        )


def parse_modalities(given: Sequence[str]) -> tuple[ModalityPattern, ...]:
    """NAME=PATTERN[|PATTERN…], or files of `NAME: PATTERN` or `NAME: [PATTERN, …]`; in the order given.

    Raises UsageError that says what is wrong, for a file with its name.
    """
    patterns: list[ModalityPattern] = []
    for text in given:
        if "=" not in text and text.lower().endswith(_FILES):
            patterns += _from_file(Path(text))
        else:
            name, mark, rest = text.partition("=")
            patterns.append(_pattern(name, rest.split("|") if mark else [], f"--modality {text}"))
    names = [pattern.name for pattern in patterns]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--modality: {repeated[0]!r} is given twice; join its patterns with '|'.")
    return tuple(patterns)


def _from_file(path: Path) -> list[ModalityPattern]:
    try:
        content = load_yaml(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"--modality {path} cannot be read: {error.strerror or error}.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--modality {path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict) or not content:
        raise UsageError(f"--modality {path}: expected lines such as T1c: '*km*|*post*'.")
    patterns = []
    for name, value in content.items():
        given = value.split("|") if isinstance(value, str) else value
        if not isinstance(name, str) or not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            raise UsageError(f"--modality {path}: {name!r} is {value!r}; expected a pattern or a list of patterns.")
        patterns.append(_pattern(name, given, f"--modality {path}, {name!r}"))
    return patterns


def _pattern(name: str, patterns: Sequence[str], where: str) -> ModalityPattern:
    name, wanted = name.strip(), tuple(text.strip() for text in patterns if text.strip())
    if not _NAME.fullmatch(name) or not wanted:
        raise UsageError(f"{where}: expected NAME=PATTERN, such as T1c='*km*|*post*'.")
    return ModalityPattern(name, wanted)
