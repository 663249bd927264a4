"""Reading weight files without executing their content."""

import argparse
import io
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch

from radapt.backbones.damage import archive_damage, is_zip, looks_like
from radapt.backbones.onnx_weights import read_onnx
from radapt.errors import UsageError
from radapt.locations import is_file, is_folder
from radapt.parsing.json import read_json

State = dict[str, torch.Tensor]
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
ONNX = ".onnx"


def find_files(path: Path) -> tuple[Path, ...]:
    """The weight files at `path`: the file itself, or those of a folder in the hub's layout (one file or shards)."""
    if is_file(path):
        return (path,)
    if not is_folder(path):
        raise UsageError(
            f"There is no weight file {path}. Expected a {', '.join(SUFFIXES)} or {ONNX} file, or a folder that holds "
            "one."
        )
    for index in (path / "model.safetensors.index.json", path / "pytorch_model.bin.index.json"):
        if index.is_file():
            return tuple(path / name for name in _shards(index))
    files = sorted(item for item in path.iterdir() if item.suffix in SUFFIXES and item.is_file())
    files = files or sorted(item for item in path.iterdir() if item.suffix == ONNX and item.is_file())
    best = [item for item in files if item.name in ("model.safetensors", "open_clip_model.safetensors")] or files
    best = best[:1] if len({item.suffix for item in best}) == len(best) else best
    if len(best) != 1:
        listed = ", ".join(item.name for item in files) or "none"
        raise UsageError(f"Folder {path} should hold one weight file; it holds: {listed}. Name the file itself.")
    return tuple(best)


def _shards(index: Path) -> list[str]:
    """The names of the weight files that an index of shards lists."""
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
        if not names or any(Path(name).name != name for name in names):
            raise ValueError("it does not list files beside it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{index} is no index of weight files ({error}). Download the folder again.") from error
    return names


def read_state(path: Path) -> tuple[State, tuple[str, ...]]:
    """All tensors at `path` by name, and notes on the wrappers that were removed.

    UsageError for a missing, truncated, damaged or foreign file, and for a pickle that holds more than tensors and
    plain values, because loading it could run code. safetensors and PyTorch's format before 1.6 have no checksums, so
    damage that keeps their length and structure is not detected.
    """
    state: State = {}
    notes: tuple[str, ...] = ()
    for file in find_files(path):
        tensors, notes = _read(file)
        state.update(tensors)
    return state, notes


def _read(file: Path) -> tuple[State, tuple[str, ...]]:
    if file.suffix == ONNX:
        return read_onnx(file)
    return _unwrap(_read_safetensors(file) if file.suffix == ".safetensors" else _read_pickle(file), file)


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"Weight file {path} cannot be read as safetensors ({error}). It is truncated or of another format: "
            "copy or download it again."
        ) from error


def _read_pickle(path: Path) -> Any:
    zipped = is_zip(path)
    with path.open("rb") as file:
        first = file.read(2)
    if first == b"PK" and not zipped:
        raise _unreadable(path, "the archive is truncated")
    if zipped and (damage := archive_damage(path)):
        raise _unreadable(path, damage)
    try:
        # argparse.Namespace holds plain values that DINO and MAE store with their weights.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols and TorchScript; both end in an error below
            if zipped:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            with _BoundedReader(path) as file:
                return torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises many types for foreign bytes, without an explanation
        if isinstance(error, pickle.UnpicklingError) and (zipped or first[:1] == b"\x80"):
            raise _unsafe(path, error) from error  # a complete pickle that torch's safe reader refuses
        if "TorchScript" in str(error):
            raise UsageError(
                f"Weight file {path} is a TorchScript archive, which holds code. Save its state_dict() instead."
            ) from error
        raise _unreadable(path, _first_line(error) if zipped else looks_like(path)) from error


class _BoundedReader(io.BufferedReader):
    """A file of which no more is requested than it has: a damaged pickle may claim a text of gigabytes, for which
    Python makes room first."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None or size < 0 else min(size, self._size))


def _unsafe(path: Path, error: Exception) -> UsageError:
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    what = f" ({named[1]})" if named else ""
    return UsageError(
        f"Weight file {path} holds more than tensors{what}, and loading it could run code. "
        "Save only the tensors where the file was made: "
        "torch.save(model.state_dict(), 'weights.pth'), or safetensors."
    )


def _unreadable(path: Path, why: str) -> UsageError:
    return UsageError(
        f"Weight file {path} cannot be read: {why}. Expected a complete file of torch.save, or .safetensors: "
        "copy or download it again."
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


WRAPPERS = ("state_dict", "model_state_dict", "teacher", "target_encoder", "model", "module", "student")


def _unwrap(stored: Any, path: Path) -> tuple[State, tuple[str, ...]]:
    """The weights inside the dictionaries of training code, the teacher before the student."""
    notes: list[str] = []
    while isinstance(stored, dict) and not _is_state(stored):
        name = next((name for name in WRAPPERS if isinstance(stored.get(name), dict)), None)
        if name is None:
            entries = ", ".join(map(str, list(stored)[:8])) or "none"
            raise UsageError(f"Weight file {path} holds no tensors by name; its entries are: {entries}.")
        notes.append(f"taken from the entry {name!r}")
        stored = stored[name]
    if not isinstance(stored, dict) or not stored:
        raise UsageError(f"Weight file {path} holds no tensors by name but a {type(stored).__name__}.")
    return {str(key): value for key, value in stored.items() if isinstance(value, torch.Tensor)}, tuple(notes)


def _is_state(stored: dict[Any, Any]) -> bool:
    return any(isinstance(value, torch.Tensor) for value in stored.values())
