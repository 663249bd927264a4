"""Who comes to a hospital: patients drawn one by one, each from a seed of his own."""

from dataclasses import dataclass

import numpy as np

from radapt.phantom.head import Head
from radapt.phantom.scanners import HOSPITAL_A, HOSPITAL_B, MODALITIES, Scanner, Setting
from radapt.phantom.tumours import SUBTYPES, Subtype, Tumour, draw_tumour

GOLDEN = 0.6180339887498949
"""Steps of this share of a circle fill it evenly, so that few patients already hold every subtype."""


@dataclass(frozen=True)
class Population:
    """What is usual at a hospital. `prevalence` follows SUBTYPES, `missing` follows MODALITIES."""

    scanner: Scanner
    prevalence: tuple[float, float, float]
    missing: tuple[float, float, float, float]
    unlabelled: float
    two_studies: float


POPULATION_A = Population(HOSPITAL_A, (0.32, 0.38, 0.30), (0.15, 0.20, 0.15, 0.15), unlabelled=0.08, two_studies=0.10)
POPULATION_B = Population(HOSPITAL_B, (0.28, 0.46, 0.26), (0.30, 0.15, 0.25, 0.20), unlabelled=0.0, two_studies=0.05)

_AGE = {"astrocytoma": (39.0, 11.0), "glioblastoma": (59.0, 12.0), "oligodendroglioma": (44.0, 12.0)}


@dataclass(frozen=True)
class Study:
    """One visit: session number (None for a patient seen once), sequences acquired, and how the scanner was set."""

    session: int | None
    modalities: tuple[str, ...]
    setting: Setting
    growth: float
    seed: np.random.SeedSequence

    def noise(self, modality: str) -> np.random.Generator:
        """The noise of one sequence, the same at every call (`SeedSequence.spawn` would go on counting)."""
        key = (*self.seed.spawn_key, MODALITIES.index(modality))
        return np.random.default_rng(np.random.SeedSequence(self.seed.entropy, spawn_key=key))


@dataclass(frozen=True)
class Patient:
    """One synthetic patient. `labelled` says whether the subtype is known to the cohort; the truth is always here."""

    key: str
    hospital: str
    age: int
    sex: str
    tumour: Tumour
    head: Head
    labelled: bool
    studies: tuple[Study, ...]

    @property
    def subtype(self) -> Subtype:
        return self.tumour.subtype


def draw_patient(population: Population, index: int, seed: int) -> Patient:
    """Patient `index` of a hospital under a seed: always the same, however many others are drawn, in any order."""
    hospital = population.scanner.hospital
    circle = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(ord(hospital),))).random()
    root = np.random.SeedSequence(seed, spawn_key=(ord(hospital), index))
    people, tumours, *visits = root.spawn(4)
    rng = np.random.default_rng(people)
    place = (circle + GOLDEN * index) % 1.0
    subtype = SUBTYPES[int(np.searchsorted(np.cumsum(population.prevalence)[:2], place, side="right"))]
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
            _draw_study(population, visit, number if twice else None)
            for number, visit in enumerate(visits[: 1 + twice], start=1)
        ),
    )


def _draw_study(population: Population, visit: np.random.SeedSequence, session: int | None) -> Study:
    settings, noise = visit.spawn(2)
    rng = np.random.default_rng(settings)
    absent = rng.random(len(MODALITIES)) < population.missing
    if absent.all():
        absent[int(rng.integers(len(MODALITIES)))] = False
    return Study(
        session=session,
        modalities=tuple(name for name, gone in zip(MODALITIES, absent, strict=True) if not gone),
        setting=Setting.draw(rng, population.scanner),
        growth=1.0 if session != 2 else float(rng.uniform(1.0, 1.2)),
        seed=noise,
    )
