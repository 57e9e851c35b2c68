"""The methods by name: settings of the one trainer, with the constants of their papers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from clipx.errors import InputError


@dataclass(frozen=True)
class Views:
    """How views of a picture are drawn.

    Args:
        area: least and greatest share of the picture that a crop covers.
        colour: strengths of brightness, contrast, saturation and hue.
        jittered: probability that these are changed.
        grey: probability that the colour is taken away.
        blur: probability of a Gaussian blur, for the first large view, for the others, and for small ones.
        solarise: the same of inverting what is brighter than a half.
        large: how many large crops.
        local: how many small crops beside the large ones (multi-crop).
        local_area: shares that the small crops cover.
        local_size: their side as a share of the large ones'.
        kind: "crops"; "lab", lightness and colour of one crop (CMC); "patches", a grid of one crop (CPC).
        grid: patches a side, half overlapping.
    """

    area: tuple[float, float] = (0.2, 1.0)
    colour: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    jittered: float = 0.8
    grey: float = 0.2
    blur: tuple[float, float, float] = (0.0, 0.0, 0.0)
    solarise: tuple[float, float, float] = (0.0, 0.0, 0.0)
    large: int = 2
    local: int = 0
    local_area: tuple[float, float] = (0.05, 0.14)
    local_size: float = 96 / 224
    kind: Literal["crops", "lab", "patches"] = "crops"
    grid: int = 7


@dataclass(frozen=True)
class Method:
    """A method of self-supervised pre-training: four switches, and constants.

    Args:
        name: as ``METHODS`` lists it.
        paper: where it is from.
        optimiser: of the paper. The one trainer takes AdamW for all.
        negatives: what a view is distinguished from: a memory bank, the batch, a queue of earlier keys, nothing.
        target: what a view is compared with: the network's own output, the same without gradient, or the output of an
            exponential moving average of the network.
        predictor: whether a further network predicts the target from the online output.
        loss: a key of ``clipx.contrastive.objectives.OBJECTIVES``.
        views: how they are drawn.
        symmetric: both views are predicted from each other; else the second from the first alone.
        temperature: of the loss.
        teacher_temperature: of the target at the beginning and from 30 % of the steps on (DINO).
        momentum: of the moving average at the beginning and at the end, along a cosine.
        centre: momentum of DINO's centre; None for no centre.
        sinkhorn: iterations that spread the codes over the prototypes (SwAV).
        epsilon: of the codes (SwAV).
        length: keys in the queue, or rows drawn from the bank as noise.
        bank_momentum: share of the old vector when a row of the bank is replaced.
        layers: of the projector; 1 is a linear map.
        hidden: width of the projector and of the predictor of two layers.
        dim: what the projector returns.
        predictor_hidden: width of the predictor's hidden layer.
        head_norm: batch normalisation inside the projector; "last" has it after the last layer, too.
        prototypes: K unit vectors that the output is compared with (SwAV, DINO); 0 for none.
        freeze_patches: a ViT's patch projection keeps its random weights (MoCo v3).
    """

    name: str
    paper: str
    optimiser: str
    negatives: Literal["none", "batch", "queue", "bank"]
    target: Literal["self", "stop-gradient", "ema"]
    predictor: bool
    loss: str
    views: Views = field(default_factory=Views)
    symmetric: bool = True
    temperature: float = 0.1
    teacher_temperature: tuple[float, float] = (0.04, 0.07)
    momentum: tuple[float, float] = (0.999, 0.999)
    centre: float | None = 0.9
    sinkhorn: int = 3
    epsilon: float = 0.05
    length: int = 0
    bank_momentum: float = 0.5
    layers: int = 2
    hidden: int = 2048
    dim: int = 128
    predictor_hidden: int = 4096
    head_norm: Literal["none", "inside", "last"] = "inside"
    prototypes: int = 0
    freeze_patches: bool = False


_V1 = Views(colour=(0.4, 0.4, 0.4, 0.4), jittered=1.0)
_V2 = Views(blur=(0.5, 0.5, 0.5))
_SIMCLR = Views(area=(0.08, 1.0), colour=(0.8, 0.8, 0.8, 0.2), blur=(0.5, 0.5, 0.5))
_BYOL = Views(area=(0.08, 1.0), colour=(0.4, 0.4, 0.2, 0.1), blur=(1.0, 0.1, 0.1), solarise=(0.0, 0.2, 0.2))
_SWAV = Views(area=(0.14, 1.0), colour=(0.8, 0.8, 0.8, 0.2), blur=(0.5, 0.5, 0.5), local=6)
_DINO = dataclasses.replace(
    _BYOL, area=(0.4, 1.0), blur=(1.0, 0.1, 0.5), solarise=(0.0, 0.2, 0.0), local=8, local_area=(0.05, 0.4)
)
_PLAIN = Views(colour=(0.0, 0.0, 0.0, 0.0), grey=0.0)

_ALL = (
    Method("instdisc", "Wu et al., CVPR 2018, arXiv 1805.01978", "SGD 0.03, batch 256", "bank", "self", False, "bank",
           dataclasses.replace(_V1, large=1), temperature=0.07, length=4096, layers=1, head_norm="none"),
    Method("invaspread", "Ye et al., CVPR 2019, arXiv 1904.03436", "SGD 0.03, batch 128", "batch", "self", False,
           "spread", _V1, temperature=0.1, layers=1, head_norm="none"),
    Method("cpc", "van den Oord et al., 2018, arXiv 1807.03748", "Adam 2e-4, batch 128", "batch", "self", True, "cpc",
           dataclasses.replace(_PLAIN, kind="patches", area=(0.5, 1.0), grey=1 / 3), temperature=1.0, layers=1,
           dim=1024, predictor_hidden=1024, head_norm="none"),
    Method("cmc", "Tian et al., ECCV 2020, arXiv 1906.05849", "SGD 0.03, batch 128", "bank", "self", False, "bank",
           dataclasses.replace(_PLAIN, kind="lab"), temperature=0.07, length=16384, layers=1, head_norm="none"),
    Method("moco-v1", "He et al., CVPR 2020, arXiv 1911.05722", "SGD 0.03, batch 256", "queue", "ema", False,
           "info_nce", _V1, symmetric=False, temperature=0.07, length=65536, layers=1, head_norm="none"),
    Method("moco-v2", "Chen et al., 2020, arXiv 2003.04297", "SGD 0.03, batch 256, cosine", "queue", "ema", False,
           "info_nce", _V2, symmetric=False, temperature=0.2, length=65536, head_norm="none"),
    Method("moco-v3", "Chen, Xie and He, ICCV 2021, arXiv 2104.02057", "AdamW 1.5e-4 B/256 (ViT), wd 0.1", "batch",
           "ema", True, "info_nce", _BYOL, temperature=0.2, momentum=(0.99, 1.0), layers=3, hidden=4096, dim=256,
           head_norm="last", freeze_patches=True),
    Method("simclr-v1", "Chen et al., ICML 2020, arXiv 2002.05709", "LARS 0.3 B/256, batch 4096, wd 1e-6", "batch",
           "self", False, "nt_xent", _SIMCLR, temperature=0.1),
    Method("simclr-v2", "Chen et al., NeurIPS 2020, arXiv 2006.10029", "LARS 0.1 sqrt(B), batch 4096", "batch", "self",
           False, "nt_xent", _SIMCLR, temperature=0.1, layers=3),
    Method("byol", "Grill et al., NeurIPS 2020, arXiv 2006.07733", "LARS 0.2 B/256, batch 4096, wd 1.5e-6", "none",
           "ema", True, "regression", _BYOL, momentum=(0.996, 1.0), hidden=4096, dim=256),
    Method("swav", "Caron et al., NeurIPS 2020, arXiv 2006.09882", "LARS 0.3 B/256, batch 4096", "none",
           "stop-gradient", False, "swapped", _SWAV, temperature=0.1, prototypes=3000),
    Method("simsiam", "Chen and He, CVPR 2021, arXiv 2011.10566", "SGD 0.05 B/256, batch 512", "none", "stop-gradient",
           True, "negative_cosine", _V2, layers=3, dim=2048, predictor_hidden=512, head_norm="last"),
    Method("dino", "Caron et al., ICCV 2021, arXiv 2104.14294", "AdamW 5e-4 B/256, wd 0.04 -> 0.4", "none", "ema",
           False, "distillation", _DINO, temperature=0.1, momentum=(0.996, 1.0), layers=3, dim=256, head_norm="none",
           prototypes=65536),
)  # fmt: skip
METHODS: dict[str, Method] = {method.name: method for method in _ALL}


def small(method: Method) -> Method:
    """The same for thousands of pictures instead of a million: heads, queues and prototypes that so few can fill.

    Queues and noise hold at most 2,048, hidden layers 512 and prototypes 512; moving averages follow faster (0.99 at
    the start), as there are a thousandth of the steps; crops cover at least a fifth of the picture (local ones a
    twentieth to 0.4); multi-crop has four local views of half the side, and CPC a grid of 4 x 4.
    """
    views = dataclasses.replace(method.views, area=(max(0.2, method.views.area[0]), method.views.area[1]), grid=4)
    if views.local:
        views = dataclasses.replace(views, local=4, local_size=0.5, local_area=(0.05, 0.4))
    return dataclasses.replace(
        method,
        views=views,
        length=min(method.length, 2048),
        hidden=min(method.hidden, 512),
        dim=min(method.dim, 256),
        predictor_hidden=min(method.predictor_hidden, 128 if method.name == "simsiam" else 512),
        prototypes=min(method.prototypes, 512),
        momentum=(min(method.momentum[0], 0.99), 0.99 if method.momentum[1] < 1 else 1.0),
    )


def method_named(name: str) -> Method:
    """The method of that name, with its paper's constants. Raises InputError."""
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}", remedy=f"known: {', '.join(METHODS)}")
    return METHODS[name]
