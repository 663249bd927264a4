"""Gliomas of three subtypes. Each imaging sign is drawn with its reported frequency, so subtypes overlap.

- Astrocytoma, IDH-mutant: homogeneous and bright on T2w; in about half the core is dark on FLAIR within a bright
  rim, the T2-FLAIR mismatch (Patel et al., Clin Cancer Res 2017;23:6078; pooled sensitivity about 0.4, and a few
  oligodendrogliomas show it too).
- Oligodendroglioma: cortical, mostly frontal, of indistinct border, calcified in most, faintly enhancing in some.
- Glioblastoma: an enhancing ring around necrosis in most, with oedema that follows the white matter.

No single sequence distinguishes them: the mismatch needs T2w and FLAIR, a dark core on FLAIR may be necrosis, and only
contrast agent separates the two; calcification is dark on every sequence, like a vessel.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from radapt.phantom.head import GREY_MM, VAULT, Brain, Layer
from radapt.phantom.shapes import Array, Waves, cover, step
from radapt.phantom.tissues import MUCOID, TISSUES, Tissue, blend, scaled

Subtype = Literal["astrocytoma", "glioblastoma", "oligodendroglioma"]
SUBTYPES: tuple[Subtype, ...] = ("astrocytoma", "glioblastoma", "oligodendroglioma")

MASK_LABELS = {1: "core", 2: "enhancing", 3: "oedema"}
"""Label map: non-enhancing tumour and necrosis; tumour that takes up contrast agent; oedema around it."""

_LOBES = {  # direction from the hemisphere's centre: to the side, forward, up
    "frontal": (0.45, 0.85, 0.30),
    "parietal": (0.55, -0.55, 0.60),
    "temporal": (0.90, 0.10, -0.42),
    "occipital": (0.35, -0.92, 0.10),
    "insular": (0.95, 0.15, 0.05),
}

Range = tuple[float, float]


@dataclass(frozen=True)
class _Habits:
    """The frequency of signs of a subtype, in [0, 1], and their strength, as ranges of uniform draws."""

    lobes: tuple[float, float, float, float, float]  # odds of _LOBES
    below: Range  # the centre's distance from the surface, in radii
    edge_mm: Range
    mismatch: float
    mismatched: Range  # share of mucoid tissue in the core with the sign; without it the share is small
    necrosis: float
    ring: float
    nodules: float
    nodule: Range
    calcified: float
    oedema_mm: Range
    oedema: Range


_HABITS: dict[Subtype, _Habits] = {
    "astrocytoma": _Habits(
        lobes=(0.45, 0.20, 0.20, 0.05, 0.10),
        below=(0.6, 1.5),
        edge_mm=(1.5, 5.0),
        mismatch=0.5,
        mismatched=(0.5, 0.95),
        necrosis=0.0,
        ring=0.07,
        nodules=0.25,
        nodule=(0.25, 0.9),
        calcified=0.12,
        oedema_mm=(0.0, 12.0),
        oedema=(0.1, 0.7),
    ),
    "glioblastoma": _Habits(
        lobes=(0.32, 0.23, 0.28, 0.12, 0.05),
        below=(0.6, 1.5),
        edge_mm=(1.5, 5.0),
        mismatch=0.05,
        mismatched=(0.4, 0.75),
        necrosis=0.85,
        ring=0.85,
        nodules=0.5,
        nodule=(0.6, 1.0),
        calcified=0.12,  # in life rather blood, dark as well
        oedema_mm=(6.0, 24.0),
        oedema=(0.5, 0.95),
    ),
    "oligodendroglioma": _Habits(
        lobes=(0.58, 0.17, 0.13, 0.05, 0.07),
        below=(0.35, 0.85),
        edge_mm=(2.5, 8.0),
        mismatch=0.1,
        mismatched=(0.4, 0.75),
        necrosis=0.0,
        ring=0.05,
        nodules=0.3,
        nodule=(0.25, 0.9),
        calcified=0.65,
        oedema_mm=(0.0, 12.0),
        oedema=(0.1, 0.7),
    ),
}


@dataclass(frozen=True)
class Tumour:
    """One tumour. `centre` in mm of the head's frame; `nodules` and `specks` hold (x, y, z, radius) in mm."""

    subtype: Subtype
    centre: Array
    radius_mm: float
    stretch: Array  # (3,) half axes relative to the radius
    lobes: Waves
    lobulation: float
    edge_mm: float  # width over which tumour gives way to brain
    core: Literal["core", "necrosis"]
    core_mm: float  # how far below the surface the core begins
    ring: float  # share of contrast-taking tissue in the shell around the core, 0 for none
    nodules: Array
    nodule: float  # share of contrast-taking tissue in a nodule
    specks: Array
    oedema_mm: float
    oedema: float
    push_mm: float  # how far the brain around is displaced
    gadolinium_mmol_per_l: float
    tissues: Mapping[str, Tissue]

    def grown(self, factor: float) -> "Tumour":
        """The same tumour at a later examination, with its radius times `factor`."""
        return replace(self, radius_mm=self.radius_mm * factor)

    def depth(self, points: Array) -> Array:
        """(N,) approximate depth in mm below the tumour's surface at (3, N) points of the head."""
        offset = (points - self.centre[:, None]) / self.stretch[:, None]
        radius = self.radius_mm * (1.0 + self.lobulation * self.lobes.at(points))
        return radius - np.sqrt(np.square(offset).sum(axis=0))

    def displaced(self, points: Array, room: Array) -> Array:
        """Where the tissue at (3, N) points was before the tumour grew; `room` in [0, 1] is 0 at the skull."""
        offset = points - self.centre[:, None]
        reach = np.float32(self.radius_mm + 8.0)
        share = np.square(offset).sum(axis=0) / (reach * reach)
        return points - offset * (room * np.float32(self.push_mm) / reach * np.exp(0.5 - 0.5 * share))

    def layers(self, points: Array, seen: Brain) -> list[Layer]:
        """The layers of the tumour in a brain, front layer first, at the brain's points."""
        depth = self.depth(points)
        side = step(np.sign(self.centre[0]) * points[0] + 1.5, 4.0)
        in_hemisphere = cover(seen.hull, 2.5) * np.maximum(side, cover(seen.white_core, 2.0))  # stays in its hemisphere
        body = in_hemisphere * step(depth, self.edge_mm)
        inner = step(depth - self.core_mm * (1.0 + 0.35 * self.lobes.at(points * 1.7)), max(self.edge_mm * 0.6, 1.5))
        patchy = np.clip(0.8 + 0.35 * self.lobes.at(points * 2.3), 0.0, 1.0)
        shell = self.ring * patchy * (1.0 - inner)
        for x, y, z, radius in self.nodules:
            shell = np.maximum(shell, self.nodule * patchy * step(_ball(points, x, y, z, radius), 4.0))
        specks = np.zeros_like(depth)
        for x, y, z, radius in self.specks:
            specks = np.maximum(specks, cover(_ball(points, x, y, z, radius), 2.0))
        white = cover(seen.cortex - GREY_MM, 2.0)
        fingers = self.oedema_mm * (1.0 + 0.5 * self.lobes.at(points * 0.7))
        around = self.oedema * white * in_hemisphere * step(depth + fingers, 6.0 + 0.4 * self.oedema_mm)
        return [
            ("calcification", 0.9 * specks * body),
            ("enhancing", np.clip(shell, 0.0, 1.0) * body),
            (self.core, inner * body),
            ("solid", body * 0.92),
            ("oedema", around),
        ]


def labels(layers: list[Layer]) -> Array:
    """(N,) uint8 label map of a tumour's layers, values of MASK_LABELS, 0 elsewhere."""
    left = np.ones_like(layers[0][1])
    parts = {1: np.zeros_like(left), 2: np.zeros_like(left), 3: np.zeros_like(left)}
    for name, share in layers:
        parts[{"enhancing": 2, "oedema": 3}.get(name, 1)] += left * share
        left *= 1.0 - share
    label_map = np.zeros(left.shape, np.uint8)
    tumour = parts[1] + parts[2]
    label_map[(parts[3] > 0.4) & (parts[3] > tumour)] = 3
    label_map[(tumour > 0.45) & (tumour >= parts[3])] = 1
    label_map[(parts[2] > 0.4) & (parts[2] >= parts[1]) & (tumour > parts[3])] = 2
    return label_map


def draw_tumour(rng: np.random.Generator, subtype: Subtype) -> Tumour:
    """A tumour of a subtype."""
    habits = _HABITS[subtype]
    necrotic, ringed, spotted, calcified, mismatch = rng.random(5) < (
        habits.necrosis,
        habits.ring,
        habits.nodules,
        habits.calcified,
        habits.mismatch,
    )
    radius = float(np.clip(rng.normal(19.5, 4.0), 11.0, 29.0))
    centre = _draw_centre(rng, habits, radius)
    return Tumour(
        subtype=subtype,
        centre=centre,
        radius_mm=radius,
        stretch=rng.uniform(0.8, 1.25, 3).astype(np.float32),
        lobes=Waves.draw(rng, 7, 22.0, 48.0),
        lobulation=float(rng.uniform(0.05, 0.2)),
        edge_mm=float(rng.uniform(*habits.edge_mm)),
        core="necrosis" if necrotic else "core",
        core_mm=float(rng.uniform(3.0, 7.5)),
        ring=float(rng.uniform(0.45, 1.0)) if ringed else 0.0,
        nodules=_inside(rng, centre, radius, int(rng.integers(1, 4)) if spotted else 0, (3.0, 7.0)),
        nodule=float(rng.uniform(*habits.nodule)),
        specks=_inside(rng, centre, radius, int(rng.integers(3, 10)) if calcified else 0, (1.8, 4.2)),
        oedema_mm=float(rng.uniform(*habits.oedema_mm)),
        oedema=float(rng.uniform(*habits.oedema)),
        push_mm=float(radius * rng.uniform(0.05, 0.32)),
        gadolinium_mmol_per_l=float(rng.uniform(0.3, 0.9)),
        tissues=_tissues(rng, float(rng.uniform(*(habits.mismatched if mismatch else (0.0, 0.33))))),
    )


def _tissues(rng: np.random.Generator, mismatch: float) -> dict[str, Tissue]:
    def vary(tissue: Tissue, spread: float) -> Tissue:
        pd, t1, t2 = np.exp(rng.normal(0.0, (0.02, spread, spread)))
        return scaled(tissue, float(pd), float(t1), float(t2))

    solid = vary(TISSUES["solid"], 0.12)
    return {
        "solid": solid,
        "core": blend(scaled(solid, t2=1.1), MUCOID, mismatch),
        "enhancing": vary(TISSUES["enhancing"], 0.08),
        "necrosis": vary(TISSUES["necrosis"], 0.15),
        "oedema": vary(TISSUES["oedema"], 0.08),
        "calcification": vary(TISSUES["calcification"], 0.1),
    }


def _draw_centre(rng: np.random.Generator, habits: _Habits, radius: float) -> Array:
    lobe = list(_LOBES)[int(rng.choice(len(_LOBES), p=habits.lobes))]
    side = rng.choice((-1.0, 1.0))
    direction = np.asarray(_LOBES[lobe]) * (side, 1.0, 1.0) + rng.normal(0, 0.22, 3)
    direction /= np.linalg.norm(direction)
    start = np.asarray((side * 20.0, -6.0, 12.0))
    # Where the ray leaves the cranial vault: |(start + t direction - centre) / axes| = 1.
    base, slope = (start - VAULT[0]) / VAULT[1], direction / VAULT[1]
    a, b, c = slope @ slope, base @ slope, base @ base - 1.0
    surface = (-b + np.sqrt(b * b - a * c)) / a
    centre = start + direction * max(surface - 4.0 - rng.uniform(*habits.below) * radius, 4.0)
    centre[0] = side * max(abs(centre[0]), 14.0)
    return centre.astype(np.float32)


def _inside(rng: np.random.Generator, centre: Array, radius: float, count: int, sizes_mm: tuple[float, float]) -> Array:
    """(count, 4) balls within a tumour: x, y, z and radius in mm."""
    offset = rng.normal(size=(count, 3))
    offset *= radius * 0.75 * rng.random((count, 1)) ** 0.4 / np.linalg.norm(offset, axis=1, keepdims=True)
    size = rng.uniform(*sizes_mm, size=(count, 1))
    return np.hstack([centre + offset, size]).astype(np.float32)


def _ball(points: Array, x: float, y: float, z: float, radius: float) -> Array:
    return radius - np.sqrt((points[0] - x) ** 2 + (points[1] - y) ** 2 + (points[2] - z) ** 2)
