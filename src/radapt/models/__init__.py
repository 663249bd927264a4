"""Trained models as folders: what is written down, and how it is loaded again."""
