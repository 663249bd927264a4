"""The layout `bids`: the Brain Imaging Data Structure."""
