"""Lightning Fabric, set up for one device or several. Import this module where it is used: it takes seconds to load."""

import logging
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces each start and each precision
_PRECISION = {"float32": "32-true", "bfloat16": "bf16-mixed"}


class _LocalEnvironment(LightningEnvironment):
    """Processes on this machine, even inside a cluster job. The port through which they find each other may be set."""

    @property
    def main_port(self) -> int:
        port: int = super().main_port
        return port

    @main_port.setter
    def main_port(self, port: int) -> None:
        self._main_port = port


def make_fabric(device: torch.device, devices: int, precision: str) -> Fabric:
    """Fabric for one device in this process, or for several devices with one process each (not yet started)."""
    selected: Any = devices
    if devices == 1 and device.type == "cuda":
        selected = [device.index or 0]
    return Fabric(
        accelerator=device.type,
        strategy="ddp_spawn" if devices > 1 else "auto",
        devices=selected,
        precision=_PRECISION[precision],
        plugins=[_LocalEnvironment()],
    )
