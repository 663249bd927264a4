"""Networks and parts of networks as plain modules, which know tensors and nothing of patients or files: ways to adapt
an encoder, aggregators of slices, decoders, and networks trained from scratch."""

from radapt.networks.adapters.blocks import blocks, layer_of
from radapt.networks.adapters.methods import METHODS, adapt
from radapt.networks.adapters.state import fingerprint, load_trained_state, train_mode, trained_state
from radapt.networks.aggregators import AGGREGATORS, Aggregator, make_aggregator
from radapt.networks.transunet import TransUNet, build_transunet
from radapt.networks.unet.network import UNet, build_unet
from radapt.networks.unet.plan import Budget, Channel, Fingerprint, UNetPlan, plan_unet

__all__ = [
    "AGGREGATORS",
    "METHODS",
    "Aggregator",
    "Budget",
    "Channel",
    "Fingerprint",
    "TransUNet",
    "UNet",
    "UNetPlan",
    "adapt",
    "blocks",
    "build_transunet",
    "build_unet",
    "fingerprint",
    "layer_of",
    "load_trained_state",
    "make_aggregator",
    "plan_unet",
    "train_mode",
    "trained_state",
]
