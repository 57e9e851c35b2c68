"""How `looks` is made: photos filtered at random against captions that say how (``clipx train space`` calls this)."""

from __future__ import annotations

import csv
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from looks import JITTER, draw, words
from torch import Tensor, nn
from torch.nn import functional as F

from clipx.backbone import build_model, build_tokenizer, short_text_features
from clipx.editing.photo_filter import PARAMETERS, corner_distance, filtered
from clipx.pictures import on_white, open_picture
from clipx.spaces.embedded import save_embedded
from clipx.spaces.two_towers import TokenRows
from clipx.training import TrainConfig, contrastive_loss, scaled, train

SETS = ("caltech101", "grocery_store", "clothing")
SIDE = 40


def make(data: Path, out: Path, plan: dict[str, Any], *, seed: int, share: float, exclude: Any, resume: bool) -> Path:
    """Train the two towers together and write ``out/space``."""
    config = scaled(TrainConfig(**plan["train"] | ({"seed": seed} if seed else {})), share)
    photos, digest = load(data)
    model = build_model(plan["model"], config.seed)
    tokens = TokenRows(model, build_tokenizer(plan["model"]), [*words(), ","], out)
    about = {"recipe": plan, "photos": len(photos), "data_sha256": digest}
    train(Towers(model), loss_of(photos, tokens, config, plan), config, out, identity=about, resume=resume)
    tokens.restore()
    return save_embedded(
        model,
        out / "space",
        name=plan["name"],
        version=plan["version"],
        model_cfg=plan["model"],
        preprocess_cfg=plan["preprocess"],
        vocabulary={"words": words()},
        token_index=tokens.rows.tolist(),
        licence=plan["licence"],
        about=about,
    )


def load(data: Path) -> tuple[Tensor, str]:
    """The training photos of the sets, squashed to (N, 3, 40, 40) uint8, and a hash of them."""
    found = []
    for folder in (data / "images" / name for name in SETS):
        with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get("official_split", row["split"]) == "train"]
        for row in rows:
            rgb = on_white(open_picture(folder / row["path"])).resize((SIDE, SIDE))
            found.append(np.asarray(rgb).transpose(2, 0, 1))
    photos = np.stack(found)
    return torch.from_numpy(photos), hashlib.sha256(photos.tobytes()).hexdigest()


class Towers(nn.Module):
    """Both towers of an open_clip model, and its scale."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        image = F.normalize(self.model.encode_image(pixels), dim=-1)
        text = F.normalize(short_text_features(self.model, tokens), dim=-1)
        return image, text, self.model.logit_scale.exp().clamp(max=50)


def loss_of(photos: Tensor, tokens: TokenRows, config: TrainConfig, plan: dict[str, Any]) -> Any:
    """CLIP's loss, where captions of the same looks are all true, and those of some of a photo's looks are left out."""
    side = plan["preprocess"]["size"][0]
    mean, std = plan["preprocess"]["mean"][0], plan["preprocess"]["std"][0]

    def loss(module: nn.Module, step: int, at: int) -> dict[str, Tensor]:
        rng = random.Random(json.dumps([config.seed, at]))
        drawn = [draw(rng) for _ in range(config.batch_size)]
        pixels = pictures(photos, [d[1] for d in drawn], side, rng)
        image, text, scale = module((pixels - mean) / std, tokens([d[2] for d in drawn]))
        looks = [set(d[0]) for d in drawn]
        same = torch.tensor([[float(a == b) for b in looks] for a in looks])
        within = torch.tensor([[a < b or b < a for b in looks] for a in looks])
        return {"loss": contrastive_loss(image, text, scale, same, within & (same == 0)), "scale": scale}

    return loss


def pictures(photos: Tensor, sliders: list[dict[str, float]], side: int, rng: random.Random) -> Tensor:
    """Crops of photos, some mirrored, by their sliders and a little of all others: (B, 3, side, side)."""
    crops = []
    for _ in sliders:
        top, left = rng.randrange(SIDE - side + 1), rng.randrange(SIDE - side + 1)
        crop = photos[rng.randrange(len(photos)), :, top : top + side, left : left + side]
        crops.append(crop.flip(-1) if rng.random() < 0.5 else crop)
    pixels = torch.stack(crops).float() / 255
    values = [[own.get(name, 0.0) + rng.gauss(0, JITTER) for name in PARAMETERS] for own in sliders]
    by = torch.tensor(values).clamp(-1, 1)[..., None, None, None].unbind(1)
    still = torch.zeros(side, side)  # grain is too fine for the tower
    return filtered(pixels, dict(zip(PARAMETERS, by, strict=True)), corner_distance(side, side, pixels), still)
