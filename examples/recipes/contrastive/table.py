"""Every self-supervised method on the same pictures, for the same number of them: the records of docs/contrastive.md.

    python examples/recipes/contrastive/table.py --data DATA --runs runs/contrastive --records docs/results/contrastive
    python examples/recipes/contrastive/table.py --records docs/results/contrastive --page docs/contrastive.md

DATA holds images/caltech101 and images/quickdraw, as examples/recipes/nano reads them. A tower learns from the training
photos and sketches of both, without labels; then nearest neighbours and a linear classifier on its frozen features
learn from the labelled training rows and are measured on the test rows, for each set by itself. Beside them stand the
same tower with random weights and trained with labels. A method whose record is there is left out, and a stopped run
goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from clipx.contrastive import (
    METHODS,
    ImageTower,
    decoded,
    features,
    knn_predictions,
    linear_predictions,
    new_tower,
    pretrain,
    small,
    ssl_config,
)
from clipx.contrastive.augment import draw_views
from clipx.contrastive.pictures import MARGIN
from clipx.contrastive.tower import Pixels
from clipx.contrastive.train import Order
from clipx.files import read_table, write_whole
from clipx.metrics import bootstrap_ci95
from clipx.training import TrainConfig, train

SIZE, BATCH, SEED = 64, 64, 0
TOWER = {"embed_dim": 256, "vision_cfg": {"layers": [1, 1, 1, 1], "width": 12}}  # 0.8 million parameters
SETS = ("caltech101", "quickdraw")
CONTROLS = ("random", "supervised")
BEGIN, END = "<!-- contrastive -->", "<!-- end -->"


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A set: pictures (N, 3, R, R) uint8, labels (N,), which of them are for testing, and the names of the classes."""

    pictures: np.ndarray
    labels: torch.Tensor
    test: np.ndarray
    classes: list[str]


def read_set(folder: Path, cache: Path) -> Labelled:
    """Photos by their files; sketches as the array beside labels.csv holds them, dark on white."""
    rows = read_table(folder / "labels.csv")
    if folder.name == "quickdraw":
        with np.load(folder / "quickdraw_64.npz", allow_pickle=False) as arrays:
            drawn = arrays["images"][[int(row["npz_index"]) for row in rows]]
        side = round(SIZE * MARGIN)
        grey = torch.from_numpy(np.ascontiguousarray(drawn)).reshape(len(drawn), 1, *drawn.shape[-2:]).float()
        grey = F.interpolate(grey, (side, side), mode="bicubic", antialias=True).clamp(0, 255).round().byte()
        pictures = grey.expand(-1, 3, -1, -1).numpy()
    else:
        pictures = decoded([folder / row["path"] for row in rows], SIZE, cache)
    classes = {name: i for i, name in enumerate(sorted({row["label"] for row in rows}))}
    labels = torch.tensor([classes[row["label"]] for row in rows])
    test = np.array([row["split"] == "test" for row in rows])
    return Labelled(np.asarray(pictures), labels, test, list(classes))


def supervised(sets: dict[str, Labelled], config: TrainConfig, out: Path) -> ImageTower:
    """The control that sees labels: cross-entropy over the classes of both sets, crops as SimCLR's without colours."""
    tower, shown, targets = new_tower(TOWER, SIZE, SEED), [], []
    for one in sets.values():
        first = 0 if not targets else int(torch.cat(targets).max()) + 1
        shown.append(one.pictures[~one.test])
        targets.append(one.labels[torch.from_numpy(~one.test)] + first)
    pictures, labels = np.concatenate(shown), torch.cat(targets)
    views = dataclasses.replace(
        small(METHODS["simclr-v1"]).views, large=1, colour=(0.4, 0.4, 0.4, 0.0), blur=(0.0,) * 3
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = torch.nn.Sequential(Pixels(tower.visual), torch.nn.Linear(TOWER["embed_dim"], int(labels.max()) + 1))
    order = Order(len(pictures), config.batch_size, SEED)

    def loss_of(module: torch.nn.Module, step: int, draw: int) -> dict[str, torch.Tensor]:
        numbers = order.batch(draw)
        (pixels,) = draw_views(
            torch.from_numpy(pictures[numbers]).float() / 255, views, SIZE, np.random.default_rng([SEED, 12, draw])
        )
        logits = module(pixels.contiguous(memory_format=torch.channels_last))
        return {"loss": F.cross_entropy(logits, labels[torch.from_numpy(numbers)])}

    train(network, loss_of, config, out, resume=True)
    tower.visual.eval()
    return tower


def measured(tower: ImageTower, one: Labelled) -> dict[str, Any]:
    """Accuracy of both classifiers on the test rows, with a bootstrap interval over them."""
    found = features(tower, one.pictures)
    test = torch.from_numpy(one.test)
    given = found[~test], one.labels[~test], found[test]
    result: dict[str, Any] = {"n": int(test.sum()), "train": int((~test).sum()), "classes": int(one.labels.max()) + 1}
    for name, predict in (("knn", knn_predictions), ("linear", linear_predictions)):
        right = (predict(*given) == one.labels[test]).numpy().astype(float)
        result[name] = {"acc1": right.mean(), "ci95": list(bootstrap_ci95(right))}
    return result


def record_of(name: str, sets: dict[str, Labelled], epochs: int, runs: Path) -> dict[str, Any]:
    """Train one tower, or a control, and measure it."""
    count = sum(int((~one.test).sum()) for one in sets.values())
    config = ssl_config(steps=epochs * (count // BATCH), batch_size=BATCH, seed=SEED)
    out = runs / name
    if name == "random":
        tower = new_tower(TOWER, SIZE, SEED)
        tower.visual.eval()
    elif name == "supervised":
        tower = supervised(sets, config, out)
    else:
        pictures = np.concatenate([one.pictures[~one.test] for one in sets.values()])
        tower = pretrain(pictures, small(METHODS[name]), new_tower(TOWER, SIZE, SEED), config, out, resume=True)
        tower.save(runs / f"{name}.safetensors")
    history = out / "history.jsonl"
    lines = history.read_text().splitlines() if history.exists() else []
    about: dict[str, Any] = {"method": name, "epochs": 0 if name == "random" else epochs, "pictures": count}
    about |= {"batch": BATCH, "size": SIZE, "seed": SEED, "steps": len(lines), "tower": TOWER}
    about["parameters"] = sum(p.numel() for p in tower.visual.parameters())
    about["minutes"] = round(sum(json.loads(line)["s"] for line in lines) / 60, 1)
    if name in METHODS:
        about["settings"] = dataclasses.asdict(small(METHODS[name]))
    return about | {"sets": {key: measured(tower, one) for key, one in sets.items()}}


def make(data: Path, runs: Path, records: Path, epochs: int, names: list[str]) -> None:
    """The records that are missing."""
    records.mkdir(parents=True, exist_ok=True)
    sets = {name: read_set(data / "images" / name, runs / "pictures") for name in SETS}
    for name in names:
        path = records / f"{name}.json"
        if not path.exists():
            write_whole(path, json.dumps(record_of(name, sets, epochs, runs), indent=1) + "\n")
        print(name, json.loads(path.read_text())["sets"], flush=True)


def page(records: Path, path: Path) -> None:
    """Write the table between the markers of a page."""
    rows = []
    for name in (*CONTROLS, *METHODS):
        if not (records / f"{name}.json").exists():
            continue
        record = json.loads((records / f"{name}.json").read_text())
        cells = [_cell(record["sets"][key][way]) for key in SETS for way in ("knn", "linear")]
        rows.append(f"| {name} | {' | '.join(cells)} | {record['steps']} |")
    head = "| method | Caltech-101, kNN | linear | QuickDraw, kNN | linear | steps |\n|---|---:|---:|---:|---:|---:|\n"
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    if not rest:
        raise SystemExit(f"{path}: no line {BEGIN!r}")
    write_whole(path, before + BEGIN + "\n" + head + "".join(row + "\n" for row in rows) + END + rest.partition(END)[2])


def _cell(found: dict[str, Any]) -> str:
    low, high = found["ci95"]
    return f"{found['acc1']:.1%} ({100 * low:.1f} to {high:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds images/")
    parser.add_argument("--runs", type=Path, default=Path("runs/contrastive"), help="checkpoints and towers")
    parser.add_argument("--records", type=Path, default=Path("docs/results/contrastive"))
    parser.add_argument("--epochs", type=int, default=1, help="passes over the pictures, the same for all")
    parser.add_argument("--methods", default=",".join([*CONTROLS, *METHODS]), help="a,b,c")
    parser.add_argument("--page", type=Path, help="write the table of the records into this page")
    given = parser.parse_args()
    if given.data is not None:
        make(given.data, given.runs, given.records, given.epochs, given.methods.split(","))
    if given.page is not None:
        page(given.records, given.page)


if __name__ == "__main__":
    main()
