"""Small pictures of samples: what the joint space looked at, as JPEGs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from clipx._arrays import no_grad
from clipx.errors import ClipxError
from clipx.index.remote import is_url
from clipx.modality import ShowsMoments, pictures_of

if TYPE_CHECKING:
    from clipx.modality import Modality

THUMBNAIL_PX = 160  # longest side: 120 to 240, or all there is


def thumbnail(modality: Modality, sample: Any) -> bytes | None:
    """What the space looks at, the views side by side, as a JPEG of about 160 pixels a side."""
    with no_grad():
        views = pictures_of(modality, sample)
    if views is None or not len(views):
        return None
    return _jpeg(montage(views[:: max(1, len(views) // 4)][:4]))


def moment(modality: Modality, path: str, start_s: float | None, end_s: float | None) -> bytes | None:
    """What a file shows in the middle of a place in it, as ``thumbnail`` has it.

    None where there is no place, where its files show nothing at a time of their own, or where that cannot be read now.
    """
    if start_s is None or end_s is None or not isinstance(modality, ShowsMoments) or is_url(path):
        return None
    try:
        return _jpeg(modality.moment(path, (start_s + end_s) / 2))
    except ClipxError:
        return None


def _jpeg(picture: np.ndarray) -> bytes:
    """(3, H, W) in [0, 1] -> a JPEG of about 160 pixels a side."""
    from PIL import Image

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
