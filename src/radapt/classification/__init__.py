"""Classifiers trained on images or stored slices: fine-tuning, adapters, multiple-instance learning, from scratch."""
