"""The table of structures: its codes are those of DICOM's own context groups."""

import pytest
from pydicom.sr.codedict import codes

from radapt.deploy.dicom.structures import _ENTRIES, ALTERED, ANATOMY, MODIFIERS, TISSUE, structure_of, uncoded_names


def known_meanings() -> dict[tuple[str, str], set[str]]:
    """Every code of pydicom's dictionary, which is made from the standard, with its meanings."""
    known: dict[tuple[str, str], set[str]] = {}
    for scheme in ("SCT", "NCIt"):
        for keyword in getattr(codes, scheme).dir():
            try:
                code = getattr(getattr(codes, scheme), keyword)
            except RuntimeError:  # a keyword of several codes
                continue
            known.setdefault((scheme, code.value), set()).add(code.meaning)
    return known


def test_every_code_has_the_meaning_that_the_standard_gives_it():
    known = known_meanings()
    rows = [structure_of(names.split("|")[0]).type for names, *_ in _ENTRIES]
    for code in (ANATOMY, ALTERED, TISSUE, *MODIFIERS.values(), *rows):
        assert code.meaning in known[code.scheme, code.value], code


@pytest.mark.parametrize(
    ("name", "context", "value", "modifier"),
    [
        ("tumour", "", "108369006", None),
        ("Enhancing_Tumor", "", "C113842", None),
        ("left lung", "", "39607008", "Left"),
        ("lung_right", "", "39607008", "Right"),
        ("Lungs", "", "39607008", None),
        ("kidneyLeft", "", "64033007", "Left"),
        ("hippocampus anterior", "", "5366008", "Anterior"),
        ("Posterior", "Task04_Hippocampus", "5366008", "Posterior"),
        ("oedema", "", "79654002", None),
        ("left ventricle", "", "87878005", None),
        ("non-enhancing tumour", "", "C81175", None),
    ],
)
def test_names_find_their_codes(name, context, value, modifier):
    structure = structure_of(name, context)
    assert structure.is_known
    assert structure.type.value == value
    assert (structure.modifier and structure.modifier.meaning) == modifier


@pytest.mark.parametrize("name", ["wibble", "Anterior", "left right lung", "", "liver lesion of note"])
def test_an_unknown_name_gets_the_generic_code_and_is_named(name):
    structure = structure_of(name)
    assert not structure.is_known
    assert structure.type == TISSUE == structure.category
    assert uncoded_names(["liver", name]) == [name]


def test_a_pair_has_two_colours():
    assert structure_of("left kidney").rgb != structure_of("right kidney").rgb
    assert structure_of("wibble").rgb == structure_of("Wibble").rgb != structure_of("wobble").rgb
