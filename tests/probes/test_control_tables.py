"""Columns of a table: imputed, one-hot, and left out where they say nothing or the label itself."""

import numpy as np
import pytest

from radapt.cohorts.metadata import as_numbers
from radapt.probes.controls.fit_design import fit_design
from radapt.probes.controls.table_design import CategoryColumn, TableDesign

N = 24
LABELS = np.arange(N) % 2
PATIENTS = np.asarray([f"p{row}" for row in range(N)], dtype=object)
ALL = np.arange(N)


def text(*cells: str) -> np.ndarray:
    """The cells, over and over."""
    return np.asarray([cells[row % len(cells)] for row in range(N)], dtype=object)


def fitted(table: dict[str, np.ndarray], rows: np.ndarray = ALL, labels: np.ndarray = LABELS) -> TableDesign:
    return fit_design(table, rows, labels, PATIENTS)


def test_numbers_are_imputed_by_the_training_median_with_an_indicator() -> None:
    ages = np.asarray(["10", "30", "", "nan", "900", "40"], dtype=object)
    design = fit_design({"age": ages}, np.arange(4), np.asarray([0, 1, 0, 1, 0, 1]), PATIENTS[:6])
    np.testing.assert_array_equal(
        design.encode({"age": ages}, np.arange(6)), [[10, 0], [30, 0], [20, 1], [20, 1], [900, 0], [40, 0]]
    )


def test_words_are_one_hot_and_unseen_ones_are_zero() -> None:
    table = {"sex": np.asarray(["F", "F", "M", "M", "", "X", "F"], dtype=object)}
    design = fit_design(table, np.arange(5), np.asarray([0, 1, 0, 1, 0, 1, 0]), PATIENTS[:7])
    np.testing.assert_array_equal(design.encode(table, np.arange(4, 7)), [[0, 0], [0, 0], [1, 0]])


def test_a_category_of_one_patient_has_no_column() -> None:
    cells = text("AP", "AP", "PA", "PA")
    cells[0] = "lateral"
    assert fitted({"view": cells}).columns == (CategoryColumn("view", ("AP", "PA")),)


def test_ages_of_dicom_and_words_for_missing_are_read() -> None:
    np.testing.assert_array_equal(
        as_numbers(np.asarray(["045Y", " 7 ", "1e3", "018M", "Unknown", "inf", "n/a", "old"], dtype=object)),
        [45, 7, 1000, 1.5, np.nan, np.nan, np.nan, np.nan],
    )


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (text(""), "empty in every training case"),
        (text("n/a", ""), "empty in every training case"),
        (text("M"), "has a single value in training"),
        (text("3", ""), "has a single value in training"),
        (np.asarray([f"2021-01-{row + 1:02d}" for row in range(N)], dtype=object), "value of its own for each patient"),
        (np.asarray([str(1000 + row) for row in range(N)], dtype=object), "value of its own for each patient"),
        (text("ill", "well"), "repeats the label"),
        (text("1", "0"), "repeats the label"),
        (text("a", "c", "b", "c"), "repeats the label"),  # decides the label, under more names
    ],
)  # fmt: skip
def test_a_column_that_says_nothing_or_the_label_is_left_out_and_named(cells: np.ndarray, why: str) -> None:
    design = fitted({"odd": cells, "sex": text("F", "F", "M", "M")})
    assert [column.name for column in design.columns] == ["sex"]
    assert any(note.startswith("1 column left out ('odd')") and why in note for note in design.notes), design.notes


def test_part_of_the_label_is_the_label() -> None:
    labels = np.arange(N) % 3
    design = fitted({"idh": text("wild", "mutant", "mutant")}, labels=labels)
    assert (design.columns, design.width) == ((), 1)
    assert "repeats the label, or part of it" in design.notes[0]
    assert "every patient has the probabilities of the training set" in design.notes[-1]


def test_a_finding_that_a_column_repeats_is_enough() -> None:
    findings = np.stack([np.arange(N) // 2 % 2, np.arange(N) % 2], axis=1).astype(float)
    findings[3] = np.nan
    assert fitted({"copy": text("0", "1")}, labels=findings).columns == ()
    assert len(fitted({"other": text("0", "0", "1")}, labels=findings).columns) == 1


@pytest.mark.parametrize(
    "cells",
    [
        np.asarray([str(30 + row) for row in range(N)], dtype=object),  # ages that all differ, as in a small cohort
        np.asarray([f"{30 + row / 7:.3f}" for row in range(N)], dtype=object),
    ],
)
def test_ages_and_fractions_are_never_identifiers(cells: np.ndarray) -> None:
    assert [column.name for column in fitted({"age": cells}).columns] == ["age"]
    fractions = np.asarray([f"{0.5 + row / 7:.4f}" for row in range(N)], dtype=object)
    assert len(fitted({"marker": fractions}).columns) == 1


def test_an_age_that_decides_the_label_by_a_threshold_is_a_predictor() -> None:
    labels = (np.arange(N) >= N // 2).astype(int)
    ages = np.asarray([str(20 + row // 2) for row in range(N)], dtype=object)
    assert len(fitted({"age": ages}, labels=labels).columns) == 1


def test_a_column_that_nearly_gives_the_label_is_kept_with_a_warning() -> None:
    cells = text("ill", "well")
    cells[:2] = "well", "ill"
    design = fitted({"diagnosis": cells})
    assert len(design.columns) == 1
    assert any("'diagnosis'" in note and "known only after the diagnosis" in note for note in design.notes)


def test_only_training_rows_decide() -> None:
    table = {"age": text("40", "50", ""), "view": text("AP", "AP", "PA", "PA")}
    other = {name: cells.copy() for name, cells in table.items()}
    other["age"][12:], other["view"][12:] = "99", "?"
    rows = np.arange(12)
    assert fitted(table, rows) == fitted(other, rows)


def test_a_design_comes_back_from_its_facts() -> None:
    table = {"age": text("40", "50", ""), "view": text("AP", "AP", "PA", "PA")}
    design = fitted(table)
    again = TableDesign.from_facts(design.facts)
    np.testing.assert_array_equal(again.encode(table, ALL), design.encode(table, ALL))
    assert again.encode({"view": table["view"]}, ALL)[:, 1].all(), "a column that a table lacks is missing"
