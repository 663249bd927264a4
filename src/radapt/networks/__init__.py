"""Networks and parts of networks as plain modules, which know tensors and nothing of patients or files: ways to adapt
an encoder, aggregators of slices, decoders, and networks trained from scratch."""

from radapt.networks.adapters import METHODS, adapt
from radapt.networks.adapters_blocks import blocks, layer_of
from radapt.networks.adapters_state import fingerprint, load_trained_state, train_mode, trained_state

__all__ = [
    "METHODS",
    "adapt",
    "blocks",
    "fingerprint",
    "layer_of",
    "load_trained_state",
    "train_mode",
    "trained_state",
]
