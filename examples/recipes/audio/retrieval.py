"""Audio to image: a sound looks for pictures of what made it, through a tower that was not trained on it.

    python examples/recipes/audio/retrieval.py --data DIR --runs runs/audio-cv [--json]

Queries are ESC-10's clips, each through the tower of the run that held its fold out. The gallery are test pictures that
`nano` never learnt from, all classes, so that most of them are distractors. Beside the sound's own vector stand chance,
the text pivot (the tower names the sound among the ten labels, and that word searches) and the oracle (the true word
searches).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import clipx
from clipx.metrics import bootstrap_ci95, ranking
from clipx.modalities.audio import Audio, AudioConfig
from clipx.modalities.audio.labelled import read_labels
from clipx.modalities.audio.train import PROMPTS

# what a sound's picture may show: labels of Caltech-101 and QuickDraw; the other three classes have no picture there
RIGHT = {
    "dog": {"dalmatian", "dog"},
    "helicopter": {"helicopter"},
    "rooster": {"rooster"},
    "clock_tick": {"clock"},
    "rain": {"rain"},
    "sea_waves": {"ocean"},
    "crackling_fire": {"campfire"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds audio/ and images/")
    parser.add_argument("--runs", type=Path, required=True, help="what `clipx train audio --fold all -o` wrote")
    parser.add_argument("--space", default="nano", help="the space of those runs")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.data, args.runs, args.space)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{found['queries']} sounds, {found['pictures']} pictures, {found['folds']} folds")
    for name, row in found["rows"].items():
        print(f"{name:8} " + "  ".join(f"{key} {100 * row[key]:5.1f} %" for key in ("hit@1", "hit@10", "mAP")))
    print(f"mAP of sound / text pivot: {found['of_text_pivot']:.2f}")


def measure(data: Path, runs: Path, name: str = "nano") -> dict:
    """Figures of all folds that have a tower, over the queries that have pictures."""
    space = clipx.load_space(name)
    pictures, shown = gallery(data, space)
    sounds = read_labels(data / "audio", where=[("split", "esc10")])
    names = sorted(set(sounds.labels))
    words = clipx.ZeroShotClassifier(space, names, PROMPTS).weights.vectors
    rows_of, labels = [], []
    folds = sorted(p.name[5:] for p in runs.glob("fold-*") if (p / "tower/audio.json").exists())
    for fold in folds:
        audio = Audio(space, AudioConfig(tower=str(runs / f"fold-{fold}" / "tower")))
        rows = [i for i, f in enumerate(sounds.folds) if f == fold]
        rows_of.append(audio.encode([audio.load(sounds.paths[i]) for i in rows]).vectors)
        labels += [sounds.labels[i] for i in rows]
    vectors = np.concatenate(rows_of)
    named = (vectors @ words.T).argmax(1)
    truth = np.array([names.index(label) for label in labels])
    asked = np.array([label in RIGHT for label in labels])
    right = np.array([[what in RIGHT.get(label, ()) for what in shown] for label in labels])
    queries = {"sound": vectors, "pivot": words[named], "oracle": words[truth]}
    rows = {name: figures(some[asked] @ pictures.T, right[asked]) for name, some in queries.items()}
    rng = np.random.default_rng(0)
    blind = rng.random((10, *right[asked].shape), dtype=np.float32)
    draws = [figures(scores, right[asked], interval=False) for scores in blind]
    rows["chance"] = {key: float(np.mean([draw[key] for draw in draws])) for key in draws[0]}
    without = ~asked
    return {
        "rows": rows,
        "of_text_pivot": rows["sound"]["mAP"] / rows["pivot"]["mAP"],
        "of_text_pivot_ci95": ratio_ci95(
            *(queries[name][asked] @ pictures.T for name in ("sound", "pivot")), right[asked]
        ),
        "queries": int(asked.sum()),
        "pictures": len(shown),
        "folds": len(folds),
        "by_label": {
            label: {name: figures(some[own] @ pictures.T, right[own], interval=False) for name, some in queries.items()}
            for label in RIGHT
            if (own := np.array([one == label for one in labels])).any()
        },
        "acc1": {
            "labels with pictures": float((named == truth)[asked].mean()),
            "labels without": float((named == truth)[without].mean()),
        },
    }


def figures(scores: np.ndarray, right: np.ndarray, interval: bool = True) -> dict:
    """hit@1, hit@10 and mAP, and the 95 % interval of mAP over the queries."""
    found = ranking(scores, right, ks=(1, 10))
    row = {key: found[key] for key in ("hit@1", "hit@10", "mAP")}
    if interval:
        each = [ranking(scores[i : i + 1], right[i : i + 1])["mAP"] for i in range(len(scores))]
        row["ci95"] = bootstrap_ci95(each)
    return row


def ratio_ci95(ours: np.ndarray, theirs: np.ndarray, right: np.ndarray) -> list[float]:
    """95 % interval of the ratio of two mAP, the same queries drawn for both."""
    first, second = (
        np.array([ranking(scores[i : i + 1], right[i : i + 1])["mAP"] for i in range(len(scores))])
        for scores in (ours, theirs)
    )
    drawn = np.random.default_rng(0).integers(len(first), size=(10_000, len(first)))
    return np.quantile(first[drawn].mean(1) / second[drawn].mean(1), [0.025, 0.975]).tolist()


def gallery(data: Path, space: clipx.JointSpace) -> tuple[np.ndarray, list[str]]:
    """Vectors and labels of the test pictures: Caltech-101's photos and QuickDraw's sketches."""
    import csv

    image = clipx.get_modality("image")(space)
    folder = data / "images" / "caltech101"
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    photos = image.encode([image.load(folder / row["path"]) for row in rows]).vectors
    with np.load(data / "images/quickdraw/quickdraw_64.npz", allow_pickle=False) as file:
        kept = file["is_test"].astype(bool)
        drawn, classes, names = file["images"][kept], file["labels"][kept], file["names"]
    sketches = image.encode([image.from_array(one) for one in drawn]).vectors
    return np.concatenate([photos, sketches]), [row["label"] for row in rows] + [str(names[k]) for k in classes]


if __name__ == "__main__":
    main()
