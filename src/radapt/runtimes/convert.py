"""From a PyTorch module to the files of a runtime."""

import gc
import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from radapt.errors import UsageError
from radapt.runtimes.graph import GRAPH_FILES
from radapt.runtimes.runtime import Runtime


def write_graph(network: nn.Module, inputs: tuple[Tensor, ...], folder: Path, runtime: Runtime, name: str) -> None:
    """Write `network` in float32 into `folder`, for any number of rows; `inputs` show the other axes.

    Raises UsageError, with what is not supported, for a network that cannot be converted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / GRAPH_FILES["onnx"]
    _write_onnx(network, inputs, source, name)
    if runtime == "openvino":
        import openvino

        openvino.save_model(openvino.Core().read_model(source), folder / GRAPH_FILES[runtime], compress_to_fp16=False)
        source.unlink()


def _write_onnx(network: nn.Module, inputs: tuple[Tensor, ...], path: Path, name: str) -> None:
    shown, batch = tuple(_two_rows(each) for each in inputs), torch.export.Dim("batch", min=1)
    try:
        with _quiet(), _without_collection(), torch.no_grad():
            torch.onnx.export(
                network.eval(), shown, path, dynamo=True, external_data=False, verbose=False,
                input_names=[f"input_{number}" for number in range(len(shown))],
                dynamic_shapes=_as_arguments(network, [{0: batch} for _ in shown]),
            )  # fmt: skip
    except ImportError as error:
        raise UsageError(
            f"Converting a network needs the package {error.name}, which is not installed. Install it with: "
            "pip install 'radapt[onnx]'."
        ) from error
    except Exception as error:  # the exporter raises errors of many kinds for what it does not know
        cause = _deepest(error)
        raise UsageError(
            f"The network {name} cannot be converted to ONNX ({type(cause).__name__}: {_first_line(cause)}). Use "
            "PyTorch for it: leave out --format, or give --runtime pytorch."
        ) from error


def _as_arguments(network: nn.Module, axes: list[dict[int, object]]) -> tuple[object, ...]:
    """The axes of each input; those that a module collects in `*inputs` count as one tuple."""
    kinds = [each.kind for each in inspect.signature(network.forward).parameters.values()]
    named = sum(kind is not inspect.Parameter.VAR_POSITIONAL for kind in kinds)
    return tuple(axes) if named == len(kinds) else (*axes[:named], tuple(axes[named:]))


def _two_rows(tensor: Tensor) -> Tensor:
    """Two rows of it: the exporter would take a single one for a constant."""
    with torch.inference_mode(False), torch.no_grad():
        return torch.cat([tensor[:1], tensor[-1:]]).clone()


def _deepest(error: BaseException) -> BaseException:
    """What happened first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")[:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress and its remarks."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Without garbage collection, which lets other threads run while the exporter parses source code.

    Python 3.11 counts the depth of that for all threads together, and fails if another one, such as a reader of .npy
    headers, parses meanwhile: "AST constructor recursion depth mismatch".
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
