"""What students of a frozen space share: the teacher's vectors on disk, the loss, and how they learn."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from clipx import _processes as processes
from clipx.errors import FileError, InputError
from clipx.files import parse_tensors, write_tensors
from clipx.progress import progress
from clipx.training.config import TrainConfig
from clipx.training.losses import affinity_loss


@dataclass(frozen=True)
class StudentConfig:
    """How a student learns."""

    affinity: float = field(default=1.0, metadata={"help": "weight of the affinities beside the cosine"})
    steps: int = field(default=3000, metadata={"help": "optimiser steps"})
    batch_size: int = field(default=64, metadata={"help": "samples a step"})
    lr: float = field(default=2e-3, metadata={"help": "peak learning rate"})
    weight_decay: float = field(default=0.05, metadata={"help": "of matrices and kernels"})
    seed: int = field(default=0, metadata={"help": "of weights, batches and what is done to the samples"})

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 2 or self.seed < 0:
            raise InputError("steps must be at least 1, the batch 2 and the seed 0", where="student")
        if not (0 < self.lr < math.inf and 0 <= self.weight_decay < math.inf and 0 <= self.affinity < math.inf):
            raise InputError("lr must be above 0, weight_decay and affinity at least 0", where="student")

    @property
    def plan(self) -> TrainConfig:
        """How ``clipx.training.train`` is to optimise."""
        return TrainConfig(
            steps=self.steps,
            batch_size=self.batch_size,
            lr=self.lr,
            weight_decay=self.weight_decay,
            warmup=max(1, min(100, self.steps // 10)),
            seed=self.seed,
        )

    def loss(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """1 - cosine, and ``affinity`` times ``affinity_loss``; beside ``loss`` both by themselves.

        Args:
            student, teacher: (B, D) unit vectors of the same samples, B >= 2; of all processes where there are several.
        """
        student, teacher = processes.gather(student), processes.gather(teacher)
        cosine, affinity = (student * teacher).sum(1).mean(), affinity_loss(student, teacher)
        return {"loss": 1 - cosine + self.affinity * affinity, "cosine": cosine, "affinity": affinity}


def kept_vectors(
    what: str,
    vectors: Tensor,
    block: int,
    folder: Path,
    of: Callable[[range], str],
    look: Callable[[range], Tensor],
) -> None:
    """Fill in a teacher's vectors block by block; each is kept in a file, so that a run that is stopped goes on.

    Of several processes of torchrun, which must have joined, each looks at its share and then reads the others'.

    Args:
        what: the work, for its progress.
        vectors: (N, K, D), filled in place: of a million samples they are gigabytes, and are held once.
        block: samples in a file.
        folder: of the files.
        of: some samples -> a hash of all that decides their vectors.
        look: some samples -> (n, K, D).
    """
    blocks = [range(start, min(start + block, len(vectors))) for start in range(0, len(vectors), block)]
    own, count = processes.rank(), processes.world_size()
    with progress(what, len(vectors)) if own == 0 else nullcontext(lambda *done: None) as advance:
        for turn in (own, *(other for other in range(count) if other != own)):
            for some in blocks[turn::count]:
                file, key = folder / f"{some.start:08}.safetensors", of(some)
                found = _stored(file, key)
                if found is None:  # also where the processes share no folder
                    found = look(some)
                    write_tensors(file, {"vectors": found}, {"about": json.dumps({"of": key})}, parents=True)
                vectors[some.start : some.stop] = found
                advance(len(some))
            if turn == own:
                processes.wait()


def _stored(file: Path, of: str) -> Tensor | None:
    """The vectors that a file holds, where they are of the same samples and teacher."""
    with suppress(OSError, ValueError, KeyError, FileError):
        tensors, about = parse_tensors(file.read_bytes(), "about")
        if about["of"] == of:
            return tensors["vectors"]
    return None
