"""Several processes of this machine extract what one does, and a batch that does not fit is halved."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from radapt import load_backbone
from radapt.backbones.reference import BackboneReference
from radapt.errors import UsageError
from radapt.features import extract
from radapt.features.on_devices import help_on, others

Make = Callable[..., Any]


def note(folder: Path, backbone: Any) -> None:
    (folder / "seen").write_text(f"{backbone.dtype} {backbone.load().device} {torch.get_num_threads()}")


def test_two_processes_extract_what_one_does(toy_cohort: Make, tmp_path: Path) -> None:
    backbone = load_backbone("timm:test_resnet", weights="random", dtype="float32")
    cohort = toy_cohort()
    one = extract(cohort, backbone, size=32, cache=tmp_path / "one")
    two = extract(cohort, backbone, size=32, cache=tmp_path / "two", devices=2)
    np.testing.assert_array_equal(one.to_numpy(), two.to_numpy())


def test_a_helping_process_builds_the_backbone_on_its_device(tmp_path: Path) -> None:
    backbone = load_backbone("timm:test_resnet", weights="random", dtype="float32")
    threads = torch.get_num_threads()
    from functools import partial

    reference = BackboneReference.of(backbone)
    help_on(partial(note, tmp_path), reference, "cpu", "float32", "pytorch", tmp_path, threads)
    assert (tmp_path / "seen").read_text() == f"float32 cpu {threads}"


def test_every_device_has_one_process() -> None:
    assert others(torch.device("cpu"), 3) == ["cpu", "cpu"]
    assert others(torch.device("cuda"), 3) == ["cuda:1", "cuda:2"]
    assert others(torch.device("cuda:1"), 2) == ["cuda:0"]
    assert others(torch.device("cuda:3"), 2) == ["cuda:0"]


def test_a_backbone_that_cannot_be_built_again_is_refused(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be built again in other processes"):
        extract(toy_cohort(), toy_backbone(), size=16, cache=tmp_path, devices=2)


def test_a_batch_that_does_not_fit_is_halved(
    toy_cohort: Make, toy_backbone: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backbone = toy_backbone()
    tokens, sizes = backbone.tokens, []

    def scarce(images: torch.Tensor, layers: tuple[int, ...] = (-1,)) -> Any:
        sizes.append(len(images))
        if len(images) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return tokens(images, layers)

    backbone.tokens = scarce
    with caplog.at_level(logging.WARNING, "radapt"):
        halved = extract(toy_cohort(), backbone, size=16, batch=10, cache=tmp_path / "scarce")
    assert sizes[:6] == [10, 5, 3, 3, 3, 1]
    assert max(sizes[2:]) == 3  # what did not fit once is not tried again
    assert "3 at a time" in caplog.text
    whole = extract(toy_cohort(), toy_backbone(), size=16, batch=10, cache=tmp_path / "whole")
    np.testing.assert_allclose(halved.to_numpy(), whole.to_numpy(), rtol=1e-5, atol=1e-6)


def test_one_slice_that_does_not_fit_is_an_error(toy_cohort: Make, toy_backbone: Make, tmp_path: Path) -> None:
    backbone = toy_backbone()

    def none(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    backbone.tokens = none
    with pytest.raises(UsageError, match="One slice at a time does not fit"):
        extract(toy_cohort(), backbone, size=16, batch=4, cache=tmp_path)
