"""Which column of a table is what: as the user names it, else by its usual name."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from radapt.cli.table_rows import require_column
from radapt.errors import UsageError

_USUAL = {
    "candidate": (
        "candidate", "model", "method", "name", "encoder", "backbone", "network", "architecture", "config", "run",
        "experiment", "trial", "checkpoint", "epoch", "step", "lr", "learning rate", "threshold",
    ),
    "truth": ("truth", "label", "target", "y true", "ground truth", "gt", "y"),
    "probability": ("probability", "prob", "p", "y prob", "y score", "score", "prediction", "pred", "y pred"),
    "case": ("case", "case id", "image", "image id", "study", "id"),
    "patient": ("patient", "patient id", "subject", "subject id"),
    "split": ("split", "set", "subset", "partition"),
}  # fmt: skip

_VAL, _TEST = ("val", "valid", "validation", "dev"), ("test",)
_SCORES = ("auroc", "auc", "accuracy", "acc")
_LOSSES = {"loss", "error", "err", "brier", "ece", "nll", "mae", "mse", "rmse", "hd95", "assd"}


@dataclass(frozen=True)
class Named:
    """Columns, each by its name or None; `columns` are those of candidates in a table with a row per case."""

    test: str | None = None
    val: str | None = None
    candidate: str | None = None
    truth: str | None = None
    probability: str | None = None
    case: str | None = None
    patient: str | None = None
    split: str | None = None
    columns: tuple[str, ...] = ()


def find_columns(table: pd.DataFrame, named: Named, file: Path) -> Named:
    """`named`, with the columns it leaves open guessed.

    Raises UsageError for one that is not there or unclear, and for scores of which the smaller is better.
    """
    given = {field.name: getattr(named, field.name) for field in fields(named) if field.name != "columns"}
    for name in (*given.values(), *named.columns):
        if name is not None:
            require_column(table, name, file)
    for name in (named.test, named.val):
        if name is not None and _is_loss(name):
            raise UsageError(
                f"{name!r} is a loss, of which the smaller is better; give a column of AUROC or proportions."
            )
    taken = {name for name in given.values() if name is not None} | set(named.columns)
    for role, usual in _USUAL.items():
        if given[role] is None and not (role == "truth" and named.test is not None):
            given[role] = _usual(table.columns, usual, taken)
    scores = given["truth"] is None
    if scores and named.candidate is None:  # a grid of several settings names no candidate in one column
        single = [name for name in table.columns if name not in taken and table[name].is_unique]
        given["candidate"] = _usual(single, _USUAL["candidate"], taken)
    for role, words in (("val", _VAL), ("test", _TEST)):
        if given[role] is None and scores:
            given[role] = _scored(table.columns, words, taken, role, file)
    return Named(**given, columns=named.columns)


def _plain(name: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", name.casefold()))


def _is_loss(name: str) -> bool:
    return bool(_LOSSES & set(_plain(name).split()))


def _usual(columns: Iterable[str], usual: tuple[str, ...], taken: set[str]) -> str | None:
    plain = {_plain(name): name for name in columns if name not in taken}
    return next((plain[word] for word in usual if word in plain), None)


def _scored(columns: Iterable[str], words: tuple[str, ...], taken: set[str], role: str, file: Path) -> str | None:
    own = [name for name in columns if name not in taken and not _is_loss(name)]
    of_set = [name for name in own if set(words) & set(_plain(name).split())]
    for word in _SCORES:
        if len(of_set) > 1 and (near := [name for name in of_set if word in _plain(name).split()]):
            of_set = near
    if len(of_set) > 1:
        raise UsageError(f"{file} has several columns of {role}: {', '.join(of_set)}. Name one with --{role} COLUMN.")
    return of_set[0] if of_set else None
