"""``clipx.optimise``: a generator's latent, moved by gradients until a frozen space sees the words in its picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from clipx.editing.generator import Generator
from clipx.editing.losses import directional_loss, similarity_loss
from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError
from clipx.task import Stopped, stopping

if TYPE_CHECKING:
    from clipx.space import JointSpace
    from clipx.task import OnProgress

LOSSES = ("clip", "directional")
SOURCE = "a photo"
SAME = 1e-4  # distance of unit vectors
RAMP_UP, RAMP_DOWN = 0.05, 0.25  # of the steps


@dataclass(frozen=True)
class Optimised:
    """What ``optimise`` found.

    Args:
        latent: the best one, of the generator's own shape.
        start: where it began.
        loss: of the best latent.
        before: loss at the start.
        similarity: cosine of the best picture and the words.
        similarity_before: that of the first picture.
        history: loss at every step, the start first.
        stopped: whether it was stopped before its last step.
    """

    latent: Tensor
    start: Tensor
    loss: float
    before: float
    similarity: float
    similarity_before: float
    history: list[float] = field(repr=False)
    stopped: bool = False


def optimise(
    generator: Generator,
    text: str | Embedding,
    *,
    space: JointSpace | str | None = None,
    loss: str = "clip",
    source: str | Embedding = SOURCE,
    steps: int = 300,
    lr: float = 0.1,
    l2: float = 0.008,
    identity: Callable[[Tensor, Tensor], Tensor] | None = None,
    identity_weight: float = 0.0,
    seed: int = 0,
    on_progress: OnProgress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Optimised:
    """Move a latent until its picture is what the words say (StyleCLIP, section 4).

    The loss is 1 - cos(picture, words), or 1 - cos(change of the picture, change of the words), plus
    l2 |latent - start|^2 + identity_weight (1 - identity(picture, first picture)). Adam takes ``steps`` steps; its rate
    rises over the first 5 % and falls over the last 25 % of them. Pictures go through the space's own preprocessing.

    Args:
        generator: see ``Generator``.
        text: the words, or one vector of the space: of a sound, of another picture.
        space: a name as ``clipx.load_space`` takes it, or a space; by default the default one.
        loss: ``"clip"`` or ``"directional"``.
        source: what the first picture is, in words or as a vector; ``"directional"`` compares with it.
        steps: at least 1.
        lr: the highest rate.
        l2: weight of the squared distance from the start, summed over the latent.
        identity: two (1, 3, H, W) pictures -> their similarity, (1,) or a scalar, such as the cosine of a face
            recogniser's vectors.
        identity_weight: 0 leaves it out.
        seed: of torch's generator on the CPU while this runs; it is restored afterwards.
        on_progress: see ``OnProgress``.
        stop: called between two steps; once it is true ``Stopped`` is raised. By default Ctrl-C and SIGTERM do this.

    Returns:
        The latent of the least loss of all steps.

    Raises:
        Stopped: it was stopped; ``results[0]`` is the best so far.
        InputError: a setting out of range, words that the space does not tell from the source, a generator without
            gradients, or a picture or loss that is not finite.
        VocabularyError: the space does not know a word.
        SpaceMismatchError: a vector of another space.
    """
    _check(loss, steps, lr, l2, identity, identity_weight)
    joint = _torch_space(space)
    target, origin = _vector(joint, text, "text"), _vector(joint, source, "source") if loss == "directional" else None
    if origin is not None and float((target - origin).norm()) < SAME:
        raise InputError(f"text and source are the same to {joint.name}", where="optimise", remedy="say more in either")
    cuda = [joint.device] if joint.device.type == "cuda" else []
    with stopping(stop) as asked, torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        start = generator.latent().detach().clone()
        with torch.no_grad():
            first = generator.render(start).detach()
            first_row = joint.encode_image(first)[0]

        def look(latent: Tensor, grad: bool) -> tuple[Tensor, Tensor]:
            """The loss and the cosine of a latent's picture."""
            with nullcontext() if grad else torch.no_grad():
                picture = generator.render(latent)
                if grad and not picture.requires_grad:
                    raise InputError("the picture does not depend on the latent", where="optimise: generator.render")
                row = joint.encode_image(picture)[0]
                value = similarity_loss(row, target)
                if origin is not None:
                    value = directional_loss(row, first_row, target, origin)
                value = value + l2 * (latent - start).square().sum().to(value)
                if identity is not None and identity_weight:
                    value = value + identity_weight * (1 - identity(picture, first).sum()).to(value)
            return value, row.detach() @ target

        found = _descend(look, start, steps, lr, on_progress, asked)
    if found.stopped:
        raise Stopped({0: found})
    return found


def ramp(at: float) -> float:
    """The share of the rate at a share ``at`` in [0, 1] of the steps: up over 5 %, a cosine down over the last 25 %."""
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - at) / RAMP_DOWN))
    return down * min(1.0, at / RAMP_UP)


def _descend(
    look: Callable[[Tensor, bool], tuple[Tensor, Tensor]],
    start: Tensor,
    steps: int,
    lr: float,
    on_progress: OnProgress | None,
    stop: Callable[[], bool],
) -> Optimised:
    """Adam from the start; the best of ``steps`` + 1 latents."""
    latent = start.clone().requires_grad_()
    adam = torch.optim.Adam([latent], lr=lr)
    history: list[float] = []
    best, best_cosine, first_cosine, stopped = start, 0.0, 0.0, False
    for step in range(steps + 1):
        last = step == steps
        value, cosine = look(latent, not last)
        now = float(value.detach())
        if not math.isfinite(now):
            raise InputError(f"the loss is not finite at step {step}", where="optimise", remedy="lower lr")
        if not history:
            first_cosine = float(cosine)
        if not history or now < min(history):
            best, best_cosine = latent.detach().clone(), float(cosine)
        history.append(now)
        if on_progress:
            on_progress(step, steps, f"loss {now:.4f}")
        stopped = not last and stop()
        if last or stopped:
            break
        adam.param_groups[0]["lr"] = lr * ramp((step + 0.5) / steps)
        adam.zero_grad()
        value.backward()
        adam.step()
    return Optimised(best, start, min(history), history[0], best_cosine, first_cosine, history, stopped)


def _check(loss: str, steps: int, lr: float, l2: float, identity: Any, weight: float) -> None:
    if loss not in LOSSES:
        raise InputError(f"unknown loss {loss!r}", where="optimise", remedy=f"one of {', '.join(LOSSES)}")
    if steps < 1:
        raise InputError(f"at least one step is needed, got {steps}", where="optimise")
    if not (math.isfinite(lr) and lr > 0):
        raise InputError(f"lr must be positive, got {lr}", where="optimise")
    if not all(math.isfinite(value) and value >= 0 for value in (l2, weight)):
        raise InputError(f"weights must not be negative, got l2 {l2}, identity_weight {weight}", where="optimise")
    if weight and identity is None:
        raise InputError("identity_weight needs an identity", where="optimise", remedy="give a similarity of pictures")


def _torch_space(space: JointSpace | str | None) -> JointSpace:
    from clipx.space import JointSpace
    from clipx.spaces.loading import load_space

    return space if isinstance(space, JointSpace) else load_space(space, backend="torch")


def _vector(space: JointSpace, what: str | Embedding, name: str) -> Tensor:
    """(D,) of words or of an Embedding of one row."""
    if isinstance(what, str):
        space.require_words([what])
        what = space.embed_text([what])
    if what.space_id != space.id:
        raise SpaceMismatchError(f"the {name} lives in space {what.space_id}, not in {space.id}", where="optimise")
    if len(what) != 1:
        raise InputError(f"the {name} must be one vector, got {len(what)}", where="optimise")
    return torch.as_tensor(what.vectors[0]).to(space.device, torch.float32)
