"""Does a space know words of looks? Photos filtered to both ends of a slider, against pairs of opposite words.

    python examples/recipes/looks/knows.py --data DIR --space lite -o docs/results/edit/knows-lite.json

For each photo and pair: do the vectors of the two filtered photos differ in the direction in which the vectors of the
two sentences differ? A space that knows nothing of it says yes of one half, or the same of all photos by chance.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch
from measure import PROMPTS, SIDE, small

import clipx
from clipx.editing.photo_filter import PARAMETERS, PhotoFilter
from clipx.metrics import bootstrap_ci95

SLIDERS = {"warmth": "temperature", "light": "exposure", "chroma": "saturation", "contrast": "contrast"}
AMOUNT = 0.8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with photo/imagenet1k_sample")
    parser.add_argument("--space", default="lite")
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    every = sorted((given.data / "photo" / "imagenet1k_sample").glob("*.jpg"))
    files = [every[i * len(every) // given.photos] for i in range(given.photos)]
    space = clipx.load_space(given.space, backend="torch")
    made = [PhotoFilter(small(path)).fitted(space) for path in files]
    results = {}
    for what, slider in SLIDERS.items():
        more, less = torch.from_numpy(space.encode_text(list(PROMPTS[what])))
        latent = torch.zeros(len(PARAMETERS))
        latent[PARAMETERS.index(slider)] = torch.atanh(torch.tensor(AMOUNT))
        with torch.no_grad():
            changes = torch.cat(
                [space.encode_image(one.render(latent)) - space.encode_image(one.render(-latent)) for one in made]
            )
        cosines = torch.nn.functional.cosine_similarity(changes, (more - less)[None])
        right = (cosines > 0).numpy()
        low, high = bootstrap_ci95(right)
        results[what] = {
            "prompts": PROMPTS[what], "slider": slider, "share": float(right.mean()), "ci95": [low, high],
            "n": len(right), "cosine": float(cosines.mean()),
        }  # fmt: skip
        print(what, results[what], flush=True)
    record = {
        "space": space.name,
        "space_id": space.id,
        "amount": AMOUNT,
        "side": SIDE,
        "data_sha256": hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest(),
        "results": results,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
