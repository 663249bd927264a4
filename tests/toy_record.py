"""A record for fitted models that tests make by hand."""

from dataclasses import replace

from radapt.training.fit_record import Candidate, Cost, FitRecord


def toy_record() -> FitRecord:
    """One candidate, with a number on val and a cost that are easy to recognise."""
    plain = FitRecord.unchosen({"toy": 1}, train=3)
    return replace(plain, candidates=(Candidate({"toy": 1}, {"auroc": 0.5}),), cost=Cost(1, 2, 3.0, 4.0))
