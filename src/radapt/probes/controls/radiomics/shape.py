"""The shape of a marked region in millimetres."""

from functools import cache
from itertools import product

import numpy as np

NAMES = (
    "volume ml", "surface mm2", "surface to volume", "sphericity", "equivalent diameter mm", "major axis mm",
    "minor axis mm", "least axis mm", "elongation", "flatness", "extent z mm", "extent y mm", "extent x mm",
    "centre z", "centre y", "centre x", "parts", "share of the largest part", "planes", "share of its box",
)  # fmt: skip
"""`volume ml` counts voxels; surface and sphericity are those of a mesh through the middle of the edges between voxels
inside and outside. The centre is a share of the image. Axes are those of the ellipsoid with the same moments."""

_CORNERS = np.asarray(list(product((0, 1), repeat=3)))
_FACES = (
    (0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5),
)  # fmt: skip
"""Corners of each face of a cell, in turn."""


def shape_numbers(inside: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """(len(NAMES),) of a region bool (Z, Y, X) with voxels of `spacing_mm` (3,).

    Of an empty region the volume, the surface, the parts and the planes are 0 and all else is NaN; of one voxel the
    axes are 0, and elongation and flatness are NaN.
    """
    if not inside.any():
        empty = np.full(len(NAMES), np.nan)
        empty[[NAMES.index(name) for name in ("volume ml", "surface mm2", "parts", "planes")]] = 0.0
        return empty
    from scipy import ndimage  # heavy, and needed by few

    at = np.stack(np.nonzero(inside), axis=1)
    low, high = at.min(axis=0), at.max(axis=0) + 1
    box = inside[tuple(slice(*ends) for ends in zip(low, high, strict=True))]
    volume = len(at) * float(np.prod(spacing_mm))
    surface, meshed = mesh(box, spacing_mm)
    sizes = np.bincount(ndimage.label(box, np.ones((3, 3, 3)))[0].ravel())[1:]
    moments = np.cov((at * spacing_mm).T) if len(at) > 1 else np.zeros((3, 3))
    major, minor, least = 4 * np.sqrt(np.maximum(np.linalg.eigvalsh(moments)[::-1], 0))
    ratios = (minor / major, least / major) if major > 0 else (np.nan, np.nan)
    return np.asarray([
        volume / 1000, surface, surface / meshed, (36 * np.pi * meshed**2) ** (1 / 3) / surface,
        (6 * volume / np.pi) ** (1 / 3), major, minor, least, *ratios, *(high - low) * spacing_mm,
        *(at.mean(axis=0) + 0.5) / inside.shape, len(sizes), sizes.max() / len(at),
        inside.any(axis=(1, 2)).sum(), len(at) / box.size,
    ])  # fmt: skip


def mesh(inside: np.ndarray, spacing_mm: np.ndarray) -> tuple[float, float]:
    """Area in mm² and volume in mm³ of the mesh around a region: marching cubes halfway between voxels."""
    padded = np.pad(inside, 1)
    cells = np.zeros([size - 1 for size in padded.shape], np.int64)
    for bit, corner in enumerate(_CORNERS.tolist()):
        part = tuple(slice(start, start + size) for start, size in zip(corner, cells.shape, strict=True))
        cells |= padded[part].astype(np.int64) << bit
    cut = np.stack(np.nonzero((cells > 0) & (cells < 255)), axis=1)
    kinds = cells[tuple(cut.T)]
    used, inverse = np.unique(kinds, return_inverse=True)
    patches = [_patch(int(kind), tuple(spacing_mm.tolist())) for kind in used]
    areas = np.asarray([area for area, _, _ in patches])[inverse]
    normals = np.stack([normal for _, normal, _ in patches])[inverse]
    own = np.asarray([moment for _, _, moment in patches])[inverse]
    # The divergence theorem: the volume is a third of the integral of position · normal over the surface.
    volume = (own + (cut * spacing_mm * normals).sum(axis=1)).sum() / 3
    return float(areas.sum()), float(volume)


@cache
def _patch(kind: int, spacing_mm: tuple[float, ...]) -> tuple[float, np.ndarray, float]:
    """Of the surface in a cell whose corners are inside as the bits of `kind` say: its area, the integral of its
    outward normal, and that of position · normal, seen from corner 0."""
    area, normal, moment = 0.0, np.zeros(3), 0.0
    for loop in _loops(kind):
        points = np.asarray([(_CORNERS[first] + _CORNERS[second]) / 2 for first, second in loop]) * spacing_mm
        inner = np.asarray([_CORNERS[first if kind >> first & 1 else second] for first, second in loop]) * spacing_mm
        centre = points.mean(axis=0)
        ahead = np.roll(points, -1, axis=0)
        vectors = np.cross(points - centre, ahead - centre) / 2  # of the triangles between the centre and each edge
        if vectors.sum(axis=0) @ (inner - points).sum(axis=0) > 0:
            vectors = -vectors
        area += np.linalg.norm(vectors, axis=1).sum()
        normal += vectors.sum(axis=0)
        moment += (vectors * (points + ahead + centre) / 3).sum()
    return area, normal, moment


def _loops(kind: int) -> list[list[tuple[int, int]]]:
    """The polygons of a cell: each a ring of cut edges, an edge being its two corners.

    On a face with two opposite corners inside these are joined, so that neighbouring cells agree.
    """
    inside = [bool(kind >> corner & 1) for corner in range(8)]
    beside: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for face in _FACES:
        edges = [(min(a, b), max(a, b)) for a, b in zip(face, (*face[1:], face[0]), strict=True)]
        cut = [edge for edge in edges if inside[edge[0]] != inside[edge[1]]]
        pairs = [cut] if len(cut) == 2 else [
            [edges[at - 1], edges[at]] for at, corner in enumerate(face) if len(cut) == 4 and not inside[corner]
        ]  # fmt: skip
        for first, second in pairs:
            beside.setdefault(first, []).append(second)
            beside.setdefault(second, []).append(first)
    rings = []
    while beside:
        ring = [next(iter(beside))]
        while True:
            following = [edge for edge in beside[ring[-1]] if edge not in ring[-2:-1]]
            if len(ring) > 2 and ring[0] in beside[ring[-1]]:
                break
            ring.append(following[0])
        for edge in ring:
            del beside[edge]
        rings.append(ring)
    return rings
