"""Films whose meaning is in the order of their frames: the mean of the frames cannot tell it, a trained head can.

    python examples/ordered_events.py
    python examples/ordered_events.py --heads all --out made

A shape enters from the left or from the right, grows or shrinks, appears or vanishes. Each film is written twice, the
second time with its frames in reverse order: that is the other event. Heads learn from films of some seeds, and all are
asked about films of others which of the two events a film shows. The films stand in a labels.csv for other commands:

    clipx train video made/events --where split=train --test-where split=test -o head.safetensors
"""

import argparse
import csv
import json
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np

import clipx
from clipx.datasets import read_data
from clipx.files import write_whole
from clipx.films import pyav
from clipx.metrics import bootstrap_ci95
from clipx.modalities.video import Video, VideoConfig, VideoTrainConfig, fit_head, frame_vectors
from clipx.modalities.video.data import label_texts
from clipx.modalities.video.heads import HEADS
from clipx.modalities.video.train import mean_head

PAIRS = [("enters from the left", "enters from the right"), ("grows", "shrinks"), ("appears", "vanishes")]
FRAMES, RATE_HZ, SIDE = 6, 4, 96
MOST_READ_TOGETHER = 8  # of tight, which reads each film of a step with each text


def event(kind: int, rng: np.random.Generator) -> list[np.ndarray]:
    """(96, 96, 3) pictures of the first event of a pair: a shape of random form, colours, size, place and speed."""
    y, x = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE), indexing="ij")
    back, front = rng.uniform(0, 255, (2, 3))
    while np.abs(back - front).max() < 100:
        front = rng.uniform(0, 255, 3)
    slope = rng.uniform(-30, 30, 2)
    form, size, place = rng.integers(3), rng.uniform(0.3, 0.5), rng.uniform(-0.4, 0.4, 2)
    speed, moment = rng.uniform(0.8, 1.2), rng.integers(2, FRAMES - 1)
    pictures = []
    for step in range(FRAMES):
        done = step / (FRAMES - 1)
        centre = place if kind else (2 * speed * (done - 0.5), place[1])
        radius = size * (0.3 + 1.2 * speed * done) if kind == 1 else size
        dx, dy = np.abs(x - centre[0]) / radius, np.abs(y - centre[1]) / radius
        inside = [dx**2 + dy**2 < 1, np.maximum(dx, dy) < 0.9, dx + dy < 1.2][form]
        if kind == 2 and step < moment:
            inside = np.zeros_like(inside)
        page = back + (slope[0] * x + slope[1] * y)[..., None]
        pictures.append(np.where(inside[..., None], front, page).clip(0, 255).astype(np.uint8))
    return pictures


def write(path: Path, pictures: list[np.ndarray]) -> None:
    """An MP4 in which each picture stands for itself, so that its order in the film does not change it."""
    av = pyav()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", RATE_HZ, options={"qp": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        stream.codec_context.gop_size = 1
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def make(folder: Path, train: int, test: int, seed: int) -> Path:
    """Write the films and labels.csv: path, label, split. ``train`` and ``test`` are events of each pair."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [["path", "label", "split"]]
    for kind, labels in enumerate(PAIRS):
        for number in range(train + test):
            pictures = event(kind, np.random.default_rng([seed, kind, number]))
            for label, own in zip(labels, (pictures, pictures[::-1]), strict=True):
                path = folder / f"{label.replace(' ', '_')}_{number}.mp4"
                write(path, own)
                rows.append([path.name, label, "train" if number < train else "test"])
    with open(folder / "labels.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def table(space: clipx.JointSpace, folder: Path, heads: list[str], args: argparse.Namespace, out: Path) -> list[dict]:
    """A row for each head: of test films right among all six, and right between the two of its pair."""
    config, shown, films = VideoConfig(uniform=FRAMES), {}, {}
    for split in ("train", "test"):
        shown[split] = read_data(folder, Video, [("split", split)])
        films[split] = frame_vectors(Video(space, config), shown[split], out / "frames")
    texts = {split: label_texts(space, data) for split, data in shown.items()}
    owner, names = texts["test"].owner.numpy(), texts["test"].names
    other = np.array([names.index(next(b for pair in PAIRS if a in pair for b in pair if b != a)) for a in names])
    kinds = np.array([next(i for i, pair in enumerate(PAIRS) if names[own] in pair) for own in owner])
    found = []
    for name in ["mean", *heads]:
        if name == "mean":
            head = mean_head(space, config)
        else:
            batch = args.batch_size if HEADS[name].gives_vectors else min(args.batch_size, MOST_READ_TOGETHER)
            settings = VideoTrainConfig(name, None, args.steps, batch, args.lr, seed=args.seed)
            head = fit_head(space, films["train"], texts["train"], config, settings, out / name, resume=True)
            head.save(out / f"{name}.safetensors")
        scores, rows = head.scores(films["test"], texts["test"].mean.numpy()), np.arange(len(owner))
        right = scores[rows, owner] > scores[rows, other[owner]]
        both = right.reshape(-1, 2).mean(1)  # a film and its reversal stand side by side, and are drawn together
        figures = {"all six": float((scores.argmax(1) == owner).mean()), "pairs": float(right.mean())}
        each = {pair[0].split()[0]: float(right[kinds == i].mean()) for i, pair in enumerate(PAIRS)}
        found.append({"head": name, **figures, "ci95": bootstrap_ci95(both), **each})
    return found


def record(space: clipx.JointSpace, folder: Path, rows: list[dict], args: argparse.Namespace) -> dict:
    """What `clipx eval all --page` makes a table of."""
    data = read_data(folder, Video, [("split", "test")])
    columns = [["head", "{head}"], ["film or its reversal", "{pairs:.1%}"], ["95 %", "{ci95[0]:.1%} to {ci95[1]:.1%}"]]
    columns += [[pair[0].split()[0], f"{{{pair[0].split()[0]}:.1%}}"] for pair in PAIRS]
    columns += [["among all six", "{all six:.1%}"]]
    chance = {"head": "chance", "pairs": 0.5, "all six": 1 / 6}
    run = {"run": "", "commands": ["python examples/" + shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])]}
    run |= {"space": space.name, "space_id": space.id, "n": len(data.items), "learned from": 6 * args.train}
    run |= {"seed": args.seed, "data_sha256": data.sha256(), "results": [*rows, chance]}
    title = f"Order: {len(data.items) // 2} events, each as a film and its reversal"
    return {"name": "order", "title": title, "columns": columns, "runs": [run]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for films and heads; a temporary one by default")
    parser.add_argument("--train", type=int, default=100, help="events of each pair to learn from")
    parser.add_argument("--test", type=int, default=40, help="events of each pair to be asked about")
    parser.add_argument("--heads", default="seqlstm,seqtransf", help="which heads learn, with commas; all: every one")
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--batch-size", type=int, default=32, help=f"films a step; of tight {MOST_READ_TOGETHER}")
    parser.add_argument("--lr", type=float, default=1e-3, help="of training")
    parser.add_argument("--space", default="lite", help="name of a joint space")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the table to this file, as docs/results has it")
    args = parser.parse_args()
    heads = [name for name in HEADS if name != "mean"] if args.heads == "all" else args.heads.split(",")
    out = args.out or Path(tempfile.mkdtemp(prefix="clipx-"))
    space = clipx.load_space(args.space)
    folder = make(out / "events", args.train, args.test, args.seed)
    found = table(space, folder, heads, args, out)

    print(f"{6 * args.train} films to learn from, {6 * args.test} others to be asked about, in {space.name}")
    kinds = [pair[0].split()[0] for pair in PAIRS]
    print(
        f"{'head':12}{'all six':>9}{'film or reversal':>18}{'95 % interval':>18}" + "".join(f"{k:>10}" for k in kinds)
    )
    for row in found:
        low, high = row["ci95"]
        each = "".join(f"{row[kind]:>10.1%}" for kind in kinds)
        interval = f"{100 * low:.1f} to {high:.1%}"
        print(f"{row['head']:12}{row['all six']:>9.1%}{row['pairs']:>18.1%}{interval:>18}{each}")
    print(f"{'chance':12}{1 / 6:>9.1%}{0.5:>18.1%}")
    if args.json:
        write_whole(args.json, json.dumps(record(space, folder, found, args), indent=1) + "\n")


if __name__ == "__main__":
    main()
