"""Fusion: a small network over the stored tokens of a frozen encoder, for any subset of a patient's sequences."""
