"""Splits by patient: stratified, drawn from a seed, and recorded so that new patients do not move old ones."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from radapt.cohorts.cohort_file import Fractions
from radapt.cohorts.issue import CohortIssue
from radapt.durable import write_text
from radapt.printable import csv_cell, from_csv_cell

SPLIT, FOLD = "split", "fold"
"""What is drawn and recorded: the name of its column."""


def draw_splits(
    labels: np.ndarray,
    patients: np.ndarray,
    given: np.ndarray,
    fractions: Fractions,
    rng: np.random.Generator,
    previous: Mapping[str, str] | None = None,
) -> np.ndarray:
    """Give every case a split, by patient, stratified by class or finding.

    labels: (N,) class index with -1 unlabelled, or (N, F) with 1, 0, NaN unknown. patients: (N,). given: (N,) splits,
    '' where one is to be drawn. `previous` holds the splits of an earlier draw by patient. Returns (N,) splits.

    A case follows the split that its patient has elsewhere. If a row is already in `test`, no more test is drawn, and
    the same for `val`; the other fractions keep their proportion. In a cohort with labels, patients without a label go
    to train, because they cannot be scored. The assignment is greedy iterative stratification (Sechidis, Tsoumakas &
    Vlahavas, ECML PKDD 2011): rarest stratum first, each patient to the split that lacks it most. The result does not
    depend on the order of the rows.
    """
    keys, owner = np.unique(patients.astype(str), return_inverse=True)
    words = _words_of_patients(keys, owner, given, previous or {})
    strata, labelled = strata_of(labels, owner, len(keys))
    if not labelled.all():
        words = ["train" if not word and not has else word for word, has in zip(words, labelled, strict=True)]
    shares = _shares(fractions, {str(word) for word in given})
    pool = np.array([not word or (word in shares) for word in words])
    free = np.array([not word for word in words])
    need = {name: share * (strata & pool[:, None]).sum(0) for name, share in shares.items()}
    for name, lacking in need.items():
        lacking -= strata[np.array([word == name for word in words])].sum(0)
    assign(words, free, strata, need, rng)
    return np.asarray(words, dtype=object)[owner]


def _words_of_patients(
    keys: np.ndarray, owner: np.ndarray, given: np.ndarray, previous: Mapping[str, str]
) -> list[str]:
    words = [""] * len(keys)
    for patient, word in zip(owner, given, strict=True):
        words[patient] = words[patient] or str(word)
    return [word or previous.get(str(key), "") for word, key in zip(words, keys, strict=True)]


def _shares(fractions: Fractions, said: set[str]) -> dict[str, float]:
    shares = {"train": 1 - fractions.val - fractions.test, "val": fractions.val, "test": fractions.test}
    drawn = {word: share for word, share in shares.items() if word == "train" or word not in said}
    return {word: share / sum(drawn.values()) for word, share in drawn.items()}


def strata_of(labels: np.ndarray, owner: np.ndarray, n_patients: int) -> tuple[np.ndarray, np.ndarray]:
    """(P, K) bool: the strata of each patient, and (P,) bool: whether any of its cases has a label."""
    if labels.ndim == 2:
        known = ~np.isnan(labels)
        members = np.column_stack([labels == 1, known.any(1) & ~(labels == 1).any(1)])
    else:
        known = (labels >= 0)[:, None]
        members = labels[:, None] == np.arange(max(labels.max(initial=-1) + 1, 0))[None, :]
    strata = np.zeros((n_patients, members.shape[1]), dtype=bool)
    np.logical_or.at(strata, owner, members)
    labelled = np.zeros(n_patients, dtype=bool)
    np.logical_or.at(labelled, owner, known.any(1))
    if not labelled.any():
        return np.ones((n_patients, 1), dtype=bool), np.ones(n_patients, dtype=bool)
    return strata, labelled


def assign(
    words: list[str],
    free: np.ndarray,
    strata: np.ndarray,
    need: dict[str, np.ndarray],
    rng: np.random.Generator,
) -> None:
    order = rng.permutation(len(words))
    open_ = free.copy()
    for stratum in np.argsort(strata[free].sum(0), kind="stable"):
        for patient in order[(open_ & strata[:, stratum])[order]]:
            # Ties go to the split that lacks most overall, then to train: a class must be trained on to be tested.
            word = max(need, key=lambda name: (round(float(need[name][stratum]), 9), float(need[name].sum())))
            words[patient] = word
            need[word] -= strata[patient]
            open_[patient] = False


def recorded_path(cohort_yaml: Path) -> Path:
    return cohort_yaml.with_name(f"{cohort_yaml.stem}.splits.csv")


def read_recorded(path: Path, seed: int, word: str = SPLIT) -> tuple[dict[str, str], list[CohortIssue]]:
    """The splits (or folds) of an earlier draw by patient; empty without one, or if it used another seed."""
    header = ["case", "patient", word]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}, []
    except (OSError, UnicodeDecodeError) as error:
        return {}, [_unusable(path, f"cannot be read: {error}", word)]
    rows = [list(map(from_csv_cell, row)) for row in csv.reader(io.StringIO(text, newline=""))]
    if not rows or rows[0][:3] != header or any(len(row) != len(rows[0]) for row in rows[1:] if row):
        return {}, [_unusable(path, f"must have the columns {', '.join(header)} and a full row per case", word)]
    if any(row[3:] and row[3] != str(seed) for row in rows[1:] if row):
        message = f"The recorded {word}s use another seed than {seed}; they are drawn again."
        return {}, [CohortIssue("warning", f"{word}s-redrawn", message, file=path.name)]
    words: dict[str, str] = {}
    for line, row in enumerate(rows[1:], start=2):
        if row and words.setdefault(row[1], row[2]) != row[2]:
            message = f"Patient {row[1]!r} is in {words[row[1]]!r} and in {row[2]!r}."
            fix = f"Give all cases of a patient the same {word}, or delete the file."
            return {}, [CohortIssue("error", f"patient-{word}", message, row[0], line, path.name, fix)]
    return {patient: drawn for patient, drawn in words.items() if drawn}, []


def write_recorded(path: Path, cases: Sequence[tuple[str, str, str]], seed: int, word: str = SPLIT) -> None:
    """Write the drawn (case, patient, split or fold) rows. A read-only folder is ignored: the seed gives the same."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "patient", word, "seed"])
    writer.writerows([*map(csv_cell, row), str(seed)] for row in cases)
    try:
        if not path.is_file() or path.read_text(encoding="utf-8") != text.getvalue():
            write_text(path, text.getvalue())
    except OSError:
        return


def _unusable(path: Path, what: str, word: str) -> CohortIssue:
    return CohortIssue(
        "error", f"bad-{word}s", f"The recorded {word}s file {what}.", file=path.name, fix="Fix or delete it."
    )
