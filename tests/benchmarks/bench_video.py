"""How fast films are decoded and indexed: python tests/benchmarks/bench_video.py [--json] [--minutes N] [--repeats N]

A film of 720p is made, of 30 frames a second and about 4 Mbit/s, with textures that move, a cut every few seconds, and
noise of changing loudness in stereo at 48 kHz.

- decode: its frames at one a second, resampled to the size of the default space; times real time.
- whole: likewise by decoding every frame, as PyAV gives them; times real time.
- index: the film into an empty index of the default space, thumbnails and sound included; minutes for an hour of film.
- pictures: likewise without the sound.
- overlap: the time of that over the sum of decoding and encoding the same frames one after the other.

Each is the median over repeats; low and high are the 10th and 90th percentile.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageFilter
from timing import seconds, spread

import clipx
from clipx.modalities.video.config import VideoConfig
from clipx.modalities.video.decode import frames_at, opened
from clipx.modalities.video.sampling import wanted

RATE_HZ, WIDTH, HEIGHT, SHOT_S, SOUND_HZ = 30, 1280, 720, 5, 48_000


def make_film(path: Path, minutes: float) -> float:
    """Write the film; returns its bit rate in Mbit/s."""
    rng, count = np.random.default_rng(0), int(60 * minutes * RATE_HZ)
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "b": "4000000", "maxrate": "6000000", "bufsize": "8000000"}
        stream = container.add_stream("libx264", RATE_HZ, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = container.add_stream("aac", SOUND_HZ, layout="stereo")
        for i in range(count):
            if i % (SHOT_S * RATE_HZ) == 0:
                noise = Image.fromarray(rng.integers(0, 255, (HEIGHT // 2, WIDTH, 3), np.uint8))
                texture = np.asarray(noise.filter(ImageFilter.GaussianBlur(2)).resize((2 * WIDTH, HEIGHT)))
                texture = (texture.astype(np.float32) - 127) * 3 + rng.uniform(60, 200, 3)
                texture = texture.clip(0, 255).astype(np.uint8)
            start = 4 * i % WIDTH
            picture = texture[:, start : start + WIDTH].copy()
            picture[200:500, 300:700] = texture[200:500, WIDTH - start : WIDTH - start + 400]  # moves back
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            if i % RATE_HZ == 0:
                noise = rng.normal(scale=rng.uniform(0.01, 0.2), size=(2, SOUND_HZ)).astype(np.float32)
                block = av.AudioFrame.from_ndarray(noise.clip(-1, 1), format="fltp", layout="stereo")
                block.sample_rate, block.pts, block.time_base = SOUND_HZ, i // RATE_HZ * SOUND_HZ, Fraction(1, SOUND_HZ)
                container.mux(sound.encode(block))
        container.mux([*stream.encode(None), *sound.encode(None)])
    return path.stat().st_size * 8 / (60e6 * minutes)


def decoded(path: Path, space: clipx.JointSpace) -> list[np.ndarray]:
    with opened(path) as source:
        times = wanted(VideoConfig(), source.seconds)
        return [frame.pixels for frame in frames_at(source, times, space.preprocess.fitted)]


def all_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return sum(1 for _ in container.decode(video=0))


def measure(minutes: float, repeats: int) -> dict[str, Any]:
    space = clipx.load_space()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "film.mp4")
        mbits, length = make_film(path, minutes), 60 * minutes

        def encode() -> None:
            pixels = [space.preprocess.resize(one[None] / np.float32(255)) for one in decoded(path, space)]
            for start in range(0, len(pixels), 32):
                space.encode_image(np.concatenate(pixels[start : start + 32]))

        def index(tracks: bool) -> float:
            with tempfile.TemporaryDirectory(dir=folder) as db, clipx.Index.create(Path(db, "my.index"), space) as made:
                return seconds(lambda: made.add([path], tracks=tracks))

        encode()
        decoding, whole, both, indexing, pictures = [], [], [], [], []
        for _ in range(repeats):
            decoding.append(seconds(lambda: decoded(path, space)))
            whole.append(seconds(lambda: all_frames(path)))
            both.append(seconds(encode))
            indexing.append(index(True))
            pictures.append(index(False))
    return {
        "film_mbit_s": round(mbits, 2),
        "decode_times_real_time": spread([length / one for one in decoding]),
        "whole_times_real_time": spread([length / one for one in whole]),
        "index_minutes_an_hour": spread([60 * one / length for one in indexing]),
        "pictures_minutes_an_hour": spread([60 * one / length for one in pictures]),
        "overlap": spread([one / two for one, two in zip(pictures, both, strict=True)]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--minutes", type=float, default=2.0, help="length of the film")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    found = measure(args.minutes, args.repeats)
    print(
        json.dumps(found, indent=1) if args.json else "\n".join(f"{name:24} {value}" for name, value in found.items())
    )


if __name__ == "__main__":
    main()
