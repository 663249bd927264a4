"""Scores of a model on every subset of sequences: tables read from the cells, laid out for the page."""
