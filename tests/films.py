"""Small films for tests, made by PyAV: each frame is of one grey, by which it is recognised."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

LEAST, STEP = 30, 5  # the grey of frame 0, and of a frame over that of the one before; 40 of them can be distinguished


def grey(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """(H, W, 3) uint8, the picture of a frame."""
    return np.full((height, width, 3), LEAST + STEP * (number % 40), np.uint8)


def number(pixels: np.ndarray) -> int:
    """Which frame (modulo 40) a decoded picture is."""
    return round((float(np.mean(pixels)) - LEAST) / STEP)


def write_film(
    path: Path,
    pictures: Sequence[np.ndarray],
    rate: int = 10,
    times: Sequence[float] | None = None,
    codec: str = "libx264",
    keyframes: int = 12,
    turn: int | None = None,
    sound: np.ndarray | None = None,
    sound_hz: int = 16_000,
    sound_start_s: float = 0.0,
    pix_fmt: str = "yuv420p",
    format: str | None = None,
    options: dict[str, str] | None = None,
    about: dict[str, Any] | None = None,
) -> Path:
    """Write a film and return its path.

    Args:
        pictures: (H, W, 3) uint8 each; none for a file of sound alone.
        rate: frames a second.
        times: of the pictures in seconds, of 1/1000; evenly spaced by ``rate`` where left out.
        keyframes: one of so many frames.
        turn: degrees anticlockwise that players turn it by.
        sound: (T,) mono in [-1, 1] at ``sound_hz``, from ``sound_start_s`` on.
        about: further attributes of the encoder, such as ``color_trc``.
    """
    import av

    with av.open(str(path), "w", format=format) as container:
        streams: list[tuple[Any, Any]] = []
        if len(pictures):
            extra = {"x264-params": "scenecut=0"} if codec == "libx264" else {}
            stream = container.add_stream(codec, rate, options={**extra, **(options or {})})
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt, stream.codec_context.gop_size = pix_fmt, keyframes
            if times is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            if turn is not None:
                stream.set_display_rotation(turn)
            for name, value in (about or {}).items():
                setattr(stream.codec_context, name, value)
            streams.append((stream, None))
        if sound is not None:
            coding = "aac" if str(path)[-4:] != "webm" else "libopus"
            streams.append((container.add_stream(coding, sound_hz, layout="mono"), sound))
        for stream, samples in streams:
            if samples is None:
                for i, picture in enumerate(pictures):
                    kind = "rgb24" if picture.dtype == np.uint8 else "rgb48le"
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=kind)
                    if times is not None:
                        frame.pts, frame.time_base = round(1000 * times[i]), Fraction(1, 1000)
                    container.mux(stream.encode(frame))
            else:
                block = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
                block.sample_rate, block.time_base = sound_hz, Fraction(1, sound_hz)
                block.pts = round(sound_start_s * sound_hz)
                container.mux(stream.encode(block))
            container.mux(stream.encode(None))
    return path
