"""Small pictures of cases for the report, drawn from the slice cache into the run folder."""
