"""How far a drawing is from its target, and when to stop."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clipx.errors import InputError, UnsupportedError

SEMANTIC_WEIGHT = 0.1
AVOID_WEIGHT = 0.3  # of the cosine to a negative prompt
EVALUATE_EVERY = 10  # iterations
MIN_DELTA = 1e-5  # of the loss
PATIENCE = 2  # evaluations


def clipasso_loss(
    sketch: tuple[Mapping[str, Tensor], Tensor],
    target: tuple[Mapping[str, Tensor], Tensor],
    stages: Iterable[str],
    views: int = 1,
    weights: Mapping[str, Tensor] | None = None,
    semantic_weight: float = SEMANTIC_WEIGHT,
) -> Tensor:
    """CLIPasso's loss of each of B drawings in V views each: geometric + ``semantic_weight`` x semantic.

    Args:
        sketch: features by stage, each (B V, C, h, w), and embeddings (B V, D) in the same order: a drawing's views
            stand together.
        target: the same of the target, (B V, ...), or (V, ...) where one target serves all drawings.
        stages: whose features to compare, see ``stage_names``.
        views: V.
        weights: how much each place counts, by stage (B V, 1, h, w) of mean 1; equal by default, as in CLIPasso.
        semantic_weight: at least 0; CLIPasso's 0.1 by default.

    Returns:
        (B,). A drawing's loss does not depend on the others: the gradient of the sum is each one's own.
    """
    geometric = geometric_loss(sketch[0], target[0], stages, views, weights)
    return geometric + semantic_weight * semantic_loss(sketch[1], target[1], views)


def geometric_loss(
    sketch: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    stages: Iterable[str],
    views: int = 1,
    weights: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """The sum over stages of the mean squared difference over all elements and views: (B,). See ``clipasso_loss``.

    Raises:
        InputError: a stage is missing, no stage is named, or shapes do not fit.
    """
    terms = []
    for name in stages:
        if name not in sketch or name not in target:
            raise InputError(f"no stage {name!r}; there are {', '.join(sketch)}")
        ours, theirs = _by_drawing(sketch[name], target[name], views)
        off = (ours - theirs).square()
        if weights:
            off = off * weights[name].unflatten(0, (-1, views))
        terms.append(off.flatten(1).mean(dim=1))
    if not terms:
        raise InputError("no stage is named")
    return torch.stack(terms).sum(dim=0)


def semantic_loss(sketch: Tensor, target: Tensor, views: int = 1) -> Tensor:
    """The mean over views of 1 - cosine: (B,), unweighted. Embeddings may be of any length; see ``clipasso_loss``."""
    ours, theirs = _by_drawing(sketch, target, views)
    return (1 - F.cosine_similarity(ours, theirs, dim=-1)).mean(dim=1)


def meaning_loss(sketch: Tensor, toward: Tensor, away: Tensor, views: int = 1) -> Tensor:
    """CLIPDraw's loss (Frans et al., 2022): the mean over views of 1 - cosine + 0.3 x the cosines to what is avoided.

    Args:
        sketch: (B V, D) unit rows; a drawing's views stand together.
        toward: (B V, D) unit rows.
        away: (B V, K, D) unit rows, or zero rows, which count for nothing.
        views: V.

    Returns:
        (B,).
    """
    avoided = (away @ sketch[..., None]).squeeze(-1).sum(dim=1)
    return (1 - (sketch * toward).sum(dim=1) + AVOID_WEIGHT * avoided).unflatten(0, (-1, views)).mean(dim=1)


def stage_names(names: Iterable[str]) -> tuple[str, ...]:
    """Which stages of a tower stand in for CLIPasso's layer2 and layer3 of a ResNet, the second and third of four.

    Args:
        names: those that ``JointSpace.stages`` returns.

    Returns:
        - ModifiedResNet: ``layer2``, ``layer3``;
        - transformers: the blocks that end the second and the third quarter of the depth (``block5`` and ``block8`` of
          12), rounded up; a tower of one block has only that;
        - other timm towers: the third-last and the second-last stage, of stride 8 and 16 in a ConvNeXt or ResNet.

    Raises:
        UnsupportedError: none of these.
    """
    names = set(names)
    if {"layer2", "layer3"} <= names:
        return "layer2", "layer3"
    blocks, stages = (sum(bool(re.fullmatch(rf"{kind}\d+", n)) for n in names) for kind in ("block", "stage"))
    wanted: list[str] = []
    if blocks:
        wanted = [f"block{math.ceil(blocks * quarters / 4) - 1}" for quarters in (2, 3)]
    elif stages >= 3:
        wanted = [f"stage{stages - 3}", f"stage{stages - 2}"]
    if not wanted or not names.issuperset(wanted):
        raise UnsupportedError(f"no stages stand in for layer2 and layer3 among {', '.join(sorted(names)) or 'none'}")
    return tuple(dict.fromkeys(wanted))


@dataclass
class StopRule:
    """CLIPasso's best drawing and early stop, updated with one evaluation at a time.

    A loss is the best one if it is lower than the best so far by more than 1e-5. The second loss within 1e-5 of the
    best since it was found stops the drawing; the two need not be consecutive. A NaN is neither.
    """

    min_delta: float = MIN_DELTA
    patience: int = PATIENCE
    best_loss: float = math.inf
    best_iteration: int | None = None
    near: int = 0  # evaluations close to the best since it was found

    def update(self, iteration: int, loss: float) -> bool:
        """Whether this evaluation is the best so far: then keep the strokes that it was measured on."""
        change = loss - self.best_loss
        if change < -self.min_delta:
            self.best_loss, self.best_iteration, self.near = loss, iteration, 0
            return True
        self.near += abs(change) <= self.min_delta
        return False

    @property
    def stop(self) -> bool:
        return self.near >= self.patience


def _by_drawing(sketch: Tensor, target: Tensor, views: int) -> tuple[Tensor, Tensor]:
    """(B V, ...) and (B V, ...) or (V, ...) -> (B, V, ...) and one that broadcasts with it."""
    fits = views > 0 and len(sketch) and len(sketch) % views == 0 and len(target) in (views, len(sketch))
    if not fits or sketch.shape[1:] != target.shape[1:]:
        raise InputError(
            f"a sketch's features {tuple(sketch.shape)} and a target's {tuple(target.shape)} do not fit {views} views"
        )
    return sketch.unflatten(0, (-1, views)), target.unflatten(0, (-1, views))
