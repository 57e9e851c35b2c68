"""The control beside nano: the same tower and augmentation with a linear layer, on Caltech-101's labels alone.

    python examples/recipes/nano/plain_classifier.py --data DIR [-o runs/plain] [--steps 500]

Writes ``figures.json`` (top-1 and top-5 on the test split), which ``report.py --plain`` puts into the card.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path

import numpy as np
import pictures
import torch
import torch.nn.functional as F
from source import balanced
from torch import nn

from clipx.backbone import any_size_image_features, build_model
from clipx.metrics import bootstrap_ci95, classification
from clipx.training import TrainConfig, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds images/")
    parser.add_argument("--out", "-o", type=Path, default=Path("runs/plain"))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    plan = tomllib.loads((Path(__file__).parent / "recipe.toml").read_text())
    settings = {k: v for k, v in plan["train"].items() if k not in ("stages", "loss")}
    parts = [plan[part]["steps"] * plan[part]["batch_size"] for part in ("train", "tune")]
    nano_samples = round(sum(parts) * plan["source"]["shares"]["caltech101"])
    config = TrainConfig(**settings | {"steps": args.steps, "warmup": max(1, args.steps // 12)})
    mean, std = (torch.tensor(plan["preprocess"][k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    stages = plan["train"]["stages"]

    folder = args.data / "images" / "caltech101"
    shown, names = pictures.load_photos(folder, "train", {})
    classes, labels = np.unique(names, return_inverse=True)
    chance = balanced(labels, 0.5)
    torch.manual_seed(config.seed)
    module = Classifier(build_model(plan["model"], config.seed), plan["model"]["embed_dim"], len(classes)).to(
        memory_format=torch.channels_last
    )
    sized: dict[int, torch.Tensor] = {}

    def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([config.seed, draw])
        size = next(size for until, size in stages if step / config.steps < until)
        if size not in sized:
            sized.clear()
            sized[size] = pictures.resize(shown, round(size * 1.2))
        rows = rng.choice(len(labels), config.batch_size, p=chance)
        pixels = (pictures.augment(sized[size][rows].float() / 255, size, rng, photo=True) - mean) / std
        targets = F.one_hot(torch.from_numpy(labels[rows]), len(classes)).float()
        pictures.cutmix(pixels, targets, targets > 1, np.flatnonzero(rng.random(len(rows)) < 0.3), rng)
        logits = module(pixels.contiguous(memory_format=torch.channels_last))
        return {"loss": F.cross_entropy(logits, targets)}

    train(module, loss_of, config, args.out, resume=args.resume)

    shown, names = pictures.load_photos(folder, "test", {})
    truth = np.searchsorted(classes, names)
    size = plan["preprocess"]["size"][0]
    with torch.no_grad():
        pixels = (pictures.resize(shown, size).float() / 255 - mean) / std
        logits = torch.cat([module(part) for part in pixels.split(64)])
    found = classification(logits, truth)
    low, high = bootstrap_ci95(logits.argmax(1).numpy() == truth)
    figures = {
        "steps": args.steps,
        "samples": args.steps * config.batch_size,
        "nano_samples": nano_samples,
        "n": len(truth),
        "ci95": [low, high],
        **found,
    }
    (args.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


class Classifier(nn.Module):
    def __init__(self, model: nn.Module, width: int, classes: int):
        super().__init__()
        self.visual, self.head = model.visual, nn.Linear(width, classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.head(any_size_image_features(self.visual, pixels))


if __name__ == "__main__":
    main()
