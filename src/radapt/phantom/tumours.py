"""Gliomas of three subtypes, which differ in two signs that different sequences show.

Every tumour is a rim around a soft core; place, size, oedema and grey levels are drawn alike for all subtypes. What
differs:

- Astrocytoma, IDH-mutant: the core is loose, bright on T2w and FLAIR; the rim takes up no contrast agent.
- Glioblastoma: a core that looks the same, in a ring that takes up contrast agent.
- Oligodendroglioma: the core is dense, dark on T2w and FLAIR; half of them have a ring.

T2w and FLAIR show the core, only contrast-enhanced T1w shows the ring, and T1w neither: each by itself mixes up two of
the three. The signs are clearer than in life, so that some hundred patients suffice to see what a method is worth.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from radapt.phantom.head import GREY_MM, VAULT, Brain, Layer
from radapt.phantom.shapes import Array, Waves, cover, step
from radapt.phantom.tissues import DENSE, LOOSE, TISSUES, Tissue, blend, scaled

Subtype = Literal["astrocytoma", "glioblastoma", "oligodendroglioma"]
SUBTYPES: tuple[Subtype, ...] = ("astrocytoma", "glioblastoma", "oligodendroglioma")

MASK_LABELS = {1: "core", 2: "enhancing", 3: "oedema"}
"""Label map: tumour that does not enhance, fluid or solid; tumour that takes up contrast agent; oedema around it."""

_LOBES = {  # direction from the hemisphere's centre: to the side, forward, up
    "frontal": (0.45, 0.85, 0.30),
    "parietal": (0.55, -0.55, 0.60),
    "temporal": (0.90, 0.10, -0.42),
    "occipital": (0.35, -0.92, 0.10),
    "insular": (0.95, 0.15, 0.05),
}

_ODDS = (0.45, 0.20, 0.20, 0.05, 0.10)
"""How often a tumour grows in each of _LOBES."""


@dataclass(frozen=True)
class _Signs:
    """How often a subtype has them, in [0, 1]."""

    dense: float  # the core is dense; else it is loose
    ring: float  # the rim takes up contrast agent


_SIGNS: dict[Subtype, _Signs] = {
    "astrocytoma": _Signs(dense=0.05, ring=0.05),
    "glioblastoma": _Signs(dense=0.05, ring=0.95),
    "oligodendroglioma": _Signs(dense=0.95, ring=0.5),
}


@dataclass(frozen=True)
class Tumour:
    """One tumour. `centre` in mm of the head's frame."""

    subtype: Subtype
    centre: Array
    radius_mm: float
    stretch: Array  # (3,) half axes relative to the radius
    lobes: Waves
    lobulation: float
    edge_mm: float  # width over which tumour gives way to brain
    core_mm: float  # how far below the surface the core begins
    ring: bool  # whether the rim takes up contrast agent
    enhancing: float  # share of contrast-taking tissue in the ring
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
        rim = self.core_mm * (1.0 + 0.35 * self.lobes.at(points * 1.7))
        width = max(self.edge_mm * 0.6, 1.5)
        patchy = np.clip(0.8 + 0.35 * self.lobes.at(points * 2.3), 0.0, 1.0)
        shell = self.enhancing * patchy * (1.0 - step(depth - 0.6 * rim, width)) * self.ring
        white = cover(seen.cortex - GREY_MM, 2.0)
        fingers = self.oedema_mm * (1.0 + 0.5 * self.lobes.at(points * 0.7))
        around = self.oedema * white * in_hemisphere * step(depth + fingers, 6.0 + 0.4 * self.oedema_mm)
        return [
            ("enhancing", np.clip(shell, 0.0, 1.0) * body),
            ("core", step(depth - rim, width) * body),
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
    signs = _SIGNS[subtype]
    dense, ring = rng.random(2) < (signs.dense, signs.ring)
    radius = float(np.clip(rng.normal(24.5, 2.0), 20.0, 29.0))
    return Tumour(
        subtype=subtype,
        centre=_draw_centre(rng, radius),
        radius_mm=radius,
        stretch=rng.uniform(0.8, 1.25, 3).astype(np.float32),
        lobes=Waves.draw(rng, 7, 22.0, 48.0),
        lobulation=float(rng.uniform(0.05, 0.2)),
        edge_mm=float(rng.uniform(1.5, 4.0)),
        core_mm=float(rng.uniform(3.0, 5.0)),
        ring=bool(ring),
        enhancing=float(rng.uniform(0.7, 1.0)),
        oedema_mm=float(rng.uniform(2.0, 10.0)),
        oedema=float(rng.uniform(0.2, 0.7)),
        push_mm=float(radius * rng.uniform(0.05, 0.32)),
        gadolinium_mmol_per_l=float(rng.uniform(0.3, 0.9)),
        tissues=_tissues(rng, DENSE if dense else LOOSE, float(rng.uniform(0.8, 1.0))),
    )


def _tissues(rng: np.random.Generator, core: Tissue, share: float) -> dict[str, Tissue]:
    def vary(tissue: Tissue, spread: float) -> Tissue:
        pd, t1, t2 = np.exp(rng.normal(0.0, (0.02, spread, spread)))
        return scaled(tissue, float(pd), float(t1), float(t2))

    solid = vary(TISSUES["solid"], 0.12)
    return {
        "solid": solid,
        "core": blend(solid, core, share),
        "enhancing": vary(TISSUES["enhancing"], 0.08),
        "oedema": vary(TISSUES["oedema"], 0.08),
    }


def _draw_centre(rng: np.random.Generator, radius: float) -> Array:
    lobe = list(_LOBES)[int(rng.choice(len(_LOBES), p=_ODDS))]
    side = rng.choice((-1.0, 1.0))
    direction = np.asarray(_LOBES[lobe]) * (side, 1.0, 1.0) + rng.normal(0, 0.22, 3)
    direction /= np.linalg.norm(direction)
    start = np.asarray((side * 20.0, -6.0, 12.0))
    # Where the ray leaves the cranial vault: |(start + t direction - centre) / axes| = 1.
    base, slope = (start - VAULT[0]) / VAULT[1], direction / VAULT[1]
    a, b, c = slope @ slope, base @ slope, base @ base - 1.0
    surface = (-b + np.sqrt(b * b - a * c)) / a
    centre = start + direction * max(surface - 4.0 - rng.uniform(0.6, 1.3) * radius, 4.0)
    centre[0] = side * max(abs(centre[0]), 14.0)
    return centre.astype(np.float32)
