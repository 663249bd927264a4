"""Models that were trained on images, exported for another runtime: equal to PyTorch for every method."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radapt.deploy.deployment import read_deployment
from radapt.deploy.export.export_model import export_model
from radapt.deploy.load import load_exported
from radapt.runtimes.runtime import is_installed
from toy_masks import balls_cohort
from toy_study import write_cohort

from .conftest import VIT
from .test_export_of_images import ONCE, run, written

pytestmark = pytest.mark.slow
SEGMENT = {**ONCE, "steps": 2, "decoder": "conv", "encoder": "frozen"}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("lora", {**ONCE, "rank": 2}),
    "finetune": ("finetune", ONCE),
    "scratch of planes": ("scratch", ONCE),
    "scratch of volumes": ("scratch", {**ONCE, "dims": 3, "depth": 6}),
    "mil": ("mil", {"epochs": 1}),
    "fusion": ("mmdino", {"trained": "fusion", "fusion": {"epochs": 1}}),
    "segment": ("segment", SEGMENT),
    "unet": ("unet", {"steps": 2, "scores": 1, "features": 4, "batch": 2, "longest": 32}),
    "unet of planes": ("unet", {"dims": 2, "steps": 2, "scores": 1, "features": 4, "batch": 2, "longest": 32}),
    "transunet": ("transunet", {"network": "tiny", "steps": 1, "batch": 4}),
}
WITH_ENCODER = ("lora", "finetune", "mil", "mmdino", "segment")
MASKS = ("segment", "unet", "unet of planes", "transunet")


def exported(folder: Path, what: str, runtime: str) -> tuple[Path, Path]:
    """The model folder, and the cohort of its study."""
    if not is_installed(runtime):  # type: ignore[arg-type]
        pytest.skip(f"the package of {runtime} is missing")
    method, options = METHODS[what]
    if what in MASKS:
        splits = ("train",) * 3 + ("val",) + ("test",) * 2
        cohort = written(balls_cohort(folder / "i", splits=splits, modalities=("t1", "t2"), missing={1: "t2"}), folder)
    else:
        cohort = write_cohort(folder / "discs", patients=24)
    encoder = VIT if method in WITH_ENCODER else []
    study = run(folder, cohort, backbones=encoder, protocols=[{method: options}], choose="val")
    export_model(study, folder / "model", runtime=runtime, cache=folder / "cache")
    return folder / "model", cohort


@pytest.mark.parametrize(
    ("what", "runtime"), [*((what, "onnx") for what in METHODS), ("lora", "openvino"), ("unet", "openvino")]
)
def test_it_answers_as_pytorch_does(tmp_path: Path, what: str, runtime: str) -> None:
    model, cohort = exported(tmp_path, what, runtime)
    networks = read_deployment(model).runtime.networks
    assert networks
    assert {path.parent for path in (model / "networks").rglob("network.*")} == {
        model / "networks" / name for name in networks
    }
    converted, plain = load_exported(model), load_exported(model, runtime="pytorch")
    assert (converted.runtime, plain.runtime) == (runtime, "pytorch")
    # Converted networks compute in float32; from a study in bfloat16 they differ by its rounding.
    exact = plain.card.precision == "float32"
    found, expected = converted.predict(cohort), plain.predict(cohort)
    if what not in MASKS:
        columns = ["p_healthy", "p_ill"]
        one, other = (table.table.set_index("case")[columns] for table in (found, expected))
        np.testing.assert_allclose(one, other.loc[one.index], atol=1e-4 if exact else 0.05)
        assert not np.array_equal(one, other.loc[one.index])
        return
    for one, other in zip(found, expected, strict=True):
        assert (one.mask.array != other.mask.array).mean() < (1e-3 if exact else 0.02)
    assert what == "segment" or any(case.mask.array.any() for case in expected)
