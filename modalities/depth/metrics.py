"""How far a depth map is from the truth: the usual figures, by protocols whose crops and caps differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clipx.errors import InputError
from clipx.modalities.depth.maps import DepthMap, require_same_unit

ALIGNMENTS = ("none", "median", "scale+shift")
LOWER_IS_BETTER = ("abs_diff", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog")
FIGURES = ("d1", "d2", "d3", *LOWER_IS_BETTER, "spearman")
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Protocol:
    """What is counted.

    Args:
        cap_m: truth at or beyond it does not count, predictions are clamped to it.
        crop: (H, W) -> top, bottom, left, right of the part that counts.
        floor: count pixels without a prediction as ``MIN_M``, rather than leave them out.
        size: the only (H, W) it is defined for, or None: any.
    """

    cap_m: float
    crop: Callable[[int, int], Box]
    floor: bool = False
    size: tuple[int, int] | None = None


MIN_M = 1e-3  # truth and predictions below do not count, or count as this
_NYU = (480, 640)


def _garg(height: int, width: int) -> Box:
    return (
        int(0.40810811 * height),
        int(0.99189189 * height),
        int(0.03594771 * width),
        int(0.96405229 * width),
    )


PROTOCOLS = {
    "nyu": Protocol(10.0, lambda h, w: (45, 471, 41, 601), size=_NYU),  # Eigen's crop
    "depthclip": Protocol(10.0, lambda h, w: (45, 471, 46, 601), size=_NYU),  # its own 46 for Eigen's 41
    "kitti": Protocol(80.0, _garg, floor=True),
    "full": Protocol(math.inf, lambda h, w: (0, h, 0, w)),  # every finite truth above MIN_M, at any size
}


def counted(truth: Tensor, protocol: str, crop: bool = True, where: str | None = None) -> Tensor:
    """(H, W) bool: where the truth counts, strictly between ``MIN_M`` and the cap, within the crop.

    ``where`` is what an error names.

    Raises:
        InputError: an unknown protocol, or a size that it is not defined for.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"no protocol named {protocol!r}", remedy=f"known: {', '.join(PROTOCOLS)}")
    rules, shape = PROTOCOLS[protocol], (int(truth.shape[0]), int(truth.shape[1]))
    mask = (truth > MIN_M) & (truth < rules.cap_m)
    if not crop:
        return mask
    if rules.size not in (None, shape):
        what = f"the protocol {protocol} is for 480 x 640 pixels, got {shape[0]} x {shape[1]}"
        raise InputError(what, where=where, remedy="take the whole picture of any size: --protocol full")
    top, bottom, left, right = rules.crop(*shape)
    inside = torch.zeros_like(mask)
    inside[top:bottom, left:right] = True
    return mask & inside


def depth_metrics(
    pred: DepthMap, truth: DepthMap, protocol: str = "nyu", alignment: str = "none", crop: bool = True
) -> dict[str, float]:
    """The figures of one picture.

    Args:
        pred: the prediction.
        truth: metres of the same size.
        protocol: a name of ``PROTOCOLS``.
        alignment: ``"none"``; ``"median"``: times the ratio of medians; ``"scale+shift"``: the least-squares line. Of
            inverse depth the line is fitted to 1 / truth and then inverted. Figures of different alignments are not
            comparable.
        crop: False counts the whole picture.

    Returns:
        d1 d2 d3 (shares of pixels off by less than 1.25, 1.25^2, 1.25^3), abs_diff (m), abs_rel, sq_rel (m), rmse (m),
        rmse_log, log10, silog, spearman (of the order before a line is fitted; NaN where either is constant), pixels,
        and coverage: the share of the pixels that count where there is a prediction. Where there is none: left out
        (nyu, depthclip, full), or counted as 1 mm (kitti, as is usual there).
        NaN throughout where nothing counts.

    Raises:
        InputError: an unknown protocol or alignment; different sizes; a truth that is not in metres; different units
            without an alignment that bridges them.
    """
    if truth.unit != "m":
        raise InputError(f"the truth must be in metres, got {truth.unit}", where=truth.source)
    require_alignment(pred.unit, alignment, truth.source)
    if pred.depth.shape != truth.depth.shape:
        raise InputError(
            f"sizes differ: {tuple(pred.depth.shape)} predicted, {tuple(truth.depth.shape)} true", where=truth.source
        )
    mask = counted(truth.depth, protocol, crop, truth.source)
    rules = PROTOCOLS[protocol]
    known = mask & pred.known & ((pred.depth > MIN_M) if pred.unit == "m" else True)
    coverage = float(known.sum()) / max(1, int(mask.sum()))
    if rules.floor and alignment == "none":
        known = mask
    if not known.any():
        return dict.fromkeys(FIGURES, math.nan) | {"pixels": 0.0, "coverage": coverage}
    raw, t = pred.depth[known].double().nan_to_num(0), truth.depth[known].double()
    p = aligned(raw, t, pred.unit, alignment).clamp(MIN_M, rules.cap_m)
    found = figures(p, t)
    if alignment == "scale+shift":  # a line that falls would turn a wrong order into a right one
        found["spearman"] = spearman(-raw if pred.unit == "inverse" else raw, t)
    return found | {"pixels": float(len(t)), "coverage": coverage}


def require_alignment(unit: str, alignment: str, where: str | None = None) -> None:
    """Raise InputError unless predictions of a unit can be compared with metres by an alignment."""
    if alignment not in ALIGNMENTS:
        raise InputError(f"no alignment named {alignment!r}", remedy=f"known: {', '.join(ALIGNMENTS)}")
    if alignment == "none":
        require_same_unit(unit, "m", where)
    elif alignment == "median" and unit == "affine":
        raise InputError("a median cannot align depth of unknown shift", remedy="take alignment scale+shift")


def aligned(pred: Tensor, truth: Tensor, unit: str, alignment: str) -> Tensor:
    """(P,) predictions of a unit -> (P,) metres, by the (P,) metres that are true."""
    if alignment == "none":
        return pred
    if alignment == "median":
        pred = 1 / pred if unit == "inverse" else pred
        return pred * (_median(truth) / _median(pred))
    goal = 1 / truth if unit == "inverse" else truth
    spread = pred - pred.mean()
    square = (spread * spread).sum()
    constant = square <= 1e-24 * (pred * pred).sum()  # but for rounding
    line = goal.mean() + torch.where(constant, 0.0, (spread * goal).sum() / square) * spread
    return 1 / line.clamp(min=1e-6) if unit == "inverse" else line


def _median(values: Tensor) -> Tensor:
    """Of (P,); of an even number the mean of the middle two, where torch takes the lower."""
    ordered = values.sort().values
    return (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2


def figures(pred: Tensor, truth: Tensor) -> dict[str, float]:
    """The figures of (P,) positive metres, P >= 1; see ``depth_metrics``."""
    ratio = torch.maximum(pred / truth, truth / pred)
    off, log = (pred - truth).abs(), pred.log() - truth.log()
    found = {
        **{f"d{k}": (ratio < 1.25**k).double().mean() for k in (1, 2, 3)},
        "abs_diff": off.mean(),
        "abs_rel": (off / truth).mean(),
        "sq_rel": (off**2 / truth).mean(),
        "rmse": (off**2).mean().sqrt(),
        "rmse_log": (log**2).mean().sqrt(),
        "log10": log.abs().mean() / math.log(10),
        "silog": 100 * log.var(correction=0).sqrt(),  # E[d^2] - E[d]^2, without its cancellation
        "spearman": spearman(pred, truth),
    }
    return {name: float(value) for name, value in found.items()}  # type: ignore[arg-type]


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two (P,), equal values sharing their mean rank; NaN where either is constant."""
    x, y = (ranks - ranks.mean() for ranks in (_ranks(a), _ranks(b)))
    norm = x.norm() * y.norm()
    return float((x @ y) / norm) if norm > 0 else math.nan


def _ranks(values: Tensor) -> Tensor:
    _, place, count = torch.unique(values, return_inverse=True, return_counts=True)
    last = count.cumsum(0).double()
    return (last - (count - 1) / 2)[place]


def mean_and_interval(
    per_image: Sequence[Mapping[str, float]], seed: int = 0, resamples: int = 2000
) -> dict[str, dict[str, float]]:
    """Figure -> mean over images, and the ends (low, high) of its 95 % bootstrap interval over images.

    Images whose figure is NaN are left out of that figure.
    """
    found = {}
    for name in per_image[0] if per_image else ():
        values = np.array([image[name] for image in per_image])
        values = values[np.isfinite(values)]
        if not len(values):
            found[name] = dict.fromkeys(("mean", "low", "high"), math.nan)
            continue
        rng = np.random.default_rng(seed)
        means = values[rng.integers(0, len(values), (resamples, len(values)))].mean(1)
        low, high = np.percentile(means, [2.5, 97.5])
        found[name] = {"mean": float(values.mean()), "low": float(low), "high": float(high)}
    return found


def paired(
    per_image: Sequence[Mapping[str, float]], against: Sequence[Mapping[str, float]], seed: int = 0
) -> dict[str, dict[str, float]]:
    """Figure -> mean over the same images of how much larger it is than in ``against``, and its interval as above."""
    pairs = zip(per_image, against, strict=True)
    return mean_and_interval([{name: one[name] - other[name] for name in one} for one, other in pairs], seed)
