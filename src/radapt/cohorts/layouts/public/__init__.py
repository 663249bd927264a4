"""The layouts of public data sets: those of the cards in `radapt/datasets/`, and two that need code."""
