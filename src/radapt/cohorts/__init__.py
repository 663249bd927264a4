"""Cohorts: tables of cases, their labels, splits and paths, and the folder layouts they come from."""
