"""The converted networks of a model folder: for which runtime, how close to PyTorch, and which runtime predicts.

networks/<place>/<network>/     the files of a network; its place is `encoder`, or the name of a member
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radapt.errors import UsageError
from radapt.runtimes.runtime import AUTO, RUNTIMES, Runtime, check_runtime, is_installed

NETWORKS = "networks"


@dataclass(frozen=True)
class Parity:
    """How far results of the converted networks are from PyTorch's in float32, on `cases` of the named `images`."""

    images: str
    """`training cases` or `drawn images`."""
    cases: int
    networks: float
    """The largest difference of an output of a network, relative to the largest value of it above 1."""
    probabilities: float | None = None
    """The largest difference of a probability; None for a model that draws masks."""
    voxels: float | None = None
    """The share of voxels that have another label; None for a model of probabilities."""
    study: float | None = None
    """The largest difference of a probability from that in the study's bfloat16; None where the study used float32."""

    def sentence(self, runtime: str) -> str:
        """What was measured, in words."""
        found = [f"outputs of networks differ by at most {self.networks:.1e}"]
        if self.probabilities is not None:
            found.append(f"probabilities by at most {self.probabilities:.1e}")
        if self.voxels is not None:
            found.append(f"{self.voxels:.2%} of voxels have another label")
        text = f"{runtime} against PyTorch in float32 on {self.cases} {self.images}: {', '.join(found)}."
        if self.study is not None:
            text += (
                f" The study computed in bfloat16, which {runtime} does not: its probabilities differ by up to "
                f"{self.study:.1e}."
            )
        return text


@dataclass(frozen=True)
class ExportedRuntime:
    """The runtime that a model was exported with."""

    name: Runtime
    version: str
    """Of its package, at export."""
    networks: tuple[str, ...]
    parity: Parity

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "ExportedRuntime":
        networks, parity = tuple(stored["networks"]), Parity(**stored["parity"])
        return cls(**{**stored, "networks": networks, "parity": parity})


def predicting_runtime(folder: Path, exported: ExportedRuntime | None, asked: str | None) -> Runtime:
    """The runtime that computes the model in `folder`: that it was exported with, unless another one is `asked` for.

    `auto` is the one it was exported with where its package is installed, else PyTorch. Raises UsageError for a runtime
    that the model has no networks for, or whose package is not installed.
    """
    own: Runtime = "pytorch" if exported is None else exported.name
    if asked == AUTO:
        return own if is_installed(own) else "pytorch"
    if asked is None:
        return check_runtime(own)
    if asked in RUNTIMES and asked not in ("pytorch", own):
        which = "PyTorch" if own == "pytorch" else f"PyTorch and {own}"
        raise UsageError(
            f"The model in {folder} was exported for {which}, not for {asked}. Give --runtime {own}, or export the run "
            f"again with --format {asked}."
        )
    return check_runtime(asked)
