"""Image acquisition: tissue fractions on the scanner's grid, signals of the pulse sequences, and scanner artefacts."""

from dataclasses import dataclass

import numpy as np

from radapt.phantom import head as heads
from radapt.phantom.patients import Examination, Patient
from radapt.phantom.scanners import Scanner, add_rician, bias_field, grid, store
from radapt.phantom.shapes import Array, cover
from radapt.phantom.tissues import LEAKS, TISSUES
from radapt.phantom.tumours import labels

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Anatomy:
    """Tissue fractions of an examination on the scanner's grid, axes right, anterior, superior.

    `parts` holds, for the brain and for its surroundings, the voxels' flat indices and the fraction in [0, 1] of each
    tissue; the rest of every voxel is air. `labels` is the (X, Y, Z) uint8 tumour label map; `texture` (X, Y, Z) is a
    factor around 1 that makes tissue slightly inhomogeneous.
    """

    shape: Shape
    voxel_mm: tuple[float, float, float]
    parts: tuple[tuple[Array, dict[str, Array]], ...]
    labels: Array
    texture: Array

    def shares(self, tissue: str) -> Array:
        """(X, Y, Z) float32 fraction of one tissue."""
        return self.paint({tissue: 1.0})

    def paint(self, values: dict[str, float]) -> Array:
        """(X, Y, Z) float32 sum over tissues of fraction times value; a tissue without a value counts as 0."""
        picture = np.zeros(int(np.prod(self.shape)), np.float32)
        for index, shares in self.parts:
            total = np.zeros(len(index), np.float32)
            for name, share in shares.items():
                if value := values.get(name, 0.0):
                    total += share * np.float32(value)
            picture[index] += total
        return picture.reshape(self.shape)


@dataclass(frozen=True)
class AcquiredImages:
    """An examination as stored: int16 images by BIDS suffix, the uint8 label map, and their 4×4 affine."""

    images: dict[str, Array]
    labels: Array
    affine: Array


def place(patient: Patient, study: Examination, scanner: Scanner, coarser: float = 1.0) -> Anatomy:
    """The patient's tissues in the scanner's grid."""
    shape, voxel = grid(scanner, coarser)
    everywhere = _points(study, shape, voxel)
    near = np.flatnonzero(heads.may_reach(patient.head, everywhere))
    points = everywhere[:, near]
    tumour = patient.tumour.grown(study.growth)
    width = 1.1 * voxel[0]
    template = patient.head.template(tumour.displaced(points, heads.room(points)))
    envelope = heads.envelope(patient.head, template)
    within = cover(envelope.dura, width)
    inner = np.flatnonzero(within > 0)
    outer = np.flatnonzero((within < 1) & (envelope.skin > -width))
    brain = heads.brain(patient.head, template[:, inner], envelope.at(inner))
    lesion = tumour.layers(points[:, inner], brain)
    around = heads.outside(patient.head, template[:, outer], envelope.at(outer), width)
    label_map = np.zeros(everywhere.shape[1], np.uint8)
    label_map[near[inner]] = labels(lesion) * (within[inner] > 0.5) * (brain.ventricles < 0)
    texture = np.ones(everywhere.shape[1], np.float32)
    texture[near[inner]] += np.float32(0.02) * patient.head.texture.at(points[:, inner])
    parts = (
        (near[inner], _shares(heads.inside(patient.head, brain, lesion, width), within[inner])),
        (near[outer], _shares(around, 1.0 - within[outer])),
    )
    return Anatomy(shape, voxel, parts, label_map.reshape(shape), texture.reshape(shape))


def acquire(patient: Patient, study: Examination, scanner: Scanner, coarser: float = 1.0) -> AcquiredImages:
    """The images of an examination. Each sequence draws its noise from its own seed, so none depends on the others."""
    anatomy = place(patient, study, scanner, coarser)
    setting = study.setting
    field = bias_field(setting, anatomy.shape) * anatomy.texture
    affine = np.eye(4)
    affine[:3, :3] = setting.pose @ np.diag(anatomy.voxel_mm)
    affine[:3, 3] = setting.place_mm - affine[:3, :3] @ ((np.asarray(anatomy.shape) - 1) / 2)
    images = {}
    for name in study.modalities:
        values = signals(patient, scanner, name)
        sigma = values["white"] / setting.snr
        noisy = add_rician(anatomy.paint(values) * field, sigma, study.noise(name))
        stored = np.minimum(np.rint(noisy * np.float32(setting.gain)), 32767).astype(np.int16)
        images[name], stored_affine = store(stored, affine, scanner.orientation)
    masks, stored_affine = store(anatomy.labels, affine, scanner.orientation)
    return AcquiredImages(images, masks, stored_affine)


def signals(patient: Patient, scanner: Scanner, name: str) -> dict[str, float]:
    """The signal of every tissue of this patient in one sequence of the scanner's protocol."""
    sequence = scanner.protocol[name]
    dose = patient.tumour.gadolinium_mmol_per_l if name.startswith("ce") else 0.0
    values = {}
    for tissue, typical in TISSUES.items():
        leak = dose * (1.0 if tissue in ("enhancing", "blood") else 0.2) if tissue in LEAKS else 0.0
        values[tissue] = sequence.signal(patient.tumour.tissues.get(tissue, typical).at(scanner.field_t, leak))
    return values


def _points(study: Examination, shape: Shape, voxel: tuple[float, float, float]) -> Array:
    """(3, N) float32 positions of voxel centres in the head's frame, mm."""
    axes = [
        ((np.arange(count) - (count - 1) / 2) * size).astype(np.float32)
        for count, size in zip(shape, voxel, strict=True)
    ]
    points = np.empty((3, *shape), np.float32)
    for row, turn, shift in zip(points, study.setting.turn, study.setting.shift_mm, strict=True):
        x, y, z = (np.float32(rate) * axis for rate, axis in zip(turn, axes, strict=True))
        np.add((x[:, None] + (y + np.float32(shift))[None, :])[:, :, None], z, out=row)
    return points.reshape(3, -1)


def _shares(layers: list[heads.Layer], start: Array) -> dict[str, Array]:
    """Fractions of each tissue when layers cover one another, front first, within the share `start` of each voxel."""
    left = start.copy()
    shares: dict[str, Array] = {}
    for name, cover_share in layers:
        visible = left * cover_share
        left -= visible
        if name in shares:
            shares[name] += visible
        elif name != "air":
            shares[name] = visible
    return shares
