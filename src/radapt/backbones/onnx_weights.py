"""The weights in an ONNX file, under the parameter names of the model that was exported. The graph is never run.

PyTorch's exporter folds constants: the weight of a linear layer becomes an anonymous, transposed `onnx::MatMul_…`, and
a position embedding that is split into CLS and patches becomes two. Their names follow from the graph around them: from
the named bias added behind the product, and from the CLS token of the same embedding.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from radapt.errors import UsageError

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

State = dict[str, torch.Tensor]
Arrays = dict[str, np.ndarray]

ANONYMOUS = "onnx::"
_CLS_TOKEN, _POSITIONS = "embeddings.cls_token", "embeddings.position_embeddings"
_NAMED = 6  # how many names a message lists before it counts the rest


def read_onnx(path: Path) -> tuple[State, tuple[str, ...]]:
    """All named tensors of the ONNX file at `path`, and notes on those whose names were inferred.

    UsageError: the file is no ONNX model, keeps its tensors in other files, has no named tensors, or has weights of
    linear layers whose names do not follow from the graph.
    """
    graph = _graph(path)
    try:
        return _named_tensors(graph, path)
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OverflowError) as error:
        raise UsageError(
            f"ONNX file {path} holds a damaged graph ({str(error) or type(error).__name__}). Copy or download it again."
        ) from error


def _named_tensors(graph: "GraphProto", path: Path) -> tuple[State, tuple[str, ...]]:
    arrays = _arrays(graph, path)
    state = {name: array for name, array in arrays.items() if not name.startswith(ANONYMOUS)}
    if not any("." in name for name in state):
        raise UsageError(
            f"ONNX file {path} has no tensors with a model's parameter names; it holds {_listed(arrays)}. Export it "
            "with its names (without an optimiser that renames them), or give the file of its state_dict()."
        )
    matrices = _matrices(graph, arrays, path)
    positions = _positions(graph, arrays)
    notes = [f"{len(matrices)} anonymous matrices named by the bias behind them"] if matrices else []
    notes += ["position embedding joined from CLS and patches"] if positions else []
    whole = {**state, **matrices, **positions}
    return {name: _tensor(array) for name, array in whole.items()}, tuple(notes)


def _graph(path: Path) -> "GraphProto":
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(str(path), format="protobuf", load_external_data=False).graph
    except (DecodeError, OSError, ValueError) as error:
        raise UsageError(
            f"Weight file {path} cannot be read as ONNX ({error}). It is truncated or of another format: copy or "
            "download it again."
        ) from error
    if not graph.node and not graph.initializer:
        raise UsageError(f"Weight file {path} holds no ONNX graph. Expected a complete .onnx file: copy it again.")
    return graph


def _arrays(graph: "GraphProto", path: Path) -> Arrays:
    from onnx import TensorProto, numpy_helper

    outside = [tensor.name for tensor in graph.initializer if tensor.data_location == TensorProto.EXTERNAL]
    if outside:
        raise UsageError(
            f"ONNX file {path} keeps {len(outside)} tensors in other files ({outside[0]}). Save it as one file: "
            "onnx.save(onnx.load(FILE), NEW_FILE)."
        )
    try:
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    except (ValueError, TypeError) as error:
        raise UsageError(f"ONNX file {path} holds a damaged tensor ({error}). Copy or download it again.") from error


def _matrices(graph: "GraphProto", arrays: Arrays, path: Path) -> Arrays:
    """The weight of every linear layer whose name was folded away, (outputs, inputs) as PyTorch has it."""
    users = _users(graph)
    named: Arrays = {}
    nameless = []
    for node in graph.node:
        constant = node.input[1] if node.op_type == "MatMul" else ""  # x · W: a linear layer multiplies from the right
        if not constant.startswith(ANONYMOUS) or constant not in arrays:
            continue
        biases = {
            name
            for user in users[node.output[0]]
            if user.op_type == "Add"
            for name in user.input
            if name in arrays and name.endswith(".bias") and not name.startswith(ANONYMOUS)
        }
        if arrays[constant].ndim != 2 or len(biases) != 1:
            nameless.append(constant)
            continue
        name = f"{biases.pop().removesuffix('bias')}weight"
        if name in named or name in arrays:
            raise UsageError(f"ONNX file {path} has two weights that would be called {name}; one is {constant}.")
        named[name] = np.ascontiguousarray(arrays[constant].T)
    if nameless:
        raise UsageError(
            f"ONNX file {path} has {len(nameless)} matrices without a name, and no bias with a name behind them: "
            f"{_listed({name: arrays[name] for name in nameless})}. Its named tensors are "
            f"{_listed({name: array for name, array in arrays.items() if not name.startswith(ANONYMOUS)})}. Give the "
            "file of the model's state_dict() instead."
        )
    return named


def _positions(graph: "GraphProto", arrays: Arrays) -> Arrays:
    """The position embedding (1, 1 + N, D) of an anonymous CLS position (1, 1, D) that is concatenated with what an
    anonymous grid (1, N, D) of positions is interpolated to. Empty if the graph has no such pair."""
    cls_tokens = [name for name in arrays if name.endswith(_CLS_TOKEN)]
    if len(cls_tokens) != 1 or cls_tokens[0].replace(_CLS_TOKEN, _POSITIONS) in arrays:
        return {}
    producers = {output: node for node in graph.node for output in node.output}
    found = []
    for node in graph.node:
        if node.op_type != "Concat" or len(node.input) != 2 or not node.input[0].startswith(ANONYMOUS):
            continue
        first = arrays.get(node.input[0])
        source = _origin(node.input[1], producers, arrays)
        if first is None or source is None or not source.startswith(ANONYMOUS):
            continue
        grid = arrays[source]
        if first.shape[:-1] == (1, 1) and grid.ndim == 3 and grid.shape[::2] == first.shape[::2]:
            found.append((first, grid))
    squares = [pair for pair in found if math.isqrt(pair[1].shape[1]) ** 2 == pair[1].shape[1]]
    if len(squares) != 1:
        return {}
    return {cls_tokens[0].replace(_CLS_TOKEN, _POSITIONS): np.concatenate(squares[0], axis=1)}


def _origin(name: str, producers: "dict[str, NodeProto]", arrays: Arrays) -> str | None:
    """The stored tensor that `name` is computed from, following the first input of every node."""
    for _ in range(len(producers) + 1):
        if name in arrays:
            return name
        node = producers.get(name)
        if node is None or not node.input:
            return None
        name = node.input[0]
    return None


def _users(graph: "GraphProto") -> "dict[str, list[NodeProto]]":
    users: dict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    return users


def _tensor(array: np.ndarray) -> torch.Tensor:
    if array.dtype.kind not in "fiub":  # bfloat16 and 8-bit floats, which torch does not take from NumPy
        array = array.astype(np.float32)
    return torch.from_numpy(np.array(array))  # a copy: the graph's own bytes are read-only


def _listed(arrays: Arrays) -> str:
    return ", ".join(_descriptions(arrays)) or "no tensors"


def _descriptions(arrays: Arrays) -> Iterator[str]:
    for name, array in list(arrays.items())[:_NAMED]:
        yield f"{name} {array.shape}"
    if len(arrays) > _NAMED:
        yield f"{len(arrays) - _NAMED:,} more"
