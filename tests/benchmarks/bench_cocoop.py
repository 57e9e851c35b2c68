"""How fast CoCoOp learns on cached vectors: python tests/benchmarks/bench_cocoop.py [--json] [--steps N] [--classes K]

Untrained weights, which take as long as trained ones. The released way and ``clipx.fewshot.CoCoOp`` take training steps
in turn; the ratio is the median over such pairs, low and high are the 10th and 90th percentile. A released step: one
image through its tower, then K prompts of 77 tokens through the text tower, the loss, its gradient to context and
Meta-Net, and SGD. Ours: the image's cached vector, and prompts of which only what differs is read for each class. Both
start alike, and the losses of their first steps must agree.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from timing import seconds, spread
from torch import nn
from torch.nn import functional as F

from clipx.fewshot import MetaNet
from clipx.prompt_learning import PromptLearner
from clipx.prompt_packing import packed_prompts
from clipx.space import JointSpace, random_space

ARCHITECTURE = "ViT-B-16"
WORDS = ["accordion", "ant", "barrel", "bonsai", "camera", "chair", "crab", "dolphin", "ferry", "garfield"]
KINDS = ["", "small ", "grand ", "wooden ", "white and grey ", "old "]


class Released:
    """A literal loop: the image each step, every prompt at full length."""

    def __init__(self, space: JointSpace, names: list[str]):
        text = space.backbone.model
        self.space, self.text, self.tokens = (
            space,
            text,
            space.backbone.tokenizer([f"a photo of a {n}." for n in names]),
        )
        with torch.no_grad():
            self.embedded = text.token_embedding(self.tokens)
        self.context = nn.Parameter(self.embedded[0, 1:5].clone())
        self.meta_net = MetaNet(space.dim, self.context.shape[1])
        self.sgd = torch.optim.SGD([self.context, *self.meta_net.parameters()], lr=0.002, momentum=0.9)

    def step(self, pixels: torch.Tensor, target: torch.Tensor) -> float:
        with torch.no_grad():
            image = F.normalize(self.space.backbone.encode_image(pixels), dim=1)
        context = self.context + self.meta_net(image)[:, None]  # (1, 4, W)
        context = context.expand(len(self.tokens), -1, -1)
        x = torch.cat([self.embedded[:, :1], context, self.embedded[:, 5:]], dim=1)
        x = self.text.transformer(x + self.text.positional_embedding, attn_mask=self.text.attn_mask)
        x = self.text.ln_final(x)[torch.arange(len(x)), self.tokens.argmax(-1)] @ self.text.text_projection
        loss = F.cross_entropy(self.space.logit_scale * image @ F.normalize(x, dim=1).T, target)
        self.sgd.zero_grad()
        loss.backward()
        self.sgd.step()
        return float(loss.detach())


class Ours:
    """What ``CoCoOp.fit`` does in each step."""

    def __init__(self, space: JointSpace, names: list[str]):
        self.space, self.learner = space, PromptLearner(space, names, "a photo of a {}", ending=".")
        self.read, self.meta_net = packed_prompts(self.learner), MetaNet(space.dim, self.learner.context.shape[1])
        self.sgd = torch.optim.SGD([self.learner.context, *self.meta_net.parameters()], lr=0.002, momentum=0.9)

    def step(self, image: torch.Tensor, target: torch.Tensor) -> float:
        logits = self.space.logit_scale * torch.einsum("nd,nkd->nk", image, self.read(self.meta_net(image)))
        loss = F.cross_entropy(logits, target)
        self.sgd.zero_grad()
        loss.backward()
        self.sgd.step()
        return float(loss.detach())


def bench(steps: int, classes: int) -> dict[str, Any]:
    """Ratio and seconds of a step."""
    space = random_space(ARCHITECTURE)
    names = [kind + word for kind in KINDS for word in WORDS][:classes]
    if len(names) < classes:
        raise SystemExit(f"at most {len(names)} classes")
    released, ours = Released(space, names), Ours(space, names)
    draw, pairs, losses = torch.Generator().manual_seed(0), [], []
    for _ in range(steps + 1):  # the first is not counted
        pixels = torch.randn(1, 3, *space.image_size, generator=draw)
        target = torch.randint(classes, (1,), generator=draw)
        with torch.no_grad():
            cached = F.normalize(space.backbone.encode_image(pixels), dim=1)
        pair: list[float] = []
        took = seconds(lambda: pair.append(released.step(pixels, target)))  # noqa: B023
        pairs.append((took, seconds(lambda: pair.append(ours.step(cached, target)))))  # noqa: B023
        losses.append(pair)
    if abs(losses[0][0] - losses[0][1]) > 1e-3:
        raise SystemExit(f"the two do not agree: their first losses are {losses[0]}")
    found = {"ratio": [a / b for a, b in pairs], "released_s": [a for a, _ in pairs], "ours_s": [b for _, b in pairs]}
    tokens = {"released_tokens": released.tokens.numel(), "our_tokens": ours.read.tokens}
    return {"classes": classes, "steps": steps, **tokens, **{name: spread(v[1:]) for name, v in found.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    row = bench(given.steps, given.classes)
    row |= {"architecture": ARCHITECTURE, "threads": torch.get_num_threads(), "torch": torch.__version__}
    if given.json:
        print(json.dumps(row, indent=1))
        return
    ratio = row["ratio"]
    print(f"{row['released_s']['median']:.3f} s a step as released, {row['ours_s']['median']:.3f} s here")
    print(f"ratio {ratio['median']:.1f} ({ratio['low']:.1f} to {ratio['high']:.1f})")


if __name__ == "__main__":
    main()
