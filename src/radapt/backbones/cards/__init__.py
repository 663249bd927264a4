"""The weight cards of the catalog, one file per family; a file declares `CARD`, or several as `CARDS`.

Widths, depths, sizes, parameters, means and deviations are compared with the built modules by a test; licences and
data sets are those of the weights' own model cards and papers. Nothing here imports torch.
"""
