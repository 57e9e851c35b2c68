"""How fast the towers hear: python tests/benchmarks/bench_audio.py [--json] [--repeats N]

Clips of 5 s, untrained weights, which take as long as trained ones.

- fbsp: the forward pass of 8 clips at 44.1 kHz, beside a literal one that makes the filter bank anew with complex
  numbers at every pass, multiplies by all 2,048 columns and leaves tensors as they lie; the two run in turn.
- logmel: 8 clips at 22.05 kHz, and one alone; times real time.
- files: OGG files to vectors with the small tower, decoding and resampling included, all at once and one after the
  other; times real time.

A ratio is the median over pairs of runs; low and high are the 10th and 90th percentile.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from timing import seconds, spread
from torch import Tensor

from clipx.modalities.audio import fbsp
from clipx.modalities.audio.encoder import Audio
from clipx.modalities.audio.towers import new_tower

CLIP_S, CLIPS = 5, 8


def literal_filters(m: Tensor, fb: Tensor, fc: Tensor) -> Tensor:
    """The filter bank by its formula in complex numbers."""
    t = math.pi * torch.linspace(-1, 1, fbsp.N_FFT)[None] + 1e-8
    m, fb, fc = m[:, None], fb[:, None], fc[:, None]
    x = fb * t / (m + 1e-8)
    window = torch.complex(torch.sin(x) / x, torch.zeros_like(x)) ** m
    kernel = torch.complex(torch.cos(fc * t), -torch.sin(fc * t))
    return torch.view_as_real(torch.sqrt(fb) * window * kernel / math.sqrt(fbsp.N_FFT))


def bench_fbsp(repeats: int) -> dict[str, Any]:
    tower: Any = new_tower("fbsp", 1024).eval().requires_grad_(False)
    plain: Any = new_tower("fbsp", 1024).to(memory_format=torch.contiguous_format).eval().requires_grad_(False)
    waves = 3000 * torch.randn(CLIPS, 1, CLIP_S * fbsp.SAMPLE_RATE_HZ, generator=torch.Generator().manual_seed(0))

    def literal() -> Tensor:
        bank = literal_filters(plain.fbsp.m, plain.fbsp.fb, plain.fbsp.fc)
        x = fbsp.decibels(fbsp.spectrum(fbsp.frames(waves, plain.window), bank))[:, 0]
        x = torch.nn.functional.max_pool2d(torch.relu(plain.bn1(plain.conv1(x))), 3, stride=2, padding=1)
        for number in range(1, 5):
            y = getattr(plain, f"layer{number}")(x)
            x = y * getattr(plain, f"att{number}")(x, y.shape[-2:])
        pooled = torch.nn.functional.adaptive_avg_pool2d(x, 1) * plain.att5(x, (1, 1))
        return plain.fc(pooled.flatten(1))

    away = float((tower(waves) - literal()).abs().max())
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(seconds(lambda: tower(waves)))
        theirs.append(seconds(literal))
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {"seconds": spread(ours), "literal_seconds": spread(theirs), "ratio": spread(ratios), "difference": away}


def bench_logmel(repeats: int) -> dict[str, Any]:
    tower: Any = new_tower("logmel", 256).eval().requires_grad_(False)
    waves = 0.1 * torch.randn(CLIPS, 1, CLIP_S * tower.sample_rate_hz, generator=torch.Generator().manual_seed(0))
    tower(waves)
    batch = [CLIPS * CLIP_S / seconds(lambda: tower(waves)) for _ in range(repeats)]
    alone = [CLIP_S / seconds(lambda: tower(waves[:1])) for _ in range(repeats)]
    return {"batch_times_real_time": spread(batch), "alone_times_real_time": spread(alone)}


def bench_files(repeats: int, count: int = 24) -> dict[str, Any]:
    import soundfile

    space: Any = SimpleNamespace(dim=256, device="cpu", on_cpu=True, name="random:bench", id="bench")
    space.domain = lambda name: space
    audio, rng = Audio(space), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{i}.ogg") for i in range(count)]
        for path in paths:
            soundfile.write(path, 0.1 * rng.standard_normal(CLIP_S * 44_100), 44_100)
        audio.encode([audio.load(paths[0])])
        whole, single = [], []
        for _ in range(repeats):
            whole.append(count * CLIP_S / seconds(lambda: audio.encode([audio.load(path) for path in paths])))
            single.append(count * CLIP_S / seconds(lambda: [audio.encode([audio.load(path)]) for path in paths]))
    return {"together_times_real_time": spread(whole), "one_by_one_times_real_time": spread(single)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    found = {
        "threads": torch.get_num_threads(),
        "fbsp": bench_fbsp(given.repeats),
        "logmel": bench_logmel(4 * given.repeats),
        "files": bench_files(given.repeats),
    }
    if given.json:
        print(json.dumps(found))
        return
    for name, figures in found.items():
        print(name, figures if isinstance(figures, int) else "")
        for what, value in figures.items() if isinstance(figures, dict) else ():
            print(f"  {what}: {value}")


if __name__ == "__main__":
    main()
