"""Small pictures of samples: what the joint space looked at, as JPEGs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx._arrays import no_grad
from clipx.modality import pictures_of

if TYPE_CHECKING:
    from clipx.modality import Modality

THUMBNAIL_PX = 160  # longest side: 120 to 240, or all there is


def thumbnail(modality: Modality, sample: Any) -> bytes | None:
    """What the space looks at, the views side by side, as a JPEG of about 160 pixels a side."""
    from PIL import Image

    with no_grad():
        views = pictures_of(modality, sample)
    if views is None or not len(views):
        return None
    picture = montage(views[:: max(1, len(views) // 4)][:4])
    factor = max(1, round(max(picture.shape) / THUMBNAIL_PX))
    # band by band, and by means of squares: interleaved values and a filter take four times as long
    bands = [Image.fromarray((band.clip(0, 1) * 255 + 0.5).astype(np.uint8)).reduce(factor) for band in picture]
    image = Image.merge("RGB", bands)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def montage(views: np.ndarray) -> np.ndarray:
    """(V, 3, H, W) -> (3, R * H, C * W): up to four views, two in a row."""
    if len(views) == 1:
        return views[0]
    if len(views) < 4:
        return np.concatenate(views[:2], axis=-1)
    return np.concatenate([np.concatenate(pair, axis=-1) for pair in (views[:2], views[2:4])], axis=-2)
