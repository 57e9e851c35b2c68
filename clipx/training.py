"""The one trainer: contrastive losses, a resumable loop, and the recipe that makes an embedded space.

A run is a pure function of its seed: every batch is made from ``(seed, step)`` alone, so a run that was stopped and
resumed sees what an undisturbed one would have seen.
"""

from __future__ import annotations

import importlib.util
import json
import math
import signal
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx.errors import FileError, InputError

# ---------------------------------------------------------------------------------------------------------- losses


def contrastive_loss(rows: Tensor, columns: Tensor, scale: Tensor, targets: Tensor, ignore: Tensor | None = None):
    """Symmetric cross-entropy with several positives a row and a column (SupCon's L_out, Khosla et al. 2020, eq. 2).

    With ``targets = eye(N)`` it is CLIP's loss. Rows and columns without a positive count for nothing.

    Args:
        rows: (N, D) unit vectors, for instance of pictures.
        columns: (M, D) unit vectors, for instance of captions.
        scale: factor on the cosine (the exponential of CLIP's ``logit_scale``), a scalar tensor.
        targets: (N, M) weights >= 0; any positive entry is a match, and its weight counts within its row and column.
        ignore: (N, M) bool; pairs that are neither match nor mismatch (related classes) and leave the softmax.

    Returns:
        Scalar: the mean over rows plus the mean over columns, halved.
    """
    logits = scale * rows @ columns.T
    if ignore is not None:
        logits = logits.masked_fill(ignore & (targets <= 0), float("-inf"))

    def one_way(logits: Tensor, targets: Tensor) -> Tensor:
        total = targets.sum(1)
        log_p = F.log_softmax(logits[total > 0], dim=1)
        weights = targets[total > 0] / total[total > 0, None]
        return -torch.where(weights > 0, weights * log_p, 0.0).sum(1).mean()

    return (one_way(logits, targets) + one_way(logits.T, targets.T)) / 2


def sigmoid_loss(
    rows: Tensor, columns: Tensor, scale: Tensor, bias: Tensor, targets: Tensor, ignore: Tensor | None = None
):
    """Pairwise sigmoid loss (Zhai et al. 2023, eq. 1): every pair is its own yes or no. Arguments as above.

    ``bias`` is a scalar tensor; any positive target is a yes. The sum over pairs is divided by N.
    """
    sign = torch.where(targets > 0, 1.0, -1.0)
    loss = -F.logsigmoid(sign * (scale * rows @ columns.T + bias))
    if ignore is not None:
        loss = loss.masked_fill(ignore & (targets <= 0), 0.0)
    return loss.sum() / len(rows)


# -------------------------------------------------------------------------------------------------------- the loop


@dataclass(frozen=True)
class TrainConfig:
    """How to optimise. AdamW, linear warm-up, cosine to zero, an exponential moving average of the weights."""

    steps: int = field(default=1000, metadata={"help": "optimiser steps of the whole run"})
    batch_size: int = field(default=128, metadata={"help": "samples a step and process"})
    lr: float = field(default=1e-3, metadata={"help": "peak learning rate"})
    weight_decay: float = field(default=0.05, metadata={"help": "for matrices and kernels, not for gains and biases"})
    warmup: int = field(default=100, metadata={"help": "steps of linear warm-up"})
    clip_norm: float = field(default=1.0, metadata={"help": "largest norm of the gradient"})
    ema: float = field(default=0.998, metadata={"help": "decay of the averaged weights that are kept"})
    seed: int = field(default=0, metadata={"help": "seed of batches and initial weights"})
    mixed_precision: str = field(default="no", metadata={"help": "no, fp16 or bf16"})
    checkpoint_every: int = field(default=200, metadata={"help": "steps between checkpoints"})


def train(
    module: nn.Module,
    loss_of: Callable[[nn.Module, int], dict[str, Tensor]],
    config: TrainConfig,
    out: str | PathLike,
    *,
    resume: bool = False,
    device: str = "cpu",
    stop_after: int | None = None,
) -> nn.Module:
    """Train ``module`` in place and return it holding the averaged weights.

    Args:
        module: parameters with ``requires_grad`` are trained.
        loss_of: (module, step) -> named scalars; ``"loss"`` is minimised, the others are only written down. It must
            draw its batch from the seed and the step alone. With several processes ``step`` differs in each.
        config: the schedule.
        out: folder for ``checkpoint.safetensors`` and ``history.jsonl``; written beside, then renamed.
        resume: go on from the checkpoint in ``out``, where there is one.
        device: "cpu" or "cuda"; accelerate takes care of several devices.
        stop_after: stop after this step with a checkpoint, as Ctrl-C does; the schedule stays that of ``config``.

    Raises:
        InputError: ``out`` holds another run's checkpoint, or the loss is no longer finite.
    """
    from accelerate import Accelerator

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision=config.mixed_precision)
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim >= 2]
    gains = [p for p in module.parameters() if p.requires_grad and p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay}, {"params": gains, "weight_decay": 0.0}],
        lr=config.lr,
        fused=True,
    )
    average = {k: v.detach().clone() for k, v in module.state_dict().items()}
    first = _restore(out, module, optimizer, average, config) if resume else 0
    wrapped, optimizer = accelerator.prepare(module, optimizer)
    average = {k: v.to(accelerator.device) for k, v in average.items()}
    history = _History(out / "history.jsonl", first)
    last = min(config.steps, stop_after or config.steps)
    wrapped.train()
    with (
        _progress(first, config.steps, shown=accelerator.is_main_process) as advance,
        _stop_asked() as stop_asked,
    ):
        for step in range(first, last):
            began = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = config.lr * _schedule(step, config)
            scalars = loss_of(wrapped, step * accelerator.num_processes + accelerator.process_index)
            accelerator.backward(scalars["loss"])
            accelerator.clip_grad_norm_(module.parameters(), config.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            values = {k: float(v.detach()) for k, v in scalars.items()}
            if not math.isfinite(values["loss"]):
                raise InputError(f"the loss is {values['loss']} at step {step}", remedy="lower the learning rate")
            _average(average, module, decay=min(config.ema, (1 + step) / (10 + step)))
            history.add(step=step, lr=optimizer.param_groups[0]["lr"], **values, s=time.perf_counter() - began)
            advance(values["loss"])
            due = stop_asked() or step + 1 == last or (step + 1) % config.checkpoint_every == 0
            if due and accelerator.is_main_process:
                _save(out, module, optimizer, average, config, step + 1, history)
            if stop_asked():
                raise KeyboardInterrupt
    module.load_state_dict(average)
    return module.eval()


@contextmanager
def _stop_asked() -> Iterator[Callable[[], bool]]:
    """Ctrl-C is heard between two steps, so that no checkpoint holds half of one; a second Ctrl-C stops at once."""
    asked: list[int] = []

    def hear(number, frame):
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, hear)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)


def _schedule(step: int, config: TrainConfig) -> float:
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def _average(average: dict[str, Tensor], module: nn.Module, decay: float) -> None:
    for key, value in module.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value, 1 - decay)
        else:
            average[key].copy_(value)


def _save(out, module, optimizer, average, config, step, history) -> None:
    """One safetensors file holds weights, averaged weights and the optimiser's moments."""
    from safetensors.torch import save_file

    tensors = {f"model.{k}": v for k, v in module.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in average.items()}
    for index, state in enumerate(_moments(optimizer)):
        tensors |= {f"opt.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    tensors = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
    beside = out / "checkpoint.safetensors.part"
    save_file(tensors, beside, metadata={"step": str(step), "config": json.dumps(asdict(config))})
    history.write()
    beside.replace(out / "checkpoint.safetensors")


def _restore(out, module, optimizer, average, config) -> int:
    from safetensors import safe_open

    path = out / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        about = file.metadata()
        if json.loads(about["config"]) != asdict(config):
            raise InputError("the checkpoint is of a run with other settings", where=path, remedy="name another folder")
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    module.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    for key in average:
        average[key].copy_(tensors[f"ema.{key}"])
    for index, parameter in enumerate(p for g in optimizer.param_groups for p in g["params"]):
        state = {k.split(".", 2)[2]: v for k, v in tensors.items() if k.startswith(f"opt.{index}.")}
        if state:
            optimizer.state[parameter] = state
    return int(about["step"])


def _moments(optimizer) -> Iterator[dict]:
    yield from (optimizer.state.get(p, {}) for group in optimizer.param_groups for p in group["params"])


class _History:
    """The loss curve, one JSON object a step; on resume the lines after the checkpoint are dropped."""

    def __init__(self, path: Path, first: int):
        self.path, self.rows = path, []
        if first and path.exists():
            self.rows = [json.loads(line) for line in path.read_text().splitlines()][:first]

    def add(self, **values: float) -> None:
        self.rows.append({k: round(v, 6) if isinstance(v, float) else v for k, v in values.items()})

    def write(self) -> None:
        beside = self.path.with_suffix(".part")
        beside.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        beside.replace(self.path)


@contextmanager
def _progress(first: int, steps: int, *, shown: bool):
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task("", total=steps, completed=first, loss="")
        yield lambda loss: bar.update(task, advance=1, loss=f"loss {loss:.3f}")


def plot_history(out: str | PathLike) -> Path:
    """Draw ``history.jsonl`` of a run as ``loss.png`` beside it (raw and smoothed over 50 steps)."""
    import matplotlib
    import numpy as np

    matplotlib.use("Agg")
    from matplotlib import pyplot

    out = Path(out)
    rows = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name in (k for k in rows[0] if k not in ("step", "lr", "s", "scale")):
        values = np.array([row[name] for row in rows])
        width = min(50, len(values))
        axes.plot(np.convolve(values, np.ones(width) / width, "valid"), label=name)
    axes.set(xlabel="step", ylabel=f"loss, mean of {width} steps")
    axes.legend()
    figure.savefig(out / "loss.png", dpi=110, bbox_inches="tight")
    pyplot.close(figure)
    return out / "loss.png"


# --------------------------------------------------------------------------------------------- an embedded space


@dataclass(frozen=True)
class PairBatch:
    """What a recipe's source returns for one step.

    Args:
        pixels: (B, 3, S, S) float32, already normalised for the tower.
        captions: U texts.
        targets: (B, U) float32 weights, positive where the caption is true of the picture.
        ignore: (B, U) bool, where a caption is neither true nor plainly false (related classes).
        dictionary: D pairs of texts of one meaning, for words without pictures and for synonyms.
        dictionary_ignore: (D, D) bool, related meanings.
    """

    pixels: Tensor
    captions: list[str]
    targets: Tensor
    ignore: Tensor
    dictionary: list[tuple[str, str]]
    dictionary_ignore: Tensor


def train_space(
    recipe: str | PathLike,
    data: str | PathLike,
    out: str | PathLike,
    *,
    resume: bool = False,
    steps: int | None = None,
    exclude: tuple[str, ...] = (),
    seed: int | None = None,
    device: str = "cpu",
) -> Path:
    """Train an embedded space by a recipe and write its folder, ``out/space``.

    Args:
        recipe: a folder with ``recipe.toml`` (or that file). Its ``[source] module`` is a Python file with
            ``build(data, cache, seed, exclude, options) -> source`` (options: the [source] table itself); the source
            has ``batch(step, size, image_size, mean, std) -> PairBatch``, ``vocabulary() -> dict[word, "pictures" | "text"]``, ``phrases() -> list[str]`` (every word that a caption can
            say, in any order) and ``about() -> dict`` for the card.
        data: folder of the data sets that the recipe names.
        out: folder for checkpoints, the loss curve and the finished space.
        resume: go on from the checkpoint in ``out``.
        steps: another number of steps than the recipe's (the schedule shrinks with it).
        exclude: concepts whose pictures are left out (for an unseen-class figure).
        seed: another seed than the recipe's.
        device: "cpu" or "cuda".

    Returns:
        The folder of the space, which ``load_space`` takes.
    """
    from clipx.backbone import build_model, build_tokenizer
    from clipx.space import save_embedded

    recipe = Path(recipe)
    path = recipe / "recipe.toml" if recipe.is_dir() else recipe
    if not path.exists():
        raise FileError("no such recipe", where=path, remedy="name a folder that holds recipe.toml")
    plan = tomllib.loads(path.read_text())
    settings = dict(plan["train"])
    stages = settings.pop("stages")  # [[fraction of the steps, image size], ...]
    loss_name = settings.pop("loss", "softmax")
    settings["seed"] = settings.get("seed", 0) if seed is None else seed
    if steps is not None:
        settings |= {"warmup": max(1, round(settings["warmup"] * steps / settings["steps"])), "steps": steps}
    config = TrainConfig(**settings)
    model_cfg, preprocess = plan["model"], plan["preprocess"]
    model = build_model(model_cfg, config.seed).to(memory_format=torch.channels_last)
    tokenize = build_tokenizer(model_cfg)
    full_table = model.token_embedding
    source = _load_module(path.parent / plan["source"]["module"]).build(
        Path(data), Path(out) / "cache", config.seed, tuple(exclude), plan["source"]
    )

    # Only the rows that captions can reach are trained: a table a tenth the size, and as much less to update.
    rows = tokenize(source.phrases()).unique()
    place = torch.full((full_table.num_embeddings,), -1)
    place[rows] = torch.arange(len(rows))
    model.token_embedding = nn.Embedding(len(rows), full_table.embedding_dim, _weight=full_table.weight[rows].detach())

    def loss_of(module: nn.Module, step: int) -> dict[str, Tensor]:
        done = step / config.steps
        image_size = next(size for until, size in stages if done < until)
        batch = source.batch(step, config.batch_size, image_size, preprocess["mean"], preprocess["std"])
        sentences = [*batch.captions, *(s for pair in batch.dictionary for s in pair)]
        pixels = batch.pixels.to(device, memory_format=torch.channels_last)
        tokens = place[tokenize(sentences)]
        if tokens.min() < 0:
            raise InputError("a caption says what the source's phrases() did not", where=path)
        image, text, scale, bias = module(pixels, tokens.to(device))
        words, pairs = text[: len(batch.captions)], text[len(batch.captions) :]
        targets, ignore = batch.targets.to(device), batch.ignore.to(device)
        if loss_name == "sigmoid":
            match = sigmoid_loss(image, words, scale, bias, targets, ignore)
        else:
            match = contrastive_loss(image, words, scale, targets, ignore)
        same = torch.eye(len(batch.dictionary), device=device)
        dictionary = contrastive_loss(pairs[0::2], pairs[1::2], scale, same, batch.dictionary_ignore.to(device))
        loss = match + plan["source"].get("dictionary_weight", 0.5) * dictionary
        return {"loss": loss, "image_text": match, "dictionary": dictionary, "scale": scale}

    train(_Pair(model, loss_name), loss_of, config, out, resume=resume, device=device)
    with torch.no_grad():
        full_table.weight[rows] = model.token_embedding.weight.to(full_table.weight)
    model.token_embedding = full_table
    plot_history(out)
    return save_embedded(
        model,
        Path(out) / "space",
        name=plan["name"],
        version=plan["version"],
        model_cfg=model_cfg,
        preprocess_cfg=preprocess,
        words=source.vocabulary(),
        token_index=rows.tolist(),
        licence=plan["licence"],
        about=source.about() | {"recipe": plan, "train": asdict(config), "exclude": list(exclude)},
    )


class _Pair(nn.Module):
    """Pixels and tokens in, unit vectors out, through one forward call as data-parallel wrappers need it."""

    def __init__(self, model: nn.Module, loss_name: str):
        super().__init__()
        self.model = model
        self.bias = nn.Parameter(torch.tensor(-10.0)) if loss_name == "sigmoid" else None

    def forward(self, pixels: Tensor, tokens: Tensor):
        from clipx.trainable import any_size_image_features, short_text_features

        image = F.normalize(any_size_image_features(self.model, pixels), dim=-1)
        text = F.normalize(short_text_features(self.model, tokens), dim=-1)
        return image, text, self.model.logit_scale.clamp(max=math.log(100)).exp(), self.bias


def _load_module(path: Path) -> ModuleType:
    """A recipe's own Python file; its folder is importable while it loads, so that it can be several files."""
    spec = importlib.util.spec_from_file_location(f"clipx_recipe_{path.parent.name}", path)
    module: Any = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
