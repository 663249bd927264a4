"""Training time of a decoder on stored tokens, relative to the same decoder with the frozen encoder in the loop.

    python benchmarks/decoder.py [--slices 96] [--size 224] [--labels 2] [--threads N] [--decoders conv linear …]

Prints for each decoder, measured in one run with an encoder of random weights on simulated slices: milliseconds per
slice and epoch from stored tokens and with the encoder in the loop; their ratio, also in processor time, which other
load affects less (use one thread, because waiting threads spin); the number of epochs after which storing pays off; the
gigabytes of a thousand slices.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from radapt import load_backbone
from radapt.backbones.backbone import Backbone
from radapt.features.batches import SliceSource
from radapt.features.token_store import TokenLayout, TokenSource, TokenStore, slice_keys
from radapt.locations import Location
from radapt.networks.decoders.registry import DECODERS, decoder_layers
from radapt.segmentation.encoder_decoder.network import SegmentationNetwork
from radapt.segmentation.encoder_decoder.protocol import Segment
from radapt.training import Task, TrainConfig, train
from radapt.training.segmentation_loss import dice_ce

BATCH = Segment().batch


def simulated(rng: np.random.Generator, slices: int, size: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Discs of every label on noise: planes uint8 (n, 1, 1, H, W) and masks uint8 (n, H, W)."""
    rows, columns = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    masks = np.zeros((slices, size, size), np.uint8)
    for label in range(1, labels + 1):
        centre = rng.uniform(0.2 * size, 0.8 * size, (slices, 2, 1, 1))
        masks[(rows - centre[:, 0]) ** 2 + (columns - centre[:, 1]) ** 2 < (0.15 * size) ** 2] = label
    noise = rng.integers(0, 60, masks.shape)
    return (noise + masks * (190 // max(labels, 1))).astype(np.uint8)[:, None, None], masks


class Decoding(Task):
    """One decoder on slices: through the encoder, or from `store`."""

    def __init__(
        self, network: SegmentationNetwork, planes: np.ndarray, masks: np.ndarray, store: TokenStore | None
    ) -> None:
        self.network, self.planes, self.masks, self.store = network, planes, masks, store
        self.module: nn.Module = network if store is None else network.head
        self.size = len(planes)
        self.ends: list[tuple[float, float]] = []
        self.places = None if store is None else store.row_addresses(slice_keys(planes[:, 0]))

    def load(self, indices: np.ndarray, seeds: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        if self.store is None or self.places is None:
            seen = torch.from_numpy(self.planes[indices])
        else:
            seen = torch.from_numpy(self.store.gather(self.places[indices]))[:, None]
        return seen, torch.from_numpy(self.masks[indices])

    def loss(self, batch: tuple[torch.Tensor, torch.Tensor], seeds: np.ndarray) -> torch.Tensor:
        seen, masks = batch
        there = torch.ones(len(seen), 1, dtype=torch.bool, device=seen.device)
        maps = self.network.maps(seen, there) if self.store is None else self.store.source.layout.split(seen.float())
        return dice_ce(self.network.head(maps, there, self.network.parts.size), masks.long())

    def score(self) -> float:
        self.ends.append((time.perf_counter(), time.process_time()))  # asked for at the end of every epoch
        return float("nan")

    def train_mode(self) -> None:
        self.network.head.train()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def epoch(task: Decoding, epochs: int) -> np.ndarray:
    """Wall-clock and processor seconds of the fastest epoch after the first, as other load can only slow one down."""
    train(task, TrainConfig(epochs=epochs, batch=BATCH, lr=1e-3), seed=0)
    return np.diff(np.asarray(task.ends), axis=0).min(axis=0)


def stored(folder: Path, backbone: Backbone, layers: tuple[int, ...], planes: np.ndarray) -> tuple[TokenStore, float]:
    """The stored tokens of all slices, and the seconds to store them."""
    layout = TokenLayout.of(backbone, layers, (planes.shape[3], planes.shape[4]))
    store = TokenStore(folder, TokenSource(backbone.name, backbone.identity, layout))
    image = SliceSource("", "simulated", "image", Location(Path("none")))
    took = seconds(lambda: store.fill(backbone, [(image, planes[:, 0], slice_keys(planes[:, 0]))], lambda count: None))
    return store, took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=96)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--labels", type=int, default=2)
    parser.add_argument("--backbone", default="dinov2-s")
    parser.add_argument("--decoders", nargs="+", choices=list(DECODERS), default=list(DECODERS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    planes, masks = simulated(np.random.default_rng(0), given.slices, given.size, given.labels)
    backbone = load_backbone(given.backbone, weights="random")
    print(f"{given.backbone}, {given.size} px, {given.labels} labels, batches of {BATCH}, {given.threads} threads")
    with tempfile.TemporaryDirectory() as folder:
        for name in given.decoders:
            parts = Segment(decoder=name).parts(1, given.labels + 1, (given.size, given.size))  # type: ignore[arg-type]
            network = SegmentationNetwork(backbone, parts, seed=0)
            store, took = stored(Path(folder) / name, backbone, decoder_layers(name, backbone.depth), planes)
            fast = epoch(Decoding(network, planes, masks, store), 11)
            slow = epoch(Decoding(network, planes, masks, None), 4)
            per_slice, gb = 1e3 / given.slices, store.source.layout.bytes(1000) / 1e9
            default = "  <- default" if name == Segment().decoder else ""
            print(
                f"{name:8s} stored {per_slice * fast[0]:6.1f} ms a slice, "
                f"encoder in the loop {per_slice * slow[0]:6.1f} ms: "
                f"{slow[0] / fast[0]:5.1f} times as fast ({slow[1] / fast[1]:.1f} in processor time); storing pays off "
                f"after {took / max(slow[0] - fast[0], 1e-9):.1f} epochs, {gb:.2f} GB for 1,000 slices{default}"
            )


if __name__ == "__main__":
    main()
