"""A trained sound tower, from its run's folder to the folder that clipx ships."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

from clipx.modalities.audio.towers import ABOUT
from clipx.modalities.audio.weights import GRAPH, WEIGHTS


def ship(tower: Path, folder: Path, labels: Path) -> None:
    """Copy the tower, and name the authors of the sounds that it learnt from in ``attribution.csv``.

    Args:
        tower: folder of the trained tower, whose ``audio.json`` names the fold held out and the clips left out.
        folder: where to.
        labels: the ``labels.csv`` that it was trained on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, ABOUT):
        shutil.copyfile(tower / name, folder / name)
    (folder / GRAPH).unlink(missing_ok=True)  # of the weights before; graphs.py makes it again
    about = json.loads((folder / ABOUT).read_text())
    with labels.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "esc10" and row["fold"] != about["fold"]]
    rows = [row for row in rows if Path(row["path"]).name not in about["skip"]]
    odd = {row["licence"] for row in rows} - {"CC0", "CC-BY"}
    if odd or len(rows) != about["sounds"]:
        raise SystemExit(f"the tower learnt from {about['sounds']} sounds, labels.csv names {len(rows)}, {odd or ''}")
    with (folder / "attribution.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["clip", "label", "freesound_id", "licence", "author"])
        writer.writerows([Path(r["path"]).name, r["label"], r["freesound_id"], r["licence"], r["author"]] for r in rows)
