"""What the names of pretraining data and of licences say."""

import pytest

from radapt.licences import terms_of, use_of
from radapt.pretraining import overlap


@pytest.mark.parametrize(
    ("pretraining", "title", "expected"),
    [
        (["MIMIC-CXR", "CheXpert"], "MIMIC-CXR-JPG", "listed"),
        (["ChestX-ray14"], "NIH ChestX-ray14", "listed"),
        (["nih"], "NIH ChestX-ray14", "listed"),  # the name of its data set card
        (["LVD-142M"], "NIH ChestX-ray14", "not listed"),
        (["ImageNet-1k"], "", "not listed"),
        (["lgg", "LVD-142M"], "TCGA-LGG", "adapted"),  # the cohort is called lgg
        ([], "NIH ChestX-ray14", "unknown"),
    ],
)
def test_pretraining_lists_a_data_set(pretraining: list[str], title: str, expected: str) -> None:
    assert overlap(pretraining, "lgg", {"title": title} if title else {}) == expected


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["MIT", "CC BY 4.0"], "commercial"),
        (["apache-2.0", "CC BY-NC-SA 4.0"], "non-commercial"),
        (["apache-2.0", "free for research after registration, cite the papers"], "non-commercial"),
        (["cc-by-nc-4.0"], "non-commercial"),
        (["apache-2.0", "unknown"], "unknown"),
        (["dinov3-license", "CC0-1.0"], "unknown"),
        (["mit", "CC BY-ND 4.0"], "unknown"),
        ([], "unknown"),
    ],
)
def test_the_strictest_licence_decides_the_use(licences: list[str], expected: str) -> None:
    assert use_of(licences) == expected


def test_terms_come_strictest_first() -> None:
    assert terms_of(["MIT", "CC BY-NC-SA 4.0"]) == ("non-commercial", "share-alike", "attribution")
