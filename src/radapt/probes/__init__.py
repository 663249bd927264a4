"""Probes: k nearest neighbours, linear heads and logistic regression on stored features."""
