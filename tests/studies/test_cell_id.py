"""What makes a cell: each fact that decides its numbers changes its id, and what is only shown does not."""

from types import SimpleNamespace
from typing import Any

import pytest

import radapt.studies.cells as cells
from radapt.cohorts.label_draws import Draw
from radapt.images import Recipe
from radapt.protocols import make
from radapt.studies.cells import CellEncoder, Job, PreparedCohort, cell_of
from radapt.studies.study import BackboneEntry, ImageSettings, ProtocolEntry, Study

PLAIN: dict[str, Any] = {
    "cohort": "discs", "cases": "digest of the cases", "masks": "digest of the masks", "size": 32, "backbone": "ours",
    "architecture": "dinov2-s", "weights": "digest of the weights", "dtype": "float32", "runtime": "pytorch",
    "protocol": "knn",
    "options": {"k": (5,)}, "title": None, "pooling": {}, "seed": 0, "draw": None, "resamples": 200, "image": "plain",
    "choices": {}, "look": "whole", "licence": "CC0", "pretraining": (),
}  # fmt: skip
DRAW = Draw(4, None, 0, ("p1", "p2"))


def id_of(**changes: Any) -> str:
    given = SimpleNamespace(**{**PLAIN, **changes})
    entry = ProtocolEntry(name=given.protocol, options=given.options, title=given.title)
    study = Study(
        name="toy",
        cohorts=["discs.yaml"],
        protocols=[entry],
        pooling=given.pooling,
        resamples=given.resamples,
        **given.choices,
    )
    prepared = PreparedCohort(
        SimpleNamespace(name=given.cohort, patients_known=True, source={"licence": given.licence}),  # type: ignore[arg-type]
        ImageSettings(name=given.image), Recipe.for_kind("other", size=given.size, look=given.look), given.cases,
        given.masks,
    )  # fmt: skip
    located = SimpleNamespace(
        lazy=SimpleNamespace(identity=given.weights, dtype=given.dtype, runtime=given.runtime),
        card=SimpleNamespace(pretraining=given.pretraining, licence="MIT"),
        source=SimpleNamespace(kind="file"),
    )
    encoder = CellEncoder(BackboneEntry(name=given.backbone, **{"as": given.architecture}), located)  # type: ignore[arg-type]
    job = Job(entry, make(given.protocol, **given.options), given.draw)
    return cell_of(study, prepared, encoder, job, given.seed, "cpu").id


@pytest.mark.parametrize(
    "changes",
    [
        {"cohort": "others"}, {"cases": "other cases"}, {"size": 64}, {"backbone": "theirs"},
        {"architecture": "dinov2-b"}, {"weights": "other weights"}, {"dtype": "bfloat16"}, {"runtime": "onnx"},
        {"options": {"k": (7,)}},
        {"protocol": "logistic", "options": {}}, {"pooling": {"slices": "max"}}, {"pooling": {"modalities": "mean"}},
        {"seed": 1}, {"resamples": 300}, {"draw": DRAW}, {"choices": {"choose": "cv"}},
        {"choices": {"select_by": "auroc"}}, {"choices": {"decision": "argmax"}},
        {"choices": {"one_standard_error": True}}, {"choices": {"inner_folds": "patient"}}, {"look": "foreground"},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_decides_a_number_changes_the_id(changes: dict[str, Any]) -> None:
    assert id_of(**changes) != id_of()


@pytest.mark.parametrize(
    "draw",
    [Draw(8, None, 0, ("p1",)), Draw(None, 0.5, 0, ("p1",)), Draw(4, None, 1, ("p1",))],
    ids=["shots", "fraction", "repeat"],
)
def test_draws_of_another_size_or_repeat_are_other_cells(draw: Draw) -> None:
    assert id_of(draw=draw) != id_of(draw=DRAW)
    assert id_of(draw=Draw(None, 0.25, 0, ())) != id_of(draw=Draw(None, 0.5, 0, ()))


@pytest.mark.parametrize(
    "changes",
    [
        *({"title": "Nearest neighbours"}, {"image": "named"}, {"masks": "other masks"}),
        *({"licence": "CC BY-NC 4.0"}, {"pretraining": ("CheXpert",)}),
    ],
    ids=str,
)
def test_what_is_only_shown_or_not_read_keeps_the_id(changes: dict[str, Any]) -> None:
    assert id_of(**changes) == id_of()


def test_protocols_with_equal_options_are_other_cells() -> None:
    assert id_of(protocol="bitfit", options={}) != id_of(protocol="norm", options={})


def test_another_version_may_compute_other_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    before = id_of()
    monkeypatch.setattr(cells, "__version__", "0.0.0")
    assert id_of() != before


@pytest.mark.parametrize(("protocol", "options"), [("unet", {}), ("segment", {}), ("scratch", {"dims": 3})])
def test_the_look_changes_nothing_where_planes_are_read_whole(protocol: str, options: dict[str, Any]) -> None:
    given = {"protocol": protocol, "options": options}
    assert id_of(**given, look="foreground") == id_of(**given)
