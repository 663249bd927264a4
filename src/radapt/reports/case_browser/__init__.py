"""The browser of cases in a report: every list, and the pictures that the run folder holds."""
