"""CLIP as teacher: a small image tower learns to put photos where a frozen space puts them.

No labels are needed. The teacher looks once at a few crops of each photo and its vectors are kept (the reinforced data
of MobileCLIP, Vasu et al., CVPR 2024, arXiv 2311.17049); the student sees the same crops at its own, smaller size. It
learns by cosine and by what is how similar to what (the affinities of TinyCLIP, Wu et al., ICCV 2023, arXiv
2309.12314).
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clipx import _processes as processes
from clipx._threads import READERS, single_threaded_pool
from clipx.backbone import build_model
from clipx.backbone.config import CONFIG, has_lexicon
from clipx.errors import FileError, InputError, UnsupportedError
from clipx.files import write_tensors, write_whole
from clipx.pictures import on_white, open_picture
from clipx.preprocess import Preprocess
from clipx.spaces.embedded import EmbeddedFiles, save_embedded
from clipx.training import plot_history, prepare_folder, train
from clipx.training.loop import join
from clipx.training.teacher import StudentConfig, kept_vectors

if TYPE_CHECKING:
    from clipx.space import JointSpace

T = TypeVar("T")
LEAST_AREA = 0.35  # of a crop, as a share of the largest square
BLOCK = 256  # photos whose vectors are written at a time
AT_ONCE = 32  # crops that the teacher looks at in one batch
HELD_OUT = 20  # one of so many photos is kept for measuring
PLAIN = "resnet-"  # a student of open_clip's ModifiedResNet with this width


@dataclass(frozen=True)
class DistilConfig(StudentConfig):
    """What the student is, and how it learns."""

    student: str = field(
        default="resnet10t",
        metadata={"help": "a timm model, or resnet-WIDTH: open_clip's ResNet of 2, 2, 2, 2 blocks"},
    )
    size: int = field(default=96, metadata={"help": "pixels a side that it looks at"})
    crops: int = field(default=4, metadata={"help": "of each photo, the whole one included"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 32 or self.size % 32:
            raise InputError(f"the size must be a multiple of 32, got {self.size}", where="distil")
        if self.crops < 1:
            raise InputError(f"crops must be at least 1, got {self.crops}", where="distil")

    def vision_cfg(self) -> dict[str, Any]:
        """open_clip's ``vision_cfg`` of the student. Raises InputError for an unknown one."""
        if self.student.startswith(PLAIN):
            width = self.student.removeprefix(PLAIN)
            if not width.isdigit() or int(width) < 8 or int(width) % 8:
                raise InputError(f"the width must be a multiple of 8, got {width!r}", where="--student")
            return {"layers": [2, 2, 2, 2], "width": int(width), "head_width": 8, "image_size": self.size}
        import timm

        if not timm.is_model(self.student):
            near = ", ".join(get_close_matches(self.student, timm.list_models(), 4, 0.75))
            remedy = f"did you mean {near}?" if near else "timm.list_models() lists them; or take resnet-32"
            raise InputError(f"timm knows no model {self.student!r}", where="--student", remedy=remedy)
        own = {"timm_model_name": self.student, "timm_model_pretrained": False, "image_size": self.size}
        return own | {"timm_pool": "", "timm_proj": "linear"}


@dataclass(frozen=True)
class Distilled:
    """What ``distil`` made.

    Args:
        folder: of the space, which ``clipx.load_space`` takes.
        cosine: mean cosine of the student's and the teacher's vectors of photos that were held out.
        found: share of these photos whose student's vector is nearest to the teacher's of the same photo.
        held_out: how many they are.
        photos: how many were learned from.
        left_out: files that could not be read, and why.
    """

    folder: Path
    cosine: float
    found: float
    held_out: int
    photos: int
    left_out: dict[str, str]


def distil(
    space: JointSpace,
    photos: Sequence[str | PathLike[str]],
    out: str | PathLike[str],
    config: DistilConfig | None = None,
    *,
    resume: bool = False,
    stop_after: int | None = None,
) -> Distilled:
    """Train a small image tower on the vectors of a frozen space; the result is a space with the same text side.

    Args:
        space: the teacher, by any backend, on the device that both compute on. Of a space with several picture domains
            the photos' is learned.
        photos: N files, labels are not needed; one of twenty is held out.
        out: folder for the teacher's vectors, the checkpoint, the loss curve and the finished ``space``.
        config: what is trained, and how.
        resume: go on from what is in ``out``, with the same result, bit for bit.
        stop_after: see ``clipx.training.train``.

    Raises:
        InputError: fewer than 40 photos can be read, the student is unknown, or ``out`` holds another run.
        UnsupportedError: the space's model was not built from a config, so none can be built beside it.
        KeyboardInterrupt: a signal; the checkpoint is written.
    """
    config, out = config or DistilConfig(), prepare_folder(out, resume)
    join(space.device)
    model, model_cfg = student_of(space, config)
    prepare = replace(space.preprocess, size=(config.size, config.size))
    crops = Crops([Path(path) for path in photos], config.crops, config.seed)
    vectors, readable = teacher_vectors(space, crops, out / "teacher")
    held_out, shown = readable[HELD_OUT - 1 :: HELD_OUT], np.delete(readable, slice(HELD_OUT - 1, None, HELD_OUT))
    if len(readable) < 2 * HELD_OUT:
        raise InputError(f"{len(readable)} photos can be read, a student needs {2 * HELD_OUT}", where="distil")
    student = Student(model.visual, prepare)
    identity = {"distil": asdict(config), "space": space.id, "photos": crops.digest(range(len(crops.paths)))}
    with ThreadPoolExecutor(1, "clipx-crops") as pool:
        loss_of = _loss(crops, vectors, shown, prepare, config, pool)
        device = str(space.device)
        how: dict[str, Any] = {"identity": identity, "resume": resume, "device": device, "stop_after": stop_after}
        train(student, loss_of, config.plan, out, **how)
    plot_history(out)
    cosine, found = fidelity(student, crops, vectors, held_out)
    about = {"distilled_from": space.id, "distil": asdict(config), "photos": len(shown), "cosine": round(cosine, 4)}
    folder = processes.on_first_rank(lambda: _save(model.cpu(), space, out / "space", model_cfg, prepare, about))
    unread = np.setdiff1d(np.arange(len(crops.paths)), readable).tolist()
    left_out = {str(crops.paths[i]): crops.why_unread(i, prepare) for i in unread}
    return Distilled(folder, cosine, found, len(held_out), len(shown), left_out)


def student_of(space: JointSpace, config: DistilConfig) -> tuple[Any, dict[str, Any]]:
    """A model with a new image tower and the space's text tower, and its open_clip ``model_cfg``."""
    teacher = space.backbone.photos
    if teacher.config is None:
        raise UnsupportedError("has no model config to build a student from", where=f"space {space.name}")
    dropped = ("towers", "domains", "vision_cfg", "multimodal_cfg")
    kept = {name: value for name, value in teacher.config.items() if name not in dropped}
    model_cfg = copy.deepcopy(kept) | {"vision_cfg": config.vision_cfg()}
    if "multimodal_cfg" in teacher.config:  # CoCa: its two towers are a CLIP; what writes captions is left out
        model_cfg["custom_text"] = True
        model_cfg["text_cfg"]["output_tokens"] = False
    model = build_model(model_cfg, config.seed)
    state, known = model.state_dict(), teacher.model.state_dict()
    with torch.no_grad():
        for name in state:
            if not name.startswith("visual."):
                state[name].copy_(known[name])
        try:
            model.eval().visual(torch.zeros(1, 3, config.size, config.size))
        except RuntimeError as error:  # open_clip puts no map on top of some of timm's models
            what = f"open_clip cannot make an image tower of {config.student!r}"
            raise InputError(what, where="--student", remedy="take another, such as resnet10t") from error
    return model.train(), model_cfg


class Student(nn.Module):
    """An image tower: (N, 3, H, W) pixels in [0, 1] -> (N, D) unit vectors."""

    def __init__(self, visual: nn.Module, prepare: Preprocess):
        super().__init__()
        self.visual, self.prepare = visual, prepare

    def forward(self, pixels: Tensor) -> Tensor:
        return F.normalize(self.visual(self.prepare.normalize(pixels)).float(), dim=-1)


@dataclass(frozen=True)
class Crops:
    """Photos, each cut several times: as a whole, and then squares of 0.35 to 1 of the largest, half of them mirrored.

    Args:
        paths: N files.
        count: K, how often each is cut.
        seed: decides where.
    """

    paths: Sequence[Path]
    count: int
    seed: int

    def pictures(self, photo: int, which: Sequence[int], prepare: Preprocess) -> np.ndarray:
        """Some crops of a photo, (K', 3, *size) in [0, 1]. Raises FileError."""
        from PIL import ImageOps

        whole = on_white(open_picture(self.paths[photo], prepare.fitted), self.paths[photo])
        found = []
        for crop in which:
            picture = whole
            if crop:
                rng = np.random.default_rng([self.seed, photo, crop])
                side = max(1, round(math.sqrt(rng.uniform(LEAST_AREA, 1)) * min(whole.size)))
                left, top = (int(rng.integers(0, length - side + 1)) for length in whole.size)
                picture = whole.crop((left, top, left + side, top + side))
                picture = ImageOps.mirror(picture) if rng.random() < 0.5 else picture
            pixels = np.asarray(prepare.fit(picture)).transpose(2, 0, 1)[None] / np.float32(255)
            found.append(prepare.resize(pixels)[0])
        return np.stack(found)

    def why_unread(self, photo: int, prepare: Preprocess) -> str:
        """What is wrong with a photo that the teacher could not read."""
        try:
            self.pictures(photo, [0], prepare)
        except FileError as error:
            return error.what
        return "could not be read when the teacher looked"

    def digest(self, photos: Sequence[int]) -> str:
        """SHA-256 of the names, sizes and times of change of some photos, and of how they are cut."""
        facts: list[Any] = [self.count, self.seed]
        for i in photos:
            about: list[int] = []
            with suppress(OSError):  # it is missing, and will be left out
                found = self.paths[i].stat()
                about = [found.st_size, found.st_mtime_ns]
            facts.append([str(self.paths[i]), *about])
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def teacher_vectors(space: JointSpace, crops: Crops, folder: Path) -> tuple[Tensor, np.ndarray]:
    """What the space makes of all crops, kept in ``folder``, so that a run that is stopped goes on.

    Returns:
        (N, K, D) float16 unit vectors, and the numbers of the photos that can be read; the others' are zeros.
    """
    vectors = torch.zeros(len(crops.paths), crops.count, space.dim, dtype=torch.float16)
    with single_threaded_pool(READERS) as pool:

        def look(some: range) -> Tensor:
            return _looked_at(space, crops, some, pool)

        def of(some: range) -> str:
            made_by = type(space.backend).__name__  # backends differ in the last digits
            return f"{space.id} {made_by} {crops.digest(some)}"

        kept_vectors("looking at photos", vectors, BLOCK, folder, of, look)
    return vectors, torch.nonzero(vectors[:, 0].any(1)).flatten().numpy()


def _looked_at(space: JointSpace, crops: Crops, photos: Sequence[int], pool: ThreadPoolExecutor) -> Tensor:
    """(P, K, D) float16; zeros of what cannot be read."""
    found = torch.zeros(len(photos), crops.count, space.dim, dtype=torch.float16)

    def read(photo: int) -> np.ndarray | FileError:
        try:
            return crops.pictures(photo, range(crops.count), space.preprocess)
        except FileError as error:
            return error

    at_once = max(1, AT_ONCE // crops.count)
    for first in range(0, len(photos), at_once):
        batch = list(pool.map(read, photos[first : first + at_once]))
        good = [i for i, one in enumerate(batch) if not isinstance(one, FileError)]
        if good:
            pixels = np.concatenate([batch[i] for i in good])
            vectors = torch.from_numpy(space.encode_image(pixels)).half()
            found[[first + i for i in good]] = vectors.view(len(good), crops.count, -1)
    return found


def _loss(
    crops: Crops,
    vectors: Tensor,
    shown: np.ndarray,
    prepare: Preprocess,
    config: DistilConfig,
    pool: ThreadPoolExecutor,
) -> Callable[[nn.Module, int, int], dict[str, Tensor]]:
    """The loss of a step, whose crops are cut while the step before is computed."""

    def batch(draw: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([config.seed, draw])
        photos = rng.choice(shown, config.batch_size, replace=len(shown) < config.batch_size)
        which = rng.integers(0, config.crops, config.batch_size)
        with single_threaded_pool(READERS) as readers:
            cut = partial(_cut, crops, prepare)
            pixels = np.concatenate(list(readers.map(cut, photos.tolist(), which.tolist())))
        return torch.from_numpy(pixels), vectors[photos, which].float()

    ahead = Ahead(batch, pool, processes.world_size())

    def loss_of(module: nn.Module, step: int, draw: int) -> dict[str, Tensor]:
        where = next(module.parameters()).device
        pixels, teacher = (one.to(where) for one in ahead(draw))
        return config.loss(module(pixels), teacher)

    return loss_of


def _cut(crops: Crops, prepare: Preprocess, photo: int, which: int) -> np.ndarray:
    return crops.pictures(photo, [which], prepare)


class Ahead:
    """``make(draw)``, with the next draw made in a thread meanwhile.

    Args:
        make: a function of the draw alone.
        pool: of one thread.
        step: from one draw to the next.
    """

    def __init__(self, make: Callable[[int], T], pool: ThreadPoolExecutor, step: int):
        self._make, self._pool, self._step = make, pool, step
        self._waiting: dict[int, Future[Any]] = {}

    def __call__(self, draw: int) -> Any:
        own = self._waiting.pop(draw, None) or self._pool.submit(self._make, draw)
        self._waiting = {draw + self._step: self._pool.submit(self._make, draw + self._step)}
        return own.result()


@torch.no_grad()
def fidelity(student: Student, crops: Crops, vectors: Tensor, photos: np.ndarray) -> tuple[float, float]:
    """The mean cosine with the teacher's vectors of whole photos, and the share that is nearest to its own photo's."""
    where, teacher = next(student.parameters()).device, vectors[photos, 0].float()
    cosine, found = 0.0, 0
    for start in range(0, len(photos), AT_ONCE):  # the table of all with all would not fit
        some = photos[start : start + AT_ONCE].tolist()
        pixels = np.concatenate([crops.pictures(i, [0], student.prepare) for i in some])
        cosines = student(torch.from_numpy(pixels).to(where)).cpu() @ teacher.T
        own = cosines.diagonal(start)
        cosine, found = cosine + float(own.sum()), found + int((own >= cosines.max(1).values).sum())
    return cosine / len(photos), found / len(photos)


def _save(
    model: Any,
    space: JointSpace,
    folder: Path,
    model_cfg: Mapping[str, Any],
    prepare: Preprocess,
    about: Mapping[str, Any],
) -> Path:
    """Write the student with the text side of the teacher: as an embedded space, where the teacher is one."""
    if space.folder is not None:
        files = EmbeddedFiles.read(space.folder)
        tokens = [] if has_lexicon(model_cfg) else _known_tokens(model)
        return save_embedded(
            model,
            folder,
            name=f"{space.name}-student",
            version=space.version,
            model_cfg=model_cfg,
            preprocess_cfg=prepare.as_config(),
            vocabulary=files.words,
            token_index=tokens,
            licence=str(files.about.get("licence", "")),
            about=about,
        )
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": dict(model_cfg), "preprocess_cfg": prepare.as_config(), "clipx": dict(about)}
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    write_tensors(folder / "open_clip_model.safetensors", state)
    write_whole(folder / CONFIG, json.dumps(config, indent=1) + "\n")
    return folder


def _known_tokens(model: Any) -> list[int]:
    """Rows of the token table that are not zero."""
    table = getattr(model, "text", model).token_embedding.weight
    return torch.nonzero(table.detach().any(1)).flatten().tolist()
