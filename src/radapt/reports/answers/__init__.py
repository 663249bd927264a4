"""What a clinician asks of a study, answered in sentences: one record for the page, the terminal and summary.json."""

from radapt.reports.answers.answering import answers_of
from radapt.reports.answers.record import Answer, BoardAnswers, NamedValue, PairedNumbers

__all__ = ["Answer", "BoardAnswers", "NamedValue", "PairedNumbers", "answers_of"]
