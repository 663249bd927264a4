"""The runtimes by name, and the packages that they need."""

from importlib.metadata import version
from importlib.util import find_spec
from typing import Literal, get_args

from radapt.errors import UsageError, suggest

Runtime = Literal["pytorch", "onnx", "openvino"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
CONVERTED = RUNTIMES[1:]
"""Those that compute a converted copy of the network."""

BFLOAT16 = ("openvino",)
"""Converted runtimes that can compute in bfloat16."""

AUTO = "auto"
JOINTLY = (
    "encodes the sequences of a slice together, as a series of tokens whose length differs from slice to slice, which "
    "only PyTorch computes. Give --runtime pytorch."
)
"""Why an adapted encoder is computed by PyTorch alone; its name comes before."""

_PACKAGES = {"pytorch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}


def is_installed(runtime: Runtime) -> bool:
    return find_spec(_PACKAGES[runtime]) is not None


def runtime_version(runtime: Runtime) -> str:
    return version(_PACKAGES[runtime])


def check_runtime(name: str) -> Runtime:
    """The runtime `name`, whose package is installed. Raises UsageError for an unknown name or a missing package."""
    if name not in RUNTIMES:
        raise UsageError(f"Unknown runtime {name!r}. {suggest(name, (*RUNTIMES, AUTO))}")
    runtime: Runtime = name
    if not is_installed(runtime):
        raise UsageError(
            f"The runtime {name} needs the package {_PACKAGES[runtime]}, which is not installed. Install it with: "
            f"pip install 'radapt[{name}]'. Or use --runtime pytorch."
        )
    return runtime


def encoding_runtime(name: str, device: str, jointly: str = "") -> Runtime:
    """The runtime `name`, or what `auto` stands for, for an encoder on a device; `jointly` names an adapted backbone.

    Raises UsageError for a runtime that is unknown, not installed, or unable to compute there or such a backbone.
    """
    if name == AUTO:
        return "pytorch" if jointly else fastest_runtime(device)
    runtime = check_runtime(name)
    if runtime != "pytorch" and jointly:
        raise UsageError(f"{jointly} {JOINTLY}")
    if runtime != "pytorch" and not device.startswith("cpu"):
        raise UsageError(
            f"The runtime {runtime} computes on the processor, not on {device}. Give --device cpu, or "
            "--runtime pytorch."
        )
    return runtime


def encoding_dtype(dtype: str, runtime: Runtime) -> str:
    """The dtype of an encoder by a runtime: for `auto`, a converted one computes in float32.

    Some networks are far from PyTorch in OpenVINO's bfloat16, so that it is computed only where it is named. Raises
    UsageError for bfloat16 by a runtime that cannot compute in it.
    """
    if runtime == "pytorch":
        return dtype
    if dtype == "bfloat16" and runtime not in BFLOAT16:
        raise UsageError(f"The runtime {runtime} computes in float32, not in {dtype}. Give --dtype float32.")
    return "float32" if dtype == "auto" else dtype


def fastest_runtime(device: str) -> Runtime:
    """What `auto` stands for: on a CPU the first of OpenVINO and ONNX Runtime that is installed, else PyTorch.

    It is decided by what is installed, never by a timing, so that the same machine gives the same features.
    """
    if not device.startswith("cpu"):
        return "pytorch"
    return next((name for name in ("openvino", "onnx") if is_installed(name)), "pytorch")
