"""What the frozen towers say of the training pictures; kept on disk by chunk, so that a stopped run resumes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from clipx.files import write_whole
from clipx.pictures import on_white, open_picture
from clipx.preprocess import Preprocess
from clipx.progress import progress

CHUNK = 256
MEAN, STD = (0.498,) * 3, (0.502,) * 3  # EfficientNet-lite's own


def photos_as(size: int) -> Preprocess:
    """The short side to ``size`` px, then the centre."""
    return Preprocess((size, size), MEAN, STD, "bicubic", "shortest")


def photo(path: Path, preprocess: Preprocess) -> Tensor:
    """(3, H, W) in [0, 1], as ``clipx.modalities.image`` reads and resizes it."""
    fitted = preprocess.fit(on_white(open_picture(path), path))
    pixels = torch.from_numpy(np.asarray(fitted, np.float32) / 255).permute(2, 0, 1)
    return preprocess.resize(pixels[None])[0].clamp(0, 1)


def pooled(trunk: nn.Module, batches: Callable[[int, int], Tensor], count: int, cache: Path, key: str) -> np.ndarray:
    """(count, C) float32 pooled features.

    Args:
        trunk: a frozen tower without its classifier.
        batches: (start, stop) -> (n, 3, H, W) as the tower wants them.
        count: of the pictures.
        cache: folder of finished chunks.
        key: what else decides the features: the tower, the pictures.
    """
    cache.mkdir(parents=True, exist_ok=True)
    rows = []
    with progress("features", count) as advance:
        for start in range(0, count, CHUNK):
            stop = min(start + CHUNK, count)
            file = cache / f"{hashlib.sha256(f'{key} {start} {stop}'.encode()).hexdigest()[:20]}.npy"
            if not file.is_file():
                with torch.inference_mode():
                    parts = [
                        trunk(batches(i, min(i + 32, stop)).contiguous(memory_format=torch.channels_last)).float()
                        for i in range(start, stop, 32)
                    ]
                write_whole(file, partial(np.save, arr=torch.cat(parts).numpy()))
            rows.append(np.load(file))
            advance(stop - start)
    return np.concatenate(rows)


def photo_features(
    trunk: nn.Module, name: str, size: int, paths: Sequence[Path], cache: Path, faded: bool = False
) -> np.ndarray:
    """(N, C) pooled features of N photos in files; ``faded``: of grey ones, of less contrast and light by turns."""
    preprocess = photos_as(size)
    contents = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)).hexdigest()

    def batch(start: int, stop: int) -> Tensor:
        pixels = torch.stack([photo(path, preprocess) for path in paths[start:stop]])
        if faded:
            contrast = torch.linspace(0.3, 1.0, 7)[torch.arange(start, stop) % 7].view(-1, 1, 1, 1)
            light = torch.linspace(0, 1, 5)[torch.arange(start, stop) % 5].view(-1, 1, 1, 1) * (1 - contrast)
            pixels = (pixels.mean(1, keepdim=True) * contrast + light).expand(-1, 3, -1, -1)
        return preprocess.normalize(pixels)

    return pooled(trunk, batch, len(paths), cache, f"{name} {size} {contents}{' faded' if faded else ''}")
