"""The short table with which `radapt run` ends."""

from collections.abc import Callable
from typing import Any

from radapt.reports import write_report_with_answers
from radapt.reports.study_report import WrittenReport


def written(toy_run: Any, toy_cohort: Callable[..., Any], backbones: int) -> WrittenReport:
    toy = toy_cohort(tests=("test", "external"))
    toy_run.cohort(toy)
    for at in range(backbones):
        toy_run.cell(toy, f"encoder{at}", "linear", protocol="linear", skill=0.2 * at)
    toy_run.cell(toy, "none", "age-sex", protocol="age-sex", skill=0.1, control="age-sex")
    toy_run.finish()
    return write_report_with_answers(toy_run.path)


def test_a_run_ends_with_a_table_for_each_test_set(toy_run: Any, toy_cohort: Callable[..., Any]) -> None:
    report = written(toy_run, toy_cohort, 3)
    assert [table.splitlines()[0] for table in report.tables] == ["toy, test:", "toy, external:"]
    head, *rows = report.tables[0].splitlines()[1:]
    assert head.split()[:4] == ["method", "AUROC", "95", "%"]
    assert rows[0].strip().startswith("encoder2 with linear  ")
    assert rows[-1].strip().startswith("age-sex (control)  ")
    assert len(rows) == 4
    assert len({len(line) for line in (head, *rows)}) == 1
    assert rows[0].split()[3] in report.answers[0]


def test_long_tables_are_cut_and_counted(toy_run: Any, toy_cohort: Callable[..., Any]) -> None:
    lines = written(toy_run, toy_cohort, 14).tables[0].splitlines()
    assert len(lines) == 13
    assert lines[-1] == "  and 5 more in the report"
