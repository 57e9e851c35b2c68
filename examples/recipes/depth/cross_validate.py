"""Choose how depth is fitted, on training photos alone: cross-validation over the rows of fold train.

    python examples/recipes/depth/cross_validate.py DATA --space nano
    python examples/recipes/depth/cross_validate.py DATA --kind prompts --set steps=100,200 --set lr=0.01,0.03

Photos that stand next to each other in the table may show one room, so they are held out together, two by two. Every
combination of the settings is one row: figures of the NYU protocol, mean over the held-out photos of 8 folds.
"""

import argparse
import itertools
from dataclasses import replace

import torch

import clipx
from clipx.modalities.depth import fit, metrics
from clipx.modalities.depth.files import read_depth, read_pairs, read_rgb
from clipx.modalities.depth.maps import DepthMap

SHOWN = ("abs_rel", "rmse", "d1", "silog", "spearman")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--space", default="nano")
    parser.add_argument("--kind", default="linear", choices=("prompts", "linear"))
    parser.add_argument("--set", action="append", default=[], help="a setting of FitConfig and the values to try")
    parser.add_argument("--folds", type=int, default=8)
    parser.add_argument("--every", type=int, default=8, help="judge every so many pixels each way, for speed")
    given = parser.parse_args()
    space = clipx.load_space(given.space)
    plain = fit.FitConfig(kind=given.kind)
    tried = [text.partition("=") for text in given.set]
    if unknown := [name for name, _, _ in tried if not hasattr(plain, name)]:
        parser.error(f"FitConfig has no setting {unknown[0]!r}")
    values = [[_value(getattr(plain, name), v) for v in listed.split(",")] for name, _, listed in tried]
    pairs = read_pairs(given.data, "train")
    depths = [read_depth(pair.depth, pair.encoding) for pair in pairs]
    looked: dict[int, torch.Tensor] = {}
    order = torch.randperm((len(pairs) + 1) // 2, generator=torch.Generator().manual_seed(0))
    fold = (order % given.folds).repeat_interleave(2)[: len(pairs)]
    print(f"{'setting':48s}", *(f"{name:>9s}" for name in SHOWN))
    print(f"{'mean map of log depth':48s}", *_judged(_mean_maps(depths, fold), depths, given.every))
    for choice in itertools.product(*values):
        named = dict(zip((name for name, _, _ in tried), choice, strict=True))
        config = replace(plain, **named)
        side = config.short_side_px or fit.default_side(space, config.kind)
        if side not in looked:
            looked[side] = _features(space, pairs, config.kind, side)
        found: list[torch.Tensor] = [torch.empty(0)] * len(pairs)
        for held in range(given.folds):
            kept = [i for i in range(len(pairs)) if fold[i] != held]
            rows = [row for i in kept for row in (2 * i, 2 * i + 1)]
            both = [d for i in kept for d in (depths[i], depths[i].flip(-1))]
            fitted = fit.fit_features(space, looked[side][rows], both, config)
            for i in (i for i in range(len(pairs)) if fold[i] == held):
                one = fitted.predict(looked[side][2 * i : 2 * i + 2], tuple(depths[i].shape))
                found[i] = (one[0] + one[1].flip(-1)) / 2
        said = " ".join(f"{name}={value}" for name, value in named.items())
        print(f"{said:48s}", *_judged(found, depths, given.every), flush=True)


def _value(like, text: str):
    if isinstance(like, bool):
        return text.lower() in ("1", "true", "yes")
    if isinstance(like, tuple):  # places: 4x2
        return tuple(int(part) for part in text.split("x"))
    return text if isinstance(like, str) else int(text) if like is None or isinstance(like, int) else float(text)


def _features(space, pairs, kind: str, side: int) -> torch.Tensor:
    rows = []
    with torch.no_grad():
        for pair in pairs:
            pixels = read_rgb(pair.rgb)
            rows.append(fit.read_features(space, torch.stack([pixels, pixels.flip(-1)]), kind, side))
    return torch.cat(rows)


def _mean_maps(depths, fold) -> list[torch.Tensor]:
    logs = torch.stack(depths).clamp(min=1e-3).log()
    return [logs[fold != fold[i]].mean(0).exp() for i in range(len(depths))]


def _judged(found, depths, every: int) -> list[str]:
    keep = torch.zeros_like(depths[0])
    keep[every // 2 :: every, every // 2 :: every] = 1
    rows = [
        metrics.depth_metrics(DepthMap(p), DepthMap(d * keep), "nyu", "none")
        for p, d in zip(found, depths, strict=True)
    ]
    return [f"{sum(row[name] for row in rows) / len(rows):9.4f}" for name in SHOWN]


if __name__ == "__main__":
    main()
