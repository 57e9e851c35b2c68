"""Do edits do what they are asked for? Photos, pairs of opposite prompts, and a measure in Lab that each is to move.

    python examples/recipes/looks/measure.py --data DIR --space runs/looks/space --judge runs/looks-b/space \
        -o docs/results/edit/looks.json

Beside each edit stand two controls: a random latent of the same norm, and the edit of the opposite prompt. The photos
were never trained on. With --sheet FILE the edits are also drawn, a photo a row.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2lab
from torch import Tensor

import clipx
from clipx.editing import PhotoFilter, optimise
from clipx.metrics import bootstrap_ci95
from clipx.pictures import read_rgb

PROMPTS = {  # two prompts that are each other's opposite, and the measure that the first is to raise
    "warmth": ("a warm photo", "a cold photo"),
    "light": ("a bright photo", "a dark photo"),
    "chroma": ("a vivid photo", "a black and white photo"),
    "contrast": ("a high contrast photo", "a low contrast photo"),
}
SIDE = 224  # pixels of the longer side of the photos
MARGIN = 0.5  # units of Lab: what changes less has not moved


def measures(picture: Tensor) -> dict[str, float]:
    """Mean b*, mean L*, mean chroma and the standard deviation of L* of a (1, 3, H, W) picture."""
    lab = rgb2lab(picture[0].permute(1, 2, 0).cpu().numpy())
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    light, warmth = lab[..., 0], lab[..., 2]
    return {"warmth": warmth.mean(), "light": light.mean(), "chroma": chroma.mean(), "contrast": light.std()}


def small(path: Path) -> Tensor:
    """A photo whose longer side has ``SIDE`` pixels at most."""
    pixels = torch.from_numpy(read_rgb(path))
    share = min(1, SIDE / max(pixels.shape[1:]))
    size = [max(1, round(side * share)) for side in pixels.shape[1:]]
    found = torch.nn.functional.interpolate(pixels[None], size, mode="bicubic", antialias=True)[0]
    return found.clamp(0, 1)


def edit(number: int, photo: Tensor, space: Any, given: argparse.Namespace) -> list[dict[str, Any]]:
    """The edits of a photo by all prompts: by how much each moved its measure, and what the controls did."""
    made, rows = PhotoFilter(photo, given.strength), []
    copy, before = made.fitted(space), measures(photo[None])
    for what in given.pairs.split(","):
        pair = PROMPTS[what]
        for sign, text in zip((1, -1), pair, strict=True):
            found = optimise(copy, text, space=space, loss=given.loss, steps=given.steps, lr=given.lr)
            draw = torch.randn(10, generator=torch.Generator().manual_seed(100 * number + len(rows)))
            random = draw * (found.latent.norm() / draw.norm())
            with torch.no_grad():
                picture, other = made.render(found.latent), made.render(random)
            rows.append(
                {
                    "text": text,
                    "measure": what,
                    "sign": sign,
                    "moved": sign * (measures(picture)[what] - before[what]),
                    "random": sign * (measures(other)[what] - before[what]),
                    "loss": [found.before, found.loss],
                    "latent": found.latent.tolist(),
                    "picture": picture,
                }
            )
    for row, opposite in zip(rows, [rows[i ^ 1] for i in range(len(rows))], strict=True):
        row["opposite"] = -opposite["moved"]  # on this prompt's own scale
    return rows


def judged(photo: Tensor, rows: list[dict[str, Any]], judge: Any) -> None:
    """Add whether another space finds an edit nearer to its words than to the opposite ones, than the photo was."""
    with torch.no_grad():
        pictures = torch.cat([judge.encode_image(row["picture"]) for row in rows] + [judge.encode_image(photo[None])])
    said = torch.from_numpy(judge.encode_text([row["text"] for row in rows]))
    for i, row in enumerate(rows):
        direction = said[i] - said[i ^ 1]
        row["judged"] = float((pictures[i] - pictures[-1]) @ direction)


def share(values: list[bool]) -> dict[str, Any]:
    low, high = bootstrap_ci95(values)
    return {"share": float(np.mean(values)), "ci95": [low, high], "n": len(values)}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of some edits; which edit of a pair moved more is one fact of both."""
    pairs = {(row["photo"], row["measure"]): row["moved"] > row["opposite"] for row in rows}
    found = {
        "moved": share([row["moved"] > MARGIN for row in rows]),
        "random": share([row["random"] > MARGIN for row in rows]),
        "beats_opposite": share(list(pairs.values())),
        "mean": float(np.mean([row["moved"] for row in rows])),
        "mean_random": float(np.mean([row["random"] for row in rows])),
    }
    if "judged" in rows[0]:
        found["judged"] = share([row["judged"] > 0 for row in rows])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with photo/imagenet1k_sample")
    parser.add_argument("--space", default="lite")
    parser.add_argument("--judge", help="another space, which says whether the words fit")
    parser.add_argument("--loss", default="directional")
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--pairs", default=",".join(PROMPTS), help="of prompts, by their measures")
    parser.add_argument("--strength", type=float, default=0.7)
    parser.add_argument("--sheet", type=Path, help="also a PNG: photos down, prompts across")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args()
    every = sorted((given.data / "photo" / "imagenet1k_sample").glob("*.jpg"))
    files = [every[i * len(every) // given.photos] for i in range(given.photos)]
    space = clipx.load_space(given.space, backend="torch")
    judge = clipx.load_space(given.judge, backend="torch") if given.judge else None
    rows, sheet = [], []
    for number, path in enumerate(files):
        photo = small(path)
        edits = edit(number, photo, space, given)
        if judge:
            judged(photo, edits, judge)
        sheet.append([photo[None], *(row.pop("picture") for row in edits)])
        rows += [row | {"photo": path.name} for row in edits]
        print(path.name, *(f"{row['moved']:+.1f}" for row in edits), flush=True)
    texts = list(dict.fromkeys(row["text"] for row in rows))
    record = {
        "space": space.name,
        "space_id": space.id,
        "judge_id": judge.id if judge else None,
        "settings": {name: getattr(given, name) for name in ("loss", "photos", "steps", "lr", "pairs", "strength")},
        "margin": MARGIN,
        "data_sha256": hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest(),
        "results": {text: summary([row for row in rows if row["text"] == text]) for text in texts}
        | {"all": summary(rows)},
        "edits": [{name: _short(value) for name, value in row.items()} for row in rows],
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(record) + "\n", encoding="utf-8")
    if given.sheet:
        draw_sheet(sheet, given.sheet)


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [_short(one) for one in value]
    return round(float(value), 4) if isinstance(value, float | np.floating) else value


def draw_sheet(rows: list[list[Tensor]], path: Path, side: int = 160) -> None:
    """Pictures of a photo in a row, each in a square."""
    canvas = Image.new("RGB", (side * len(rows[0]), side * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            values = (picture[0] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
            shown = Image.fromarray(values)
            shown.thumbnail((side - 4, side - 4))
            canvas.paste(shown, (x * side, y * side))
    canvas.save(path)


if __name__ == "__main__":
    main()
