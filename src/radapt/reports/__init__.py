"""Reports: one self-contained HTML page with the results of a study or an adaptation, and their certainty."""

from radapt.reports.adaptation_report import write_adapt_report
from radapt.reports.prediction_page import (
    PredictedCase,
    PredictionPage,
    StructureRow,
    shown_rows,
    write_prediction_page,
)
from radapt.reports.study_report import write_report, write_report_with_answers

__all__ = [
    "PredictedCase",
    "PredictionPage",
    "StructureRow",
    "shown_rows",
    "write_adapt_report",
    "write_prediction_page",
    "write_report",
    "write_report_with_answers",
]
