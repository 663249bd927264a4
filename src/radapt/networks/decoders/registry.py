"""Decoders by name: from the patch tokens of a few layers of an encoder to a logit per pixel and class."""

import inspect
from collections.abc import Sequence
from typing import Any

from radapt.errors import UsageError, suggest
from radapt.networks.decoders.base import Decoder
from radapt.plugins import Registry, modules_in


def _own() -> dict[str, type[Decoder]]:
    found = [kind for module in modules_in("radapt.networks.decoders") for kind in vars(module).values()]
    return {kind.name: kind for kind in found if _is_decoder(kind)}


def _is_decoder(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Decoder) and thing is not Decoder


DECODERS: Registry[type[Decoder]] = Registry("radapt.decoders", "decoder", _own, _is_decoder)
"""The decoders in the files of this folder, and those of other packages (see `radapt.plugins`)."""


def make_decoder(name: str, widths: Sequence[int], outputs: int, **options: Any) -> Decoder:
    """The decoder `name` for maps of `widths` (shallow to deep) and `outputs` classes, the background among them.

    `options`: `width`, channels inside (all but linear); `stride` of conv and unet: the last convolutions run at
    that part of the image's resolution. `flat=True` says that maps are of one size, as blocks of a ViT are; upernet
    and dpt then make a pyramid of them. By default maps of one width are.

    Raises UsageError for an unknown name or option.
    """
    kind = decoder_class(name)
    known = decoder_options(name)
    for option, value in options.items():
        if option not in known:
            raise UsageError(f"Decoder {name!r} has no option {option!r}. {suggest(option, known)}")
        if option != "flat" and not (isinstance(value, int) and value >= 1):
            raise UsageError(f"Option {option!r} of decoder {name!r} must be a whole number from 1, not {value!r}.")
    return kind(widths, outputs, **options)


def decoder_class(name: str) -> type[Decoder]:
    """The class behind a name; UsageError for an unknown one."""
    if name not in DECODERS:
        raise UsageError(f"There is no decoder {name!r}. {suggest(name, DECODERS)}")
    return DECODERS[name]


def decoder_layers(name: str, depth: int) -> tuple[int, ...]:
    """Which of a backbone's `depth` layers the decoder `name` reads, counted from the end, shallow to deep."""
    return decoder_class(name).layers(depth)


def decoder_options(name: str) -> list[str]:
    """The names of the options that the decoder `name` takes."""
    return list(inspect.signature(decoder_class(name)).parameters)[2:]
