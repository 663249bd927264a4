"""Lossless JPEG, and grey JPEG of 12 bits, as a plugin of pydicom: damage on which GDCM ends the process is refused.

Processes 14, and 2 and 4, of PS3.5, annex A.4. imagecodecs ships the decoders: that of dcm2niix and libjpeg-turbo.
"""

from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING

from pydicom.uid import JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

NAME = "imagecodecs"
"""The name of the plugin."""

DECODER_DEPENDENCIES = dict.fromkeys((JPEGLossless, JPEGLosslessSV1, JPEGExtended12Bit), ("numpy", "imagecodecs"))
"""The transfer syntaxes, and what each needs; a name that pydicom looks for."""


_END = b"\xff\xd9"
_REGISTERING = Lock()  # images are read by several threads


def is_available(uid: str) -> bool:
    """Whether streams of this transfer syntax can be decoded; pydicom asks it by this name."""
    return uid in DECODER_DEPENDENCIES and find_spec("imagecodecs") is not None


def register() -> None:
    """Make the plugin known to pydicom's decoders; without imagecodecs, and when called again, it changes nothing."""
    from pydicom.pixels import get_decoder

    with _REGISTERING:
        for uid in filter(is_available, DECODER_DEPENDENCIES):
            if NAME not in (decoder := get_decoder(uid)).available_plugins:
                decoder.add_plugin(NAME, (__name__, "decode"))


def decode(source: bytes, runner: "DecodeRunner") -> bytes:
    """The samples of one frame, colour by pixel and unconverted. Raises RuntimeError for a damaged or cut stream."""
    from imagecodecs import jpeg8_decode, jpegsof3_decode

    if not source.rstrip(b"\0").endswith(_END):
        raise RuntimeError("the JPEG stream is cut")
    if runner.transfer_syntax != JPEGExtended12Bit:
        samples = jpegsof3_decode(source)
    elif runner.samples_per_pixel == 1:
        samples = jpeg8_decode(source)
    else:
        raise NotImplementedError("Lossy colour is not decoded here.")
    if samples.ndim == 3:
        runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * samples.itemsize)
    return bytes(samples.tobytes())
