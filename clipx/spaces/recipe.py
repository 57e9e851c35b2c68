"""Recipes of embedded spaces: a folder with ``recipe.toml`` and Python files beside it -> a space that loads.

A recipe has a source of pictures and sentences (``Source``) that ``train_space`` trains two towers on, or its own
``make``, which does all of it in another way, such as from pretrained towers.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from clipx import _processes as processes
from clipx.backbone import build_model, build_tokenizer, freeze, require_trainable, state_sha256
from clipx.contrastive.tower import ImageTower, load_tower
from clipx.errors import FileError, InputError
from clipx.spaces.embedded import save_embedded
from clipx.spaces.source import Source
from clipx.spaces.two_towers import TokenRows, train_parts
from clipx.training import TrainConfig, plot_history, prepare_folder, scaled
from clipx.training.loop import join
from clipx.training.runs import minutes_of


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
    image_tower: str | PathLike | None = None,
) -> Path:
    """Train an embedded space by a recipe and write its folder, ``out/space``.

    Pictures first: the image tower learns contrastively against one free vector for each caption. Then words: the
    pictures stand still, and the text tower learns to put sentences on the vectors of what they mean, and words without
    pictures near related words. Last the image tower moves the rest, to where the text tower really put the
    captions. Two towers trained together from nothing wait for each other: measured on the same steps, the image tower
    then knows less than half as much (and so it does with words trained first and locked).

    With ``image_tower`` the image side is a tower that was trained before and stands still, as in LiT (Zhai et al.,
    CVPR 2022): only the captions' vectors and the text tower learn, and there is no last part.

    A recipe with ``make`` names a module that does all this in another way, such as from pretrained towers.

    Args:
        recipe: a folder with ``recipe.toml`` (or that file), as ``read_recipe`` describes it.
        data: folder of the data sets that the recipe names.
        out: folder for checkpoints, the loss curves and the finished space.
        resume: go on from the checkpoints in ``out``.
        steps: another number of steps with pictures than the recipe's; warm-up and the other parts scale with it.
        exclude: concepts whose pictures are left out (for an unseen-class figure).
        seed: another seed than the recipe's.
        device: as ``clipx.training.train`` takes it.
        image_tower: a file that ``clipx train ssl`` wrote; it takes the place of the recipe's image tower, picture size
            and normalisation.

    Returns:
        The folder of the space, which ``load_space`` takes.

    Raises:
        FileError, InputError: no such recipe or data, a malformed recipe, an unknown concept, another run in ``out``,
            an image tower beside a recipe with ``make``.
    """
    plan, folder = read_recipe(recipe)
    data, out = Path(data), Path(out)
    if "make" in plan:
        if image_tower is not None:
            raise InputError("the recipe makes its own image tower", where=folder, remedy="leave out the image tower")
        share = 1.0 if steps is None else steps / _longest(plan)
        prepare_folder(out, resume)
        make = load_module(folder / plan["make"]).make
        return make(data, out, plan, seed=seed or 0, share=share, exclude=exclude, resume=resume)
    device = join(device)
    tower = None if image_tower is None else load_tower(image_tower)
    folders = [prepare_folder(out / part, resume) for part in ("", "words", *(["tune"] if tower is None else []))]
    schedules = _schedules(plan, steps, seed)
    seed = schedules[0].seed
    if tower is not None:
        plan = _with_tower(plan, tower)
    model = build_model(plan["model"], seed).to(memory_format=torch.channels_last)
    require_trainable(model, str(folder))
    if tower is not None:
        model.visual.load_state_dict(tower.visual.state_dict())
        freeze(model.visual)
    with processes.first_rank_first():  # it fills the cache
        build = load_module(folder / plan["source"]["module"]).build
        source: Source = build(data, out / "cache", seed, tuple(exclude), plan["source"])
    about = source.about() | {"recipe": plan, "train": asdict(schedules[0]), "exclude": list(exclude)}
    if tower is not None:
        about["image_tower"] = {"sha256": state_sha256(tower.visual.state_dict()), **tower.about}
    tokens = TokenRows(model, build_tokenizer(plan["model"]), source.phrases(), folder)
    train_parts(model, source, tokens, plan, schedules, folders, about, resume, device)
    tokens.restore()

    def write() -> Path:
        for part in folders:
            plot_history(part)
        return save_embedded(
            model,
            out / "space",
            name=plan["name"],
            version=plan["version"],
            model_cfg=plan["model"],
            preprocess_cfg=plan["preprocess"],
            vocabulary={"words": dict(sorted(source.vocabulary().items()))},
            token_index=tokens.rows.tolist(),
            licence=plan["licence"],
            about=about | {"minutes": round(sum(map(minutes_of, folders)))},
        )

    return processes.on_first_rank(write)


def read_recipe(recipe: str | PathLike) -> tuple[dict[str, Any], Path]:
    """Read and check ``recipe.toml``.

    It holds ``name``, ``version``, ``licence``; [source] with ``module``, a Python file beside it, and that module's
    own options; [model], an open_clip ``model_cfg``; [preprocess], its ``preprocess_cfg``; [train], [words] and [tune],
    with the fields of TrainConfig (``muon_lr``, ``beta2`` and ``eps`` may be left out, ``seed`` stands in [train]
    alone). [train] also has ``loss`` ("softmax" or "sigmoid") and ``stages``, pairs of (until which fraction of the
    steps, image size). The module has ``build(data, cache, seed, exclude, options)``, which returns a ``Source``.

    ``provides`` may list what code may take the space for, see ``clipx.spaces.embedded.embedded_for``.

    A recipe with ``make``, a Python file beside it, holds name, version, licence, [model] and [preprocess]; the rest is
    for that module's ``make(data, out, plan, *, seed, share, exclude, resume) -> Path``.

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
        raise InputError(f"missing in the recipe: {', '.join(sorted(missing))}", where=path)
    if "make" in plan:
        return plan, path.parent
    fields = {f.name for f in dataclasses.fields(TrainConfig)}
    for table, own in (
        ("train", fields | {"stages", "loss"}),
        ("words", fields - {"seed"}),
        ("tune", fields - {"seed"}),
    ):
        if wrong := sorted((set(plan[table]) ^ own) - ({"muon_lr", "beta2", "eps"} & own)):
            raise InputError(f"[{table}] has unknown or missing fields: {', '.join(wrong)}", where=path)
    stages = plan["train"]["stages"]
    if not stages or stages[-1][0] != 1.0 or stages != sorted(stages):
        raise InputError("stages must be [fraction, image size] pairs, rising to 1.0", where=path)
    if plan["train"]["loss"] not in ("softmax", "sigmoid"):
        raise InputError('loss must be "softmax" or "sigmoid"', where=path)
    return plan, path.parent


def load_module(path: Path) -> ModuleType:
    """A recipe's own Python file; its folder is importable while it loads, so that it can be several files.

    Raises:
        FileError: there is no such Python file.
    """
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


def _with_tower(plan: Mapping[str, Any], tower: ImageTower) -> dict[str, Any]:
    """The recipe with another image tower, at its own size from the first step on."""
    model = {**plan["model"], "quick_gelu": False, **tower.config}  # open_clip takes one for both towers
    train = {**plan["train"], "stages": [[1.0, tower.config["vision_cfg"]["image_size"]]]}
    return {**plan, "model": model, "preprocess": dict(tower.preprocess), "train": train}


def _longest(plan: Mapping[str, Any]) -> int:
    """The steps of the longest table of training."""
    return max(table["steps"] for table in plan.values() if isinstance(table, dict) and "steps" in table)


def _schedules(plan: Mapping[str, Any], steps: int | None, seed: int | None) -> tuple[TrainConfig, ...]:
    """The settings of the parts with pictures, with words, and of the last one."""
    settings = {name: value for name, value in plan["train"].items() if name not in ("stages", "loss")}
    settings["seed"] = settings["seed"] if seed is None else seed
    share = 1.0 if steps is None else steps / settings["steps"]
    parts = (settings, *(plan[part] | {"seed": settings["seed"]} for part in ("words", "tune")))
    return tuple(scaled(TrainConfig(**part), share) for part in parts)
