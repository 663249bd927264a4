"""Numbers of a marked region, as the Image Biomarker Standardisation Initiative defines them (arXiv 1612.07003)."""
