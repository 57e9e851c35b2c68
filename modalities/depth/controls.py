"""Controls: the same estimate with what should matter taken away."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from clipx.backbone import Backbone
from clipx.modalities.depth.estimator import EstimateConfig, Estimator
from clipx.modalities.depth.files import Pair, drawn, read_depth, read_rgb
from clipx.modalities.depth.fit import Fit, fit_depth
from clipx.space import JointSpace
from clipx.task import OnProgress

CALIBRATION = 16  # training photos from which a random tower's BatchNorm takes its statistics


def random_tower(space: JointSpace, pixels: Tensor, seed: int = 0) -> JointSpace:
    """The same space with an untrained image tower: fresh weights, the text tower as it is.

    Args:
        space: whose architecture is taken; it stays as it is.
        pixels: (N, 3, H, W) RGB in [0, 1]; BatchNorm, if any, takes its statistics from them, without which a deep
            tower of fresh weights gives the same for any picture.
        seed: of the weights.
    """
    model = copy.deepcopy(space.backbone.model)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in model.visual.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            else:
                for weight in module.parameters(recurse=False):  # attention's projections, positions, class tokens
                    if weight.ndim > 1 or float(weight.std(correction=0)) > 0:
                        weight.copy_(torch.randn(weight.shape).to(weight) * weight.std(correction=0))
    back = space.backbone
    made = Backbone(model, back.tokenizer, back.preprocess, f"random tower of {back.architecture}", back.dim)
    norms = [m for m in model.visual.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum, norm.training = None, True  # None: the plain mean over its inputs
    with torch.no_grad():
        if norms:
            made.stages(space.preprocess.normalize(space.preprocess.sample(pixels.to(space.device), space.image_size)))
    for norm in norms:
        norm.training = False
    return JointSpace(made.architecture, made, vocabulary=space.vocabulary)


def shuffled_words(config: EstimateConfig, seed: int = 0) -> EstimateConfig:
    """The same words and bins, but each bin spoken for by another word."""
    return replace(config, words=_shuffled(config.words, seed))


def refitted(
    fit: Fit, space: JointSpace, pairs: Iterable[tuple[Tensor, Tensor]], shuffled: bool = False, seed: int = 0
) -> Fit:
    """A fit made as this one was, in another space, or with its words in another order."""
    config = fit.config
    words = _shuffled(config.words, seed) if shuffled else config.words
    return fit_depth(space, pairs, replace(config, words=words))


def control_estimators(
    space: JointSpace,
    estimators: Mapping[str, Estimator],
    train: Sequence[Pair],
    seed: int,
    on_progress: OnProgress | None = None,
) -> dict[str, Estimator]:
    """Name -> the same estimates without what the image tower learned, and without the words' order.

    Fits are made again, on as many photos of the training fold, drawn as clipx train depth draws them.

    Args:
        space: of the estimators.
        estimators: by name.
        train: the training fold.
        seed: of the random tower and the order of the words.
        on_progress: see ``clipx.task``.
    """

    def pairs(of: Fit) -> Iterator[tuple[Tensor, Tensor]]:
        kept = drawn(train, of.settings["photos"], of.config.seed)
        return ((read_rgb(pair.rgb), read_depth(pair.depth, pair.encoding)) for pair in kept)

    photos = [space.preprocess.sample(read_rgb(pair.rgb)[None], space.image_size) for pair in train[:CALIBRATION]]
    blank = random_tower(space, torch.cat(photos).clamp(0, 1), seed)
    found = {}
    for done, (name, one) in enumerate(estimators.items(), 1):
        plan, fit = one.config, one.config.fit
        other = plan if fit is None else replace(plan, fit=refitted(fit, blank, pairs(fit)))
        found[f"control: random tower, {name}"] = Estimator(blank, other)
        if fit is not None and fit.words:
            other = replace(plan, fit=refitted(fit, space, pairs(fit), shuffled=True, seed=seed))
            found[f"control: shuffled words, {name}"] = Estimator(space, other)
        elif fit is None and plan.preset == "default":
            found[f"control: shuffled words, {name}"] = Estimator(space, shuffled_words(plan, seed))
        if on_progress:
            on_progress(done, len(estimators), "")
    return found


def _shuffled(words: Sequence[str], seed: int) -> tuple[str, ...]:
    """None keeps its place."""
    rng = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(words), generator=rng)
        if not (order == torch.arange(len(words))).any():
            return tuple(words[i] for i in order)
