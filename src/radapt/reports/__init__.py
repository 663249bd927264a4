"""Reports: one self-contained HTML file that answers the study's question and says how far the answer goes."""

from radapt.reports.adapt_report import write_adapt_report
from radapt.reports.report import write_report

__all__ = ["write_adapt_report", "write_report"]
