"""Every figure of the model card of lite, and the card itself.

    python examples/recipes/lite/report.py --data DIR [--space lite] [--unseen FOLDER] [--shapes FOLDER]

runs ``clipx eval`` on test splits that training never touched, and on the folders of two runs that were made for the
zero-shot figures alone: ``--unseen`` of a run that left out the words of ``unseen.txt``, ``--shapes`` of one that never
saw the ten ModelNet10 classes as shapes. Writes ``figures.json`` and ``README.md`` into the space's folder.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import timm
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

import clipx
from clipx.space import SPACES

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("nano_report", HERE.parent / "nano" / "report.py")
assert spec is not None and spec.loader is not None
sys.path.append(str(HERE.parent / "nano"))
nano = importlib.util.module_from_spec(spec)
spec.loader.exec_module(nano)

SHAPES = "bathtub,bed,chair,desk,dresser,monitor,night stand,sofa,table,toilet"
# Sounds of ESC-10 are not here: the shipped sound tower learnt from all of its folds, and its card has them held out.
ROWS = [
    *nano.ROWS,
    ("45 sounds beyond ESC-10", "audio", "audio_more", [], nano.UNSEEN),
    ("39 meshes, rendered", "pointcloud", "meshes", ["--projection", "mesh_raster"], "names known, shapes never seen"),
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds images/ and others")
    parser.add_argument("--space", default="lite", help="an embedded name, or the folder that a run wrote")
    parser.add_argument("--unseen", type=Path, help="the space made with --exclude @unseen.txt")
    parser.add_argument("--shapes", type=Path, help="the space made without the ten ModelNet10 classes as shapes")
    parser.add_argument("--card", action="store_true", help="only write the card again, from figures.json")
    args = parser.parse_args()
    folder = SPACES / args.space if (SPACES / args.space).is_dir() else Path(args.space)
    if not args.card:
        rows = [nano.evaluate(row, args.data, str(folder)) for row in ROWS if sounds(folder) or row[1] != "audio"]
        rows.insert(1, imagenet(args.data / "photo", folder))
        if args.unseen:
            rows.append(unseen(args.data, args.unseen))
        if args.shapes:
            rows.append(nano.evaluate((*nano.ROWS[2][:4], nano.UNSEEN), args.data, str(args.shapes)))
            rows[-1] |= {"name": "ModelNet10 classes never shown as shapes", "note": "own run, not shipped"}
        weights = json.loads((folder / "space.json").read_text())["weights_sha256"]
        (folder / "figures.json").write_text(json.dumps({"weights_sha256": weights, "rows": rows}, indent=1) + "\n")
    (folder / "README.md").write_text(card(folder))
    sys.stdout.write((folder / "README.md").read_text())


def sounds(folder: Path) -> bool:
    """Whether the space has a sound tower."""
    from clipx.modalities.audio.towers import shipped_tower

    return shipped_tower(clipx.load_space(folder)) is not None


def imagenet(photos: Path, folder: Path) -> dict:
    """One photo each of 156 classes, among the 1,000 names of ImageNet as open_clip has them, by the text tower."""
    space = clipx.load_space(folder)
    listed = (Path(timm.__file__).parent / "data/_info/imagenet_synsets.txt").read_text().split()
    with (photos / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] == "imagenet1k"]
    truth = np.array([listed.index(row["wnid"]) for row in rows])
    text = space.encode_text([f"a photo of a {name}" for name in IMAGENET_CLASSNAMES])
    vectors = clipx.embed([photos / row["path"] for row in rows], space=space).vectors
    return row_of("ImageNet sample (maybe training photos of the tower)", nano.SEEN, (vectors @ text.T).numpy(), truth)


def unseen(data: Path, folder: Path) -> dict:
    """Caltech-101 photos of the classes whose words and pictures took no part, among all hundred names."""
    space = clipx.load_space(folder)
    excluded = set(json.loads((folder / "space.json").read_text())["exclude"])
    with (data / "images/caltech101/labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    kept = [row for row in rows if row["split"] == "test" and row["label"] in excluded]
    text = space.encode_text([f"a photo of a {name}" for name in names])
    vectors = clipx.embed([data / "images/caltech101" / row["path"] for row in kept], space=space).vectors
    truth = np.array([names.index(row["label"]) for row in kept])
    said = row_of(
        f"Caltech-101 photos of {len(excluded)} classes left out", nano.UNSEEN, (vectors @ text.T).numpy(), truth
    )
    return said | {"note": "own run, not shipped"}


def row_of(name: str, regime: str, scores: np.ndarray, truth: np.ndarray) -> dict:
    """A row of the table, with a bootstrap over the samples."""
    place = (scores > scores[np.arange(len(truth)), truth][:, None]).sum(1)
    hit = place < 1
    drawn = np.random.default_rng(0).integers(len(hit), size=(10_000, len(hit)))
    recall = np.mean([hit[truth == k].mean() for k in np.unique(truth)])
    return {
        "name": name, "regime": regime, "labels": scores.shape[1], "n": len(truth),
        "metrics": {
            "acc1": float(hit.mean()), "acc5": float((place < 5).mean()), "mean_per_class_recall": float(recall),
        },
        "ci95": {"acc1": np.quantile(hit[drawn].mean(1), [0.025, 0.975]).tolist()},
    }  # fmt: skip


def card(folder: Path) -> str:
    """The model card in Markdown, from the figures and what the recipe wrote down."""
    about = json.loads((folder / "space.json").read_text())
    figures = json.loads((folder / "figures.json").read_text())
    known = json.loads((folder / "vocabulary.json").read_text())
    return (
        (HERE / "card.md")
        .read_text()
        .format(
            version=about["version"],
            licence=about["licence"],
            table=nano.table(figures | {"plain": None}),
            commands="\n".join(row["command"] for row in figures["rows"] if "command" in row and "note" not in row),
            megabytes=f"{about['weights_bytes'] / 1e6:.1f}",
            weights_sha256=about["weights_sha256"],
            data_sha256=about["data_sha256"],
            sizes=", ".join(f"{name} {count:,}" for name, count in about["data"].items()),
            phrases=f"{len(known['phrases']):,}",
            meanings=f"{1 + max(known['phrases'].values()):,}",
            seen=f"{known['seen']:,}",
            seed=about["seed"],
        )
    )


if __name__ == "__main__":
    main()
