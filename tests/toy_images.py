"""Cohorts of images that are made up in place, case by case."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from radapt.cohorts.cohort import Case, Cohort
from radapt.locations import Location


def image_cohort(
    folder: Path,
    images: Sequence[Mapping[str, np.ndarray]],
    labels: Sequence[int | None] | np.ndarray,
    splits: Sequence[str],
    *,
    outputs: int = 2,
    modalities: tuple[str, ...] | None = None,
    patients: Sequence[str] | None = None,
) -> Cohort:
    """A cohort of `.npy` volumes: per case a volume (n, H, W) for each modality that it has, and a label.

    Labels are class indices with None or -1 unlabelled, or (N, F) findings with NaN unknown.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = modalities or tuple(dict.fromkeys(name for each in images for name in each))
    several = isinstance(labels, np.ndarray) and labels.ndim == 2
    cases = []
    for number, (volumes, label, split) in enumerate(zip(images, labels, splits, strict=True)):
        places = {}
        for name, volume in volumes.items():
            path = folder / f"{number}-{name}.npy"
            np.save(path, volume)
            places[name] = Location(path)
        findings = tuple(None if np.isnan(each) else int(each) for each in label) if several else ()  # type: ignore[union-attr]
        known = None if several or label is None or int(label) < 0 else int(label)  # type: ignore[arg-type]
        patient = f"p{number}" if patients is None else patients[number]
        cases.append(Case(f"c{number}", patient, split, places, label=known, findings=findings, row=number + 2))
    words = tuple(f"k{number}" for number in range(outputs))
    kind: dict = {"findings": words} if several else {"classes": words}
    return Cohort("toy", "other", tuple(cases), names, **kind)


def discs(rng: np.random.Generator, label: int, *, slices: int = 3, size: int = 16) -> np.ndarray:
    """Noise (n, H, W) uint8, with a disc that is the brighter the higher the label."""
    near = np.hypot(*np.mgrid[-size // 2 : size // 2, -size // 2 : size // 2]) < size / 4
    return (rng.normal(100, 15, (slices, size, size)) + 40 * label * near).clip(0, 255).astype(np.uint8)


def stripes(rng: np.random.Generator, label: int, *, noise: float = 50, size: int = 32) -> np.ndarray:
    """Noise (1, H, W) uint8 over faint diagonal stripes that rise or fall: no pixel's mean differs between labels."""
    rows, columns = np.mgrid[:size, :size]
    wave = np.cos(2 * np.pi / 8 * (columns + (1 if label else -1) * rows) + rng.uniform(0, 2 * np.pi))
    return (128 + 30 * wave + rng.normal(0, noise, (size, size))).clip(0, 255).astype(np.uint8)[None]
