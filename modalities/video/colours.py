"""Decoded frames as upright 8-bit RGB pictures: size, shape of pixels, rotation, colour matrix, HDR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clipx.films import pyav
from clipx.pictures import ENOUGH

PQ, HLG = 16, 18  # transfer functions, numbered as H.273 does
BT2020 = 9  # primaries
UNSPECIFIED = (0, 2)
HD_ROWS = 576  # a picture of more rows whose matrix is not stated is taken for BT.709's, as players do
WHITE_NITS = 203.0  # the white of a document or a face's highlight in HDR, Rec. ITU-R BT.2408
KNEE = 0.75  # of that white, up to which light stays as it is

Fitted = Callable[[int, int], tuple[int, int]]
"""(height, width) of an upright picture -> (height, width) that it is resampled to."""


def picture(frame: Any, fitted: Fitted, ratio: float, scaler: Any) -> np.ndarray:
    """A frame -> (3, h, w) uint8, upright, (h, w) as ``fitted`` says.

    It is scaled down while its colours are converted, to at least ``clipx.pictures.ENOUGH`` times what is wanted; so
    nothing of the size of an 8K picture is made but what the decoder makes. Pillow does the rest.

    Args:
        frame: PyAV's.
        fitted: see ``Fitted``.
        ratio: width of a pixel over its height.
        scaler: a PyAV ``VideoReformatter``, which is set up once for pictures that are alike.
    """
    from PIL import Image as pil

    turn = _turn(frame)
    height, width = _square(frame, ratio)
    upright = (width, height) if turn[0, 0] == 0 else (height, width)
    size = fitted(*upright)
    enough = size[::-1] if turn[0, 0] == 0 else size
    height, width = (min(have, ENOUGH * want) for have, want in zip((height, width), enough, strict=True))
    rgb = _turned(_rgb(frame, height, width, scaler), turn)
    picture = pil.fromarray(np.ascontiguousarray(rgb))
    if picture.size != size[::-1]:
        picture = picture.resize(size[::-1], pil.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def _square(frame: Any, ratio: float) -> tuple[int, int]:
    """(height, width) with square pixels: of the two ways to make them so, the one that loses none."""
    width = round(frame.width * ratio) if ratio > 1 else frame.width
    height = round(frame.height / ratio) if ratio < 1 else frame.height
    return max(1, height), max(1, width)


def _turn(frame: Any) -> np.ndarray:
    """(2, 2) of -1, 0 and 1: what the display matrix does to (x, y), to the nearest quarter turn."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return np.eye(2, dtype=int)
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(float)
    matrix = np.array([[a, b], [c, d]])  # x' = a x + c y, y' = b x + d y
    if abs(a) + abs(d) >= abs(b) + abs(c):
        matrix[0, 1] = matrix[1, 0] = 0
    else:
        matrix[0, 0] = matrix[1, 1] = 0
    turn = np.sign(matrix).astype(int)
    return turn if abs(round(float(np.linalg.det(turn)))) == 1 else np.eye(2, dtype=int)


def _turned(rgb: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """(H, W, 3) as the matrix of ``_turn`` lays it out."""
    if turn[0, 0] == 0:
        rgb, across, down = rgb.transpose(1, 0, 2), turn[1, 0], turn[0, 1]
    else:
        across, down = turn[0, 0], turn[1, 1]
    return rgb[:: int(down), :: int(across)]


def _rgb(frame: Any, height: int, width: int, scaler: Any) -> np.ndarray:
    """(height, width, 3) uint8."""
    reformatter = pyav().video.reformatter
    how = reformatter.Interpolation
    options: dict[str, Any] = {
        "width": width,
        "height": height,
        "interpolation": how.AREA | how.ACCURATE_RND | how.BITEXACT | how.FULL_CHR_H_INT,
        "threads": 1,
    }
    if frame.colorspace in UNSPECIFIED and not frame.format.is_rgb:
        matrix = reformatter.Colorspace.ITU709 if frame.height > HD_ROWS else reformatter.Colorspace.ITU601
        options["src_colorspace"] = matrix
    if frame.color_trc in (PQ, HLG):
        deep = scaler.reformat(frame, format="rgb48le", **options).to_ndarray()
        return to_sdr(deep / np.float32(65_535), frame.color_trc, frame.color_primaries == BT2020)
    clear = frame.format.name in ("bgra", "rgba", "argb", "abgr", "pal8", "gbrap", "yuva420p", "ya8")
    if not clear:
        return scaler.reformat(frame, format="rgb24", **options).to_ndarray()
    rgba = scaler.reformat(frame, format="rgba", **options).to_ndarray()
    share = rgba[..., 3:] / np.float32(255)
    return (rgba[..., :3] * share + 255 * (1 - share) + 0.5).astype(np.uint8)


# HDR ------------------------------------------------------------------------------------------------------------------

_TO_709 = np.array(  # BT.2087
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)


def to_sdr(signal: np.ndarray, transfer: int, wide: bool = True) -> np.ndarray:
    """An HDR picture as sRGB shows it.

    Its light is computed in cd/m2 (PQ: SMPTE ST 2084; HLG: Rec. ITU-R BT.2100 for a display of 1,000 cd/m2), divided by
    ``WHITE_NITS``, brought from BT.2020's primaries to BT.709's, and what the largest of the three channels has above
    ``KNEE`` is compressed: x -> knee + (1 - knee) d / (1 + d), where d = (x - knee) / (1 - knee). All three are scaled
    by the same factor, so hues stay. White of 203 cd/m2 becomes 94 % of sRGB's signal.

    Args:
        signal: (H, W, 3) float in [0, 1].
        transfer: ``PQ`` or ``HLG``.
        wide: whether its primaries are BT.2020's.

    Returns:
        (H, W, 3) uint8.
    """
    light = (_pq(signal) if transfer == PQ else _hlg(signal)) / np.float32(WHITE_NITS)
    if wide:
        light = (light @ _TO_709.T).clip(0)
    peak = light.max(-1, keepdims=True)
    above = (peak - KNEE).clip(0) / (1 - KNEE)
    kept = np.where(peak > KNEE, KNEE + (1 - KNEE) * above / (1 + above), peak)
    light = light * (kept / peak.clip(1e-6))
    shown = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clip(1e-6) ** (1 / 2.4) - 0.055)
    return (shown.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _pq(signal: np.ndarray) -> np.ndarray:
    """Light in cd/m2."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    root = signal.clip(0, 1) ** (1 / m2)
    return 10_000 * ((root - c1).clip(0) / (c2 - c3 * root)) ** (1 / m1)


def _hlg(signal: np.ndarray) -> np.ndarray:
    """Light in cd/m2 of a display of 1,000, whose system gamma is 1.2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luma = (scene @ _LUMA)[..., None]
    return 1_000 * luma.clip(1e-6) ** 0.2 * scene
