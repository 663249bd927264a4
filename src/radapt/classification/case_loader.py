"""Data loaders that give cases to a network in training and at inference, slice by slice."""

import abc
import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from radapt.cases import CaseReader
from radapt.cases.prefetch import READERS, prefetch, read_ahead
from radapt.cases.sampling import Bag, draw_bag, place_in_image
from radapt.errors import DataError, UsageError
from radapt.features.batches import SliceSource, pack
from radapt.features.encode import default_batch
from radapt.networks.case_classifier import CaseClassifier
from radapt.training.seeds import mixed

if TYPE_CHECKING:
    from radapt.training import Augmentation


Cases = TypeVar("Cases", contravariant=True)


class CaseLoader(abc.ABC, Generic[Cases]):
    """Reads cases for a network: augmented samples of slices in training, all slices unchanged at inference.

    `Cases` is what cases are read from: their images, or stored features.
    """

    network: nn.Module

    @abc.abstractmethod
    def load(self, images: Cases, rows: np.ndarray, seeds: np.ndarray) -> Any:
        """The cases at `rows` (b,) as CPU tensors; random numbers come from `seeds` uint64 (b,)."""

    @abc.abstractmethod
    def logits(self, batch: Any, seeds: np.ndarray) -> Tensor:
        """(b, outputs) for a batch from `load`, on the network's device, augmented by `seeds`."""

    @abc.abstractmethod
    def answers(self, images: Cases, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Logits float64 (n, outputs) of whole cases, each independent of the others. The network is in eval mode."""


@dataclass(frozen=True, eq=False)
class BagLoader(CaseLoader[CaseReader]):
    """For a network over slices. Training uses at most `most` slices of an image, augmented alike."""

    network: CaseClassifier
    augmentation: "Augmentation"
    most: int | None

    def load(self, images: CaseReader, rows: np.ndarray, seeds: np.ndarray) -> Bag:
        return draw_bag(images, rows, seeds, self.most)

    def logits(self, batch: Bag, seeds: np.ndarray) -> Tensor:
        # The slices of an image share a seed and thus their augmentation, so that pooling does not average it out.
        case, kind = batch.origin.T
        pixels, _ = self.augmentation.apply(batch.pixels, self.augmentation.draw(mixed(seeds[case], kind)))
        return self.network(pixels, batch.image, batch.position, batch.case, batch.modality, len(seeds))

    @torch.no_grad()
    def answers(self, images: CaseReader, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        logits = np.empty((len(rows), self.network.head.out_features))
        with contextlib.closing(_encoded(self.network, images, _listed(images, rows))) as coming:
            for place, row in enumerate(rows):
                kinds = images.columns(int(row))
                logits[place] = self._answer([next(coming) for _ in kinds], kinds).double().cpu().numpy()
        return logits

    def _answer(self, vectors: list[Tensor], kinds: list[int]) -> Tensor:
        """(outputs,) of one case, from the vectors (n, D) of each of its images."""
        network, device = self.network, self.network.missing.device
        counts = [len(slices) for slices in vectors]
        image = torch.from_numpy(np.repeat(np.arange(len(kinds)), counts)).to(device)
        places = [torch.from_numpy(place_in_image(np.arange(count), count)) for count in counts]
        position = torch.cat([torch.zeros(0), *places]).to(device)
        modality = torch.tensor(kinds, dtype=torch.int64, device=device)
        slices = torch.cat(vectors) if vectors else torch.zeros(0, 0, device=device)
        return network.classify(slices, image, position, torch.zeros_like(modality), modality, 1)[0]


def _listed(images: CaseReader, rows: Sequence[int] | np.ndarray) -> list[SliceSource]:
    """The images of the cases at `rows`, in the order of cases, then modalities."""
    pairs = [(int(row), column) for row in rows for column in images.columns(int(row))]
    return [
        SliceSource(f"{row}/{column}", images.case(row).case, images.modalities[column], images.location(row, column))
        for row, column in pairs
    ]


def _encoded(network: CaseClassifier, images: CaseReader, listed: list[SliceSource]) -> Generator[Tensor, None, None]:
    """The vectors (n, D) of every image's slices, in order, encoded in full batches across images and cases."""
    device = network.missing.device

    def planes(image: SliceSource) -> np.ndarray:
        row, column = image.key.split("/")
        return images.planes(int(row), int(column))

    def failed(image: SliceSource, error: DataError) -> None:
        raise error

    parts: list[Tensor] = []
    read = read_ahead(listed, planes, failed, READERS)
    with contextlib.closing(prefetch(pack(read, default_batch(device)))) as batches:
        for batch in batches:
            vectors = _vectors(network, torch.from_numpy(batch.pixels).to(device))
            for span in batch.spans:
                parts.append(vectors[span.start : span.stop])
                if sum(map(len, parts)) == span.total:
                    yield torch.cat(parts)
                    parts = []


def _vectors(network: CaseClassifier, pixels: Tensor) -> Tensor:
    """(S, C, H, W) -> (S, D); the batch is halved if device memory runs out."""
    try:
        return network.encode(pixels)
    except torch.OutOfMemoryError as error:
        if len(pixels) == 1:
            raise UsageError(
                f"Not even one slice fits in the memory of {pixels.device}; use smaller images or another backbone."
            ) from error
    half = len(pixels) // 2
    return torch.cat([_vectors(network, pixels[:half]), _vectors(network, pixels[half:])])
