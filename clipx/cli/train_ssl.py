"""clipx train ssl: pictures without labels -> an image tower that ``clipx train space --image-tower`` takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clipx.cli._options import RunOptions, takes
from clipx.errors import ClipxError, InputError
from clipx.progress import note

if TYPE_CHECKING:
    import numpy as np

    from clipx.contrastive import ImageTower
    from clipx.training import TrainConfig

LOOKED_AT = 512  # pictures whose features say whether the tower collapsed
COLLAPSED = 0.01  # spread below which they are all alike


@dataclass(frozen=True)
class SslFlags:
    """What is learned, and how."""

    method: Annotated[
        str, typer.Option("--method", help="simclr-v2, moco-v3, byol, swav, simsiam, dino, ... (docs: contrastive).")
    ] = "moco-v3"
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the pictures.", min=1)] = 100
    steps: Annotated[int | None, typer.Option("--steps", help="Optimiser steps, in place of --epochs.", min=1)] = None
    batch_size: Annotated[int, typer.Option("--batch-size", help="Pictures a step and process.", min=2)] = 128
    size: Annotated[int, typer.Option("--size", help="Side of the large views, in pixels.", min=32)] = 64
    lr: Annotated[float, typer.Option("--lr", help="Peak learning rate of AdamW.")] = 1e-3
    tower: Annotated[
        str | None,
        typer.Option("--tower", help="An open_clip architecture (RN50, ViT-B-32). Default: a ResNet of 1.4 M weights."),
    ] = None
    paper_sizes: Annotated[
        bool, typer.Option("--paper-sizes", help="Queues, heads and prototypes as large as the paper's.")
    ] = False
    mixed_precision: Annotated[
        Literal["no", "fp16", "bf16"], typer.Option("--mixed-precision", help="Precision of the forward pass.")
    ] = "no"
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside the tower.")] = False


@takes("device", "seed", "as_json", "config")
def train(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder of pictures, with folders inside or not.")],
    *,
    flags: SslFlags,
    out: Annotated[Path, typer.Option("--out", "-o", help="The tower: one .safetensors file.")] = Path(
        "runs/ssl/tower.safetensors"
    ),
    run: RunOptions,
) -> None:
    """Train an image tower on pictures without labels, by a self-supervised method.

    Pictures are decoded once, into a folder beside the tower, named as it is, with
    the checkpoints. A picture that cannot be read is left out and named at the end,
    and the exit status is then 2. The tower gets its words by clipx train space.

    Example: clipx train ssl photos/ --method moco-v3 --out tower.safetensors

    Example: clipx train space RECIPE --data DIR --image-tower tower.safetensors
    """
    from clipx import _processes as processes
    from clipx.cli._output import check_model, report
    from clipx.contrastive import decoded, find_pictures, method_named, pretrain, small, ssl_config
    from clipx.training.loop import join

    method = method_named(flags.method)
    if not 0 < flags.lr < math.inf:
        raise InputError(f"the learning rate must be above 0, got {flags.lr}", where="--lr")
    check_model(out)
    device = join(run.device)
    failures: dict[str, ClipxError] = {}
    folder, paths = out.with_suffix(""), find_pictures(data)
    tower = _tower(flags, run.seed)
    with processes.first_rank_first():  # it fills the cache
        pictures = decoded(paths, flags.size, folder, failures)
    batch = flags.batch_size * processes.world_size()
    if len(pictures) < batch:
        raise InputError(
            f"{len(pictures)} pictures are fewer than a batch of {batch}", where=data, remedy="lower --batch-size"
        )
    config: TrainConfig = ssl_config(
        steps=flags.steps or flags.epochs * (len(pictures) // batch),
        batch_size=flags.batch_size,
        lr=flags.lr,
        seed=run.seed,
        mixed_precision=flags.mixed_precision,
    )
    chosen = method if flags.paper_sizes else small(method)
    trained = pretrain(pictures, chosen, tower, config, folder, resume=flags.resume, device=device)
    if processes.rank() > 0:
        return
    trained.save(out)
    result = {"file": str(out), "method": method.name, "steps": config.steps, "spread": _spread(trained, pictures)}
    record = report("train ssl", [result], n=len(pictures), batch=batch, size=flags.size, seed=run.seed)
    run.conclude(record, failures, lambda: _print(record))


def _tower(flags: SslFlags, seed: int) -> ImageTower:
    """The tower before training. Raises SpaceError, or InputError for one that the trainer does not take."""
    from clipx.backbone import model_config
    from clipx.contrastive import DEFAULT, new_tower
    from clipx.contrastive.tower import require_any_size

    tower = new_tower(DEFAULT if flags.tower is None else model_config(flags.tower), flags.size, seed)
    require_any_size(tower, flags.tower or "the default tower")
    return tower


def _spread(tower: ImageTower, pictures: np.ndarray) -> float:
    """How widely the features of some pictures are spread, see ``clipx.contrastive.losses.spread``."""
    import numpy as np

    from clipx.contrastive import features
    from clipx.contrastive.losses import spread

    some = np.linspace(0, len(pictures) - 1, min(LOOKED_AT, len(pictures))).astype(int)
    return spread(features(tower, pictures[some]))


def _print(record: Mapping[str, Any]) -> None:
    from clipx.cli._output import print_table

    (found,) = record["results"]
    if found["spread"] < COLLAPSED:
        note("the tower makes nearly the same of all pictures: train longer, or by another method")
    print_table(
        ("tower", "method", "pictures", "steps", "spread"),
        [(found["file"], found["method"], str(record["n"]), str(found["steps"]), f"{found['spread']:.3f}")],
    )
