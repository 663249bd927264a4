"""Tables of a public data set joined to its cases: labels, findings, sites, splits and metadata."""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

import pandas as pd

from radapt.cohorts.draft import ScanOptions
from radapt.cohorts.labels import is_missing
from radapt.cohorts.layouts.layout import ROLES
from radapt.cohorts.layouts.tables import add_metadata, cleaned, read_table
from radapt.cohorts.patient_key import patient_key
from radapt.dataset_cards import FindingColumns, TablePattern
from radapt.errors import DataError, UsageError, counted, suggest

_MOST_ROWS = 5_000_000
Values = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class SetTables:
    """Joins the tables among the files `paths` to the draft `table`, whose cases have the `keys` by fact."""

    table: pd.DataFrame
    keys: Sequence[Mapping[str, str]]
    paths: Sequence[Path]
    values: Values
    options: ScanOptions
    notes: list[str]
    columns: set[str] = field(default_factory=set)
    """Every column of the tables that were joined."""

    def join(self, pattern: TablePattern) -> None:
        """Add what the tables of the pattern say. `notes` gains what is absent, left out or unknown."""
        name = re.compile(pattern.file)
        files = [path for path in self.paths if name.fullmatch(path.name)]
        if not files:
            plain = re.sub(r"\(\?i:(.*)\)", r"\1", pattern.file).replace("\\", "")
            self.notes.append(f"No table named like {plain!r}: what it says is unknown.")
            return
        where = " and ".join(dict.fromkeys(path.name for path in files))
        source = pd.concat([read_any(path, self.notes, pattern.key) for path in files], ignore_index=True).fillna("")
        columns = _key_columns(pattern.key, list(source.columns))
        if columns is None:
            self.notes.append(f"{where} left out: no column {' or '.join(pattern.key)}.")
            return
        self.columns.update(source.columns)
        cells = source[columns].agg("-".join, axis=1)
        keys = [self._key(pattern, text) for text in cells]
        if pattern.majority and pattern.findings:
            source, keys = self._majority(source, keys, pattern.findings, where)
        self._add(source, self._rows(pattern, keys, where), pattern, columns, where)

    def refuse_unknown_columns(self) -> None:
        """Raise UsageError for a column of the user's that no table of the data set has."""
        for role in ROLES:
            given = getattr(self.options, role)
            for name in (given,) if isinstance(given, str) else given or ():
                if name not in self.columns:
                    known = suggest(name, sorted(self.columns)) if self.columns else "No table was found."
                    raise UsageError(f"--{role} {name}: no table of the data set has such a column. {known}")

    def _key(self, pattern: TablePattern, text: str) -> str:
        if pattern.pattern:
            found = re.search(pattern.pattern, text)
            text = "-".join(found.groups("")) if found else ""
        return patient_key(text)

    def _rows(self, pattern: TablePattern, keys: Sequence[str], where: str) -> list[int]:
        """The row of every case, -1 without one."""
        first: dict[str, int] = {}
        for at, key in enumerate(keys):
            if key:
                first.setdefault(key, at)
        rows = [first.get(patient_key(facts.get(pattern.by, "")), -1) for facts in self.keys]
        used = {keys[row] for row in rows if row >= 0}
        if absent := rows.count(-1):
            self.notes.append(f"{counted(absent, 'case')} without a row in {where}.")
        if unused := sum(key not in used for key in keys):
            self.notes.append(f"{counted(unused, 'row')} of {where} left out: no such image.")
        if repeated := sum(key in used for key in keys) - len(used):
            self.notes.append(
                f"{counted(repeated, 'row')} of {where} left out: a further row of the same {pattern.by}."
            )
        return rows

    def _add(self, source: pd.DataFrame, rows: list[int], pattern: TablePattern, keys: list[str], where: str) -> None:
        joined = source.reindex(pd.Index(rows)).fillna("").reset_index(drop=True).astype(object)
        taken = set(keys)
        asked = [name for name in self.options.label if name in source.columns]
        if len(self.options.label) > 1:
            for name in asked:
                self.table[f"label:{name}"] = self._meant(joined[name], "label", where)
        elif asked or (pattern.label and not self.options.label):
            given = asked or _first_column(list(source.columns), pattern.label)
            taken |= set(given)
            for name in given:
                self.table["label"] = self._meant(joined[name], "label", where)
        taken |= set(asked)
        for role, usual in (("site", pattern.site), ("split", pattern.split), ("patient", pattern.patient)):
            column = getattr(self.options, role) or usual
            if column in joined.columns:
                self.table[role] = self._meant(joined[column], role, where)
                taken.add(column)
        if pattern.findings and not self.options.label:
            taken |= self._findings(joined, pattern.findings, [row >= 0 for row in rows], where)
        wanted = set(joined.columns if pattern.columns is None else pattern.columns) - taken
        add_metadata(self.table, joined[[name for name in joined.columns if name in wanted]])

    def _meant(self, column: pd.Series, role: str, where: str) -> pd.Series:
        words = self.values.get(role, {})
        plain = cleaned(column)
        meant = plain.map(lambda text: words.get(text, text)).astype(object)
        if unknown := int(((plain != "") & (meant == "")).sum()):
            self.notes.append(f"{counted(unknown, 'case')} with {column.name!r} unknown in {where}.")
        return meant

    def _findings(self, joined: pd.DataFrame, given: FindingColumns, known: list[bool], where: str) -> set[str]:
        """One column per finding that the table has; '' for a case without a row."""
        names = [name for name in given.names if name in joined.columns]
        if absent := [name for name in given.names if name not in joined.columns]:
            self.notes.append(f"{where} has no column {', '.join(absent)}.")
        uncertain = blank = 0
        for name in names:
            cells = [_finding(text, given) if row else "" for text, row in zip(joined[name], known, strict=True)]
            pairs = list(zip(joined[name], cells, strict=True))
            uncertain += sum(not cell and not _is_empty(text.strip()) for text, cell in pairs)
            blank += sum(row and _is_empty(text.strip()) for (text, _), row in zip(pairs, known, strict=True))
            self.table[f"label:{name}"] = pd.Series(cells, self.table.index, dtype=object)
        if uncertain:
            self.notes.append(f"{where}: {counted(uncertain, 'label')} that the readers left uncertain are unknown.")
        if blank and given.unknown:
            self.notes.append(
                f"{where}: {counted(blank, 'empty label')} read as {given.unknown!r}. {given.note}".strip()
            )
        return set(names)

    def _majority(
        self, source: pd.DataFrame, keys: list[str], given: FindingColumns, where: str
    ) -> tuple[pd.DataFrame, list[str]]:
        """One row per key with the finding that most rows have; '' on a tie."""
        names = [name for name in given.names if name in source.columns]
        votes = source[names].map(lambda text: _finding(text, given))
        image = pd.Series(keys, votes.index)
        yes, no = ((votes == value).groupby(image, sort=False).sum() for value in ("1", "0"))
        agreed = pd.DataFrame("", yes.index, yes.columns, dtype=object).mask(yes > no, "1").mask(no > yes, "0")
        sizes = image.groupby(image).size()
        self.notes.append(
            f"{where}: {sizes.min()} to {sizes.max()} readers per image; a finding is what most of them say. They "
            f"disagree on {int(((yes > 0) & (no > 0)).to_numpy().sum())} labels, and a tie in "
            f"{int(((yes == no) & (yes > 0)).to_numpy().sum())} leaves them unknown."
        )
        others = source.drop(columns=names).groupby(image, sort=False).first()
        return pd.concat([others, agreed], axis=1).reset_index(drop=True), list(agreed.index)


def _first_column(columns: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The first column that one of the patterns names, in a list; empty without one."""
    return [name for pattern in patterns for name in columns if fnmatchcase(name, pattern)][:1]


def _is_empty(text: str) -> bool:
    return not text or is_missing(text)


def _finding(text: str, given: FindingColumns) -> str:
    plain = text.strip()
    return given.unknown if _is_empty(plain) else given.values.get(plain, plain)


def _key_columns(keys: Sequence[str], columns: Collection[str]) -> list[str] | None:
    """The columns of the first key that a table has; `a + b` needs both."""
    return next((names for key in keys if set(names := key.split(" + ")) <= set(columns)), None)


def read_any(path: Path, notes: list[str], keys: Sequence[str]) -> pd.DataFrame:
    """A table as text: what `read_table` reads, a .csv.gz, or a .json list of records. Raises DataError.

    Of a workbook with several sheets it is the one that has a key.
    """
    if path.name.lower().endswith(".gz"):
        return _read_gzip(path)
    return (
        _read_json(path)
        if path.suffix.lower() == ".json"
        else read_table(path, notes, prefer=lambda sheet: _key_columns(keys, sheet.columns) is not None)
    )


def _read_gzip(path: Path) -> pd.DataFrame:
    try:
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            rows = list(islice(csv.reader(file, strict=True), _MOST_ROWS))
    except (OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        raise DataError(f"Table {path} cannot be read: {error or type(error).__name__}. Fetch it again.") from error
    if len(rows) < 2 or any(len(row) != len(rows[0]) for row in rows):
        raise DataError(f"Table {path} is empty or has rows of different length. Fetch it again.")
    return pd.DataFrame(rows[1:], columns=rows[0], dtype=object)


def _read_json(path: Path) -> pd.DataFrame:
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"Table {path} is not valid JSON: {error}.") from error
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise DataError(f"{path} must hold a JSON list of records.")
    plain = [
        {name: str(value) for name, value in record.items() if isinstance(value, str | int | float)}
        for record in records
    ]
    return pd.DataFrame(plain, dtype=object).fillna("")
