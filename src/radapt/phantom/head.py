"""The head: scalp, skull, brain with folded cortex, ventricles and deep nuclei, from smooth shapes in space.

Coordinates are mm in the head's own frame: +x the patient's right-to-left axis as in RAS (x to the right), +y
anterior, +z superior, the origin near the middle of the third ventricle. Anatomy is symmetrical until each
patient's own smooth warp and folding are applied.
"""

from dataclasses import dataclass

import numpy as np

from radapt.phantom.shapes import Array, Waves, cover, ellipsoid, soft_union, step, tube

Layer = tuple[str, Array]
"""A tissue's name and the fraction that it covers of what the layers before it leave of every voxel."""

GREY_MM = 3.3
"""Thickness of the cortical ribbon; measured means lie between 2.5 and 3 mm, a little more draws better at 2 mm."""

VAULT = ((0, -2, 8), (67, 84, 67))  # centre and half axes
_REACH_MM = (94.0, 114.0, 100.0)  # beyond the thickest scalp and the largest warp
_CEREBELLUM = ((0, -49, -35), (52, 34, 26))
_LATERAL = ((16, 36, 4, 3.0), (9, 26, 9, 6.0), (8, 8, 17, 5.0), (10, -12, 20, 5.0), (18, -32, 14, 6.5))
_OCCIPITAL = ((18, -32, 14, 6.5), (26, -44, 5, 6.0), (24, -62, 3, 2.0))
_TEMPORAL = ((26, -42, 4, 5.0), (33, -26, -12, 3.0), (30, -6, -18, 2.5))
_CHOROID = ((16, -28, 15, 2.2), (24, -42, 7, 3.0))
_STEM = ((0, -12, -2, 13), (0, -14, -16, 13), (0, -18, -44, 12), (0, -26, -80, 9))


@dataclass(frozen=True)
class Head:
    """One patient's head: what varies between people."""

    scale: Array  # (3,) size along x, y, z
    warp: tuple[Waves, Waves, Waves]
    warp_mm: float
    folds: Waves
    depths: Waves
    texture: Waves
    ventricle_mm: float  # added to the radius of the ventricles
    sulcus_mm: float  # half width of a sulcus
    gliosis: float  # white matter changes around the ventricles, 0 to 1
    scalp_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator, age: float) -> "Head":
        """A head of someone `age` years old: ventricles and sulci widen, white matter changes appear."""
        old = np.clip((age - 30.0) / 50.0, 0.0, 1.2)
        warp = tuple(Waves.draw(rng, 3, 80.0, 150.0) for _ in range(3))
        return cls(
            scale=(rng.normal(1.0, 0.022) * rng.normal(1.0, 0.018, 3)).astype(np.float32),
            warp=(warp[0], warp[1], warp[2]),
            warp_mm=float(rng.uniform(1.2, 2.2)),
            folds=Waves.draw(rng, 16, 14.0, 25.0),
            depths=Waves.draw(rng, 5, 20.0, 45.0),
            texture=Waves.draw(rng, 8, 8.0, 30.0),
            ventricle_mm=float(np.clip(-0.8 + 2.6 * old + rng.normal(0, 0.8), -1.8, 4.0)),
            sulcus_mm=float(np.clip(0.75 + 0.55 * old + rng.normal(0, 0.12), 0.5, 1.6)),
            gliosis=float(np.clip(0.9 * old * rng.beta(1.2, 2.0), 0.0, 0.9)),
            scalp_mm=float(rng.uniform(3.5, 7.0)),
        )

    def template(self, points: Array) -> Array:
        """The positions in the unwarped template of (3, N) points of this head."""
        moved = np.stack([wave.at(points) for wave in self.warp]) * np.float32(self.warp_mm)
        return (points + moved) / self.scale[:, None]


def room(points: Array) -> Array:
    """(N,) fraction in [0, 1] by which brain may be displaced at head points: 0 at the skull, 1 inside."""
    return step(ellipsoid(points, *VAULT) - 8.0, 14.0)


def may_reach(head: Head, points: Array) -> Array:
    """(N,) bool: whether points may be inside the head; a fast outer bound that excludes the air around it."""
    (x, y, z), (across, along, up) = points, np.asarray(_REACH_MM, np.float32) * head.scale
    return np.square(x / across) + np.square(y / along) + np.square(np.maximum(z, 0.0) / up) < 1.0


@dataclass(frozen=True)
class Envelope:
    """(N,) depths in mm that divide a head, positive inside: skin, dura, the cranial vault, the cerebrum's outline."""

    skin: Array
    dura: Array
    vault: Array
    cerebrum: Array

    def at(self, index: Array) -> "Envelope":
        return Envelope(self.skin[index], self.dura[index], self.vault[index], self.cerebrum[index])


def envelope(head: Head, points: Array) -> Envelope:
    """The envelope at (3, N) template points."""
    x, y, z = points
    side = np.abs(x)
    egg = np.stack([x * (1.0 + 0.0013 * y), y, z])  # widest behind the ears, narrow at the forehead
    vault = ellipsoid(egg, *VAULT)
    floor = -15.0 + 0.0025 * side * side + 0.0020 * np.square(np.maximum(y - 15, 0.0)) - 6.0 * step(-y - 50, 30)
    leaning = np.stack([side, y + 0.25 * (z + 20), z])
    temporal = np.minimum(vault, ellipsoid(leaning, (41, -3, -20), (23, 42, 25)))
    cerebrum = soft_union(np.minimum(vault, (z - floor) * 0.9), temporal, 5)
    low = np.minimum(ellipsoid(points, *_CEREBELLUM), vault)
    dura = soft_union(soft_union(cerebrum, low, 9), tube(points, _STEM), 9) + 3.0
    egg[2] = np.maximum(z, -18.0)  # below the vault the head continues as neck and face
    skin = ellipsoid(egg, *VAULT) + 8.5 + head.scalp_mm
    return Envelope(np.maximum(skin, ellipsoid(points, (0, 58, -52), (52, 48, 52))), dura, vault, cerebrum)


def outside(head: Head, points: Array, seen: Envelope, width_mm: float) -> list[Layer]:
    """Skull, scalp, face and eyes at (3, N) template points within the skin, front layer first."""
    side, dura = np.abs(points[0]), seen.dura
    half = np.stack([side, points[1], points[2]])
    eyes = ellipsoid(half, (31, 66, -30), (12, 12.5, 12))
    orbit = ellipsoid(half, (27, 56, -30), (19, 30, 18))
    nerve = tube(half, ((28, 56, -30, 2.2), (10, 28, -24, 2.2)))
    nose = ellipsoid(points, (0, 66, -42), (13, 26, 22))
    mastoid = np.minimum(ellipsoid(half, (58, -30, -36), (9, 14, 16)), -1.5 - dura)
    temporalis = np.minimum(ellipsoid(half, (67, 26, -12), (9, 30, 34)), -dura - 6.0)
    neck = step(head.texture.at(points * 0.8) + 0.3, 1.6) * step(-12 - points[2], 10) * step(-9.0 - dura, 4)
    bone = np.minimum(dura + 6.5, 0.5 - dura)
    marrow = np.minimum(np.minimum(dura + 4.8, -1.6 - dura), seen.vault + 14)
    return [
        ("air", cover(-seen.skin, width_mm)),
        ("white", cover(nerve, width_mm) * 0.9),
        ("csf", cover(eyes, width_mm)),
        ("fat", cover(np.minimum(orbit, -3.0 - dura), width_mm)),
        ("air", np.maximum(cover(nose, width_mm), 0.75 * cover(mastoid, width_mm))),
        ("marrow", cover(marrow, width_mm) * 0.85),
        ("bone", cover(bone, width_mm)),
        ("muscle", cover(temporalis, width_mm) * 0.9),
        ("muscle", np.maximum(neck, 0.8 * cover(2.0 - seen.skin, 2.5))),  # skin lies on fat
        ("fat", np.ones_like(dura)),
    ]


@dataclass(frozen=True)
class Brain:
    """Depths in mm of one patient's brain at the points inside the dura, positive inside."""

    cortex: Array  # below the pial surface, sulci included
    hull: Array  # below the cerebrum's outline
    ventricles: Array
    nuclei: dict[str, Array]
    white_core: Array  # corpus callosum and other deep white matter the fissure does not cut
    stem: Array
    cerebellum: Array
    folia: Array
    vessels: Array
    choroid: Array


def brain(head: Head, points: Array, seen: Envelope) -> Brain:
    """The brain at (3, N) template points inside the dura."""
    x, y, z = points
    half = np.stack([np.abs(x), y, z])
    core = ellipsoid(points, (0, -4, 7), (60, 41, 21))
    fissure = np.abs(x + 1.2 * np.sin(0.07 * y + 0.05 * z)) - np.float32(head.sulcus_mm)
    hull = np.minimum(seen.cerebrum, np.maximum(fissure, core))
    grow = np.float32(head.ventricle_mm)
    lateral = np.maximum(tube(half, _LATERAL), tube(half, _OCCIPITAL) - 1.0) + grow
    lateral = np.maximum(np.minimum(lateral, half[0] - 0.7), tube(half, _TEMPORAL) + 0.5 * grow)
    third = ellipsoid(points, (0, -6, 2), (2.6 + 0.5 * head.ventricle_mm, 15, 11))
    fourth = ellipsoid(points, (0, -38, -34), (8, 6, 11))
    cerebellum = np.minimum(ellipsoid(points, *_CEREBELLUM), seen.vault - 0.5)
    sinus = np.minimum(np.minimum(4.2 - half[0], seen.dura - 0.2), np.minimum(6.5 - seen.dura, z + 14))
    basilar = tube(half, ((0, 5, -60, 1.6), (0, 4, -22, 1.9), (15, 2, -20, 1.7), (38, 4, -10, 1.2)))
    return Brain(
        cortex=np.minimum(np.minimum(hull, _sulci(head, points, hull, core)), _sylvian(half, head.sulcus_mm)),
        hull=hull,
        ventricles=np.maximum(np.maximum(lateral, third), fourth),
        nuclei={
            "striatum": np.maximum(
                np.maximum(ellipsoid(half, (14, 17, 9), (6, 11, 9)), ellipsoid(half, (27, 3, 2), (5.5, 17, 11))),
                tube(half, ((14, 12, 14, 4.0), (16, -12, 19, 3.0))),
            ),
            "pallidum": ellipsoid(half, (20.5, 0, 0), (4.5, 10, 7)),
            "thalamus": ellipsoid(half, (11, -15, 5), (9.5, 14, 9.5)),
        },
        white_core=np.minimum(np.minimum(core, 6.5 - core), 17 - half[0]),
        stem=tube(points, _STEM),
        cerebellum=cerebellum,
        folia=np.sin(ellipsoid(points, (0, -34, -28), (60, 45, 32)) * 1.35),
        vessels=np.maximum(sinus, basilar),
        choroid=tube(half, _CHOROID),
    )


def _sulci(head: Head, points: Array, hull: Array, core: Array) -> Array:
    """Depth away from the sulci: thin sheets that stand on the surface, where a random field changes sign.

    The field is read where the ray from the hemisphere's centre meets the surface, so that sheets run inwards;
    the distance to a sheet is the field over its slope.
    """
    centre = np.stack([np.sign(points[0]) * 22.0, np.full_like(points[0], -6.0), np.full_like(points[0], 10.0)])
    ray = points - centre
    radius = np.maximum(np.sqrt(np.square(ray).sum(axis=0)), np.float32(14.0))
    stretch = (np.float32(50.0) / radius) ** np.float32(0.8)
    value, slope = head.folds.with_slope(centre + ray * stretch)
    sheet = np.abs(value) / np.maximum(slope * stretch, np.float32(0.03))
    opening = np.float32(head.sulcus_mm) * (0.6 + 1.2 * np.exp(-np.maximum(hull, 0.0) / np.float32(5.0)))
    ends = np.clip(10.0 + 6.5 * head.depths.at(points), 2.0, 22.0)
    return np.maximum(np.maximum(sheet - opening, hull - ends), core + 2.0)


def _sylvian(half: Array, sulcus_mm: float) -> Array:
    """Depth away from the Sylvian fissure: a tilted sheet from the side, and the cistern over the insula."""
    side, y, z = half
    above = (z - 1.0 - 0.35 * y) * np.float32(0.94)
    lateral = np.maximum(np.maximum(np.abs(above) - 0.3 - sulcus_mm, 37.0 - side), np.abs(y) - 29.0)
    insula = np.maximum(
        np.maximum(np.abs(side - 40.0 + 0.011 * np.square(y - 2.0)) - 0.5 - sulcus_mm, np.abs(y - 2.0) - 20.0),
        np.abs(above) - 11.0,
    )
    return np.minimum(lateral, insula)


def inside(head: Head, seen: Brain, lesion: list[Layer], width_mm: float) -> list[Layer]:
    """The brain's layers, front layer first; `lesion` lies behind the ventricles and before everything else."""
    around = np.exp(-np.maximum(-seen.ventricles, 0.0) / 3.0)
    tissue = np.maximum(np.maximum(seen.cortex, seen.white_core), np.maximum(seen.stem, seen.cerebellum))
    return [
        ("blood", 0.9 * cover(seen.vessels, width_mm)),
        ("blood", 0.6 * cover(seen.choroid, width_mm)),
        ("csf", cover(np.minimum(seen.ventricles, tissue + 1.0), width_mm)),
        *lesion,
        ("pallidum", cover(seen.nuclei["pallidum"], width_mm)),
        ("striatum", cover(seen.nuclei["striatum"], 1.3 * width_mm)),
        ("thalamus", 0.9 * cover(seen.nuclei["thalamus"], 2.0 * width_mm)),
        ("oedema", head.gliosis * 0.55 * around * cover(seen.cortex - 6.0, 3.0)),
        ("white", cover(np.maximum(seen.white_core, seen.stem), width_mm)),
        ("white", cover(seen.cortex - GREY_MM, width_mm)),
        ("grey", cover(seen.cortex, width_mm)),
        ("white", cover(seen.cerebellum - 11.0, 6.0) * 0.85),
        ("csf", 0.35 * cover(seen.cerebellum, width_mm) * np.maximum(seen.folia, 0.0)),
        ("grey", cover(seen.cerebellum, width_mm)),
        ("csf", np.ones_like(seen.hull)),
    ]
