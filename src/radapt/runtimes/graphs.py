"""Runners that compute converted networks: those of a folder, and those that are converted when first needed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from radapt.digests import digest, digest_file
from radapt.durable import atomic_path, write_json
from radapt.errors import UsageError
from radapt.parsing.json import read_json
from radapt.runtimes.convert import write_graph
from radapt.runtimes.graph import Graph, open_graph
from radapt.runtimes.runner import in_pytorch, largest_difference
from radapt.runtimes.runtime import Runtime, runtime_version

TOLERANCE = 1e-4
"""The largest difference from PyTorch in float32 that a converted network may have (see `largest_difference`)."""

_TOLERANCES = {"float32": TOLERANCE, "bfloat16": 0.1}
_FORMAT = 1  # raised when networks are converted in another way
_PROOF = "converted.json"


@dataclass(eq=False)
class GraphFolder:
    """Computes networks by the graphs in a folder, one folder inside it for each name."""

    folder: Path
    runtime: Runtime
    _open: dict[str, Graph] = field(default_factory=dict)

    def __call__(self, name: str, make: Callable[[], nn.Module], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Raises UsageError for a network that was not converted."""
        if name not in self._open:
            if not (self.folder / name).is_dir():
                raise UsageError(
                    f"The model has no network {name} for the runtime {self.runtime}: it was exported for other images "
                    "or layers. Give --runtime pytorch."
                )
            self._open[name] = open_graph(self.folder / name, self.runtime)
        return self._open[name](inputs)


@dataclass(eq=False)
class GraphCache:
    """Converts a network when it is first needed, and keeps it in a cache.

    `identity` is the digest of the weights. The first batch after a conversion is computed by PyTorch as well.
    """

    cache: Path
    runtime: Runtime
    identity: str
    dtype: str
    _open: dict[str, Graph] = field(default_factory=dict)

    def __call__(self, name: str, make: Callable[[], nn.Module], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Raises UsageError for a network that cannot be converted, or gives other results than in PyTorch."""
        if name not in self._open:
            self._open[name] = self._found(name, make, inputs)
        return self._open[name](inputs)

    def _found(self, name: str, make: Callable[[], nn.Module], inputs: tuple[Tensor, ...]) -> Graph:
        facts = [_FORMAT, self.runtime, runtime_version(self.runtime), self.identity, self.dtype, name]
        folder = self.cache / "networks" / digest(facts)
        if not _is_intact(folder):
            with atomic_path(folder, folder=True) as part:
                self._convert(name, make(), inputs, part)
        return open_graph(folder, self.runtime, self.dtype)

    def _convert(self, name: str, network: nn.Module, inputs: tuple[Tensor, ...], part: Path) -> None:
        given = tuple(each.float() if each.is_floating_point() else each for each in inputs)
        write_graph(network, given, part, self.runtime, name)
        found = open_graph(part, self.runtime, self.dtype)(given)
        difference = largest_difference(in_pytorch(network.eval(), given), found)
        if not difference <= _TOLERANCES[self.dtype]:
            raise UsageError(
                f"{self.runtime} computes the network {name} otherwise than PyTorch: outputs differ by "
                f"{difference:.2g} of the largest, and at most {_TOLERANCES[self.dtype]:g} is accepted. Give "
                "--runtime pytorch."
            )
        files = {path.name: digest_file(path) for path in part.iterdir()}
        write_json(part / _PROOF, {"network": name, "difference": difference, "files": files})


def _is_intact(folder: Path) -> bool:
    """Whether the files are those that were written; a damaged network is converted again."""
    try:
        files = read_json(folder / _PROOF)["files"]
        return bool(files) and all(digest_file(folder / name) == known for name, known in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
