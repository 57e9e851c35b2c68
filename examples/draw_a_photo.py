"""Draw a photo in a few Bezier strokes.

    python examples/draw_a_photo.py --out drawn --steps 100 --strokes 16

Strokes start on the photo's contours and are moved by gradients until the frozen image tower sees the drawing as it
sees the photo (CLIPasso). Nothing is trained.
"""

import argparse
import tempfile
from pathlib import Path

import skimage.data
from PIL import Image

import clipx
from clipx.modalities.sketch.config import DrawConfig
from clipx.modalities.sketch.draw import draw
from clipx.modalities.sketch.film import gif, png
from clipx.modalities.sketch.svg import to_svg
from clipx.modalities.sketch.target import load_target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the drawing; a temporary one by default")
    parser.add_argument("--steps", type=int, default=40, help="of the optimiser; 100 for a drawing worth keeping")
    parser.add_argument("--strokes", type=int, default=8)
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="clipx-"))
    out.mkdir(parents=True, exist_ok=True)

    space = clipx.load_space()
    photo = out / "photo.png"
    Image.fromarray(skimage.data.coffee()).save(photo)
    target = load_target(photo)  # a square canvas of 224 pixels, the aspect ratio kept

    # Seeds start on other contours and end in other drawings; of several the best is kept. One shows how it goes.
    config = DrawConfig(strokes=(args.strokes,), steps=args.steps, seeds=(0,))
    (best,) = draw([target], space, config)
    print(f"loss of the plain view: {best.history[0]:.3f} at first, {best.loss:.3f} in the end")

    # Which strokes matter? `importance` says by how much the loss rises without each one.
    print("a stroke is worth", ", ".join(f"{worth:+.4f}" for worth in best.importance))

    # The first strokes of the SVG say most: order them so.
    (out / "drawing.svg").write_text(to_svg(best.strokes), encoding="utf-8")
    (out / "drawing.png").write_bytes(png(best.strokes, scale=2))
    (out / "search.gif").write_bytes(gif(best.film))  # how it was found

    # A tower that had no part in it judges.
    labels = ["cup", "cat", "fish", "house", "chair"]
    for prediction in clipx.classify(out / "drawing.svg", labels, space="nano-vit", top=2):
        print(f"nano-vit says {prediction.label}: {prediction.probability:.0%}")
    print(f"written to {out}")


if __name__ == "__main__":
    main()
