"""Gliomas of three subtypes, which differ in how the same parts are arranged, not in how much there is of each.

Every tumour has fluid parts, bright on T2w and dark on FLAIR, and nearly every one takes up contrast agent. Size,
oedema and grey levels are drawn alike for all subtypes. What differs:

- Astrocytoma, IDH-mutant: one fluid core in a rim that is bright on FLAIR, the T2-FLAIR mismatch (Patel et al., Clin
  Cancer Res 2017;23:6078), and enhancing nodules.
- Glioblastoma: a core that looks the same, liquefied necrosis, in an enhancing ring.
- Oligodendroglioma: fluid parts scattered over the tumour, an enhancing ring in half of them and nodules in the others,
  calcified in most, mostly frontal and near the cortex.

No single sequence distinguishes them: FLAIR shows how the fluid is arranged and says nothing of contrast agent, only
contrast-enhanced T1w tells ring from nodules. The signs are clearer than in life, where the mismatch has a sensitivity
of about 0.4, so that some hundred patients suffice to see what a method is worth.
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
"""Label map: tumour that does not enhance, fluid or solid; tumour that takes up contrast agent; oedema around it."""

_ENHANCES = 0.95
"""How often a tumour without a ring has enhancing nodules."""

_SCATTERED = 0.3
"""Scattered fluid is where a random field of unit variance exceeds this: in about 40 % of the tumour, as a core is."""

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
    """Where a subtype grows, and the frequency of its signs, in [0, 1]."""

    lobes: tuple[float, float, float, float, float]  # odds of _LOBES
    below: Range  # the centre's distance from the surface, in radii
    central: float  # fluid in one core within a rim; else it is scattered
    ring: float  # enhancing tissue surrounds the tumour; else it forms nodules
    calcified: float


_HABITS: dict[Subtype, _Habits] = {
    "astrocytoma": _Habits(
        lobes=(0.45, 0.20, 0.20, 0.05, 0.10), below=(0.6, 1.3), central=0.95, ring=0.05, calcified=0.10
    ),
    "glioblastoma": _Habits(
        lobes=(0.32, 0.23, 0.28, 0.12, 0.05), below=(0.6, 1.3), central=0.95, ring=0.95, calcified=0.10
    ),
    "oligodendroglioma": _Habits(
        lobes=(0.58, 0.17, 0.13, 0.05, 0.07), below=(0.45, 1.0), central=0.05, ring=0.5, calcified=0.5
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
    central: bool  # whether the fluid is one core within a rim, or scattered
    core_mm: float  # how far below the surface a central core begins
    core_patches: Waves
    ring: bool  # whether enhancing tissue surrounds the tumour
    enhancing: float  # share of contrast-taking tissue in ring and nodules
    nodules: Array
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
        fluid, shell = self._fluid_and_enhancing(points, depth)
        specks = np.zeros_like(depth)
        for x, y, z, radius in self.specks:
            specks = np.maximum(specks, cover(_ball(points, x, y, z, radius), 2.0))
        white = cover(seen.cortex - GREY_MM, 2.0)
        fingers = self.oedema_mm * (1.0 + 0.5 * self.lobes.at(points * 0.7))
        around = self.oedema * white * in_hemisphere * step(depth + fingers, 6.0 + 0.4 * self.oedema_mm)
        return [
            ("calcification", 0.9 * specks * body),
            ("enhancing", np.clip(shell, 0.0, 1.0) * body),
            ("core", fluid * body),
            ("solid", body * 0.92),
            ("oedema", around),
        ]

    def _fluid_and_enhancing(self, points: Array, depth: Array) -> tuple[Array, Array]:
        """(N,) shares in [0, 1] of the fluid core, central or scattered, and of contrast-taking tissue."""
        rim = self.core_mm * (1.0 + 0.35 * self.lobes.at(points * 1.7))
        width = max(self.edge_mm * 0.6, 1.5)
        if self.central:
            fluid = step(depth - rim, width)
        else:
            fluid = step(depth - 1.5, 2.0) * step(self.core_patches.at(points) - _SCATTERED, 0.5)
        shell = 1.0 - step(depth - 0.6 * rim, width) if self.ring else np.zeros_like(depth)
        for x, y, z, radius in self.nodules:
            shell = np.maximum(shell, step(_ball(points, x, y, z, radius), 3.0))
        patchy = np.clip(0.8 + 0.35 * self.lobes.at(points * 2.3), 0.0, 1.0)
        return fluid, self.enhancing * patchy * shell


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
    central, ringed, calcified, enhances = rng.random(4) < (
        habits.central,
        habits.ring,
        habits.calcified,
        _ENHANCES,
    )
    radius = float(np.clip(rng.normal(31.0, 2.5), 25.0, 36.0))
    centre = _draw_centre(rng, habits, radius)
    nodules = int(rng.integers(2, 5)) if enhances and not ringed else 0
    return Tumour(
        subtype=subtype,
        centre=centre,
        radius_mm=radius,
        stretch=rng.uniform(0.8, 1.25, 3).astype(np.float32),
        lobes=Waves.draw(rng, 7, 22.0, 48.0),
        lobulation=float(rng.uniform(0.05, 0.2)),
        edge_mm=float(rng.uniform(1.5, 4.0)),
        central=bool(central),
        core_mm=float(rng.uniform(4.0, 6.5)),
        core_patches=Waves.draw(rng, 9, 9.0, 13.0),
        ring=bool(ringed),
        enhancing=float(rng.uniform(0.55, 1.0)),
        nodules=_inside(rng, centre, radius, nodules, (10.0, 14.0), 0.7),
        specks=_inside(rng, centre, radius, int(rng.integers(6, 14)) if calcified else 0, (1.8, 3.6), 0.0),
        oedema_mm=float(rng.uniform(2.0, 10.0)),
        oedema=float(rng.uniform(0.2, 0.7)),
        push_mm=float(radius * rng.uniform(0.05, 0.32)),
        gadolinium_mmol_per_l=float(rng.uniform(0.3, 0.9)),
        tissues=_tissues(rng, float(rng.uniform(0.75, 1.0))),
    )


def _tissues(rng: np.random.Generator, fluid: float) -> dict[str, Tissue]:
    def vary(tissue: Tissue, spread: float) -> Tissue:
        pd, t1, t2 = np.exp(rng.normal(0.0, (0.02, spread, spread)))
        return scaled(tissue, float(pd), float(t1), float(t2))

    solid = vary(TISSUES["solid"], 0.12)
    return {
        "solid": solid,
        "core": blend(scaled(solid, t2=1.1), MUCOID, fluid),
        "enhancing": vary(TISSUES["enhancing"], 0.08),
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


def _inside(
    rng: np.random.Generator, centre: Array, radius: float, count: int, sizes_mm: tuple[float, float], nearest: float
) -> Array:
    """(count, 4) balls within a tumour, from `nearest` of its radius outwards: x, y, z and radius in mm."""
    offset = rng.normal(size=(count, 3))
    share = nearest + (0.9 - nearest) * rng.random((count, 1)) ** 0.4
    offset *= radius * share / np.linalg.norm(offset, axis=1, keepdims=True)
    size = rng.uniform(*sizes_mm, size=(count, 1))
    return np.hstack([centre + offset, size]).astype(np.float32)


def _ball(points: Array, x: float, y: float, z: float, radius: float) -> Array:
    return radius - np.sqrt((points[0] - x) ** 2 + (points[1] - y) ** 2 + (points[2] - z) ** 2)
