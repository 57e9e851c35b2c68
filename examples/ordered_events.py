"""Films whose meaning is in the order of their frames: the mean of the frames cannot tell it, a trained head can.

    python examples/ordered_events.py
    python examples/ordered_events.py --train 60 --test 30 --heads seqlstm,seqtransf,tight --out events

A shape enters from the left or from the right, grows or shrinks, appears or vanishes. Each film is written twice, the
second time with its frames in reverse order: that is the other event. Heads learn from films of some seeds, and all are
asked about films of others which of the two events a film shows. The films stand in a labels.csv for other commands:

    clipx train video events --where split=train --test-where split=test -o head.safetensors
"""

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np

import clipx
from clipx.datasets import read_data
from clipx.films import pyav
from clipx.metrics import bootstrap_ci95
from clipx.modalities.video import Video, VideoConfig, VideoTrainConfig, fit_head, frame_vectors
from clipx.modalities.video.data import label_texts
from clipx.modalities.video.train import mean_head

PAIRS = [("enters from the left", "enters from the right"), ("grows", "shrinks"), ("appears", "vanishes")]
FRAMES, RATE_HZ, SIDE = 8, 4, 96


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


def table(space: clipx.JointSpace, folder: Path, heads: list[str], train: VideoTrainConfig, out: Path) -> dict:
    """Head -> (N, 3) booleans of test films: right among all, right between the two of the pair, and which pair."""
    config, shown, films = VideoConfig(uniform=FRAMES), {}, {}
    for split in ("train", "test"):
        shown[split] = read_data(folder, Video, [("split", split)])
        films[split] = frame_vectors(Video(space, config), shown[split])
    texts = {split: label_texts(space, data) for split, data in shown.items()}
    owner, names = texts["test"].owner.numpy(), texts["test"].names
    pair_of = {label: i for i, pair in enumerate(PAIRS) for label in pair}
    other = np.array([names.index(next(b for b in PAIRS[pair_of[a]] if b != a)) for a in names])
    found = {}
    for name in ["mean", *heads]:
        if name == "mean":
            head = mean_head(space, config)
        else:
            settings = VideoTrainConfig(name, None, train.steps, train.batch_size, train.lr, seed=train.seed)
            head = fit_head(space, films["train"], texts["train"], config, settings, out / name)
            head.save(out / f"{name}.safetensors")
        scores = head.scores(films["test"], texts["test"].mean.numpy())
        rows = np.arange(len(scores))
        pairwise = scores[rows, owner] > scores[rows, other[owner]]
        found[name] = scores.argmax(1) == owner, pairwise, np.array([pair_of[names[i]] for i in owner])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for films and heads; a temporary one by default")
    parser.add_argument("--train", type=int, default=40, help="events of each pair to learn from")
    parser.add_argument("--test", type=int, default=20, help="events of each pair to be asked about")
    parser.add_argument("--heads", default="seqlstm,seqtransf", help="which heads learn, with commas")
    parser.add_argument("--steps", type=int, default=200, help="of training")
    parser.add_argument("--lr", type=float, default=3e-4, help="of training")
    parser.add_argument("--space", default="lite", help="name of a joint space")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="clipx-"))
    space = clipx.load_space(args.space, backend="torch")
    folder = make(out / "events", args.train, args.test, args.seed)
    settings = VideoTrainConfig(steps=args.steps, lr=args.lr, seed=args.seed)
    found = table(space, folder, args.heads.split(","), settings, out)

    print(f"{6 * args.train} films to learn from, {6 * args.test} others to be asked about, in {space.name}")
    heading = f"{'head':12}{'all six':>9}{'film or reversal':>18}{'95 % interval':>18}"
    print(heading + "".join(f"{pair[0].split()[0]:>13}" for pair in PAIRS))
    for name, (right, pairwise, pair) in found.items():
        low, high = bootstrap_ci95(pairwise)
        each = "".join(f"{pairwise[pair == i].mean():>13.1%}" for i in range(len(PAIRS)))
        print(f"{name:12}{right.mean():>9.1%}{pairwise.mean():>18.1%}{f'{100 * low:.1f} to {high:.1%}':>18}{each}")
    print(f"{'chance':12}{1 / 6:>9.1%}{0.5:>18.1%}")


if __name__ == "__main__":
    main()
