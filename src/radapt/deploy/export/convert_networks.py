"""The networks of a model folder, converted for another runtime and compared with PyTorch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radapt.cohorts import Cohort
from radapt.deploy.deployed_model import DeployedModel, load_deployed
from radapt.deploy.export.parity_cases import drawn_cohort, parity_cases
from radapt.deploy.exported_runtime import NETWORKS, ExportedRuntime, Parity
from radapt.errors import UsageError
from radapt.progress import ProgressMaker
from radapt.runtimes.convert import write_graph
from radapt.runtimes.graph import open_graph
from radapt.runtimes.graphs import TOLERANCE, GraphFolder
from radapt.runtimes.runner import Recorder, largest_difference
from radapt.runtimes.runtime import Runtime, runtime_version


def convert_networks(
    folder: Path, runtime: Runtime, cohort: Cohort | None, working: Path, progress: ProgressMaker
) -> ExportedRuntime:
    """Write the networks of the model in `folder`, which is complete for PyTorch, into `folder/networks`.

    They are compared on cases of `cohort` with all their sequences and with each alone; without a cohort on drawn
    images. `working` is an empty folder for caches.

    Raises UsageError for a model or a network that cannot be converted, and for results that differ from PyTorch's by
    more than `TOLERANCE`.
    """
    recorder = Recorder()
    reference = load_deployed(folder, cache=working / "pytorch", runner=recorder)
    images = "training cases" if cohort is not None else "drawn images"
    cases = parity_cases(reference, cohort or drawn_cohort(reference, working / "images"))
    expected = _Results.of(reference, cases, working / "pytorch")
    if not recorder.calls:
        raise UsageError(
            f"The model is of method {reference.deployment.method!r}, which has no network that could be converted. "
            "Leave out --format."
        )
    worst = 0.0
    with progress(len(recorder.calls), f"Converting for {runtime}", "networks") as advance:
        for name, call in recorder.calls.items():
            place = folder / NETWORKS / name
            write_graph(call.network, call.inputs, place, runtime, name)
            difference = largest_difference(call.outputs, open_graph(place, runtime)(call.inputs))
            _refuse_above(difference, runtime, f"the outputs of the network {name}")
            worst = max(worst, difference)
            advance(1)
    converted = load_deployed(folder, cache=working / runtime, runner=GraphFolder(folder / NETWORKS, runtime))
    found = _Results.of(converted, cases, working / runtime)
    parity = Parity(
        images, len(cases), worst, expected.probability_difference(found), expected.voxel_difference(found),
        _study_difference(folder, cases, found, working / "study"),
    )  # fmt: skip
    _refuse_above(parity.probabilities or 0.0, runtime, "the probabilities of a case")
    return ExportedRuntime(runtime, runtime_version(runtime), tuple(recorder.calls), parity)


def _refuse_above(difference: float, runtime: Runtime, what: str) -> None:
    if not difference <= TOLERANCE:
        raise UsageError(
            f"{runtime} and PyTorch differ by {difference:.1e} in {what}, and at most {TOLERANCE:g} is accepted; "
            "nothing was exported. Leave out --format, or choose the other one."
        )


@dataclass(frozen=True, eq=False)
class _Results:
    """Probabilities (members, n, outputs), or the label maps of each member and case."""

    probabilities: np.ndarray | None
    masks: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, model: DeployedModel, cases: Cohort, cache: Path) -> "_Results":
        local = model.with_cache(cache)
        local.vectors(cases, cache)  # the features that are compared with those of training cases have a network, too
        if model.draws_masks:
            rows = range(len(cases))
            return cls(None, tuple(each.segment(cases, row).array for each in local.members for row in rows))
        columns = [f"p_{name}" for name in model.outputs]
        return cls(np.stack([each.predict(cases)[columns].to_numpy(dtype=float) for each in local.members]), ())

    def probability_difference(self, other: "_Results") -> float | None:
        if self.probabilities is None or other.probabilities is None:
            return None
        return float(np.abs(self.probabilities - other.probabilities).max())

    def voxel_difference(self, other: "_Results") -> float | None:
        if not self.masks:
            return None
        differing = sum(int((one != two).sum()) for one, two in zip(self.masks, other.masks, strict=True))
        return differing / sum(mask.size for mask in self.masks)


def _study_difference(folder: Path, cases: Cohort, found: _Results, cache: Path) -> float | None:
    model = load_deployed(folder, cache=cache)
    if model.card.precision == "float32" or model.draws_masks:
        return None
    return _Results.of(model, cases, cache).probability_difference(found)
