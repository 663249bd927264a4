"""Adapts a backbone to cases with several sequences, of which any may be missing, and few labels: self-distillation
between crops and between subsets of sequences, together with a supervised loss on the labelled cases. Based on
MM-DINOv2 (arXiv 2509.06617)."""
