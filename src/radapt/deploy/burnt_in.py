"""The words that are part of every overlay picture, so that they stay with it wherever it is copied."""

from itertools import product

import numpy as np

from radapt.deploy.dicom.algorithm import RESEARCH_ONLY


def burnt_in(picture: np.ndarray) -> np.ndarray:
    """A copy of a picture, uint8 (H, W, 3), with "Research use only" in its lower left corner, white on black edges."""
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.fromarray(np.ascontiguousarray(picture))
    size = max(12, canvas.width // 24)
    font, edge, draw = ImageFont.load_default(size), max(1, size // 8), ImageDraw.Draw(canvas)
    left, bottom = size // 2, canvas.height - size // 2
    around = range(-edge, edge + 1)
    for right, down in product(around, around):  # Pillow's own stroke of small letters runs beside them
        draw.text((left + right, bottom + down), RESEARCH_ONLY, fill="black", anchor="ls", font=font)
    draw.text((left, bottom), RESEARCH_ONLY, fill="white", anchor="ls", font=font)
    return np.asarray(canvas)
