"""A vision transformer that takes any subset of a set of modalities, as MM-DINOv2 does (arXiv 2509.06617)."""
