"""Pooling on cohorts small enough to work out by hand."""

from pathlib import Path

import numpy as np
import pytest

from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import DataError, UsageError
from radapt.features import Design, Features, Pooling, select
from radapt.features.features import lay_out
from radapt.features.store import FeatureStore
from radapt.locations import Location

NAN = np.nan
# Four cases, two modalities, two columns; case 1 lacks the second modality, case 3 the first.
POOLED = np.array(
    [[[1, 2], [10, 20]], [[3, 4], [NAN, NAN]], [[5, 6], [30, 40]], [[NAN, NAN], [50, 60]]], dtype=np.float32
)
PRESENCE = ~np.isnan(POOLED[:, :, 0])
BOTH = (slice(0, 2),)


def design(rows: list[int], modalities: str = "concat", columns: tuple[slice, ...] = BOTH) -> Design:
    return Design.fit(POOLED, PRESENCE, np.array(rows, dtype=int), columns, modalities)  # type: ignore[arg-type]


def test_concat_fills_with_training_means_and_indicates() -> None:
    fitted = design([0, 1, 2])
    expected = [[1, 2, 10, 20, 0], [3, 4, 20, 30, 1], [5, 6, 30, 40, 0], [3, 4, 50, 60, 0]]
    np.testing.assert_array_equal(fitted.transform(POOLED, PRESENCE, np.arange(4)), expected)
    assert fitted.notes(["t1", "flair"]) == (
        "Missing in some training cases: flair; training mean, with an indicator.",
    )


def test_mean_averages_what_is_present() -> None:
    expected = [[5.5, 11, 0], [3, 4, 1], [17.5, 23, 0], [50, 60, 0]]
    fitted = design([0, 1, 2], "mean")
    np.testing.assert_array_equal(fitted.transform(POOLED, PRESENCE, np.arange(4)), expected)


def test_unit_length_before_joining_and_no_indicator() -> None:
    def unit(*parts: list[float]) -> np.ndarray:
        return np.concatenate([np.asarray(part) / max(np.linalg.norm(part), 1e-30) for part in parts])

    fitted = Design.fit(POOLED, PRESENCE, np.array([0, 1, 2]), BOTH, "concat", unit_length=True)
    first, second = unit([1, 2]) + unit([3, 4]) + unit([5, 6]), unit([10, 20]) + unit([30, 40])
    expected = [unit([1, 2], [10, 20]), unit([3, 4], second), unit([5, 6], [30, 40]), unit(first, [50, 60])]
    np.testing.assert_allclose(fitted.transform(POOLED, PRESENCE, np.arange(4)), expected, rtol=1e-5, atol=1e-6)
    assert fitted.notes(["t1", "flair"]) == (
        "Missing in some training cases: flair; training mean, each modality at unit length.",
    )
    fitted = Design.fit(POOLED, PRESENCE, np.array([0, 1, 2]), BOTH, "mean", unit_length=True)
    expected = [(unit([1, 2]) + unit([10, 20])) / 2, unit([3, 4]), (unit([5, 6]) + unit([30, 40])) / 2, unit([50, 60])]
    np.testing.assert_allclose(fitted.transform(POOLED, PRESENCE, np.arange(4)), expected, rtol=1e-5, atol=1e-6)
    zero = np.where(PRESENCE[..., None], np.float32(0), POOLED)
    assert not fitted.transform(zero, PRESENCE, np.arange(4)).any()


@pytest.mark.parametrize("modalities", ["concat", "mean"])
def test_a_modality_that_is_said_to_be_missing_is_not_read(modalities: str) -> None:
    """Its values may be there, as where it is left out on purpose."""
    full = np.nan_to_num(POOLED, nan=1000.0)
    fitted = Design.fit(full, PRESENCE, np.array([0, 1, 2]), BOTH, modalities)  # type: ignore[arg-type]
    expected = design([0, 1, 2], modalities)
    np.testing.assert_array_equal(fitted.fill, expected.fill)
    rows = np.arange(4)
    np.testing.assert_array_equal(fitted.transform(full, PRESENCE, rows), expected.transform(POOLED, PRESENCE, rows))


def test_a_modality_never_seen_in_training_is_dropped_and_said() -> None:
    fitted = design([1])
    assert fitted.notes(["t1", "flair"]) == ("No training case has flair; left out.",)
    np.testing.assert_array_equal(
        fitted.transform(POOLED, PRESENCE, np.array([0, 3])), [[1, 2], [3, 4]]
    )  # case 3 has only the dropped modality: the training mean
    np.testing.assert_array_equal(design([1], "mean").transform(POOLED, PRESENCE, [3]), [[3, 4]])


def test_nothing_missing_adds_nothing() -> None:
    fitted = design([0, 2])
    assert fitted.width == 4
    assert fitted.notes(["t1", "flair"]) == ()


@pytest.mark.parametrize("modalities", ["concat", "mean"])
def test_only_training_rows_decide(modalities: str) -> None:
    changed = POOLED.copy()
    changed[3] += 1000
    fitted = Design.fit(changed, PRESENCE, np.array([0, 1, 2]), BOTH, modalities)  # type: ignore[arg-type]
    np.testing.assert_array_equal(fitted.fill, design([0, 1, 2], modalities).fill)


@pytest.mark.parametrize("modalities", ["concat", "mean"])
def test_case_order_changes_nothing(modalities: str) -> None:
    order = np.array([2, 0, 1])
    np.testing.assert_allclose(design([0, 1, 2], modalities).fill, design(order.tolist(), modalities).fill)
    fitted = design([0, 1, 2], modalities)
    np.testing.assert_array_equal(
        fitted.transform(POOLED, PRESENCE, order), fitted.transform(POOLED, PRESENCE, np.arange(4))[order]
    )


def test_masks_and_small_chunks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = design([0, 1, 2]).transform(POOLED, PRESENCE, np.arange(4))
    monkeypatch.setattr("radapt.features.pooling._CHUNK_BYTES", 1)
    mask = np.array([True, True, True, False])
    fitted = Design.fit(POOLED, PRESENCE, mask, BOTH)
    np.testing.assert_array_equal(fitted.transform(POOLED, PRESENCE, np.arange(4)), whole)


def test_a_case_without_images_is_an_error() -> None:
    nothing = np.zeros_like(PRESENCE)
    with pytest.raises(DataError, match=r"2 cases have no image.*0, 2"):
        Design.fit(POOLED, nothing, np.array([0, 2]), BOTH)
    with pytest.raises(DataError, match="no image"):
        design([0]).transform(POOLED, nothing, np.array([1]))


def test_no_training_rows_is_an_error() -> None:
    with pytest.raises(DataError, match="no training cases"):
        design([])


@pytest.mark.parametrize("bad", [{"slices": "median"}, {"modalities": "sum"}])
def test_unknown_pooling_names_the_known(bad: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="Known"):
        Pooling(**bad)  # type: ignore[arg-type]


SEGMENTS = lay_out((-2, -1), (2, 3))


def test_segments_and_selection() -> None:
    assert [tuple(part) for part in SEGMENTS] == [
        (-2, "cls", 0, 2),
        (-1, "cls", 2, 5),
        (-2, "patch_mean", 5, 7),
        (-1, "patch_mean", 7, 10),
    ]
    assert select(SEGMENTS) == (slice(2, 5),)
    assert select(SEGMENTS, 2, True) == (slice(0, 2), slice(2, 5), slice(7, 10))
    with pytest.raises(UsageError, match="got 4"):
        select(SEGMENTS, 4)


def features(tmp_path: Path, rows: dict[str, np.ndarray]) -> Features:
    """Two cases, two modalities: keys a (2 slices) and b; case 2 has only c."""
    store = FeatureStore(tmp_path, 10)
    with store.writer() as writer:
        for key, values in rows.items():
            writer.add(key, values)
    here = Location(tmp_path)
    cases = (
        Case("1", "p", "train", {"t1": here, "t2": here}),
        Case("2", "q", "train", {"t2": here}),
    )
    cohort = Cohort("toy", "mri", cases, ("t1", "t2"))
    keys = (("a", "b"), (None, "c"))
    return Features(cohort, "fake", "id", "float32", (-2, -1), SEGMENTS, {"v": 1}, keys, FeatureStore(tmp_path, 10))


def test_pooled_reduces_slices_and_marks_missing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {key: rng.normal(size=(n, 10)).astype(np.float32) for key, n in (("c", 3), ("a", 2), ("b", 1))}
    made = features(tmp_path, rows)
    assert made.presence.tolist() == [[True, True], [False, True]]
    assert made.counts.tolist() == [[2, 1], [0, 3]]
    for how, reduce in (("mean", np.mean), ("max", np.max)):
        pooled = made.pooled(how)  # type: ignore[arg-type]
        assert isinstance(pooled, np.memmap)
        assert pooled.shape == (2, 2, 10)
        assert np.isnan(pooled[1, 0]).all()
        np.testing.assert_allclose(pooled[0, 0], reduce(rows["a"], axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(pooled[1, 1], reduce(rows["c"], axis=0), rtol=1e-5, atol=1e-6)
    assert made.slices(1, "t1").shape == (0, 10)
    np.testing.assert_array_equal(made.slices(1, "t2"), rows["c"])
    with pytest.raises(UsageError, match="Did you mean 't1'"):
        made.slices(0, "t11")


def test_a_broken_pooled_file_is_made_again(tmp_path: Path) -> None:
    made = features(tmp_path, {key: np.ones((1, 10), np.float32) for key in "abc"})
    whole = np.array(made.pooled())
    (path,) = (tmp_path / "pooled").iterdir()
    path.write_bytes(path.read_bytes()[:-8])
    np.testing.assert_array_equal(made.pooled(), whole)
