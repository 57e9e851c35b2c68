"""What drawings of a meaning start from: people's drawings of 344 words, from QuickDraw's training split.

    python examples/recipes/sketch/starts.py --data DATA/images/quickdraw -o modalities/sketch/quickdraw.safetensors

Of each word the ``KEPT`` drawings stay that lite and nano name most surely. Their lines become cubics, as contours of
photos do, in bytes on a canvas of 224 pixels.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.special import log_softmax

import clipx
from clipx.modalities.sketch.contours import fitted
from clipx.modalities.sketch.curves import CANVAS
from clipx.modalities.sketch.quickdraw import FORMAT, UNIT_PX
from clipx.modalities.sketch.raster import rasterize
from clipx.prompts import spoken

KEPT = 3  # drawings of a word
STROKES = 3, 24  # of a drawing, at least and at most
MARGIN_PX = 20
SOURCE = "Google, The Quick, Draw! Dataset, CC BY 4.0; simplified drawings, fitted by cubics"


def cubics(lines: list[list[list[int]]]) -> np.ndarray:
    """QuickDraw's lines, each (xs, ys) -> (N, 4, 2) in the middle of the canvas."""
    found = []
    for xs, ys in lines:
        places = np.stack([xs, ys], 1).astype(float)
        along = np.concatenate([[0], np.linalg.norm(np.diff(places, axis=0), axis=1).cumsum()])
        if along[-1] >= 1:
            even = np.linspace(0, along[-1], max(9, int(along[-1])))
            found += [curve for _, curve in fitted(np.stack([np.interp(even, along, axis) for axis in places.T], 1))]
    curves = np.array(found).reshape(-1, 4, 2)
    if len(curves):
        low, high = curves[:, [0, 3]].min((0, 1)), curves[:, [0, 3]].max((0, 1))
        curves = (curves - (low + high) / 2) * ((CANVAS - 2 * MARGIN_PX) / (high - low).max()) + CANVAS / 2
    return curves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with quickdraw_simplified.ndjson")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    rows = [json.loads(line) for line in (given.data / "quickdraw_simplified.ndjson").read_text().splitlines()]
    rows = [row for row in rows if row["split"] == "train" and row["recognized"]]
    words = sorted({row["word"] for row in rows}, key=str.casefold)
    judges = []
    for name in ("lite", "nano"):
        space = clipx.load_space(name)
        said = space.embed_text([f"a drawing of a {spoken(word)}" for word in words]).vectors
        judges.append((space.domain("drawing") if "drawing" in space.domains else space, said))
    by_word: dict[str, list[tuple[float, str, np.ndarray]]] = {word: [] for word in words}
    for row in rows:
        curves = cubics(row["drawing"])
        if STROKES[0] <= len(curves) <= STROKES[1]:
            seen = rasterize(curves.astype(np.float32), CANVAS, 4.0)[None]
            own = words.index(row["word"])
            scores = [eye.encode_image(seen) @ said.T * 20 for eye, said in judges]
            sure = sum(float(log_softmax(score, 1)[0, own]) for score in scores)
            by_word[row["word"]].append((-sure, row["key_id"], curves))
    curves, counts, keys, labels = [], [], [], []
    for word, found in by_word.items():
        for _, key, one in sorted(found, key=lambda entry: entry[:2])[:KEPT]:
            curves.append(np.clip(np.round(one / UNIT_PX), 0, 255).astype(np.uint8))
            counts.append(len(one))
            keys.append(key)
            labels.append(words.index(word))
    tensors = {
        "points": torch.from_numpy(np.concatenate(curves)),
        "counts": torch.tensor(counts, dtype=torch.uint8),
        "words": torch.tensor(labels, dtype=torch.int16),
    }
    about = {"format": FORMAT, "words": [spoken(w) for w in words], "key_ids": keys, "source": SOURCE}
    save_file(tensors, given.out, metadata={"about": json.dumps(about)})
    print(f"{given.out}: {len(counts)} drawings of {len(set(labels))} words, {given.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
