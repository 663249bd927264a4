"""Which series is which sequence of the model."""

import pytest

from radapt.deploy.sequences import ModelSequence, Series, match, sequence_kind

GLIOMA = tuple(map(ModelSequence.of, ("FLAIR", "T1w", "ce-gad_T1w")))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("T1w", "t1"), ("t1", "t1"), ("AX T1 SE", "t1"), ("SAG MPRAGE", "t1"), ("T1 pre contrast", "t1"),
        ("ce-gad_T1w", "t1c"), ("t1c", "t1c"), ("T1ce", "t1c"), ("t1gd", "t1c"), ("AX T1 POST", "t1c"),
        ("T1 +C", "t1c"), ("t1-km", "t1c"), ("MPRAGE post Gd", "t1c"), ("t1w_post", "t1c"),
        ("FLAIR", "flair"), ("T2 FLAIR", "flair"), ("t2_tirm_dark-fluid", "flair"), ("T1 FLAIR", "t1"),
        ("T2w", "t2"), ("t2_tse_tra", "t2"), ("T2*", "t2star"), ("ADC", "adc"), ("ep2d_diff_b1000", "dwi"),
        ("PD", "pd"), ("CT thorax", "ct"), ("chest", "xray"), ("DX PA", "xray"), ("image", None), ("scan", None),
        ("localizer", None), ("pat01", None),
    ],
)  # fmt: skip
def test_names_mean_kinds(name: str, kind: str | None) -> None:
    assert sequence_kind(name) == kind


def taken(*series: Series, wanted: tuple[ModelSequence, ...] = GLIOMA, **mapping: str) -> dict[str, str]:
    return {name: one.name for name, one in match(series, wanted, mapping).taken.items()}


def test_a_name_goes_before_a_kind() -> None:
    exact, kind = Series("flair", None), Series("T2 FLAIR", None, slices=99)
    assert taken(kind, exact) == {"FLAIR": "flair"}


def test_what_nobody_means_is_left_out() -> None:
    assert taken(Series("ADC", None), Series("t1-post", None)) == {"ce-gad_T1w": "t1-post"}
    assert taken(Series("localizer", None)) == {}


def test_the_header_says_what_the_name_does_not() -> None:
    assert taken(Series("series-4", None, "flair")) == {"FLAIR": "series-4"}
    assert taken(Series("AX T1", None, "t1c")) == {"ce-gad_T1w": "AX T1"}
    assert taken(Series("AX T1 pre", None, "t1c")) == {"T1w": "AX T1 pre"}


def test_of_two_series_the_longer_is_taken_and_said() -> None:
    matched = match((Series("T1 post", None, slices=20), Series("T1 post repeat", None, slices=160)), GLIOMA)
    assert matched.taken["ce-gad_T1w"].name == "T1 post repeat"
    assert matched.notes == (
        "ce-gad_T1w: 2 series could be it; 'T1 post repeat' was taken, not 'T1 post', because it has more slices "
        "(160, the other 20)",
    )
    assert match((Series("t1 post", None), Series("t1 gd", None)), GLIOMA).notes[0].endswith("because it comes first")


def test_a_mapping_goes_before_everything() -> None:
    series = Series("flair", None), Series("odd", None)
    matched = match(series, GLIOMA, {"ODD": "FLAIR"})
    assert matched.taken["FLAIR"].name == "odd"
    assert "the given mapping says so" in matched.notes[0]


def test_the_only_image_of_a_model_of_one_sequence() -> None:
    one = (ModelSequence.of("image"),)
    assert taken(Series("anything", None), wanted=one) == {"image": "anything"}
    assert taken(Series("a", None), Series("b", None), wanted=one) == {}
    assert taken(Series("CT thorax", None), wanted=(ModelSequence.of("flair"),)) == {}


def test_two_sequences_of_one_kind_are_told_apart_by_name_only() -> None:
    wanted = tuple(map(ModelSequence.of, ("t2", "t2_fs")))
    assert taken(Series("T2 FS", None), Series("T2 TSE", None), wanted=wanted) == {"t2_fs": "T2 FS"}
