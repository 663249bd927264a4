"""Knowing when a model does not know: calibrated probabilities, conformal sets, and refusing what is unlike training.

`fit_certainty` makes a `Certainty` from predictions of models that did not train on their patients, `fit_novelty` the
comparison with training features, and `Certainty.apply` answers for new cases. `docs/certainty.md` says what is stated
and what is not.
"""

from radapt.deploy.certainty.answers import CertainAnswer
from radapt.deploy.certainty.calibration import Calibration
from radapt.deploy.certainty.certainty import ALPHA, REFUSED, Certainty, LabelledPredictions, fit_certainty
from radapt.deploy.certainty.conformal import ConformalSets, check_alpha, fewest_patients
from radapt.deploy.certainty.novelty import Novelty, fit_novelty
from radapt.deploy.certainty.record import certainty_record, read_certainty

__all__ = [
    "ALPHA",
    "REFUSED",
    "Calibration",
    "CertainAnswer",
    "Certainty",
    "ConformalSets",
    "LabelledPredictions",
    "Novelty",
    "certainty_record",
    "check_alpha",
    "fewest_patients",
    "fit_certainty",
    "fit_novelty",
    "read_certainty",
]
