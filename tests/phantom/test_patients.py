"""Anatomy, tumours and what makes a cohort: shares, labels, overlap of the subtypes, and determinism."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from radapt.phantom.acquire import acquire, place
from radapt.phantom.patients import POPULATION_A, POPULATION_B, draw_patient
from radapt.phantom.scanners import MODALITIES
from radapt.phantom.tissues import TISSUES
from radapt.phantom.tumours import MASK_LABELS, SUBTYPES


def test_tissue_shares_are_a_partition_and_a_head_lies_in_air() -> None:
    patient = draw_patient(POPULATION_A, 1, 0)
    anatomy = place(patient, patient.studies[0], POPULATION_A.scanner, 2.0)
    total = anatomy.paint(dict.fromkeys(TISSUES, 1.0))
    assert total.min() >= 0
    assert total.max() <= 1 + 1e-5
    assert not total[0].any()
    assert not total[:, 0].any()
    litres = {name: float(anatomy.shares(name).sum()) * np.prod(anatomy.voxel_mm) / 1e6 for name in TISSUES}
    assert 0.9 < litres["grey"] + litres["white"] < 1.7  # a brain weighs about 1.3 kg
    assert 0.6 < litres["grey"] / litres["white"] < 2.0
    assert 0.1 < litres["csf"] < 0.6


def test_age_widens_ventricles_and_sulci() -> None:
    def csf(age: int) -> float:
        volumes = []
        for index in range(4):
            patient = draw_patient(POPULATION_A, index, 0)
            head = type(patient.head).draw(np.random.default_rng(index), age)
            anatomy = place(replace(patient, head=head), patient.studies[0], POPULATION_A.scanner, 3.0)
            volumes.append(float(anatomy.shares("csf").sum()))
        return float(np.mean(volumes))

    assert csf(80) > 1.15 * csf(25)


def test_a_patient_is_the_same_whoever_else_is_drawn() -> None:
    alone = draw_patient(POPULATION_B, 7, 3)
    others = [draw_patient(POPULATION_B, index, 3) for index in (9, 7, 1)]
    images = [acquire(patient, patient.studies[0], POPULATION_B.scanner, 4.0).images for patient in (alone, others[1])]
    for name in alone.studies[0].modalities:
        assert np.array_equal(images[0][name], images[1][name])
    assert others[0].tumour.radius_mm != alone.tumour.radius_mm
    assert draw_patient(POPULATION_B, 7, 4).tumour.radius_mm != alone.tumour.radius_mm


def test_a_missing_sequence_does_not_change_the_others() -> None:
    patient = draw_patient(POPULATION_A, 0, 0)
    full = replace(patient.studies[0], modalities=MODALITIES)
    few = replace(full, modalities=("FLAIR",))
    left, right = (acquire(patient, study, POPULATION_A.scanner, 4.0) for study in (full, few))
    assert list(right.images) == ["FLAIR"]
    assert np.array_equal(left.images["FLAIR"], right.images["FLAIR"])


def test_few_patients_already_hold_every_subtype() -> None:
    for seed in range(20):
        for population in (POPULATION_A, POPULATION_B):
            assert {draw_patient(population, index, seed).subtype for index in range(6)} == set(SUBTYPES)


def test_populations_differ_as_stated() -> None:
    for population in (POPULATION_A, POPULATION_B):
        patients = [draw_patient(population, index, 0) for index in range(300)]
        subtypes = [patient.subtype for patient in patients]
        shares = [subtypes.count(name) / 300 for name in SUBTYPES]
        assert shares == pytest.approx(population.prevalence, abs=0.01)
        studies = [study for patient in patients for study in patient.studies]
        gone = [np.mean([name not in study.modalities for study in studies]) for name in MODALITIES]
        assert gone == pytest.approx(population.missing, abs=0.07)
        assert all(study.modalities for study in studies)
        assert np.mean([len(patient.studies) == 2 for patient in patients]) == pytest.approx(
            population.two_studies, abs=0.05
        )
        assert np.mean([not patient.labelled for patient in patients]) == pytest.approx(population.unlabelled, abs=0.05)


def test_every_tumour_is_in_the_picture_and_enhances_where_the_map_says() -> None:
    rises = []
    for population in (POPULATION_A, POPULATION_B):
        for index in range(12):
            patient = draw_patient(population, index, 2)
            study = replace(patient.studies[0], modalities=MODALITIES)
            made = acquire(patient, study, population.scanner, 2.0)
            assert (made.labels > 0).sum() > 8, patient.key
            assert made.labels.shape == made.images["FLAIR"].shape
            enhancing, core = made.labels == 2, made.labels == 1
            if enhancing.sum() > 10 and core.sum() > 10:
                rise = made.images["ce-gad_T1w"].astype(float) / np.maximum(made.images["T1w"], 1)
                rises.append(rise[enhancing].mean() / rise[core].mean())
    assert len(rises) > 5
    assert min(rises) > 1.1


@pytest.fixture(scope="module")
def tumour_measures() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Per sequence: mean, spread and percentiles inside the tumour, relative to the head; the volumes of its parts; the
    mean and spread of the head in all sequences; and the subtype."""
    measures: dict[str, list[list[float]]] = {name: [] for name in (*MODALITIES, "volumes", "head")}
    truth = []
    for index in range(90):
        patient = draw_patient(POPULATION_A, index, 1)
        study = replace(patient.studies[0], modalities=MODALITIES)
        made = acquire(patient, study, POPULATION_A.scanner, 2.5)
        tumour = made.labels > 0
        truth.append(SUBTYPES.index(patient.subtype))
        measures["volumes"].append([float((made.labels == value).sum()) for value in MASK_LABELS])
        measures["head"].append([])
        for name, image in made.images.items():
            usual = np.median(image[image > np.percentile(image, 60)])
            values = image[tumour] / usual
            measures[name].append([values.mean(), values.std(), *np.percentile(values, (5, 50, 95))])
            head = image[image > 0.3 * usual] / usual
            measures["head"][-1] += [head.mean(), head.std()]
    return {name: np.asarray(rows) for name, rows in measures.items()}, np.asarray(truth)


def _auroc(columns: np.ndarray, truth: np.ndarray) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=2000))
    chances = cross_val_predict(model, columns, truth, cv=5, method="predict_proba")
    return float(roc_auc_score(truth, chances, multi_class="ovr"))


def test_several_sequences_tell_more_than_the_best_one(tumour_measures) -> None:
    """Inside the true mask and without other structures, so far more clearly than any network sees it."""
    measures, truth = tumour_measures
    alone = {name: _auroc(measures[name], truth) for name in MODALITIES}
    together = _auroc(np.hstack([measures[name] for name in MODALITIES]), truth)
    assert max(alone["T2w"], alone["FLAIR"]) > 0.65, alone  # hard, not hopeless
    assert max(alone.values()) < 0.9, alone
    assert max(alone.values()) + 0.05 < together < 0.99, (alone, together)


def test_neither_volumes_nor_grey_levels_of_the_head_tell_the_subtypes_apart(tumour_measures) -> None:
    """The volume that enhances does so in part, as in life."""
    measures, truth = tumour_measures
    assert _auroc(np.log1p(measures["volumes"]), truth) < 0.82
    assert _auroc(measures["head"], truth) < 0.72
