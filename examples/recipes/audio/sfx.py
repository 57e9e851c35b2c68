"""The sound-effects tower of a space: fitted, measured, and shipped with its card.

    python examples/recipes/audio/sfx.py --data DIR --space lite [-o runs/audio-lite] [--synthetic 0.25] [--card]

fits it on ESC-10 with each fold held out, with each label left out besides, and on all folds; evaluates it on
``audio_more``, where DIR holds it, whose labels were never trained on; and writes ``modalities/audio/towers/SPACE``.
With ``--card`` only the card is written again. Everything is closed form on features that are computed once: some
minutes.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np

import clipx
from clipx.metrics import bootstrap_ci95
from clipx.modalities.audio import Audio, AudioConfig
from clipx.modalities.audio.config import AudioTrainConfig
from clipx.modalities.audio.labelled import read_labels
from clipx.modalities.audio.sfx import NETWORK
from clipx.modalities.audio.synthesis import LABELS
from clipx.modalities.audio.towers import ABOUT
from clipx.modalities.audio.train import cross_validate, train_audio
from clipx.modalities.audio.weights import SHIPPED, WEIGHTS
from clipx.prompts import spoken

sys.path.append(str(Path(__file__).parent))
from shipping import ship

HERE = Path(__file__).parent
SKIP = ("1-40730-A-1.ogg", "2-96460-A-1.ogg")  # CC Sampling+: no shipped weights may learn from them
WHERE = [("split", "esc10")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds audio/ and audio_more/")
    parser.add_argument("--space", required=True)
    parser.add_argument("-o", "--out", type=Path, default=None, help="folder of the runs; runs/audio-SPACE by default")
    parser.add_argument("--synthetic", type=float, default=0.0, help="share of synthesised sounds in what is shipped")
    parser.add_argument("--dry", action="store_true", help="measure, and write the figures to the runs' folder only")
    parser.add_argument("--card", action="store_true", help="only write the card again, from figures.json")
    args = parser.parse_args()
    folder = SHIPPED / args.space
    if not args.card:
        space, out = clipx.load_space(args.space), args.out or Path("runs") / f"audio-{args.space}"
        figures = measure(space, args.data, out, AudioTrainConfig(tower="sfx", synthetic=args.synthetic))
        (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
        print(table(figures))
        if args.dry:
            return
        ship(out / "ship/tower", folder, args.data / "audio/labels.csv")
        shutil.copyfile(out / "figures.json", folder / "figures.json")
    figures = json.loads((folder / "figures.json").read_text())
    about = json.loads((folder / ABOUT).read_text())
    (folder / "README.md").write_text(card(args.space, figures, about))


def measure(space: clipx.JointSpace, data: Path, out: Path, config: AudioTrainConfig) -> dict:
    """All figures of a space; the runs lie in ``out``."""
    sounds = data / "audio"
    plain = AudioTrainConfig(tower="sfx")  # what is measured by folds knows recordings only
    cv = cross_validate(sounds, space, out / "cv", plain, where=WHERE)
    right = [one for fold in cv["folds"].values() for one in right_of(fold["confusion"])]
    names = sorted(set(read_labels(sounds, where=WHERE).labels))
    without = {}
    for at, name in enumerate(names):
        found = cross_validate(sounds, space, out / "without" / name, plain, where=WHERE, exclude=[name])
        row = np.sum([fold["confusion"][at] for fold in found["folds"].values()], axis=0)
        without[name] = {"right": int(row[at]), "n": int(row.sum()), "most_often": names[int(row.argmax())]}
    hits = [k < one["right"] for one in without.values() for k in range(one["n"])]
    shipped = train_audio(sounds, space, out / "ship", config, where=WHERE, skip=SKIP)
    more = data / "audio_more"
    return {
        "space": space.id,
        "cross_validation": {
            "acc1": float(np.mean(right)),
            "ci95": bootstrap_ci95(right),
            "count": len(right),
            "folds": {name: fold["acc1"] for name, fold in cv["folds"].items()},
        },
        "without": {
            "acc1": float(np.mean(hits)),
            "ci95": bootstrap_ci95(hits),
            "count": len(hits),
            "chance": 1 / len(names),
            "classes": without,
        },
        "more": unseen(space, Path(shipped["tower"]), more, config.synthetic) if more.is_dir() else None,
    }


def unseen(space: clipx.JointSpace, tower: Path, folder: Path, synthetic: float) -> dict:
    """Ranks of the true labels of ``audio_more`` among all its labels, by the tower that is shipped.

    "made" are the labels that name something that was synthesised in training; the others were never trained on.
    """
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    unknown = {name for name in names if space.unknown(name)}  # a closed vocabulary cannot say them
    rows, names = [row for row in rows if row["label"] not in unknown], [n for n in names if n not in unknown]
    audio = Audio(space, AudioConfig(tower=str(tower)))
    vectors = audio.encode([audio.load(folder / row["path"]) for row in rows])
    named = clipx.ZeroShotClassifier(space, names, audio.prompts).predict(vectors)
    ranks = np.array([
        next(one.rank for one in found if one.label == row["label"]) for found, row in zip(named, rows, strict=True)
    ])  # fmt: skip
    words = tuple(word for label in LABELS for word in spoken(label).split()) if synthetic else ()
    made = np.array([any(word.startswith(words) for word in row["label"].split()) for row in rows])  # hammering, too
    animals = np.array([row["set"] == "animals" for row in rows])
    parts = {"all": made >= 0, "animals": animals, "things": ~animals, "made": made, "never made": ~made}
    found = {}
    for part, chosen in parts.items():
        if chosen.any():
            top1, top5 = ranks[chosen] <= 1, ranks[chosen] <= 5
            found[part] = {
                "count": int(chosen.sum()),
                "labels": len({rows[i]["label"] for i in np.flatnonzero(chosen)}),
            }
            found[part] |= {"acc1": float(top1.mean()), "acc5": float(top5.mean()), "ci95": bootstrap_ci95(top5)}
    return {"labels": len(names), "not in the vocabulary": sorted(unknown), "chance5": 5 / len(names), "parts": found}


def right_of(confusion: list[list[int]]) -> list[int]:
    """One number a clip: whether it was named right."""
    right, count = int(np.trace(np.array(confusion))), int(np.sum(confusion))
    return [1] * right + [0] * (count - right)


def percent(value: float, ci95: list[float]) -> str:
    return f"{value:.1%} ({ci95[0]:.1%} to {ci95[1]:.1%})"


def table(figures: dict) -> str:
    """The figures as Markdown."""
    cv, without, more = figures["cross_validation"], figures["without"], figures["more"]
    folds = ", ".join(f"{one:.1%}" for one in cv["folds"].values())
    lines = [
        "| | clips | chance | top-1 (95 %) | top-5 (95 %) |",
        "|---|---:|---:|---:|---:|",
        f"| ESC-10, each fold held out ({folds}) | {cv['count']} | 10.0% | {percent(cv['acc1'], cv['ci95'])} | |",
        f"| ESC-10, each label left out besides, ranked among the ten | {without['count']} | {without['chance']:.1%} | "
        f"{percent(without['acc1'], without['ci95'])} | |",
    ]
    if more:
        names = {"all": "all", "animals": "animals", "things": "things", "made": "whose word was synthesised",
                 "never made": "whose word was not"}  # fmt: skip
        for part, row in more["parts"].items():
            lines.append(
                f"| other sounds, {names[part]} ({row['labels']} labels), among {more['labels']} | {row['count']} | "
                f"{more['chance5'] / 5:.1%}, {more['chance5']:.1%} | {row['acc1']:.1%} | "
                f"{percent(row['acc5'], row['ci95'])} |"
            )
    return "\n".join(lines)


def card(space: str, figures: dict, about: dict) -> str:
    """The model card."""
    left_out = ", ".join(
        f"{label.replace('_', ' ')} {one['right']} of {one['n']}"
        + ("" if one["most_often"] == label else f" (most often {one['most_often'].replace('_', ' ')})")
        for label, one in figures["without"]["classes"].items()
    )
    made = about.get("synthetic", {}).get("labels", [])
    synthetic = (
        f"; {len(made)} kinds of synthesised sounds, {about['train']['synthetic']:.0%} of the weight" if made else ""
    )
    said = {key: about["fit"][key] for key in ("label_weight", "ridge", "whitening", "categories")} | {
        "space": space,
        "table": table(figures),
        "left_out": left_out,
        "sounds": about["sounds"],
        "synthetic": synthetic,
        "flags": f" --synthetic {about['train']['synthetic']}" if made else "",
        "kilobytes": round((SHIPPED / space / WEIGHTS).stat().st_size / 1e3),
        "megabytes": f"{NETWORK.stat().st_size / 1e6:.1f}",
    }
    return (HERE / "card-sfx.md").read_text().format(**said)


if __name__ == "__main__":
    main()
