"""Reports: one self-contained HTML page with the results of a study or an adaptation, and their certainty."""

from radapt.reports.adaptation_report import write_adapt_report
from radapt.reports.export.exporting import export_report
from radapt.reports.prediction_page import (
    AttentionBars,
    PredictedCase,
    PredictionPage,
    StructureRow,
    shown_rows,
    write_prediction_page,
)
from radapt.reports.study_report import write_report, write_report_with_answers
from radapt.reports.summary import StudySummary, summary_schema

__all__ = [
    "AttentionBars",
    "PredictedCase",
    "PredictionPage",
    "StructureRow",
    "StudySummary",
    "export_report",
    "shown_rows",
    "summary_schema",
    "write_adapt_report",
    "write_prediction_page",
    "write_report",
    "write_report_with_answers",
]
