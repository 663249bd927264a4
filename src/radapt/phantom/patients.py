"""The patients of a hospital, each drawn from its own seed."""

from dataclasses import dataclass

import numpy as np

from radapt.phantom.head import Head
from radapt.phantom.scanners import HOSPITAL_A, HOSPITAL_B, MODALITIES, Scanner, Setting
from radapt.phantom.tumours import SUBTYPES, Subtype, Tumour, draw_tumour

GOLDEN = 0.6180339887498949
"""Steps of this fraction of a circle cover it evenly, so that a few patients include every subtype."""


@dataclass(frozen=True)
class Population:
    """The statistics of a hospital. `prevalence` is in the order of SUBTYPES, `missing` in that of MODALITIES."""

    scanner: Scanner
    prevalence: tuple[float, float, float]
    missing: tuple[float, float, float, float]
    unlabelled: float
    two_studies: float


POPULATION_A = Population(HOSPITAL_A, (0.32, 0.38, 0.30), (0.15, 0.20, 0.15, 0.15), unlabelled=0.08, two_studies=0.10)
POPULATION_B = Population(HOSPITAL_B, (0.28, 0.46, 0.26), (0.30, 0.15, 0.25, 0.20), unlabelled=0.0, two_studies=0.05)

_AGE = {"astrocytoma": (44.0, 13.0), "glioblastoma": (52.0, 13.0), "oligodendroglioma": (46.0, 13.0)}
"""Mean and deviation in years. In life, the subtypes are further apart; here the images are to decide."""


@dataclass(frozen=True)
class Examination:
    """One examination: session number (None for a patient with one), acquired sequences, and scanner setting."""

    session: int | None
    modalities: tuple[str, ...]
    setting: Setting
    growth: float
    seed: np.random.SeedSequence

    def noise(self, modality: str) -> np.random.Generator:
        """The noise generator of one sequence, the same at every call (`SeedSequence.spawn` would count on)."""
        key = (*self.seed.spawn_key, MODALITIES.index(modality))
        return np.random.default_rng(np.random.SeedSequence(self.seed.entropy, spawn_key=key))


@dataclass(frozen=True)
class Patient:
    """One synthetic patient. `labelled`: whether the cohort has the subtype; the ground truth is always here."""

    key: str
    hospital: str
    age: int
    sex: str
    tumour: Tumour
    head: Head
    labelled: bool
    studies: tuple[Examination, ...]

    @property
    def subtype(self) -> Subtype:
        return self.tumour.subtype


def draw_patient(population: Population, index: int, seed: int) -> Patient:
    """Patient `index` of a hospital for a seed: the same whatever the number and order of the others."""
    hospital = population.scanner.hospital
    circle = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(ord(hospital),))).random()
    root = np.random.SeedSequence(seed, spawn_key=(ord(hospital), index))
    people, tumours, *visits = root.spawn(4)
    rng = np.random.default_rng(people)
    position = (circle + GOLDEN * index) % 1.0
    subtype = SUBTYPES[int(np.searchsorted(np.cumsum(population.prevalence)[:2], position, side="right"))]
    age = int(np.clip(rng.normal(*_AGE[subtype]), 18, 88))
    twice = rng.random() < population.two_studies
    return Patient(
        key=f"{hospital}{index + 1:04d}",
        hospital=hospital,
        age=age,
        sex="F" if rng.random() < 0.43 else "M",
        labelled=bool(rng.random() >= population.unlabelled),
        head=Head.draw(rng, age),
        tumour=draw_tumour(np.random.default_rng(tumours), subtype),
        studies=tuple(
            _draw_examination(population, visit, number if twice else None)
            for number, visit in enumerate(visits[: 1 + twice], start=1)
        ),
    )


def _draw_examination(population: Population, visit: np.random.SeedSequence, session: int | None) -> Examination:
    settings, noise = visit.spawn(2)
    rng = np.random.default_rng(settings)
    absent = rng.random(len(MODALITIES)) < population.missing
    if absent.all():
        absent[int(rng.integers(len(MODALITIES)))] = False
    return Examination(
        session=session,
        modalities=tuple(name for name, missing in zip(MODALITIES, absent, strict=True) if not missing),
        setting=Setting.draw(rng, population.scanner),
        growth=1.0 if session != 2 else float(rng.uniform(1.0, 1.2)),
        seed=noise,
    )
