"""A report in parts for a paper: a summary to read by program, tables, figures, and checklists filled from the run."""
