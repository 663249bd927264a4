"""The words that are part of every overlay picture, so that they stay with it wherever it is copied."""

import numpy as np

from radapt.deploy.dicom.algorithm import RESEARCH_ONLY


def burnt_in(picture: np.ndarray) -> np.ndarray:
    """A copy of a picture, uint8 (H, W, 3), with "Research use only" in its lower left corner, white on black edges."""
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.fromarray(np.ascontiguousarray(picture))
    size = max(12, canvas.width // 24)
    ImageDraw.Draw(canvas).text(
        (size // 2, canvas.height - size // 2),
        RESEARCH_ONLY,
        fill="white",
        anchor="ls",
        font=ImageFont.load_default(size),
        stroke_width=max(1, size // 8),
        stroke_fill="black",
    )
    return np.asarray(canvas)
