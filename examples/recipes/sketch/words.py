"""Are drawings of words recognised? The 50 commonest words of QuickDraw, drawn, named by other towers, and shown.

    python examples/recipes/sketch/words.py --data DATA -o runs/words [--judges nano-vit,runs/lite-b/space]

It writes words.json (rank of each word among all 344, by each judge, before and after the steps) and words.png.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from sheet import sheet

import clipx
from clipx.modalities.sketch.config import DrawConfig
from clipx.modalities.sketch.draw import draw
from clipx.modalities.sketch.evaluate import ranks
from clipx.modalities.sketch.film import pixels, png
from clipx.modalities.sketch.objective import Meaning
from clipx.modalities.sketch.quickdraw import PROMPT, drawings
from clipx.modalities.sketch.svg import to_svg

COUNT = 50


def commonest(table: Path) -> list[str]:
    """The words of QuickDraw that are written most often."""
    with table.open(newline="", encoding="utf-8") as file:
        counts = {row["noun"]: int(row["count_opensubtitles2018"]) for row in csv.DictReader(file)}
    known = [word for word in drawings() if word in counts]
    return sorted(known, key=lambda word: (-counts[word], word))[:COUNT]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with words/nouns.csv")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--judges", default="nano-vit", help="spaces that name the drawings")
    parser.add_argument("--space", default="lite", help="that draws")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    words, every = commonest(given.data / "words" / "nouns.csv"), list(drawings())
    space, config = clipx.load_space(given.space), DrawConfig.preset("meaning", rank=False)
    found = {}
    for word in words:
        (found[word],) = draw([Meaning.of_text(space, word)], space, config)
        if found[word].stopped:  # by Ctrl-C, which ends one drawing early
            raise KeyboardInterrupt
    for word, drawing in found.items():
        (given.out / f"{word}.svg").write_text(to_svg(drawing.strokes), encoding="utf-8")
    record = {"space": space.id, "words": words, "classes": len(every), "judges": {}}
    for name in given.judges.split(","):
        judge = clipx.load_space(name)
        eyes = judge.domain("drawing") if "drawing" in judge.domains else judge
        said = judge.embed_text([PROMPT.format(word) for word in every]).vectors
        seen = {}
        for when, pick in (("start", lambda d: d.film[0]), ("end", lambda d: d.strokes)):
            pictures = np.stack([pixels(pick(found[word])) for word in words])
            seen[when] = ranks(eyes.encode_image(pictures) @ said.T, [every.index(word) for word in words]).tolist()
        record["judges"][judge.name] = seen
        for when, of in seen.items():
            top = [sum(rank <= most for rank in of) for most in (1, 5)]
            print(f"{judge.name}, {when}: {top[0]} of {len(words)} first of {len(every)}, {top[1]} in the first five")
        print("  not in the first five:", ", ".join(w for w, r in zip(words, seen["end"], strict=True) if r > 5))
    (given.out / "words.json").write_text(json.dumps(record, indent=1) + "\n")
    page = sheet([(word, Image.open(io.BytesIO(png(d.strokes)))) for word, d in found.items()], 10, 120)
    page.quantize(16).save(given.out / "words.png", optimize=True)


if __name__ == "__main__":
    main()
