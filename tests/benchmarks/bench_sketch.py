"""CLIPasso's way of optimising beside clipx's, on one tower, in one run.

    python tests/benchmarks/bench_sketch.py [--tower random:RN101 --steps 20] [--to-loss nano --photos 3]
        [--to-score lite --judge nano-vit] [--json]

The original's way, as its released code goes about it: the encoder's parameters take gradients, the photo is encoded
anew, with gradients, at every step in that step's views of 224 x 224 pixels, one seed after the other, the plain view
once more every tenth step. It paints with clipx's rasteriser, not with diffvg, which alone would take longer than a
whole step here. Ours is `draw` from the same starts towards the same loss (``ORIGINALS``: a fixed pool of 32 views, 4 a
step; batched seeds). Its default starts on contours instead and is done after 100 smaller steps: no race of losses.

First figure: seconds per seed and step with equal steps. Second: until the best of three seeds has the plain loss that
the original's best of three had within 500 steps. For that ours runs up to 1,000 steps without stopping at rest; what
stops at rest ends a little above the original's loss, and both figures are printed.

Third figure: until a tower that has no part in it, the judge, gives the right word among the demo's labels as much
probability as it gives it for the best state of the original's way within 300 steps of one seed. Compared are the
original's way, CLIPasso's preset of `draw`, the default and the fast preset, all on one tower, looked at every tenth
step; the start counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clipx import load_space
from clipx._arrays import softmax
from clipx.modalities.sketch.config import DrawConfig
from clipx.modalities.sketch.curves import CANVAS
from clipx.modalities.sketch.draw import draw
from clipx.modalities.sketch.initial import SEEDS, initial_strokes
from clipx.modalities.sketch.losses import clipasso_loss, stage_names
from clipx.modalities.sketch.raster import rasterize
from clipx.modalities.sketch.saliency import default_space, saliency, start_probabilities
from clipx.modalities.sketch.target import Target, prepare
from clipx.modalities.sketch.views import AUGMENTED, apply_views, draw_views

WORDS = {"coffee": "cup", "cat": "cat"}  # of the demo's labels
# The start, the loss and the step size that the original has.
ORIGINALS = DrawConfig(
    start="points", steps=500, lr=1.0, views=AUGMENTED, pool=32, window=100, rank=False, focus=0.0, across=False
)


def photos() -> dict[str, Target]:
    from skimage import data

    shown = {"coffee": data.coffee(), "cat": data.chelsea(), "astronaut": data.astronaut()}
    return {name: prepare(Image.fromarray(np.asarray(picture))) for name, picture in shown.items()}


def originals_way(
    target: Target, space, strokes: int, seed: int, steps: int, seen: list | None = None
) -> tuple[float, float]:
    """Seconds of one seed's run, and the lowest plain loss it evaluated; ``seen`` takes (seconds, strokes) of those."""
    for parameter in space.backbone.model.visual.parameters():
        parameter.requires_grad_(True)
    chance = start_probabilities(target.pixels, saliency(default_space(space), target.pixels), target.box)
    points = initial_strokes(chance, strokes, seed).requires_grad_()
    adam = torch.optim.Adam([points], lr=1.0)
    stream = torch.Generator().manual_seed(seed)
    photo, names, best = target.pixels[None].to(space.device), None, float("inf")
    began = time.perf_counter()
    for step in range(steps):
        adam.zero_grad()
        image = rasterize(points, CANVAS)[None].to(space.device)
        draws = draw_views(stream, AUGMENTED)
        drawn = space.encode_with_stages(apply_views(image, draws).flatten(0, 1))
        wanted = space.encode_with_stages(apply_views(photo, draws).flatten(0, 1))
        names = names or stage_names(drawn[1])
        clipasso_loss(drawn[::-1], wanted[::-1], names, 1 + AUGMENTED).sum().backward()
        adam.step()
        if step % 10 == 0:
            with torch.no_grad():
                plain = [space.encode_with_stages(picture)[::-1] for picture in (image, photo)]
                best = min(best, float(clipasso_loss(*plain, names)))
                if seen is not None:
                    seen.append((time.perf_counter() - began, points.detach().cpu().numpy().copy()))
    return time.perf_counter() - began, best


def freeze(space) -> None:
    for parameter in space.backbone.model.visual.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None


def per_step(tower: str, strokes: int, steps: int, device: str) -> dict:
    """Both ways with equal steps: seconds per seed and step, ratio."""
    space, target = load_space(tower, device=device), photos()["coffee"]
    theirs = [originals_way(target, space, strokes, seed, steps)[0] / steps for seed in SEEDS]
    freeze(space)
    plan = replace(ORIGINALS, strokes=(strokes,), steps=steps, halving=False, window=0)
    ticks: list[float] = []
    draw([target], space, plan, on_progress=lambda *_: ticks.append(time.perf_counter()))
    ours = [(after - before) / len(SEEDS) for before, after in pairwise(ticks)]
    return {
        "tower": tower,
        "device": device,
        "steps": steps,
        "original_s": statistics.median(theirs),
        "original_range_s": [min(theirs), max(theirs)],
        "ours_s": statistics.median(ours),
        "ours_range_s": [min(ours), max(ours)],
        "ratio": statistics.median(theirs) / statistics.median(ours),
    }


def to_loss(tower: str, strokes: int, count: int, steps: int, device: str) -> list[dict]:
    """Seconds to the plain loss that the original's best of three seeds had within ``steps``, and ours as it comes."""
    space, found = load_space(tower, device=device), []
    for name, target in list(photos().items())[:count]:
        runs = [originals_way(target, space, strokes, seed, steps) for seed in SEEDS]
        freeze(space)
        goal, theirs = min(loss for _, loss in runs), sum(seconds for seconds, _ in runs)
        reached: list[float] = []
        start = time.perf_counter()

        def tell(step: int, steps: int, loss: float, start=start, goal=goal, reached=reached) -> None:
            if loss <= goal and not reached:
                reached.extend((time.perf_counter() - start, step))

        plan = replace(ORIGINALS, strokes=(strokes,))
        draw([target], space, replace(plan, steps=2 * steps, window=0), on_progress=tell)
        began = time.perf_counter()
        (drawing,) = draw([target], space, plan)
        found.append(
            {
                "photo": name,
                "goal": goal,
                "original_s": theirs,
                "ours_s": reached[0] if reached else None,
                "ours_steps": reached[1] if reached else None,
                "ratio": theirs / reached[0] if reached else None,
                "ours_whole_s": time.perf_counter() - began,
                "ours_loss": drawing.loss,
                "ours_views": f"{plan.views} a step of a fixed pool of {plan.pool}",
            }
        )
    return found


def to_score(tower: str, judge_name: str, strokes: int, count: int, steps: int, device: str) -> list[dict]:
    """Seconds of each way until the judge is as sure of what is drawn as it is of the original's best."""
    space, judge, found = load_space(tower, device=device), load_space(judge_name, device=device), []
    eyes = judge.domain("drawing") if "drawing" in judge.domains else judge
    labels = (Path(__file__).parents[2] / "examples" / "data" / "labels.txt").read_text(encoding="utf-8").split()
    said = judge.encode_text([f"a drawing of a {label}" for label in labels])
    for name, target in list(photos().items())[:count]:
        if name not in WORDS:
            continue
        own = labels.index(WORDS[name])

        def scores(states: list, own=own) -> list[float]:
            pictures = np.stack([rasterize(points, CANVAS) for _, points in states])
            return softmax(judge.logit_scale * eyes.encode_image(pictures) @ said.T)[:, own].tolist()

        ways: dict[str, list] = {"original": []}
        originals_way(target, space, strokes, SEEDS[0], steps, ways["original"])
        freeze(space)
        for way, preset in (("clipasso preset", "clipasso"), ("default", "default"), ("fast", "fast")):
            plan = DrawConfig.preset(preset, strokes=(strokes,), seeds=SEEDS[:1], rank=False)
            plan = replace(plan, steps=min(plan.steps, steps))
            began, ticks = time.perf_counter(), []
            draw([target], space, plan, on_progress=lambda *_, t=ticks, b=began: t.append(time.perf_counter() - b))
            (drawing,) = draw([target], space, plan)
            at = [ticks[min(i * plan.film_every, len(ticks) - 1)] for i in range(len(drawing.film))]
            ways[way] = list(zip(at, (frame.points for frame in drawing.film), strict=True))
        goal = max(scores(ways["original"]))
        row: dict = {"photo": name, "judge": judge_name, "goal": goal}
        for way, states in ways.items():
            scored = scores(states)
            reached = [at for (at, _), score in zip(states, scored, strict=True) if score >= goal - 1e-6]
            row[way] = {"s": min(reached, default=None), "whole_s": states[-1][0], "score": scored[-1]}
        found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tower", default="random:RN101", help="for the first figure; empty leaves it out")
    parser.add_argument("--steps", type=int, default=20, help="of the first figure")
    parser.add_argument("--to-loss", default="nano", help="for the second figure; empty leaves it out")
    parser.add_argument("--photos", type=int, default=3, help="of the second figure, 1 to 3")
    parser.add_argument("--to-score", default="lite", help="for the third figure; empty leaves it out")
    parser.add_argument("--judge", default="nano-vit", help="of the third figure")
    parser.add_argument("--score-steps", type=int, default=300, help="of the third figure")
    parser.add_argument("--original-steps", type=int, default=500, help="of the second figure")
    parser.add_argument("--strokes", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found: dict = {"threads": args.threads, "strokes": args.strokes}
    if args.tower:
        found["per_step"] = per_step(args.tower, args.strokes, args.steps, args.device)
    if args.to_loss:
        found["to_loss"] = to_loss(args.to_loss, args.strokes, args.photos, args.original_steps, args.device)
    if args.to_score:
        more = args.score_steps, args.device
        found["to_score"] = to_score(args.to_score, args.judge, args.strokes, args.photos, *more)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    if one := found.get("per_step"):
        print(
            f"{one['tower']}, {one['steps']} steps, s a seed and step (range): original {one['original_s']:.3f} "
            f"({one['original_range_s'][0]:.3f}-{one['original_range_s'][1]:.3f}), ours {one['ours_s']:.3f} "
            f"({one['ours_range_s'][0]:.3f}-{one['ours_range_s'][1]:.3f}): {one['ratio']:.1f} times faster"
        )
    rows = found.get("to_loss", [])
    for row in rows:
        said = "not reached" if row["ratio"] is None else f"{row['ours_s']:.1f} s ({row['ours_steps']} steps)"
        times = "" if row["ratio"] is None else f": {row['ratio']:.1f} times faster"
        print(
            f"{args.to_loss}, {row['photo']}: plain loss {row['goal']:.4f} after {row['original_s']:.1f} s the "
            f"original's way, {said} ours{times}; the default stops after {row['ours_whole_s']:.1f} s at "
            f"{row['ours_loss']:.4f}"
        )
    if ratios := [row["ratio"] for row in rows if row["ratio"]]:
        print(
            f"median of {len(ratios)} photos: {statistics.median(ratios):.1f} times faster "
            f"({min(ratios):.1f}-{max(ratios):.1f}); ours sees {rows[0]['ours_views']}, the original fresh ones"
        )
    for row in found.get("to_score", []):
        ways = {way: times for way, times in row.items() if isinstance(times, dict)}
        said = [
            f"{way} {'never' if times['s'] is None else format(times['s'], '.1f') + ' s'} "
            f"(done {times['whole_s']:.1f} s, {times['score']:.2f})"
            for way, times in ways.items()
        ]
        goal = f"{row['judge']} sure to {row['goal']:.2f}"
        print(f"{args.to_score}, {row['photo']}, {goal}: {'; '.join(said)}")


if __name__ == "__main__":
    main()
