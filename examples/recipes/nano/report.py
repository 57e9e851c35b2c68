"""Every figure of the model card of nano or of a sibling such as nano-vit, and the card itself.

    python examples/recipes/nano/report.py --data DIR [--space nano] [--unseen FOLDER] [--plain FOLDER]

runs ``clipx eval`` on test splits that training never touched, beside an untrained tower, the unseen-class run and the
plain classifier where their folders are given, and writes ``figures.json`` and ``README.md`` into the space's
folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import words

import clipx
from clipx.space import random_space
from clipx.spaces.embedded import SPACES, save_embedded
from clipx.vocabulary import words_in

HERE = Path(__file__).parent
SEEN = "seen classes, seen domain"
NEW = "seen classes, new domain"
UNSEEN = "unseen classes (zero-shot)"
# name, modality, data under --data, other arguments, regime
ROWS = [
    ("Caltech-101 photos", "image", "images/caltech101", ["--where", "split=test"], SEEN),
    ("QuickDraw sketches", "image", "images/quickdraw/quickdraw_64.npz",
     ["--where", "is_test=1", "--prompts", "sketch"], SEEN),
    ("ModelNet10 clouds", "pointcloud", "pointcloud/modelnet10_test.npz", [], NEW),
    ("Grocery photos", "image", "images/grocery_store", ["--where", "official_split=test"], SEEN),
    ("Clothing photos", "image", "images/clothing", ["--where", "split=test"], SEEN),
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder that holds images/ and pointcloud/")
    parser.add_argument("--space", default="nano", help="an embedded name, or the folder a training run wrote")
    parser.add_argument("--unseen", type=Path, help="the space trained with --exclude of the ten ModelNet10 classes")
    parser.add_argument("--plain", type=Path, help="the folder that plain_classifier.py wrote")
    parser.add_argument("--card", action="store_true", help="only write the card again, from figures.json")
    args = parser.parse_args()
    folder = SPACES / args.space if (SPACES / args.space).is_dir() else Path(args.space)
    if args.card:
        write_card(folder, json.loads((folder / "figures.json").read_text()))
        return

    rows = [evaluate(row, args.data, str(folder)) for row in ROWS]
    if args.unseen:
        steps = json.loads((args.unseen / "space.json").read_text())["train"]["steps"]
        row = (*ROWS[2][:4], UNSEEN)
        rows.append(evaluate(row, args.data, str(args.unseen)) | {"note": f"own run of {steps} steps, not shipped"})
    with tempfile.TemporaryDirectory() as untrained:
        untrain(folder, Path(untrained))
        rows += [evaluate(row, args.data, untrained) | {"note": "untrained tower"} for row in ROWS[:3]]
    figures = {
        "weights_sha256": json.loads((folder / "space.json").read_text())["weights_sha256"],
        "rows": rows,
        "withheld": withheld(folder, args.data / "images/caltech101"),
        "plain": json.loads((args.plain / "figures.json").read_text()) if args.plain else None,
    }
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    write_card(folder, figures)


def write_card(folder: Path, figures: dict) -> None:
    """The card into the space's folder."""
    (folder / "README.md").write_text(card(folder, figures))
    sys.stdout.write((folder / "README.md").read_text())


def evaluate(row: tuple, data: Path, space: str) -> dict:
    """One ``clipx eval`` in a process of its own: what anybody can run."""
    name, modality, path, extra, regime = row
    command = ["eval", modality, str(data / path), *extra, "--regime", regime, "--space", space, "--json"]
    run = subprocess.run([sys.executable, "-m", "clipx", *command], capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(run.stderr)
    found = json.loads(run.stdout)
    kept = ("n", "labels", "regime", "data_sha256", "space_id", "space_version")
    shown = " ".join(["clipx", *command[:2], f"DATA/{path}", *extra])
    measured = {key: found["results"][0][key] for key in ("metrics", "ci95", "prompts")}
    return {"name": name, "command": shown, **{key: found[key] for key in kept}, **measured}


def untrain(folder: Path, target: Path) -> None:
    """The same architecture and vocabulary with random weights."""
    config = json.loads((folder / "open_clip_config.json").read_text())
    space = random_space(config["model_cfg"], preprocess_cfg=config["preprocess_cfg"])
    save_embedded(
        space.backbone.model,
        target,
        name="untrained",
        version="0",
        model_cfg=config["model_cfg"],
        preprocess_cfg=config["preprocess_cfg"],
        vocabulary=json.loads((folder / "vocabulary.json").read_text()),
        token_index=range(config["model_cfg"]["text_cfg"]["vocab_size"]),
    )


def withheld(folder: Path, caltech: Path) -> dict:
    """Top-1 of classes under a synonym that never stood beside a picture, over their top-1 under their own name.

    One class at a time bears its withheld synonym; the other 99 keep their names.
    """
    table = words.load()
    space = clipx.load_space(folder)
    rows = [row for row in _csv(caltech / "labels.csv") if row["split"] == "test"]
    names = sorted({row["label"] for row in rows})
    vectors = clipx.embed([caltech / row["path"] for row in rows], space=space)
    truth = np.array([names.index(row["label"]) for row in rows])
    template = "a photo of a {}"
    text = space.encode_text([template.format(name) for name in names])
    own, under, pairs = [], [], []
    for k, name in enumerate(names):
        concept = table[words.canonical(name, table)]
        if not concept.withheld:
            continue
        mine = truth == k
        swapped = text.copy()
        swapped[k] = space.encode_text([template.format(concept.withheld[0])])[0]
        own.append(((vectors.vectors @ text.T).argmax(1) == k)[mine])
        under.append(((vectors.vectors @ swapped.T).argmax(1) == k)[mine])
        pairs.append([name, concept.withheld[0]])
    own, under = np.concatenate(own), np.concatenate(under)
    drawn = np.random.default_rng(0).integers(len(own), size=(10_000, len(own)))
    ratios = under[drawn].mean(1) / own[drawn].mean(1)
    return {
        "classes": len(pairs),
        "n": len(own),
        "own_top1": float(own.mean()),
        "withheld_top1": float(under.mean()),
        "ratio": float(under.mean() / own.mean()),
        "ratio_ci95": np.quantile(ratios, [0.025, 0.975]).tolist(),
        "pairs": pairs,
    }


def table(figures: dict) -> str:
    """The figures as a Markdown table."""
    lines = ["| test split | regime | classes | n | top-1 (95 %) | top-5 | mean recall |", "|---" * 7 + "|"]
    for row in figures["rows"]:
        m, (low, high) = row["metrics"], row["ci95"]["acc1"]
        regime = row["regime"] + (f"; {row['note']}" if "note" in row else "")
        lines.append(
            f"| {row['name']} | {regime} | {row['labels']} | {row['n']} | {m['acc1']:.1%} ({low:.1%} to {high:.1%}) | "
            f"{m['acc5']:.1%} | {m['mean_per_class_recall']:.1%} |"
        )
    if plain := figures["plain"]:
        low, high = plain["ci95"]
        lines.append(
            f"| Caltech-101 photos | plain classifier (the same tower and a linear layer, {plain['samples']:,} samples "
            f"of its photos alone; nano drew {plain['nano_samples']:,}) | 100 | {plain['n']} | {plain['acc1']:.1%} "
            f"({low:.1%} to {high:.1%}) | {plain['acc5']:.1%} | {plain['mean_per_class_recall']:.1%} |"
        )
    return "\n".join(lines)


def card(folder: Path, figures: dict) -> str:
    """The model card in Markdown, from the figures and what training wrote down."""
    about = json.loads((folder / "space.json").read_text())
    notes = tomllib.loads((HERE.parent / about["name"] / "notes.toml").read_text())
    known = json.loads((folder / "vocabulary.json").read_text())["words"]
    pictured = [name for name, how in known.items() if how == "pictures"]
    commands = "\n".join(row["command"] for row in figures["rows"][: len(ROWS)])
    w = figures["withheld"]
    low, high = w["ratio_ci95"]
    sizes = ", ".join(f"{name} {entry['pictures']:,}" for name, entry in about["data"].items())
    return (
        (HERE / "card.md")
        .read_text()
        .format(
            name=about["name"],
            version=about["version"],
            licence=about["licence"],
            **{key: text.strip() for key, text in notes.items()},
            table=table(figures),
            commands=commands,
            withheld=f"{w['classes']} classes, {w['n']} photos: {w['own_top1']:.1%} under their own names, "
            f"{w['withheld_top1']:.1%} under the withheld synonym: {w['ratio']:.0%} ({low:.0%} to {high:.0%}) of it",
            sizes=sizes,
            data_sha256=about["data_sha256"],
            weights_sha256=about["weights_sha256"],
            megabytes=f"{about['weights_bytes'] / 1e6:.1f}",
            steps=about["train"]["steps"],
            words_steps=about["recipe"]["words"]["steps"],
            tune_steps=about["recipe"]["tune"]["steps"],
            sizes_of_steps=stages_said(about["recipe"]["train"]["stages"]),
            batch_size=about["train"]["batch_size"],
            minutes=about["minutes"],
            seed=about["train"]["seed"],
            words=len({word for name in known for word in words_in(name)}),
            pictured=len(pictured),
            pictured_names=", ".join(pictured),
        )
    )


def stages_said(stages: list[tuple[float, int]]) -> str:
    """[[0.5, 64], [1.0, 96]] -> "The first 50 % at 64 px, then 50 % at 96 px"."""
    before, said = 0.0, []
    for until, size in stages:
        said.append(f"{100 * (until - before):.0f} % at {size} px")
        before = until
    return "The first " + ", then ".join(said)


def _csv(path: Path) -> list[dict[str, str]]:
    import csv

    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
