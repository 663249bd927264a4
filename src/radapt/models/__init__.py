"""Trained models as folders: saving and loading them."""
