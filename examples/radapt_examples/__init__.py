"""One worked example of everything that can be added to radapt."""
