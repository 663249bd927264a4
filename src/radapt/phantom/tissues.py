"""The phantom's tissues: proton density, relaxation times, and the effect of gadolinium.

The values are typical at 1.5 T and 3 T, rounded and partly set by hand; they are not measurements, and no entry is that
of a paper. Sources on such values and their spread:

- T1 of white and grey matter, caudate and putamen: Wright et al., MAGMA 2008;21:121;
- T2 of white and grey matter, T1 and T2 of muscle: Stanisz et al., Magn Reson Med 2005;54:507;
- T1 of cerebrospinal fluid, here the same at every field: Rooney et al., Magn Reson Med 2007;57:308;
- subcutaneous fat and marrow: de Bazelaire et al., Radiology 2004;230:652;
- water content of white and grey matter: Whittall et al., Magn Reson Med 1997;37:34;
- tumour and oedema, long in T1 and T2: Bottomley et al., Med Phys 1987;14:1; drawn for every patient
  (see `tumours`);
- contrast agent: r1 in the range reported for gadobutrol in plasma at 37 °C (Szomolanyi et al., Invest Radiol
  2019;54:559); r2 is set a quarter above r1.

A phantom needs the right order and rough ratio of tissues on each sequence, which such values give.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

FIELDS_T = (1.5, 3.0)
"""Field strengths of the tissue values; between them they are interpolated linearly."""

RELAXIVITY_R1 = (4.78, 4.97)  # L / (mmol s) at FIELDS_T
RELAXIVITY_R2 = (6.0, 6.2)  # L / (mmol s) at FIELDS_T


class Relaxation(NamedTuple):
    """A tissue at one field strength: proton density relative to water, times in ms, T2* for gradient echoes."""

    pd: float
    t1_ms: float
    t2_ms: float
    t2_star_ms: float


@dataclass(frozen=True, slots=True)
class Tissue:
    """Proton density in [0, 1], T1 and T2 in ms at each of FIELDS_T, and the reversible rate R2' in 1/s at 1.5 T.

    R2' = 1/T2* - 1/T2 grows in proportion to the field, as susceptibility does.
    """

    pd: float
    t1_ms: tuple[float, float]
    t2_ms: tuple[float, float]
    r2_prime_per_s: float = 5.0

    def at(self, field_t: float, gadolinium_mmol_per_l: float = 0.0) -> Relaxation:
        """The tissue in a field of `field_t` tesla, with contrast agent at a concentration in mmol/L.

        Gadolinium adds rates: 1/T1' = 1/T1 + r1 c and 1/T2' = 1/T2 + r2 c.
        """
        rate1 = 1e3 / _at_field(self.t1_ms, field_t) + _at_field(RELAXIVITY_R1, field_t) * gadolinium_mmol_per_l
        rate2 = 1e3 / _at_field(self.t2_ms, field_t) + _at_field(RELAXIVITY_R2, field_t) * gadolinium_mmol_per_l
        rate2_star = rate2 + self.r2_prime_per_s * field_t / FIELDS_T[0]
        return Relaxation(self.pd, 1e3 / rate1, 1e3 / rate2, 1e3 / rate2_star)


def _at_field(values: tuple[float, float], field_t: float) -> float:
    return float(np.interp(field_t, FIELDS_T, values))


# fmt: off
TISSUES: dict[str, Tissue] = {
    #                          PD    T1 1.5 T, 3 T   T2 1.5 T, 3 T
    "fat":           Tissue(0.90, (343.0, 382.0),   (58.0, 68.0)),
    "muscle":        Tissue(0.75, (1008.0, 1412.0), (44.0, 50.0)),
    "bone":          Tissue(0.08, (240.0, 260.0),   (0.6, 0.5)),
    "marrow":        Tissue(0.60, (549.0, 586.0),   (49.0, 49.0), 30.0),
    "csf":           Tissue(1.00, (4300.0, 4300.0), (2000.0, 1700.0), 2.0),
    "grey":          Tissue(0.83, (1197.0, 1607.0), (95.0, 99.0)),
    "white":         Tissue(0.71, (646.0, 838.0),   (72.0, 69.0)),
    "striatum":      Tissue(0.81, (1095.0, 1365.0), (85.0, 82.0), 8.0),
    "thalamus":      Tissue(0.79, (960.0, 1250.0),  (82.0, 78.0), 7.0),
    "pallidum":      Tissue(0.75, (800.0, 1000.0),  (62.0, 52.0), 16.0),  # iron shortens T2
    "blood":         Tissue(0.25, (1441.0, 1932.0), (90.0, 70.0)),        # most of the spins have flowed away
    # The damaged brain; every patient scales these.
    "solid":         Tissue(0.86, (1350.0, 1600.0), (135.0, 130.0)),
    "core":          Tissue(0.86, (1350.0, 1600.0), (135.0, 130.0)),      # drawn between solid and loose or dense
    "enhancing":     Tissue(0.85, (1250.0, 1500.0), (120.0, 115.0)),
    "oedema":        Tissue(0.82, (1120.0, 1350.0), (122.0, 118.0)),
}
# fmt: on

LOOSE = Tissue(0.90, (2300.0, 2500.0), (420.0, 400.0))
"""Loose tumour, rich in water: bright on T2w and FLAIR."""

DENSE = Tissue(0.90, (2300.0, 2500.0), (78.0, 72.0))
"""Dense tumour: dark on T2w and FLAIR, and on T1w like LOOSE."""

LEAKS = ("enhancing", "blood", "marrow", "muscle")
"""Tissues that contrast agent reaches; the blood-brain barrier excludes it from normal brain."""


def blend(first: Tissue, second: Tissue, share: float) -> Tissue:
    """A tissue between two: rates are averaged, as in two compartments in fast exchange."""

    def mix(a: float, b: float) -> float:
        return 1.0 / ((1.0 - share) / a + share / b)

    return Tissue(
        (1.0 - share) * first.pd + share * second.pd,
        (mix(first.t1_ms[0], second.t1_ms[0]), mix(first.t1_ms[1], second.t1_ms[1])),
        (mix(first.t2_ms[0], second.t2_ms[0]), mix(first.t2_ms[1], second.t2_ms[1])),
        (1.0 - share) * first.r2_prime_per_s + share * second.r2_prime_per_s,
    )


def scaled(tissue: Tissue, pd: float = 1.0, t1: float = 1.0, t2: float = 1.0) -> Tissue:
    """The same tissue in another patient: proton density (at most 1), T1 and T2 times a factor."""
    return Tissue(
        min(tissue.pd * pd, 1.0),
        (tissue.t1_ms[0] * t1, tissue.t1_ms[1] * t1),
        (tissue.t2_ms[0] * t2, tissue.t2_ms[1] * t2),
        tissue.r2_prime_per_s,
    )
