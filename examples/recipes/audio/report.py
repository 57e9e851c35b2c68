"""Every figure of the sound towers in `nano`: the card and folder of the shipped one, and the table in the docs.

    python examples/recipes/audio/report.py --data DIR [--runs runs]

reads what the commands of README.md beside this file wrote (``audio-cv``, ``audio-ship``, ``audio-fbsp``,
``audio-without/LABEL``), measures audio-to-image retrieval, and writes ``modalities/audio/towers/nano``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from pathlib import Path

import numpy as np
from retrieval import RIGHT, measure
from scipy.stats import binomtest
from shipping import ship

import clipx
from clipx.metrics import bootstrap_ci95
from clipx.modalities.audio import Audio, AudioConfig
from clipx.modalities.audio.labelled import read_labels
from clipx.modalities.audio.towers import ABOUT
from clipx.modalities.audio.train import PROMPTS
from clipx.modalities.audio.weights import SHIPPED, WEIGHTS

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
TOWER = SHIPPED / "nano"
MARKS = "<!-- figures of sounds: written by report.py -->", "<!-- end of figures of sounds -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds audio/ and images/")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of the runs")
    parser.add_argument("--card", action="store_true", help="only write the texts again, from figures.json")
    args = parser.parse_args()
    if not args.card:
        ship(args.runs / "audio-ship/tower", TOWER, args.data / "audio/labels.csv")
        (TOWER / "figures.json").write_text(json.dumps(gather(args.data, args.runs), indent=1) + "\n")
    figures = json.loads((TOWER / "figures.json").read_text())
    (TOWER / "README.md").write_text((HERE / "card.md").read_text().format(table=table(figures), **said(figures)))
    page = ROOT / "docs/modalities/audio.md"
    before, after = re.split(f"{MARKS[0]}.*?{MARKS[1]}", page.read_text(), flags=re.DOTALL)
    page.write_text(f"{before}{MARKS[0]}\n{table(figures)}\n{MARKS[1]}{after}")


def gather(data: Path, runs: Path) -> dict:
    """All figures, from the runs' own records."""
    cv = json.loads((runs / "audio-cv/cv.json").read_text())
    if not cv.get("complete", len(cv["folds"]) == 4):
        raise SystemExit("the cross-validation is not complete: go on with --resume")
    without = {}
    for folder in sorted((runs / "audio-without").glob("*/tower")):
        found = json.loads((folder / ABOUT).read_text())
        label, names = folder.parent.name, found["labels"]
        row = found["figures"]["confusion"][names.index(label)]
        taken = names[int(np.argmax(row))]
        without[label] = {"right": row[names.index(label)], "n": sum(row), "most_often": taken}
    hits = np.concatenate([[1] * one["right"] + [0] * (one["n"] - one["right"]) for one in without.values()])
    return {
        "weights_sha256": hashlib.sha256((TOWER / WEIGHTS).read_bytes()).hexdigest(),
        "cross_validation": {
            "acc1": cv["acc1"],
            "folds": {name: {k: one[k] for k in ("acc1", "count", "steps")} for name, one in cv["folds"].items()},
            "ci95": bootstrap_ci95(right_of(list(cv["folds"].values()))),
        },
        "shipped": run_of(runs / "audio-ship/tower") | as_stored(data / "audio"),
        "fbsp": run_of(runs / "audio-fbsp/tower") if (runs / "audio-fbsp/tower").is_dir() else None,
        "curves": {
            tower: [json.loads(line) for line in (folder / "accuracy.jsonl").read_text().splitlines()]
            for tower, folder in (("small", runs / "audio-cv/fold-4"), ("ESResNeXt-fbsp", runs / "audio-fbsp"))
            if folder.is_dir()
        },
        "without": {
            "acc1": float(hits.mean()),
            "ci95": list(binomtest(int(hits.sum()), len(hits)).proportion_ci()),  # a bootstrap of no hits says nothing
            "chance": 1 / len(without),
            "classes": without,
        },
        "retrieval": measure(data, runs / "audio-cv"),
    }


def run_of(tower: Path) -> dict:
    """What a run wrote down of itself."""
    found = json.loads((tower / ABOUT).read_text())
    figures = found["figures"]
    kept = {name: found[name] for name in ("train", "fold", "sounds", "skip", "data_sha256")}
    return kept | {
        "synthetic": {key: value for key, value in found["synthetic"].items() if key != "labels"},
        "labels": len(found["labels"]),
        "bytes": (tower / WEIGHTS).stat().st_size,
        "acc1": figures["acc1"],
        "count": figures["count"],
        "steps": figures["steps"],
        "ci95": bootstrap_ci95(right_of([figures])),
    }


def as_stored(data: Path) -> dict:
    """Top-1 of the weights as they are shipped, in half precision, on the fold that they were not trained on."""
    space = clipx.load_space("nano")
    audio = Audio(space, AudioConfig(tower=str(TOWER)))
    sounds = read_labels(data, where=[("split", "esc10"), ("fold", json.loads((TOWER / ABOUT).read_text())["fold"])])
    names = sorted(set(sounds.labels))
    vectors = audio.encode([audio.load(path) for path in sounds.paths])
    named = clipx.ZeroShotClassifier(space, names, PROMPTS).predict(vectors, top_k=1)
    right = [one[0].label == label for one, label in zip(named, sounds.labels, strict=True)]
    return {"acc1": float(np.mean(right)), "ci95": bootstrap_ci95(right)}


def right_of(folds: list[dict]) -> np.ndarray:
    """One number a clip: whether it was named right."""
    right = [int(np.trace(np.array(one["confusion"]))) for one in folds]
    count = [one["count"] for one in folds]
    return np.concatenate([[1] * r + [0] * (n - r) for r, n in zip(right, count, strict=True)])


def percent(row: dict) -> str:
    low, high = row["ci95"]
    return f"{row['acc1']:.1%} ({low:.1%} to {high:.1%})"


def table(figures: dict) -> str:
    """The figures as Markdown."""
    cv, shipped, fbsp, without = (figures[k] for k in ("cross_validation", "shipped", "fbsp", "without"))
    folds = ", ".join(f"{one['acc1']:.1%}" for one in cv["folds"].values())
    lines = [
        "| ESC-10, ten classes, towers trained from nothing in `nano` | tower | clips | top-1 (95 %) |",
        "|---|---|---:|---:|",
        f"| cross-validation: train on three folds, test on the fourth ({folds}) | small | "
        f"{sum(one['count'] for one in cv['folds'].values())} | {percent(cv)} |",
        f"| fold 4, the tower that comes with clipx (it learnt {shipped['labels']} labels) | small | "
        f"{shipped['count']} | {percent(shipped)} |",
        *(
            f"| fold 4, AudioCLIP's tower, {one['train']['crop_s']:g} s crops, {one['steps']} steps of "
            f"{one['train']['batch_size']} | ESResNeXt-fbsp | {one['count']} | {percent(one)} |"
            for one in [fbsp]
            if one
        ),
        f"| zero-shot: each class left out of training in turn (chance {without['chance']:.0%}) | small | "
        f"{sum(one['n'] for one in without['classes'].values())} | {percent(without)} |",
        "",
        "| audio to image: the sound looks for its picture | hit@1 | hit@10 | mAP (95 %) |",
        "|---|---:|---:|---:|",
    ]
    names = {
        "sound": "the sound's own vector",
        "pivot": "text pivot: name the sound, search by the word",
        "oracle": "oracle: search by the true word",
        "chance": "chance",
    }
    for key, name in names.items():
        row = figures["retrieval"]["rows"][key]
        between = " ({:.3f} to {:.3f})".format(*row["ci95"]) if "ci95" in row else ""
        lines.append(f"| {name} | {row['hit@1']:.1%} | {row['hit@10']:.1%} | {row['mAP']:.3f}{between} |")
    return "\n".join(lines)


def curves(figures: dict) -> str:
    """Top-1 on fold 4 after each tenth of a training as Markdown."""
    lines = ["| tower | " + " | ".join(f"{k} %" for k in range(10, 101, 10)) + " |", "|---|" + "---:|" * 10]
    for tower, curve in figures["curves"].items():
        cells = " | ".join(f"{point['acc1']:.0%}" for point in curve)
        lines.append(f"| {tower}, {curve[-1]['step']:,} steps | {cells} |")
    return "\n".join(lines)


def by_label(figures: dict) -> str:
    """mAP of each label's sounds as Markdown."""
    lines = ["| mAP | sound | text pivot | oracle |", "|---|---:|---:|---:|"]
    for label, row in figures["retrieval"]["by_label"].items():
        cells = " | ".join(f"{row[name]['mAP']:.3f}" for name in ("sound", "pivot", "oracle"))
        lines.append(f"| {label.replace('_', ' ')} | {cells} |")
    return "\n".join(lines)


def said(figures: dict) -> dict[str, str]:
    """What the card's text leaves open."""
    shipped, without, found = figures["shipped"], figures["without"], figures["retrieval"]
    apart = ", ".join(
        f"{label.replace('_', ' ')} {one['right']} of {one['n']} (most often {one['most_often'].replace('_', ' ')})"
        for label, one in without["classes"].items()
    )
    train = {key: value for key, value in shipped["train"].items() if key not in ("tower",)}
    return {
        "megabytes": f"{shipped['bytes'] / 1e6:.1f}",
        "sounds": str(shipped["sounds"]),
        "labels": str(shipped["labels"]),
        "steps": str(shipped["steps"]),
        "train": ", ".join(f"{key} {value}" for key, value in train.items()),
        "without": apart,
        "queries": str(found["queries"]),
        "pictures": f"{found['pictures']:,}",
        "with_pictures": ", ".join(label.replace("_", " ") for label in RIGHT),
        "of_text_pivot": f"{found['of_text_pivot']:.2f} ({{:.2f}} to {{:.2f}})".format(*found["of_text_pivot_ci95"]),
        "by_label": by_label(figures),
        "curves": curves(figures),
        "acc_with": f"{found['acc1']['labels with pictures']:.1%}",
        "acc_without": f"{found['acc1']['labels without']:.1%}",
        "fbsp_train": ", ".join(f"{key} {fbsp['train'][key]}" for key in ("epochs", "batch_size", "lr", "crop_s"))
        if (fbsp := figures["fbsp"])
        else "not measured here",
    }


if __name__ == "__main__":
    main()
