"""Cohorts and features made of arrays, so that protocols are tested without images or encoders."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radapt.cohorts.cohort import Case, Cohort
from radapt.features import RowSegment
from radapt.features.features import lay_out
from radapt.locations import Location


@dataclass(frozen=True)
class ArrayFeatures:
    """What a protocol needs of `Features`, from an array (N, M, D)."""

    cohort: Cohort
    values: np.ndarray
    segments: tuple[RowSegment, ...]

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.cohort.modalities

    @property
    def presence(self) -> np.ndarray:
        return self.cohort.presence

    def pooled(self, slices: str = "mean") -> np.ndarray:
        return self.values

    def slices(self, case_index: int, modality: str) -> np.ndarray:
        """Each image is of one slice."""
        image = self.values[case_index, self.cohort.modalities.index(modality)]
        return image[None] if np.isfinite(image).all() else image[None][:0]


def make_features(
    labels: np.ndarray,
    splits: np.ndarray,
    *,
    width: int = 6,
    layers: int = 2,
    outputs: int | None = None,
    patients: np.ndarray | None = None,
    missing: np.ndarray | None = None,
    signal: float = 1.0,
    seed: int = 0,
) -> ArrayFeatures:
    """Labels as `Cohort.labels` gives them; features carry them with strength `signal`, in every segment."""
    rng = np.random.default_rng(seed)
    several = labels.ndim == 2
    count = outputs or (labels.shape[1] if several else int(labels.max()) + 1)
    modalities = ("image",) if missing is None else tuple(f"m{i}" for i in range(missing.shape[1]))
    absent = np.zeros((len(labels), 1), bool) if missing is None else missing
    cases = tuple(
        Case(
            case=f"c{i}",
            patient=f"p{i if patients is None else patients[i]}",
            split=str(splits[i]),
            site="here",
            images={name: Location(Path(f"{i}.png")) for j, name in enumerate(modalities) if not absent[i, j]},
            label=None if several or labels[i] < 0 else int(labels[i]),
            findings=tuple(None if np.isnan(v) else int(v) for v in labels[i]) if several else (),
        )
        for i in range(len(labels))
    )
    names = tuple(f"k{i}" for i in range(count))
    kind: dict[str, Any] = {"findings": names} if several else {"classes": names}
    cohort = Cohort("toy", "other", cases, modalities, **kind)
    segments = lay_out(tuple(range(-layers, 0)), (width,) * layers)
    truth = np.nan_to_num(labels, nan=0.5) if several else np.eye(count)[np.maximum(labels, 0)]
    mixing = rng.normal(size=(truth.shape[1], segments[-1].stop))
    values = signal * (truth @ mixing)[:, None] + rng.normal(size=(len(labels), len(modalities), segments[-1].stop))
    values = values.astype(np.float32)
    values[absent] = np.nan
    return ArrayFeatures(cohort, values, segments)


@pytest.fixture
def features_of() -> Callable[..., ArrayFeatures]:
    return make_features


def splits_of(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).choice(["train", "val", "test", "external"], n, p=[0.5, 0.2, 0.2, 0.1])


@pytest.fixture
def binary() -> ArrayFeatures:
    labels = np.random.default_rng(2).integers(0, 2, 160)
    return make_features(labels, splits_of(160))


@pytest.fixture
def multiclass() -> ArrayFeatures:
    labels = np.random.default_rng(3).integers(0, 4, 240)
    return make_features(labels, splits_of(240))


@pytest.fixture
def multilabel() -> ArrayFeatures:
    rng = np.random.default_rng(4)
    labels = (rng.random((200, 3)) < 0.4).astype(float)
    labels[rng.random((200, 3)) < 0.2] = np.nan
    return make_features(labels, splits_of(200))


@pytest.fixture(params=["binary", "multiclass", "multilabel"])
def every_task(request: pytest.FixtureRequest) -> ArrayFeatures:
    return request.getfixturevalue(request.param)
