"""Every figure of the model card of lite, and the card itself.

    python examples/recipes/lite/report.py --data DIR [--space lite] [--left-out FOLDER]

runs ``clipx eval`` on test splits that training never touched. ``--left-out`` is a space that was made for the
zero-shot figures alone, with ``--exclude @examples/recipes/lite/left_out.txt``: words and pictures of 41 classes of
Caltech-101, and shapes of the ten classes of ModelNet10, took no part. What is measured of it, photos and shaded views,
stands on the frozen photo tower, so that ``--steps 40`` will do. Writes ``figures.json`` and ``README.md`` into the
space's folder.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import sys
from pathlib import Path

import make as recipe
import numpy as np

import clipx
from clipx.metrics import bootstrap_ci95, classification
from clipx.spaces.embedded import SPACES

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("nano_report", HERE.parent / "nano" / "report.py")
assert spec is not None and spec.loader is not None
sys.path.append(str(HERE.parent / "nano"))
nano = importlib.util.module_from_spec(spec)
spec.loader.exec_module(nano)

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
    parser.add_argument("--left-out", type=Path, help="the space made with --exclude @left_out.txt")
    parser.add_argument("--card", action="store_true", help="only write the card again, from figures.json")
    args = parser.parse_args()
    folder = SPACES / args.space if (SPACES / args.space).is_dir() else Path(args.space)
    if not args.card:
        has_tower = sounds(folder)
        rows = [nano.evaluate(row, args.data, str(folder)) for row in ROWS if has_tower or row[1] != "audio"]
        rows.insert(1, imagenet(args.data / "photo", folder))
        if args.left_out:
            rows += [unseen(args.data, args.left_out), unseen_shapes(args.data, args.left_out)]
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
    classes = recipe.imagenet()
    place = {f"n{synset}": i for i, (_, synset) in enumerate(classes)}
    with (photos / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["fold"] == "imagenet1k"]
    truth = np.array([place[row["wnid"]] for row in rows])
    text = space.encode_text([f"a photo of a {name}" for name, _ in classes])
    vectors = clipx.embed([photos / row["path"] for row in rows], space=space).vectors
    return row_of("ImageNet sample (maybe training photos of the tower)", nano.SEEN, vectors @ text.T, truth)


def unseen(data: Path, folder: Path) -> dict:
    """Caltech-101 photos of the classes whose words and pictures took no part, among all hundred names."""
    space = clipx.load_space(folder)
    left_out = json.loads((folder / "space.json").read_text())["exclude"]
    excluded = {name for name in left_out if not name.startswith("shapes:")}
    with (data / "images/caltech101/labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    kept = [row for row in rows if row["split"] == "test" and row["label"] in excluded]
    text = space.encode_text([f"a photo of a {name}" for name in names])
    vectors = clipx.embed([data / "images/caltech101" / row["path"] for row in kept], space=space).vectors
    truth = np.array([names.index(row["label"]) for row in kept])
    said = row_of(f"Caltech-101 photos of {len(excluded)} classes left out", nano.UNSEEN, vectors @ text.T, truth)
    return said | {"note": "own run, not shipped"}


def unseen_shapes(data: Path, folder: Path) -> dict:
    """ModelNet10 clouds by shaded views; their words are known from photos, and no shape of them was shown."""
    extra = ["--projection", "shaded"]
    row = ("ModelNet10 clouds, classes never shown as shapes", *nano.ROWS[2][1:3], extra, nano.UNSEEN)
    return nano.evaluate(row, data, str(folder)) | {"note": "own run, not shipped"}


def row_of(name: str, regime: str, scores: np.ndarray, truth: np.ndarray) -> dict:
    """A row of the table, from (N, K) scores and (N,) true classes."""
    return {
        "name": name,
        "regime": regime,
        "labels": scores.shape[1],
        "n": len(truth),
        "metrics": classification(scores, truth),
        "ci95": {"acc1": list(bootstrap_ci95(scores.argmax(1) == truth))},
    }


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
