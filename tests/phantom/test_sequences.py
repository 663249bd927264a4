"""Signal equations against their limits, and against a Bloch simulation."""

import math

import numpy as np
import pytest

from radapt.phantom.scanners import HOSPITAL_A, HOSPITAL_B
from radapt.phantom.sequences import InversionRecovery, SpinEcho, SpoiledGradientEcho
from radapt.phantom.tissues import DENSE, FIELDS_T, LOOSE, TISSUES, Relaxation, blend

WATER = Relaxation(pd=0.9, t1_ms=1000.0, t2_ms=80.0, t2_star_ms=50.0)
SCANNERS = [pytest.param(scanner, id=scanner.name) for scanner in (HOSPITAL_A, HOSPITAL_B)]


def test_all_magnetisation_is_seen_after_long_recovery_and_no_echo_time() -> None:
    assert SpinEcho(1e9, 0.0).signal(WATER) == pytest.approx(0.9)
    assert SpoiledGradientEcho(1e9, 0.0, 90.0).signal(WATER) == pytest.approx(0.9)
    assert InversionRecovery(1e9, 0.0, 1e6).signal(WATER) == pytest.approx(0.9)
    assert InversionRecovery(1e9, 0.0, 0.0).signal(WATER) == pytest.approx(0.9)  # magnitude of full inversion


def test_signal_decays_with_t2_along_the_echo_time() -> None:
    early, late = SpinEcho(2000, 20).signal(WATER), SpinEcho(2000, 100).signal(WATER)
    assert math.log(early / late) == pytest.approx(80 / WATER.t2_ms)
    early, late = SpoiledGradientEcho(200, 5, 60).signal(WATER), SpoiledGradientEcho(200, 15, 60).signal(WATER)
    assert math.log(early / late) == pytest.approx(10 / WATER.t2_star_ms)


def test_inversion_time_nulls_its_tissue_only() -> None:
    null = WATER.t1_ms * (math.log(2) - math.log1p(math.exp(-8000 / WATER.t1_ms)))
    assert null < 1000 * math.log(2)
    assert InversionRecovery(8000, 0, null).signal(WATER) == pytest.approx(0.0, abs=1e-12)
    assert InversionRecovery(8000, 0, null).signal(WATER._replace(t1_ms=500)) > 0.4


def test_gradient_echo_peaks_at_the_ernst_angle() -> None:
    ernst = math.degrees(math.acos(math.exp(-200 / WATER.t1_ms)))
    best = SpoiledGradientEcho(200, 3, ernst).signal(WATER)
    assert best > SpoiledGradientEcho(200, 3, ernst + 2).signal(WATER)
    assert best > SpoiledGradientEcho(200, 3, ernst - 2).signal(WATER)


def test_gradient_echo_is_the_steady_state_of_repeated_pulses() -> None:
    angle, e1, along = math.radians(25.0), math.exp(-30 / WATER.t1_ms), WATER.pd
    for _ in range(2000):  # perfect spoiling: only the part along the field survives to the next pulse
        along = WATER.pd + (along * math.cos(angle) - WATER.pd) * e1
    simulated = along * math.sin(angle) * math.exp(-4 / WATER.t2_star_ms)
    assert SpoiledGradientEcho(30, 4, 25.0).signal(WATER) == pytest.approx(simulated)


@pytest.mark.parametrize("scanner", SCANNERS)
def test_the_protocol_shows_what_a_radiologist_expects(scanner) -> None:
    def seen(name: str) -> dict[str, float]:
        return {key: scanner.protocol[name].signal(tissue.at(scanner.field_t)) for key, tissue in TISSUES.items()}

    t1, t2, flair = seen("T1w"), seen("T2w"), seen("FLAIR")
    assert t1["fat"] > t1["white"] > t1["grey"] > t1["csf"]
    assert t2["csf"] > t2["solid"] > t2["oedema"] > t2["grey"] > t2["white"]
    assert flair["solid"] > flair["grey"] > flair["white"] > flair["csf"]
    assert flair["csf"] < 0.25 * flair["white"]
    assert max(picture["bone"] for picture in (t1, t2, flair)) < 0.1 * t1["fat"]


@pytest.mark.parametrize("scanner", SCANNERS)
def test_t2w_and_flair_tell_a_dense_core_from_a_loose_one_and_t1w_does_not(scanner) -> None:
    dense, loose = (blend(TISSUES["solid"], kind, 0.9).at(scanner.field_t) for kind in (DENSE, LOOSE))
    assert scanner.protocol["T2w"].signal(loose) > 1.8 * scanner.protocol["T2w"].signal(dense)
    assert scanner.protocol["FLAIR"].signal(loose) > 1.8 * scanner.protocol["FLAIR"].signal(dense)
    assert scanner.protocol["T1w"].signal(loose) == pytest.approx(scanner.protocol["T1w"].signal(dense), rel=0.2)


@pytest.mark.parametrize("scanner", SCANNERS)
def test_gadolinium_brightens_t1w(scanner) -> None:
    tissue, sequence = TISSUES["enhancing"], scanner.protocol["ce-gad_T1w"]
    doses = [sequence.signal(tissue.at(scanner.field_t, dose)) for dose in (0.0, 0.2, 0.5, 1.0)]
    assert doses == sorted(doses)
    assert doses[2] > 1.4 * doses[0]
    plain, dosed = tissue.at(1.5), tissue.at(1.5, 1.0)
    assert 1e3 / dosed.t1_ms - 1e3 / plain.t1_ms == pytest.approx(4.78)  # r1 of gadobutrol at 1.5 T
    assert dosed.t2_ms < plain.t2_ms


def test_tissues_are_physical() -> None:
    for name, tissue in TISSUES.items():
        assert 0 < tissue.pd <= 1, name
        for field in (*FIELDS_T, 2.0):
            seen = tissue.at(field)
            assert seen.t2_star_ms <= seen.t2_ms <= seen.t1_ms, name
    assert blend(TISSUES["solid"], LOOSE, 0.0).t1_ms == pytest.approx(TISSUES["solid"].t1_ms)
    assert blend(TISSUES["solid"], LOOSE, 1.0).t2_ms == pytest.approx(LOOSE.t2_ms)
    assert np.interp(2.0, FIELDS_T, TISSUES["white"].t1_ms) == pytest.approx(TISSUES["white"].at(2.0).t1_ms)
