"""Signal equations of the pulse sequences: the signal of a tissue in units of full magnetisation.

Notation as in Bernstein, King, Zhou, Handbook of MRI Pulse Sequences (2004): M0 proton density, TR repetition,
TE echo, TI inversion time. For turbo spin echo, TE is the effective echo time.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from radapt.phantom.tissues import Relaxation


@dataclass(frozen=True, slots=True)
class SpinEcho:
    """S = M0 (1 - e^(-TR/T1)) e^(-TE/T2), 90° excitation, TE short against TR. T1w or T2w by the choice of TR, TE."""

    tr_ms: float
    te_ms: float
    code: ClassVar[str] = "SE"

    def signal(self, tissue: Relaxation) -> float:
        recovered = 1.0 - math.exp(-self.tr_ms / tissue.t1_ms)
        return tissue.pd * recovered * math.exp(-self.te_ms / tissue.t2_ms)

    def sidecar(self) -> dict[str, object]:
        """The BIDS fields of the sequence; BIDS counts in seconds."""
        return {"ScanningSequence": self.code, "RepetitionTime": self.tr_ms / 1e3, "EchoTime": self.te_ms / 1e3}


@dataclass(frozen=True, slots=True)
class InversionRecovery:
    """S = M0 |1 - 2 e^(-TI/T1) + e^(-TR/T1)| e^(-TE/T2), the magnitude image of an inversion-recovery spin echo.

    A tissue vanishes at TI = T1 (ln 2 - ln(1 + e^(-TR/T1))); FLAIR takes that of cerebrospinal fluid
    (Hajnal et al., J Comput Assist Tomogr 1992;16:841).
    """

    tr_ms: float
    te_ms: float
    ti_ms: float
    code: ClassVar[str] = "IR"

    def signal(self, tissue: Relaxation) -> float:
        inverted = 1.0 - 2.0 * math.exp(-self.ti_ms / tissue.t1_ms) + math.exp(-self.tr_ms / tissue.t1_ms)
        return tissue.pd * abs(inverted) * math.exp(-self.te_ms / tissue.t2_ms)

    def sidecar(self) -> dict[str, object]:
        """The BIDS fields of the sequence; BIDS counts in seconds."""
        return {
            "ScanningSequence": self.code,
            "RepetitionTime": self.tr_ms / 1e3,
            "EchoTime": self.te_ms / 1e3,
            "InversionTime": self.ti_ms / 1e3,
        }


@dataclass(frozen=True, slots=True)
class SpoiledGradientEcho:
    """S = M0 sin(a) (1 - E1) / (1 - cos(a) E1) e^(-TE/T2*), E1 = e^(-TR/T1), a the flip angle.

    Steady state with spoiled transverse magnetisation; largest at the Ernst angle arccos(E1).
    """

    tr_ms: float
    te_ms: float
    flip_deg: float
    code: ClassVar[str] = "GR"

    def signal(self, tissue: Relaxation) -> float:
        angle = math.radians(self.flip_deg)
        e1 = math.exp(-self.tr_ms / tissue.t1_ms)
        steady = math.sin(angle) * (1.0 - e1) / (1.0 - math.cos(angle) * e1)
        return tissue.pd * steady * math.exp(-self.te_ms / tissue.t2_star_ms)

    def sidecar(self) -> dict[str, object]:
        """The BIDS fields of the sequence; BIDS counts in seconds."""
        return {
            "ScanningSequence": self.code,
            "RepetitionTime": self.tr_ms / 1e3,
            "EchoTime": self.te_ms / 1e3,
            "FlipAngle": self.flip_deg,
        }


Sequence = SpinEcho | InversionRecovery | SpoiledGradientEcho
