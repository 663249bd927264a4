"""The winner of a run as a model folder: which cell, why, and everything it needs for the next patient."""
