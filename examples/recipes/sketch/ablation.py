"""What each choice of the default is worth: 40 training photos of Caltech-101, drawn in 32 strokes each choice changed.

    python examples/recipes/sketch/ablation.py --data DATA/images/caltech101 -o runs/ablation
        --judges nano-vit,runs/lite-b/space

Two photos of each of twenty classes, one start, judged among the twenty by towers that had no part in it: how many are
named, and the mean log-probability of the right name, which tells more of 40 photos (p: Wilcoxon's signed-rank test
against the default); both are printed as a Markdown table. Drawings are kept in the folder; ``--only NAME`` draws some,
so that several processes can share the work.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from scipy.special import log_softmax
from scipy.stats import wilcoxon

import clipx
from clipx.files import write_whole
from clipx.modalities.sketch.config import DrawConfig
from clipx.modalities.sketch.curves import CANVAS
from clipx.modalities.sketch.draw import draw
from clipx.modalities.sketch.raster import rasterize
from clipx.modalities.sketch.target import load_target
from clipx.progress import progress
from clipx.prompts import spoken

CLASSES = (
    *("butterfly", "chair", "cup", "dalmatian", "elephant", "grand piano", "helicopter", "umbrella", "laptop"),
    *("soccer ball", "rooster", "rhino", "pizza", "lobster", "lamp", "hawksbill turtle", "gramophone", "flamingo"),
    *("camera", "starfish"),
)
SKIPPED, EACH, STROKES, SCALE = 3, 2, 32, 30.0  # photos left to choose other things by; of a class; of a cosine
SETTINGS: dict[str, dict] = {  # the default first
    "default": {},
    "semantic 0": {"semantic": 0.0},
    "semantic 4": {"semantic": 4.0},
    "no words": {"words": 0.0},
    "words alone": {"words": 1.0},
    "stages 1, 2, 3": {"stages": ("stage1", "stage2", "stage3")},
    "stages 2, 3, 4": {"stages": ("stage2", "stage3", "stage4")},
    "no focus": {"focus": 0.0},
    "4 views": {"views": 4},
    "200 steps": {"steps": 200},
    "start at points": {"start": "points", "lr": 1.0},
    "the drawing seen as a photo": {"across": False},
    "idle strokes stay": {"renew": False},
}


def photos(folder: Path) -> tuple[list[Path], list[str]]:
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    chosen = [(folder / row["path"], name) for name in CLASSES for row in _of(rows, name)[SKIPPED : SKIPPED + EACH]]
    return [path for path, _ in chosen], [name for _, name in chosen]


def _of(rows: list[dict], name: str) -> list[dict]:
    return [row for row in rows if row["label"] == name]


def drawn(paths: list[Path], changes: dict, space: clipx.JointSpace, file: Path) -> dict[str, np.ndarray]:
    """``start`` and ``end``: (N, strokes, 4, 2)."""
    config = DrawConfig(strokes=(STROKES,), seeds=(0,), rank=False, **changes)
    about = hashlib.sha256(f"{space.id} {asdict(config)} {[path.name for path in paths]}".encode()).hexdigest()[:12]
    file = file.with_name(f"{file.stem}-{about}.npz")
    if not file.is_file():
        found: dict[str, list[np.ndarray]] = {"start": [], "end": []}
        with progress(file.stem, len(paths)) as advance:
            for path in paths:
                (drawing,) = draw([load_target(path)], space, config)
                if drawing.stopped:  # by Ctrl-C, which ends one drawing early
                    raise KeyboardInterrupt
                found["start"].append(drawing.film[0].points)
                found["end"].append(drawing.strokes.points)
                advance(1)
        write_whole(file, lambda part: np.savez(part, **found))
    return dict(np.load(file))


def judged(points: np.ndarray, labels: list[str], judge: clipx.JointSpace) -> tuple[np.ndarray, np.ndarray]:
    """(N,) whether each is named, and the log-probability of its name."""
    eyes = judge.domain("drawing") if "drawing" in judge.domains else judge
    said = judge.embed_text([f"a drawing of a {spoken(name)}" for name in CLASSES]).vectors
    scores = SCALE * eyes.encode_image(rasterize(points, CANVAS)) @ said.T
    own = np.array([CLASSES.index(name) for name in labels])
    return scores.argmax(1) == own, log_softmax(scores, 1)[np.arange(len(own)), own]


def table(record: dict) -> str:
    """The record as Markdown, a row for each setting: share named, mean log-probability, p."""
    judges = list(dict.fromkeys(row["judge"] for row in record["rows"]))
    lines = [f"| setting | {' | '.join(judges)} |", f"|---|{'---|' * len(judges)}"]
    for name in dict.fromkeys(row["setting"] for row in record["rows"]):
        own = {row["judge"]: row for row in record["rows"] if row["setting"] == name}
        lines.append(f"| {name} | {' | '.join(_cell(own[judge]) for judge in judges)} |")
    return "\n".join(lines)


def _cell(row: dict) -> str:
    p = f" (p = {row['p']:.2f})" if "p" in row else ""
    return f"{row['acc1']:.1%}, {row['log_probability']:.2f}{p}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Caltech-101 with labels.csv")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--judges", default="nano-vit")
    parser.add_argument("--only", action="append", choices=list(SETTINGS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    space, (paths, labels) = clipx.load_space("lite"), photos(given.data)
    chosen = {name: SETTINGS[name] for name in given.only or SETTINGS}
    points = {name: drawn(paths, changes, space, given.out / f"{name}.npz") for name, changes in chosen.items()}
    record: dict = {"n": len(paths), "classes": CLASSES, "strokes": STROKES, "space": space.id, "rows": []}
    for judge_name in given.judges.split(","):
        judge = clipx.load_space(judge_name)
        base = judged(points["default"]["end"], labels, judge)[1] if "default" in points else None
        first = {"start, before any step": points["default"]["start"]} if "default" in points else {}
        for name, strokes in (first | {name: found["end"] for name, found in points.items()}).items():
            right, sure = judged(strokes, labels, judge)
            figures = {"acc1": float(right.mean()), "log_probability": round(float(sure.mean()), 3)}
            if base is not None and (sure != base).any():
                figures["p"] = round(float(wilcoxon(sure, base).pvalue), 3)
            record["rows"].append({"judge": judge.name, "setting": name} | figures)
    (given.out / "ablation.json").write_text(json.dumps(record, indent=1) + "\n")
    print(table(record), flush=True)


if __name__ == "__main__":
    main()
