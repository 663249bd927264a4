"""`radapt.load_model`: a model that was exported, adapted or trained, ready for new patients."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from radapt.backbones.backbone import Backbone
from radapt.backbones.lazy import LazyBackbone
from radapt.cohorts import Cohort
from radapt.deploy.deployed_model import DeployedModel, load_deployed
from radapt.deploy.deployment import DEPLOYMENT
from radapt.deploy.exported_runtime import predicting_runtime
from radapt.deploy.inputs.resolve import resolve_inputs
from radapt.deploy.patients import notes_of, predict_patients, working_cache
from radapt.deploy.prediction import Predictions
from radapt.devices import pick_device
from radapt.errors import UsageError
from radapt.locations import expanded
from radapt.progress import ProgressMaker, silent
from radapt.protocols.load_model import LoadedModel
from radapt.protocols.load_model import load_model as load_trained


class ExportedModel(DeployedModel):
    """A model for new patients, from Python."""

    def to(self, device: str) -> "ExportedModel":
        """The same model, read from its folder again, on `auto`, `cpu`, `cuda` or `cuda:N`. Raises UsageError for a
        device that this machine does not have."""
        return load_exported(self.folder, device=device, runtime=self.runtime)

    def predict(
        self,
        patients: Cohort | Path | str | Sequence[Cohort | Path | str],
        *,
        mapping: Mapping[str, str] | None = None,
        cache: Path | str | None = None,
        progress: ProgressMaker = silent,
    ) -> Predictions:
        """Predictions for a cohort, a cohort file, a folder of any layout, an image or a DICOM folder, or several.

        `mapping` {name of a series: name of a sequence} helps where names say nothing. A case that fails is among the
        predictions with its reason. Without a `cache` nothing of a patient is kept. Raises UsageError for an input that
        does not exist.
        """
        several = [patients] if isinstance(patients, Cohort | Path | str) else list(patients)
        sequences, kind = self.deployment.sequences, self.card.kind
        resolved = resolve_inputs(several, sequences, kind, mapping, progress)
        with working_cache(None if cache is None else Path(cache)) as folder:
            cases = tuple(predict_patients(self, resolved, resolved.order, folder))
        return Predictions(cases, self.outputs, notes_of(self, cases, resolved))


def load_exported(folder: Path | str, *, device: str = "cpu", runtime: str | None = None) -> ExportedModel:
    """The model in `folder` for new patients: exported, adapted, or that of a cell. See `load_deployed`."""
    model = load_deployed(folder, device=pick_device(device), runtime=runtime)
    return ExportedModel(**{each.name: getattr(model, each.name) for each in fields(model)})


def load_model(
    folder: Path | str,
    backbone: Backbone | LazyBackbone | None = None,
    *,
    cache: Path | str | None = None,
    device: str = "cpu",
    offline: bool = False,
    runtime: str | None = None,
    progress: ProgressMaker = silent,
) -> LoadedModel | ExportedModel:
    """The model in `folder`: an `ExportedModel` if `radapt export` wrote it, else a `LoadedModel`, which predicts for
    cohorts as its study does.

    An exported model is computed by the `runtime` it was exported with, unless another one is given: `pytorch`, or
    `auto`, which is PyTorch where the package of the other one is missing.

    Raises UsageError, with what is wrong, for a folder without a model, a file that is missing or was changed, a
    backbone beside an exported model, which brings its own, and a runtime that the model was not exported for.
    """
    if not (expanded(folder) / DEPLOYMENT).is_file():
        predicting_runtime(Path(folder), None, runtime)
        return load_trained(folder, backbone, cache=cache, device=device, offline=offline, progress=progress)
    if backbone is not None:
        raise UsageError(f"The model in {folder} brings its encoder; leave out backbone.")
    return load_exported(folder, device=device, runtime=runtime)
