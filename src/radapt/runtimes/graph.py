"""A converted network: opened once, called with tensors."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from radapt.errors import UsageError
from radapt.runtimes.runtime import Runtime, check_runtime, encoding_dtype

GRAPH_FILES = {"onnx": "network.onnx", "openvino": "network.xml"}
"""OpenVINO keeps the weights beside the graph, in network.bin."""

Graph = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
"""Inputs → outputs, on the CPU."""


def open_graph(folder: Path, runtime: Runtime, dtype: str = "float32") -> Graph:
    """The network in `folder`, computed in `dtype` by as many threads as PyTorch has.

    Raises UsageError for a package that is not installed, a file that is missing or damaged, and a dtype that the
    runtime does not compute in.
    """
    check_runtime(runtime)
    encoding_dtype(dtype, runtime)
    path = folder / GRAPH_FILES[runtime]
    if not path.is_file():
        raise UsageError(f"{path} is missing.")
    try:
        return _open_onnx(path) if runtime == "onnx" else _open_openvino(path, dtype)
    except Exception as error:  # each runtime has errors of its own
        raise UsageError(f"{path} cannot be read ({str(error).strip().splitlines()[0][:200]}).") from error


def _open_onnx(path: Path) -> Graph:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        given = {name: _array(each) for name, each in zip(names, inputs, strict=True)}
        return tuple(torch.from_numpy(output) for output in session.run(None, given))

    return run


def _open_openvino(path: Path, dtype: str) -> Graph:
    import openvino

    core = openvino.Core()
    # Without the hint OpenVINO would choose bfloat16 by itself where the processor has it.
    options = {
        "INFERENCE_PRECISION_HINT": "f32" if dtype == "float32" else "bf16",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
    }
    request = core.compile_model(core.read_model(path), "CPU", options).create_infer_request()

    def run(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        found = request.infer([_array(each) for each in inputs], share_inputs=True)
        return tuple(torch.from_numpy(np.array(found[number])) for number in range(len(found)))

    return run


def _array(tensor: Tensor) -> np.ndarray:
    floating = tensor.float() if tensor.is_floating_point() else tensor
    return np.ascontiguousarray(floating.detach().cpu().numpy())
