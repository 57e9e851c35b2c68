"""Questions about made pictures, answered from the grid of a frozen tower (CLIP-ViL).

    python examples/questions.py --out questions --space nano-vit --pictures 5000 --steps 4000

A tower that pools says what a picture shows, and hardly how many there are or which is left of which. Before it pools,
each cell of its grid still says what lies where. A head of two layers of cross-attention reads the grid, beside two
controls of the same size: one that reads the pooled vector, and one that reads the question alone. Some pairs of a
colour and a shape are in no training picture.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F

import clipx
from clipx.metrics import bootstrap_ci95

COLOURS = {"red": "#d62728", "green": "#2ca02c", "blue": "#1f4fd6", "yellow": "#f2c80f", "purple": "#8e3fb5"}
SHAPES = ("circle", "square", "triangle")
HELD_OUT = {("red", "triangle"), ("blue", "circle"), ("yellow", "square")}  # pairs of the last test alone
KINDS = ("how many", "which colour", "left of")
ANSWERS = [*map(str, range(6)), *COLOURS, "yes", "no"]
WORDS = ["how", "many", "which", "colour", "is", "the", "left", "of", *COLOURS, *SHAPES]
LENGTH = 7  # words of the longest question
CELLS = 4  # objects lie in the cells of a 4 x 4 board, shifted at random
BATCH = 63
CLEAR = 0.1  # of the larger x: nearer to one below the other than this, two objects are not asked about
READERS = ("grid", "global", "question")


@dataclass
class Asked:
    """A question about picture ``of``; ``answer`` is its place in ``ANSWERS``."""

    of: int
    kind: str
    words: list[str]
    answer: int


def picture(rng: np.random.Generator, pairs: list[tuple[str, str]], side: int) -> tuple[Image.Image, list]:
    """One to five objects of some pairs on a grey board, and the list of (colour, shape, x, y)."""
    image = Image.new("RGB", (side, side), tuple(int(rng.integers(200, 256)) for _ in range(3)))
    draw, cell = ImageDraw.Draw(image), side / CELLS
    found = []
    for place in rng.choice(CELLS**2, rng.integers(1, 6), replace=False):
        colour, shape = pairs[rng.integers(len(pairs))]
        radius = cell * rng.uniform(0.28, 0.42)
        x, y = ((p + 0.5) * cell + rng.uniform(-1, 1) * (cell / 2 - radius) for p in (place % CELLS, place // CELLS))
        if shape == "circle":
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=COLOURS[colour])
        elif shape == "square":
            draw.rectangle((x - radius, y - radius, x + radius, y + radius), fill=COLOURS[colour])
        else:
            draw.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=COLOURS[colour])
        found.append((colour, shape, x, y))
    return image, found


def questions(of: int, objects: list) -> list[Asked]:
    """All that is asked of a picture; a shape that is there once can be asked for its colour and its side."""
    asked = []
    for shape in SHAPES:
        count = sum(o[1] == shape for o in objects)
        asked.append(Asked(of, "how many", ["how", "many", shape], ANSWERS.index(str(count))))
    single = [o for o in objects if sum(p[1] == o[1] for p in objects) == 1]
    for one in single:
        asked.append(Asked(of, "which colour", ["which", "colour", "is", "the", one[1]], ANSWERS.index(one[0])))
    for a, b in permutations(single, 2):
        if abs(a[2] - b[2]) > CLEAR * max(a[2], b[2]):
            words = ["is", "the", a[1], "left", "of", "the", b[1]]
            asked.append(Asked(of, "left of", words, ANSWERS.index("yes" if a[2] < b[2] else "no")))
    return asked


def made(count: int, seed: int, held_out: bool, side: int) -> tuple[list[Image.Image], list[Asked]]:
    """Pictures and questions. With ``held_out`` each picture has an object of a held-out pair; else none has."""
    rng = np.random.default_rng(seed)
    every = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    pairs = every if held_out else [pair for pair in every if pair not in HELD_OUT]
    pictures, asked = [], []
    while len(pictures) < count:
        image, objects = picture(rng, pairs, side)
        if held_out and not any(o[:2] in HELD_OUT for o in objects):
            continue
        asked += questions(len(pictures), objects)
        pictures.append(image)
    return pictures, asked


class Head(nn.Module):
    """Question words attend to each other and to the cells, twice; the mean of the words names the answer."""

    def __init__(self, channels: int, cells: int, width: int = 64, layers: int = 2):
        super().__init__()
        self.words = nn.Embedding(len(WORDS) + 1, width, padding_idx=len(WORDS))
        self.order = nn.Parameter(torch.randn(LENGTH, width))  # as large as the words: which comes first must be seen
        self.cells = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))
        self.places = nn.Parameter(torch.randn(cells, width))
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(width, 4, 2 * width, batch_first=True, dropout=0.0) for _ in range(layers)
        )
        self.answer = nn.Linear(width, len(ANSWERS))

    def forward(self, words: Tensor, cells: Tensor) -> Tensor:
        """(B, L) word numbers and (B, cells, channels) -> (B, answers) logits."""
        absent = words == len(WORDS)
        x, memory = self.words(words) + self.order, self.cells(cells) + self.places
        for layer in self.layers:
            x = layer(x, memory, tgt_key_padding_mask=absent)
        x = x.masked_fill(absent[..., None], 0).sum(1) / (~absent).sum(1, keepdim=True)
        return self.answer(x)


def looked_at(space: clipx.JointSpace, pictures: list[Image.Image]) -> dict[str, Tensor]:
    """What each reader gets of each picture: (N, cells, channels)."""
    grids, rows = [], []
    with torch.no_grad():
        for start in range(0, len(pictures), 32):
            pixels = np.stack([np.asarray(p).transpose(2, 0, 1) for p in pictures[start : start + 32]]) / np.float32(
                255
            )
            grids.append(space.grid_image(pixels).flatten(1, 2).cpu())
            rows.append(torch.from_numpy(space.encode_image(pixels))[:, None])
    return {"grid": torch.cat(grids), "global": torch.cat(rows), "question": torch.ones(len(pictures), 1, 1)}


def as_tensors(asked: list[Asked]) -> tuple[Tensor, Tensor, Tensor]:
    """Picture, words and answer of each question."""
    padded = [[WORDS.index(w) for w in one.words] + [len(WORDS)] * (LENGTH - len(one.words)) for one in asked]
    return torch.tensor([one.of for one in asked]), torch.tensor(padded), torch.tensor([one.answer for one in asked])


def fit(cells: Tensor, asked: list[Asked], steps: int, seed: int) -> Head:
    """A head, trained by AdamW with a cosine to zero; a batch holds as many questions of each kind."""
    torch.manual_seed(seed)
    head = Head(cells.shape[2], cells.shape[1])
    of, words, answers = as_tensors(asked)
    kinds = [torch.tensor([i for i, one in enumerate(asked) if one.kind == kind]) for kind in KINDS]
    kinds = [numbers for numbers in kinds if len(numbers)]
    adam = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-3, steps)
    for _ in range(steps):
        some = torch.cat([numbers[torch.randint(len(numbers), (BATCH // len(kinds),))] for numbers in kinds])
        loss = F.cross_entropy(head(words[some], cells[of[some]]), answers[some])
        adam.zero_grad()
        loss.backward()
        adam.step()
        rate.step()
    return head.eval()


def figures(head: Head, cells: Tensor, asked: list[Asked]) -> dict[str, dict]:
    """Kind of question -> share of right answers, its interval and n."""
    of, words, answers = as_tensors(asked)
    with torch.no_grad():
        parts = torch.arange(len(of)).split(256)
        right = torch.cat([head(words[i], cells[of[i]]).argmax(1) == answers[i] for i in parts]).numpy()
    found = {}
    for kind in KINDS:
        own = right[[one.kind == kind for one in asked]]
        if len(own):
            found[kind] = {"acc1": float(own.mean()), "ci95": list(bootstrap_ci95(own)), "n": len(own)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for the figures; a temporary one by default")
    parser.add_argument("--pictures", type=int, default=400, help="to learn from; a quarter as many for each test")
    parser.add_argument("--steps", type=int, default=300, help="of each head's training")
    parser.add_argument("--seeds", type=int, default=1, help="heads of each kind; pictures are the same for all")
    parser.add_argument("--space", default=None)
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="clipx-"))
    out.mkdir(parents=True, exist_ok=True)

    space = clipx.load_space(args.space, backend="torch")
    side, few = space.image_size[0], max(8, args.pictures // 4)
    parts = {
        "train": made(args.pictures, 0, False, side),
        "test": made(few, 1, False, side),
        "held out": made(few, 2, True, side),
    }
    seen = {name: looked_at(space, pictures) for name, (pictures, _) in parts.items()}
    record = {"space": space.name, "space_id": space.id, "grid": list(seen["train"]["grid"].shape[1:])}
    record |= {"pictures": args.pictures, "questions": len(parts["train"][1]), "steps": args.steps, "results": []}
    for reader in READERS:
        for seed in range(args.seeds):
            head = fit(seen["train"][reader], parts["train"][1], args.steps, seed)
            for part in ("test", "held out"):
                found = figures(head, seen[part][reader], parts[part][1])
                record["results"].append({"reader": reader, "seed": seed, "part": part, "kinds": found})
                said = ", ".join(f"{kind} {one['acc1']:.1%}" for kind, one in found.items())
                print(f"{reader:9}seed {seed} {part:9}{said}", flush=True)
    (out / "questions.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    parts["train"][0][0].save(out / "picture.png")
    print("asked of picture.png:", "; ".join(" ".join(one.words) for one in parts["train"][1] if one.of == 0))
    print(f"written to {out}")


if __name__ == "__main__":
    main()
