"""Stored patch tokens: equal to the encoder's but for float16, resumed after a kill, never mixed up."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from radapt.errors import DataError, UsageError
from radapt.features.batches import SliceSource
from radapt.features.token_store import TokenLayout, TokenSource, TokenStore, slice_keys
from radapt.locations import Location

LAYERS = (-3, -1)


def image(number: int, slices: int, size: tuple[int, int] = (24, 40)) -> tuple[SliceSource, np.ndarray, list[str]]:
    planes = np.random.default_rng(number).integers(0, 256, (slices, 1, *size), dtype=np.uint8)
    return SliceSource("", f"c{number}", "t1", Location(Path("x"))), planes, slice_keys(planes)


def opened(cache: Path, backbone: Any, **changes: Any) -> TokenStore:
    layout = TokenLayout.of(backbone, LAYERS, (24, 40))
    return TokenStore(cache, replace(TokenSource("toy", "random:0", layout), **changes))


def nothing(count: int) -> None:
    """No progress."""


def tokens(store: TokenStore, keys: Sequence[str]) -> list[np.ndarray]:
    rows = torch.from_numpy(store.gather(store.row_addresses(keys)))
    return [part.float().numpy() for part in store.source.layout.split(rows)]


def test_stored_tokens_are_the_encoders_to_half_precision(tmp_path: Path, toy_backbone: Callable[..., Any]) -> None:
    backbone = toy_backbone()
    store = opened(tmp_path, backbone)
    images = [image(0, 5), image(1, 1), image(2, 7)]
    assert store.fill(backbone, images, nothing, batch=4) == 13
    for _, planes, keys in images:
        expected = backbone.tokens(torch.from_numpy(planes), LAYERS).layers
        for found, layer in zip(tokens(store, keys), expected, strict=True):
            exact = layer.patches.numpy()
            assert found.shape == exact.shape == (len(planes), 3, 5, 6)
            assert (abs(found - exact) <= 2**-11 * abs(exact) + 2**-25).all()


def test_what_is_there_is_not_computed_again(tmp_path: Path, toy_backbone: Callable[..., Any]) -> None:
    backbone = toy_backbone()
    store = opened(tmp_path, backbone)
    store.fill(backbone, [image(0, 5)], nothing)
    calls = len(backbone.shapes)
    assert opened(tmp_path, toy_backbone()).fill(backbone, [image(0, 5)], nothing) == 0
    assert len(backbone.shapes) == calls
    assert opened(tmp_path, toy_backbone()).fill(backbone, [image(0, 6), image(3, 2)], nothing) == 1 + 2


def test_equal_slices_are_stored_once(tmp_path: Path, toy_backbone: Callable[..., Any]) -> None:
    backbone = toy_backbone()
    which, planes, _ = image(0, 3)
    planes = planes[[0, 1, 0, 2, 1]]
    keys = slice_keys(planes)
    store = opened(tmp_path, backbone)
    assert store.fill(backbone, [(which, planes, keys), (which, planes[:2], keys[:2])], nothing, batch=2) == 3
    found = tokens(store, keys)[0]
    assert np.array_equal(found[0], found[2])
    expected = backbone.tokens(torch.from_numpy(planes), LAYERS).layers[0].patches.numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_rows_do_not_depend_on_their_batch(tmp_path: Path, toy_backbone: Callable[..., Any]) -> None:
    backbone = toy_backbone()
    one, other = opened(tmp_path / "a", backbone), opened(tmp_path / "b", backbone)
    one.fill(backbone, [image(0, 5), image(1, 4)], nothing, batch=4)
    other.fill(backbone, [image(1, 4)], nothing, batch=4)
    other.fill(backbone, [image(0, 5)], nothing, batch=4)
    for number, slices in ((0, 5), (1, 4)):
        keys = image(number, slices)[2]
        assert np.array_equal(one.gather(one.row_addresses(keys)), other.gather(other.row_addresses(keys)))


def test_a_killed_extraction_goes_on(tmp_path: Path, toy_backbone: Callable[..., Any], monkeypatch: Any) -> None:
    monkeypatch.setattr("radapt.features.store._FLUSH_EVERY_S", 0.0)

    class KilledError(Exception):
        pass

    def die(call: int) -> None:
        if call == 4:  # the first call asks for the layout
            raise KilledError

    images = [image(number, 3) for number in range(5)]
    broken = toy_backbone(before=die)
    store = opened(tmp_path, broken)
    with pytest.raises(KilledError):
        store.fill(broken, images, nothing, batch=2)
    shard = next(tmp_path.rglob("*.f16"))
    with shard.open("ab") as file:
        file.write(b"torn")
    again = opened(tmp_path, toy_backbone())
    kept = len(again)
    assert 0 < kept < 15
    backbone = toy_backbone()
    assert again.fill(backbone, images, nothing, batch=2) == 15 - kept
    for _, planes, keys in images:
        expected = backbone.tokens(torch.from_numpy(planes), LAYERS).layers[1].patches.numpy()
        np.testing.assert_allclose(tokens(again, keys)[1], expected, rtol=1e-3, atol=1e-4)


def test_damaged_rows_are_made_again(tmp_path: Path, toy_backbone: Callable[..., Any]) -> None:
    backbone = toy_backbone()
    store = opened(tmp_path, backbone)
    store.fill(backbone, [image(0, 4)], nothing)
    shard = next(tmp_path.rglob("*.f16"))
    data = bytearray(shard.read_bytes())
    data[5] ^= 255
    shard.write_bytes(bytes(data))
    damaged = opened(tmp_path, backbone)
    assert len([key for key in image(0, 4)[2] if key in damaged]) == 3
    assert damaged.fill(backbone, [image(0, 4)], nothing) == 1


@pytest.mark.parametrize(
    "changes", [{"identity": "random:1"}, {"precision": "bfloat16"}, {"layout": TokenLayout((-1,), ((3, 5, 6),))}]
)
def test_nothing_is_taken_for_another_encoders(tmp_path: Path, toy_backbone: Callable[..., Any], changes: Any) -> None:
    backbone = toy_backbone()
    store = opened(tmp_path, backbone)
    store.fill(backbone, [image(0, 2)], nothing)
    assert image(0, 2)[2][0] in store
    assert image(0, 2)[2][0] not in opened(tmp_path, backbone, **changes)


def test_keys_depend_on_every_pixel_and_on_the_shape() -> None:
    planes = np.zeros((1, 1, 4, 6), np.uint8)
    other = planes.copy()
    other[0, 0, 3, 5] = 1
    turned = planes.reshape(1, 1, 6, 4)
    assert len({slice_keys(p)[0] for p in (planes, other, turned, planes.reshape(1, 2, 3, 4))}) == 4
    assert slice_keys(planes) == slice_keys(planes.copy())


def test_a_missing_modality_reads_as_zeros(tmp_path: Path, toy_backbone: Callable[..., Any]) -> None:
    backbone = toy_backbone()
    store = opened(tmp_path, backbone)
    store.fill(backbone, [image(0, 2)], nothing)
    places = np.concatenate([store.row_addresses(image(0, 2)[2]), [[-1, -1]]])
    rows = store.gather(places)
    assert not rows[2].any()
    assert rows[:2].any(axis=1).all()


def test_letting_go_of_what_was_read_changes_nothing(
    tmp_path: Path, toy_backbone: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path, toy_backbone())
    store.fill(toy_backbone(), [image(0, 5)], nothing)
    places = store.row_addresses(image(0, 5)[2])
    before = store.gather(places)
    monkeypatch.setattr("radapt.features.token_store._RELEASE_BYTES", 0)
    assert np.array_equal(before, store.gather(places))
    assert np.array_equal(before[[3, 1]], store.gather(places[[3, 1]]))


def test_bytes_are_known_before_anything_is_stored(tmp_path: Path, toy_backbone: Callable[..., Any]) -> None:
    backbone = toy_backbone()
    store = opened(tmp_path, backbone)
    store.fill(backbone, [image(0, 5)], nothing)
    assert store.source.layout.bytes(5) == 5 * 2 * 3 * 5 * 6 * 2 == next(tmp_path.rglob("*.f16")).stat().st_size


def test_tokens_beyond_float16_are_refused_by_name(tmp_path: Path, toy_backbone: Callable[..., Any]) -> None:
    backbone = toy_backbone()
    store = opened(tmp_path, backbone)
    backbone._weights *= 1e5
    with pytest.raises(DataError, match=r"c1 \(t1\).*token_budget_gb 0"):
        store.fill(backbone, [image(1, 2)], nothing)
    assert len(store) == 0


def test_keys_that_are_not_there_are_refused(tmp_path: Path, toy_backbone: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="removed or changed"):
        opened(tmp_path, toy_backbone()).row_addresses(["nowhere"])


def test_layers_that_do_not_exist_are_refused() -> None:
    from radapt import load_backbone

    backbone = load_backbone("dinov2-s", weights="random")
    with pytest.raises(UsageError, match="12 layers"):
        TokenLayout.of(backbone, (-13, -1), (28, 28))
    assert TokenLayout.of(backbone, (-4, -1), (28, 45)).shapes == ((2, 3, 384), (2, 3, 384))
