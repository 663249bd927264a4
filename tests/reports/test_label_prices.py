"""`radapt labels`: sentences on the learning curves of a run."""

import pytest

from radapt.errors import UsageError
from radapt.reports.label_prices import label_prices
from radapt.reports.run_folder import read_run


def test_each_curve_has_a_sentence(toy_run, toy_cohort) -> None:
    toy = toy_cohort()
    toy_run.cohort(toy).backbone("dinov2-s")
    for shots, skill in ((4, 0.2), (8, 0.6), (16, 0.9), (32, 1.2)):
        fit = {"draw": {"patients": 2 * shots}, "candidates": [], "chosen": 0}
        for repeat in (0, 1):
            more = {"protocol": "knn", "shots": shots, "repeat": repeat, "seed": repeat, "fit": fit}
            toy_run.cell(toy, "dinov2-s", "fewshot", skill=skill, **more)
    run = read_run(toy_run.finish())
    title, sentence = label_prices(run, 0.95)
    assert title == "AUROC on toy, test:"
    assert sentence.startswith("  dinov2-s · fewshot ")
    assert "up to 64 labelled patients; how many 0.950 needs cannot be said" in sentence
    _, reached = label_prices(run, 0.5)
    assert "reaches 0.500 with the 64 labelled patients tried" in reached
    with pytest.raises(UsageError, match="no learning curve of dice"):
        label_prices(run, 0.9, "dice")


def test_a_run_without_few_labels_has_none(finished) -> None:
    with pytest.raises(UsageError, match="has no learning curve"):
        label_prices(read_run(finished.path), 0.9)
