"""Adapting a backbone to cases with several sequences, any of which may be missing and most of which have no label:
self-distillation between crops and between subsets of sequences, beside learning from the labels there are
(MM-DINOv2, arXiv 2509.06617, and past it)."""
