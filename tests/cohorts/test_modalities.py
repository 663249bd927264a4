"""--modality: patterns of names, the choice among several, suggestions from headers, and localizers left out."""

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from layout_builders import build_patients, scanned, touch, write_dicom
from radapt.cohorts import ScanOptions, scan
from radapt.cohorts.modalities.patterns import ModalityPattern, parse_modalities
from radapt.cohorts.modalities.series_facts import SeriesFacts
from radapt.cohorts.modalities.suggestions import sequence_of
from radapt.errors import DataError, UsageError


def series(root: Path, patient: int, number: int, description: str, n: int = 1, **tags: object) -> None:
    study, uid = f"1.2.3.{patient}", generate_uid()
    for at in range(n):
        path = root / f"p{patient}" / f"s{number}" / f"IM{at}"
        write_dicom(path, patient, study, uid, "MR", description, number)
        if tags:
            data = dcmread(path)
            for name, value in tags.items():
                setattr(data, name, value)
            data.save_as(path)


@pytest.fixture
def hospitals(tmp_path: Path) -> Path:
    """Two hospitals that name the same sequences differently."""
    for patient in range(4):
        series(tmp_path / "d", patient, 1, "localizer")
        series(tmp_path / "d", patient, 2, "t1 tra KM", 2, ContrastBolusAgent="Gd")
        series(tmp_path / "d", patient, 3, "tirm dark-fluid")
    for patient in range(4, 8):
        series(tmp_path / "d", patient, 1, "plan", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        series(tmp_path / "d", patient, 2, "AX T1 POST", 2)
        series(tmp_path / "d", patient, 3, "AX [x]", EchoTime=100, RepetitionTime=9000, InversionTime=2500)
    return tmp_path / "d"


def test_series_of_two_hospitals_become_one_sequence(hospitals: Path, tmp_path: Path) -> None:
    draft = scan(hospitals)
    assert draft.modalities == ["image:ax-t1-post", "image:ax-x", "image:t1-tra-km", "image:tirm-dark-fluid"]
    assert "8 DICOM files left out (localizer)." in draft.notes
    assert draft.suggestions == ("FLAIR=ax [[]x]|tirm dark-fluid", "T1c=ax t1 post|t1 tra km")
    for at, given in enumerate((draft.suggestions, ("T1c=*km*|*POST*", "FLAIR=*dark*|*x?"))):
        cohort = scanned(hospitals, tmp_path / str(at), modalities=parse_modalities(given))
        assert set(cohort.modalities) == {"T1c", "FLAIR"}
        assert cohort.presence.all()
    assert scan(hospitals, options=ScanOptions(modalities=parse_modalities(given))).suggestions == ()


def test_of_several_series_the_earlier_pattern_then_most_images_then_the_latest(tmp_path: Path) -> None:
    series(tmp_path, 0, 2, "t1 km sag", 3)
    series(tmp_path, 0, 3, "t1 km tra", 1)
    series(tmp_path, 0, 4, "t1 km tra", 2)
    series(tmp_path, 0, 5, "t1 km tra", 2)
    series(tmp_path, 0, 6, "t2")

    def chosen(*given: str) -> str:
        draft = scan(tmp_path, options=ScanOptions(modalities=parse_modalities(given)))
        assert "Several images of a case fit one modality 1 time" in " ".join(draft.notes)
        assert "Images that fit no --modality keep their names: t2 (1)." in draft.notes
        assert draft.modalities == ["image:T1c", "image:t2"]
        return Path(draft.table["image:T1c"][0]).name

    assert chosen("T1c=*km*") == "s2"
    assert chosen("T1c=*tra|*sag") == "s5"


def test_files_are_matched_by_name_and_two_are_an_error(tmp_path: Path) -> None:
    build_patients(tmp_path / "d")
    for at in range(1, 5):
        touch(tmp_path / "d" / f"Patient_{at:03d}" / "T1_KM.nii.gz")
    for at in range(5, 7):
        touch(tmp_path / "d" / f"Patient_{at:03d}" / "T1-POST.nii.gz")
    draft = scan(tmp_path / "d")
    assert draft.suggestions == ("T1c=t1-post|t1_km",)
    given = parse_modalities(["T1c=*KM|*post", "T1=t1*"])
    draft = scan(tmp_path / "d", options=ScanOptions(modalities=given))
    assert draft.modalities == ["image:T1c", "image:T1", "image:flair"]
    assert (draft.table[draft.modalities] != "").all().all()
    assert "3 names fit" not in " ".join(draft.notes)
    assert "2 names fit several modalities; the first given counts: 'T1_KM' as T1c, not T1" in " ".join(draft.notes)
    with pytest.raises(DataError, match=r"Case 'Patient_001': T1 and T1_KM all fit T1. Narrow its pattern"):
        scan(tmp_path / "d", options=ScanOptions(modalities=parse_modalities(["T1=t1*"])))
    with pytest.raises(UsageError, match=r"--modality T2='t2\*' fits no image. Names: .*'FLAIR' \(6\)"):
        scan(tmp_path / "d", options=ScanOptions(modalities=parse_modalities(["T2=t2*"])))


def test_columns_of_a_table_are_matched_too(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{at}{end}.nii" for at in range(3) for end in "ab"))
    table = "case,image:MR km,image:x\n" + "".join(f"{at},{at}a.nii,{at}b.nii\n" for at in range(3))
    (tmp_path / "t.csv").write_text(table)
    draft = scan(tmp_path / "t.csv", options=ScanOptions(modalities=parse_modalities(["T1c=*km*"])))
    assert draft.modalities == ["image:T1c", "image:x"]
    (tmp_path / "t.csv").write_text("case,image\n0,0a.nii\n1,1b.nii\n")
    draft = scan(tmp_path / "t.csv", options=ScanOptions(modalities=parse_modalities(["T1=*a"])))
    assert draft.modalities == ["image:T1", "image:other"]


def test_a_mapping_file(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text("T1c: '*km*|*post*'\nFLAIR: ['*flair*', '*tirm*']\n")
    assert parse_modalities([str(path), "T2=*t2*"]) == (
        ModalityPattern("T1c", ("*km*", "*post*")),
        ModalityPattern("FLAIR", ("*flair*", "*tirm*")),
        ModalityPattern("T2", ("*t2*",)),
    )
    for text in ("T1c: 3\n", "- x\n", "T1c: [1]\n", "T1c: ''\n", "a: [\n", "'a:b': x\n"):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"names\.yaml"):
            parse_modalities([str(path)])
    for given in (["T1c"], ["=x"], ["T1c="], ["a:b=x"], ["T1=x", "T1=y"], [str(tmp_path / "none.yaml")]):
        with pytest.raises(UsageError, match="--modality"):
            parse_modalities(given)


@pytest.mark.parametrize(
    ("name", "facts", "sequence"),
    [
        ("T1 KM tra", None, "T1c"),
        ("t1_mprage_post_gad", None, "T1c"),
        ("T1 pre GD", None, "T1"),
        ("t1ce", None, "T1c"),
        ("AX T1 FLAIR", None, "T1"),
        ("AX T2 FLAIR", None, "FLAIR"),
        ("t2_tse", None, "T2"),
        ("T2*", None, "SWI"),
        ("ep2d_diff_ADC", None, "ADC"),
        ("DWI b1000", None, "DWI"),
        ("xyz", None, None),
        ("mprage", SeriesFacts(modality="MR", contrast=True), "T1c"),
        ("a", SeriesFacts(modality="MR", echo_time=10, repetition_time=500), "T1"),
        ("a", SeriesFacts(modality="MR", echo_time=3, repetition_time=2000, inversion_time=900, contrast=True), "T1c"),
        ("a", SeriesFacts(modality="MR", echo_time=100, repetition_time=4000), "T2"),
        ("a", SeriesFacts(modality="MR", echo_time=100, repetition_time=9000, inversion_time=2500), "FLAIR"),
        ("a", SeriesFacts(modality="MR", echo_time=80, repetition_time=4000, b_value=1000), "DWI"),
        ("a", SeriesFacts(modality="MR", echo_time=45, repetition_time=4000), None),
        ("t1", SeriesFacts(modality="CT"), None),
    ],
)
def test_sequences_by_words_and_physics(name: str, facts: SeriesFacts | None, sequence: str | None) -> None:
    assert sequence_of(name, facts) == sequence


def test_series_that_occur_together_are_not_joined(tmp_path: Path) -> None:
    for patient in range(4):
        series(tmp_path, patient, 1, "t1 tra")
        series(tmp_path, patient, 2, "t1 sag")
        if patient < 2:
            series(tmp_path, patient, 3, "t2")
    assert scan(tmp_path).suggestions == ()


def test_only_localizers_are_no_cohort(tmp_path: Path) -> None:
    series(tmp_path, 0, 1, "Scout", 2)
    with pytest.raises(DataError, match=r"2 DICOM files left out \(localizer\)"):
        scan(tmp_path, "dicom")
