"""The one trainer: contrastive losses, a resumable loop, and the recipe that makes an embedded space.

A run is a pure function of its seed: every batch is made from ``(seed, step)`` alone, so a run that was stopped and
resumed sees what an undisturbed one would have seen.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import signal
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipx import _processes as processes
from clipx._processes import gather
from clipx.errors import FileError, InputError
from clipx.progress import progress

# ---------------------------------------------------------------------------------------------------------- losses


def contrastive_loss(rows: Tensor, columns: Tensor, scale: Tensor, targets: Tensor, ignore: Tensor | None = None):
    """Symmetric cross-entropy with several positives a row and a column (SupCon's L_out, Khosla et al. 2020, eq. 2).

    With ``targets = eye(N)`` it is CLIP's loss. Rows and columns without a positive count for nothing; without any
    positive the loss is 0.

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
        some = total > 0
        weights = targets[some] / total[some, None]
        entropy = -torch.where(weights > 0, weights * F.log_softmax(logits[some], dim=1), 0.0).sum()
        return entropy / some.sum().clamp(min=1)

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
    """How to optimise. AdamW, linear warm-up, cosine to zero, an exponential moving average of the weights.

    With ``muon_lr`` the matrices inside transformer blocks are moved by Muon (Jordan et al., 2024) instead.
    """

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
    muon_lr: float = field(default=0.0, metadata={"help": "peak learning rate of Muon; 0 leaves all to AdamW"})


def train(
    module: nn.Module,
    loss_of: Callable[[nn.Module, int, int], dict[str, Tensor]],
    config: TrainConfig,
    out: str | PathLike,
    *,
    identity: dict[str, Any] | None = None,
    resume: bool = False,
    device: str | torch.device = "cpu",
    stop_after: int | None = None,
) -> nn.Module:
    """Train ``module`` in place and return it holding the averaged weights.

    Started by torchrun, every process trains the same module on a card of its own: gradients are averaged, the first
    process alone writes, and a signal to one of them stops all with a checkpoint. ``gather`` rows where a loss compares
    samples with each other, so that each is compared with those of all processes.

    Args:
        module: parameters with ``requires_grad`` are trained; moved to the device.
        loss_of: (module, step, draw) -> named scalars; ``"loss"`` is minimised, the others are only written down. It
            must make its batch from the seed and ``draw`` alone: ``draw`` is ``step`` with one process, and another
            number in each of several. The module it is given computes in mixed precision and returns float32.
        config: the schedule.
        out: folder for ``checkpoint.safetensors`` and ``history.jsonl``; written beside, then renamed.
        identity: whatever else makes this run the one it is (data, architecture); kept with the checkpoint.
        resume: go on from the checkpoint in ``out``, where there is one.
        device: as torch names it; "cuda" is the process's own card where there are several processes.
        stop_after: stop after this step with a checkpoint, as Ctrl-C does; the schedule stays that of ``config``.

    Raises:
        InputError: ``out`` holds another run's checkpoint, or one without ``resume``; the loss is no longer finite; the
            device or the precision cannot be used.
        FileError: the checkpoint is torn.
        KeyboardInterrupt: a signal (SIGINT or SIGTERM) to this process or another; the checkpoint is written.
    """
    out, where = prepare_folder(out, resume), _device(device)
    run: dict[str, Any] = {"config": asdict(config), "identity": identity or {}}
    if processes.count() > 1:
        run["processes"] = processes.count()
    module.to(where)
    processes.same_everywhere(module.state_dict())
    optimizers, scaler = _optimizers(module, config, where), _scaler(config, where)
    average = {k: v.detach().clone() for k, v in module.state_dict().items()}
    first = _restore(out, module, optimizers, scaler, average, run) if resume else 0
    mixed = _InMixedPrecision(module, where, PRECISIONS[config.mixed_precision])
    history = _History(out / "history.jsonl", first)
    last = min(config.steps, stop_after or config.steps)
    mixed.train()
    writes = processes.number() == 0
    bar = progress("training", config.steps, first) if writes else nullcontext(lambda *done: None)
    with bar as advance, stop_asked() as asked:
        for step in range(first, last):
            began = time.perf_counter()
            for optimizer, peak in zip(optimizers, (config.lr, config.muon_lr), strict=False):
                for group in optimizer.param_groups:
                    group["lr"] = peak * _schedule(step, config)
            scalars = loss_of(mixed, step, step * processes.count() + processes.number())
            scaler.scale(scalars["loss"]).backward()
            processes.average_gradients(module)
            for optimizer in optimizers:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(module.parameters(), config.clip_norm)
            for optimizer in optimizers:
                scaler.step(optimizer)
                optimizer.zero_grad(set_to_none=True)
            scaler.update()
            values = {k: float(v.detach()) for k, v in scalars.items()} | {"stop": float(asked())}
            values = processes.mean_of(values, where)
            stop = values.pop("stop") > 0
            if not math.isfinite(values["loss"]):
                raise InputError(f"the loss is {values['loss']} at step {step}", remedy="lower the learning rate")
            _average(average, module, decay=min(config.ema, (1 + step) / (10 + step)))
            history.add(step=step, lr=config.lr * _schedule(step, config), **values, s=time.perf_counter() - began)
            advance(1, f"loss {values['loss']:.3f}")
            if stop or step + 1 == last or (step + 1) % config.checkpoint_every == 0:
                save = partial(_save, out, module, optimizers, scaler, average, run, step + 1, history)
                processes.by_the_first(save)  # the others wait: whoever ends first would have the rest killed
            if stop:
                raise KeyboardInterrupt
        if processes.mean_of({"stop": float(asked())}, where)["stop"]:  # while the last checkpoint was written
            raise KeyboardInterrupt
    processes.same_everywhere(average)  # BatchNorm's statistics are each process's own
    module.load_state_dict(average)
    return module.eval()


def _device(device: str | torch.device) -> torch.device:
    """The device, checked, and this process together with the others."""
    from clipx.space import check_device

    where = check_device(device)
    processes.join(where)
    return where


PRECISIONS = {"no": None, "fp16": torch.float16, "bf16": torch.bfloat16}


class _InMixedPrecision(nn.Module):
    """A module whose forward pass runs under autocast; what comes out is float32."""

    def __init__(self, module: nn.Module, device: torch.device, dtype: torch.dtype | None):
        super().__init__()
        self.module, self.device_type, self.dtype = module, device.type, dtype

    def forward(self, *args: Any, **more: Any) -> Any:
        if self.dtype is None:
            return self.module(*args, **more)
        with torch.autocast(self.device_type, self.dtype):
            return _float32(self.module(*args, **more))


def _float32(found: Any) -> Any:
    if isinstance(found, Tensor):
        return found.float() if found.is_floating_point() else found
    if isinstance(found, dict):
        return {name: _float32(value) for name, value in found.items()}
    return type(found)(map(_float32, found)) if isinstance(found, tuple | list) else found


def _scaler(config: TrainConfig, device: torch.device) -> torch.amp.GradScaler:
    """What keeps float16 gradients from vanishing; does nothing in other precisions."""
    if config.mixed_precision not in PRECISIONS:
        raise InputError(f"mixed_precision must be {', '.join(PRECISIONS)}, got {config.mixed_precision!r}")
    return torch.amp.GradScaler(device.type, enabled=config.mixed_precision == "fp16")


def _optimizers(module: nn.Module, config: TrainConfig, device: torch.device) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the matrices in transformer blocks if it has a learning rate."""
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    hidden = [p for name, p in trained.items() if config.muon_lr and p.ndim == 2 and "resblocks." in name]
    taken = {id(p) for p in hidden}
    matrices = [p for p in trained.values() if p.ndim >= 2 and id(p) not in taken]
    gains = [p for p in trained.values() if p.ndim < 2]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [{"params": matrices, "weight_decay": config.weight_decay}, {"params": gains, "weight_decay": 0.0}],
            lr=config.lr,
            fused=device.type in ("cpu", "cuda", "mps"),
        )
    ]
    if hidden:
        muon = torch.optim.Muon(
            hidden, lr=config.muon_lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        optimizers.append(muon)
    return optimizers


@contextmanager
def stop_asked() -> Iterator[Callable[[], bool]]:
    """SIGINT (Ctrl-C) and SIGTERM take effect between two steps, so that no checkpoint holds half of one; a second one
    stops at once."""
    asked: list[int] = []

    def hear(number, frame):
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


def _save(out, module, optimizers, scaler, average, run, step, history) -> None:
    """One safetensors file holds weights, averaged weights and the optimiser's moments."""
    from safetensors.torch import save_file

    tensors = {f"model.{k}": v for k, v in module.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in average.items()}
    for index, state in enumerate(optimizer.state.get(p, {}) for optimizer, p in _moved(optimizers)):
        tensors |= {f"opt.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    tensors = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
    beside = out / "checkpoint.safetensors.part"
    about = {"step": str(step), "run": json.dumps(run), "scaler": json.dumps(scaler.state_dict())}
    save_file(tensors, beside, metadata=about)
    history.write()
    beside.replace(out / "checkpoint.safetensors")


def prepare_folder(out: str | PathLike, resume: bool) -> Path:
    """Make a run's folder; refuse to overwrite another run's checkpoint."""
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot be made ({error.strerror})", where=out, remedy="name another with -o") from error
    if not resume and (out / "checkpoint.safetensors").exists():
        raise InputError("holds a run already", where=out, remedy="go on with --resume, or name another folder")
    return out


def _restore(out, module, optimizers, scaler, average, run) -> int:
    from safetensors import SafetensorError, safe_open

    path = out / "checkpoint.safetensors"
    if not path.exists():
        return 0
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata()
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise FileError("the checkpoint is torn", where=path, remedy="delete it and start again") from error
    if json.loads(about["run"]) != json.loads(json.dumps(run)):
        raise InputError("the checkpoint is of a run with other settings", where=path, remedy="name another folder")
    module.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
    for key in average:
        average[key].copy_(tensors[f"ema.{key}"])
    for index, (optimizer, parameter) in enumerate(_moved(optimizers)):
        state = {k.split(".", 2)[2]: v for k, v in tensors.items() if k.startswith(f"opt.{index}.")}
        # a moment must lie in memory as its parameter does (channels last): the fused step goes by address
        for name, value in state.items():
            if value.shape == parameter.shape and name != "step":
                value = torch.empty_like(parameter).copy_(value)
            elif optimizer.defaults.get("fused"):  # it counts its steps on the device, others on the CPU
                value = value.to(parameter.device)
            optimizer.state[parameter][name] = value
    if scaler.is_enabled():
        scaler.load_state_dict(json.loads(about["scaler"]))
    return int(about["step"])


def _moved(optimizers: Sequence[torch.optim.Optimizer]) -> Iterator[tuple[torch.optim.Optimizer, Tensor]]:
    """Every parameter with the optimiser that moves it, in one order."""
    yield from ((optimizer, p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"])


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


def _minutes(out: Path) -> float:
    return sum(json.loads(line)["s"] for line in (out / "history.jsonl").read_text().splitlines()) / 60


def plot_history(out: str | PathLike) -> Path:
    """Draw ``history.jsonl`` of a run as ``loss.png`` beside it (raw and smoothed over 50 steps)."""
    import numpy as np
    from matplotlib.figure import Figure

    out = Path(out)
    rows = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    figure = Figure(figsize=(7, 4))  # not pyplot's: a caller's backend stays as it is
    axes = figure.subplots()
    for name in (k for k in rows[0] if k not in ("step", "lr", "s", "scale")):
        values = np.array([row[name] for row in rows])
        width = min(50, len(values))
        axes.plot(np.convolve(values, np.ones(width) / width, "valid"), label=name)
    axes.set(xlabel="step", ylabel=f"loss, mean of {width} steps")
    axes.legend()
    figure.savefig(out / "loss.png", dpi=110, bbox_inches="tight")
    return out / "loss.png"


# --------------------------------------------------------------------------------------------- an embedded space


@dataclass(frozen=True)
class PairBatch:
    """What a recipe's source returns for one step with pictures; U is the number of its captions.

    Args:
        pixels: (B, 3, S, S) float32, already normalised for the tower.
        targets: (B, U) float32 weights, positive where the caption is true of the picture.
        ignore: (B, U) bool, where a caption is neither true nor plainly false (related classes).
    """

    pixels: Tensor
    targets: Tensor
    ignore: Tensor


@dataclass(frozen=True)
class TextBatch:
    """What a recipe's source returns for one step with words: texts, and as above which captions they mean."""

    texts: list[str]
    targets: Tensor
    ignore: Tensor


def train_space(
    recipe: str | PathLike,
    data: str | PathLike,
    out: str | PathLike,
    *,
    resume: bool = False,
    steps: int | None = None,
    exclude: tuple[str, ...] = (),
    seed: int | None = None,
    device: str | torch.device = "cpu",
) -> Path:
    """Train an embedded space by a recipe and write its folder, ``out/space``.

    Pictures first: the image tower learns beside one free vector a caption, contrastively. Then words: the pictures
    stand still, and the text tower learns to put sentences on the vectors of what they mean, and words without pictures
    beside their relatives. Last the image tower moves what is left, to where the text tower really put the captions.
    Two towers trained together from nothing wait for each other: measured on the same steps, the image tower then knows
    less than half as much (and so it does with words trained first and locked).

    A recipe with ``make`` names a module that does all this in another way, such as from pretrained towers.

    Args:
        recipe: a folder with ``recipe.toml`` (or that file), as ``read_recipe`` describes it.
        data: folder of the data sets that the recipe names.
        out: folder for checkpoints, the loss curves and the finished space.
        resume: go on from the checkpoints in ``out``.
        steps: another number of steps with pictures than the recipe's; warm-up and the other parts scale with it.
        exclude: concepts whose pictures are left out (for an unseen-class figure).
        seed: another seed than the recipe's.
        device: as ``train`` takes it.

    Returns:
        The folder of the space, which ``load_space`` takes.

    Raises:
        FileError, InputError: no such recipe or data, a malformed recipe, an unknown concept, another run in ``out``.
    """
    from clipx.backbone import build_model, build_tokenizer, require_trainable, state_sha256
    from clipx.space import save_embedded

    plan, folder = read_recipe(recipe)
    if "make" in plan:
        return _made(plan, folder, Path(data), Path(out), resume, steps, exclude, seed)
    device = _device(device)
    out, words_out, tune_out = (prepare_folder(Path(out) / part, resume) for part in ("", "words", "tune"))
    model_cfg, preprocess = plan["model"], plan["preprocess"]
    settings = dict(plan["train"])
    stages, loss_name = settings.pop("stages"), settings.pop("loss")
    settings["seed"] = settings["seed"] if seed is None else seed
    share = 1.0 if steps is None else steps / settings["steps"]
    config = scaled(TrainConfig(**settings), share)
    words_config = scaled(TrainConfig(**plan["words"], seed=config.seed), share)
    tune_config = scaled(TrainConfig(**plan["tune"], seed=config.seed), share)
    model = build_model(model_cfg, config.seed).to(memory_format=torch.channels_last)
    require_trainable(model, str(folder))
    with processes.first_alone():  # it fills the cache
        source = _load_module(folder / plan["source"]["module"]).build(
            Path(data), out / "cache", config.seed, tuple(exclude), plan["source"]
        )
    about = source.about() | {"recipe": plan, "train": asdict(config), "exclude": list(exclude)}

    # Only the token rows that captions can reach are trained: a table a tenth the size, and as much less to update.
    full_table = model.token_embedding
    tokenize = build_tokenizer(model_cfg)
    rows = tokenize(source.phrases()).unique()
    place = torch.full((full_table.num_embeddings,), -1)
    place[rows] = torch.arange(len(rows))
    model.token_embedding = nn.Embedding(len(rows), full_table.embedding_dim, _weight=full_table.weight[rows].detach())

    def tokens_of(texts: list[str]) -> Tensor:
        tokens = place[tokenize(texts)]
        if int(tokens.min()) < 0:
            raise InputError("a caption says what the source's phrases() did not", where=folder)
        return tokens.to(model.logit_scale.device)

    def pictures_loss(config: TrainConfig, stages: Sequence[tuple[float, int]], first: int):
        def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
            image_size = next(size for until, size in stages if step < until * config.steps)
            batch = source.batch(first + draw, config.batch_size, image_size, preprocess["mean"], preprocess["std"])
            where = model.logit_scale.device
            image, said, scale, bias = module(batch.pixels.to(where, memory_format=torch.channels_last))
            image, targets, ignore = map(gather, (image, batch.targets.to(where), batch.ignore.to(where)))
            if loss_name == "sigmoid":
                return {"loss": sigmoid_loss(image, said, scale, bias, targets, ignore), "scale": scale}
            return {"loss": contrastive_loss(image, said, scale, targets, ignore), "scale": scale}

        return loss_of

    torch.manual_seed(config.seed)
    pictures = _Pictures(model, len(source.captions()), model_cfg["embed_dim"], loss_name)
    train(pictures, pictures_loss(config, stages, 0), config, out, identity=about, resume=resume, device=device)
    with torch.no_grad():
        captions, scale = F.normalize(pictures.captions, dim=-1), pictures.scale()

    def words_loss(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
        said = source.sentences(draw, words_config.batch_size)
        pairs = source.dictionary(draw, words_config.batch_size)
        texts = module(tokens_of(said.texts + [text for pair in pairs for text in pair]))
        sentences, left, right = texts[: len(said.texts)], texts[len(said.texts) :: 2], texts[len(said.texts) + 1 :: 2]
        where = texts.device
        targets, ignore = gather(said.targets.to(where)), gather(said.ignore.to(where))
        sentences, left, right = map(gather, (sentences, left, right))
        apart = contrastive_loss(sentences, captions.to(where), scale.to(where), targets, ignore)
        # At the pictures' scale a sentence is told apart long before it lies where its captions, and pictures, lie.
        places = F.normalize(targets @ captions.to(where), dim=-1)
        off = (1 - (sentences * places).sum(dim=1)).mean()
        alike = contrastive_loss(left, right, texts.new_tensor(WORDS_SCALE), torch.eye(len(left), device=where))
        return {"loss": apart + PLACE_WEIGHT * off + alike, "sentences": apart, "off": off, "dictionary": alike}

    text = _TextTower(model)
    after = about | {"after": state_sha256(pictures.state_dict())}  # a part goes on only from the one it followed
    train(text, words_loss, words_config, words_out, identity=after, resume=resume, device=device)

    with torch.no_grad():
        said = source.captions()
        parts = [text(tokens_of(said[i : i + 256])) for i in range(0, len(said), 256)]
        pictures.captions.copy_(torch.cat(parts))
    pictures.captions.requires_grad_(False)
    last = pictures_loss(tune_config, [stages[-1]], TUNE_DRAWS)
    after = about | {"after": state_sha256(pictures.state_dict())}
    train(pictures, last, tune_config, tune_out, identity=after, resume=resume, device=device)
    with torch.no_grad():
        full_table.weight[rows] = model.token_embedding.weight.to(full_table.weight)
        model.logit_scale.clamp_(max=math.log(100))
    model.token_embedding = full_table

    def write() -> Path:
        parts_of_run = (out, words_out, tune_out)
        for folder_of in parts_of_run:
            plot_history(folder_of)
        return save_embedded(
            model,
            out / "space",
            name=plan["name"],
            version=plan["version"],
            model_cfg=model_cfg,
            preprocess_cfg=preprocess,
            vocabulary={"words": dict(sorted(source.vocabulary().items()))},
            token_index=rows.tolist(),
            licence=plan["licence"],
            about=about | {"minutes": round(sum(map(_minutes, parts_of_run)))},
        )

    return processes.by_the_first(write)


WORDS_SCALE = 10.0  # on the cosine of two texts: low, so that words are pushed well apart
TUNE_DRAWS = 2**30  # where the batches of the last part begin, so that they are new
PLACE_WEIGHT = 4.0  # of a sentence's distance from its captions


def _made(
    plan: dict[str, Any],
    folder: Path,
    data: Path,
    out: Path,
    resume: bool,
    steps: int | None,
    exclude: tuple[str, ...],
    seed: int | None,
) -> Path:
    """Hand over to the recipe's own ``make``; ``steps`` are those of its longest table of training."""
    longest = max(table["steps"] for table in plan.values() if isinstance(table, dict) and "steps" in table)
    share = 1.0 if steps is None else steps / longest
    prepare_folder(out, resume)
    module = _load_module(folder / plan["make"])
    return module.make(data, out, plan, seed=seed or 0, share=share, exclude=exclude, resume=resume)


def scaled(config: TrainConfig, share: float) -> TrainConfig:
    """The same with another number of steps: a share of them, and of the warm-up."""
    steps, warmup = (max(1, round(count * share)) for count in (config.steps, config.warmup))
    return dataclasses.replace(config, steps=steps, warmup=warmup)


def read_recipe(recipe: str | PathLike) -> tuple[dict[str, Any], Path]:
    """Read and check ``recipe.toml``.

    It holds ``name``, ``version``, ``licence``; [source] with ``module``, a Python file beside it, and that module's
    own options; [model], an open_clip ``model_cfg``; [preprocess], its ``preprocess_cfg``; [train], [words] and [tune],
    with the fields of TrainConfig (``muon_lr`` may be left out, ``seed`` stands in [train] alone). [train] also has
    ``loss`` ("softmax" or "sigmoid") and ``stages``, pairs of (until which fraction of the steps, image size). The
    module has ``build(data, cache, seed, exclude, options)``, which returns an
    object with

    - ``captions() -> list[str]``, the texts that pictures are matched with,
    - ``batch(draw, size, image_size, mean, std) -> PairBatch``,
    - ``sentences(draw, count) -> TextBatch``, other ways to say the captions,
    - ``dictionary(draw, count) -> list[tuple[str, str]]``, texts of one meaning,
    - ``phrases() -> list[str]``, everything that a text can be made of,
    - ``vocabulary() -> dict[str, str]``, word or phrase -> "pictures" or "text",
    - ``about() -> dict``, for the card, with ``data_sha256``.

    Returns:
        The recipe and the folder it lies in.

    Raises:
        FileError: there is none, or it is no TOML. InputError: a table or a field is missing, unknown or impossible.
    """
    path = Path(recipe)
    path = path / "recipe.toml" if path.is_dir() else path
    try:
        plan = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError("no such recipe", where=path, remedy="name a folder that holds recipe.toml") from error
    except ValueError as error:
        raise FileError(f"is no TOML ({error})", where=path) from error
    tables = {"make"} if "make" in plan else {"source", "train", "words", "tune"}
    missing = {"name", "version", "licence", "model", "preprocess", *tables} - set(plan)
    if missing:
        raise InputError(f"the recipe lacks {', '.join(sorted(missing))}", where=path)
    if "make" in plan:  # the rest is its module's
        return plan, path.parent
    fields = {f.name for f in dataclasses.fields(TrainConfig)}
    for table, own in (
        ("train", fields | {"stages", "loss"}),
        ("words", fields - {"seed"}),
        ("tune", fields - {"seed"}),
    ):
        if wrong := sorted((set(plan[table]) ^ own) - ({"muon_lr"} & own)):
            raise InputError(f"[{table}] has unknown or missing fields: {', '.join(wrong)}", where=path)
    stages = plan["train"]["stages"]
    if not stages or stages[-1][0] != 1.0 or stages != sorted(stages):
        raise InputError("stages must be [fraction, image size] pairs, rising to 1.0", where=path)
    if plan["train"]["loss"] not in ("softmax", "sigmoid"):
        raise InputError('loss must be "softmax" or "sigmoid"', where=path)
    return plan, path.parent


class _TextTower(nn.Module):
    """Tokens in, unit vectors out."""

    def __init__(self, model: Any):
        super().__init__()
        self.token_embedding, self.transformer, self.ln_final = model.token_embedding, model.transformer, model.ln_final
        self.positional_embedding, self.text_projection = model.positional_embedding, model.text_projection
        self.register_buffer("attn_mask", model.attn_mask, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        from clipx.backbone import short_text_features

        return F.normalize(short_text_features(self, tokens), dim=-1)


class _Pictures(nn.Module):
    """Pixels in; unit vectors of pictures, of captions (a free vector each), the loss's scale and bias out."""

    logit_scale: Tensor

    def __init__(self, model: Any, captions: int, dim: int, loss_name: str):
        super().__init__()
        self.visual, self.logit_scale = model.visual, model.logit_scale
        self.captions = nn.Parameter(torch.randn(captions, dim))
        self.bias = nn.Parameter(torch.tensor(-10.0)) if loss_name == "sigmoid" else None

    def scale(self) -> Tensor:
        return self.logit_scale.clamp(max=math.log(100)).exp()

    def forward(self, pixels: Tensor):
        from clipx.backbone import any_size_image_features

        image = F.normalize(any_size_image_features(self.visual, pixels).float(), dim=-1)
        return image, F.normalize(self.captions, dim=-1), self.scale(), self.bias


def _load_module(path: Path) -> ModuleType:
    """A recipe's own Python file; its folder is importable while it loads, so that it can be several files."""
    spec = importlib.util.spec_from_file_location(f"clipx_recipe_{path.parent.name}", path)
    if spec is None or spec.loader is None or not path.exists():
        raise FileError("the recipe's module is no Python file", where=path)
    module: Any = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
