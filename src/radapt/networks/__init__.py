"""Networks and layers as plain modules that know tensors only, not patients or files: parameter-efficient adaptation of
encoders, slice aggregators, decoders, and networks trained from scratch."""

from radapt.networks.adapters.encoder_blocks import blocks, layer_of
from radapt.networks.adapters.trained_state import fingerprint, load_trained_state, train_mode, trained_state
from radapt.networks.adapters.tuning_methods import METHODS, adapt
from radapt.networks.aggregators import AGGREGATORS, Aggregator, make_aggregator
from radapt.networks.transunet import TransUNet, build_transunet
from radapt.networks.unet.architecture import Budget, Channel, Fingerprint, UNetPlan, plan_unet
from radapt.networks.unet.network import UNet, build_unet

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
