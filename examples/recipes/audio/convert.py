"""The frozen network of the sound-effects tower, from the checkpoint of the wheel ``aisfx`` 0.1.2.

    pip install --no-deps aisfx==0.1.2
    python examples/recipes/audio/convert.py [--golden]

writes ``modalities/audio/towers/sfx/weights.safetensors``: batch norms folded into the convolutions, three of the nine
classifiers, float16. ``--golden`` also writes ``tests/golden/sfx.npz``: what the wheel's own code computes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from clipx.modalities.audio.categories import CATEGORIES
from clipx.modalities.audio.sfx import NETWORK, SfxNetwork

sys.path.append(str(Path(__file__).parents[1]))
from wheels import wheel_file

ROOT = Path(__file__).parents[3]
CHECKPOINT = "models/checkpoint.pth", "499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5"  # SHA-256


def checkpoint() -> Path:
    """The wheel's file; raises as ``wheel_file``."""
    return wheel_file("aisfx", *CHECKPOINT, "pip install --no-deps aisfx==0.1.2")


def read() -> tuple[dict[str, Tensor], dict]:
    """The wheel's state dict, and its table of classifiers: name -> (place, outputs).

    The table's places are numpy scalars: their types are allowed, and nothing else is unpickled.
    """
    scalar = np._core.multiarray.scalar
    allowed = [np.dtype, np.dtypes.Int64DType, (scalar, "numpy.core.multiarray.scalar")]
    with torch.serialization.safe_globals(allowed):
        return torch.load(checkpoint(), map_location="cpu", weights_only=True)


def converted(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The wheel's state dict -> that of ``SfxNetwork``, float16."""
    found: dict[str, Tensor] = {}
    for index in range(8):
        block, layer = f"embedding_net.conv_block{index // 2 + 1}", index % 2 + 1
        norm = {key: state[f"{block}.bn{layer}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")}
        gain = norm["weight"] / (norm["running_var"] + 1e-5).sqrt()
        found[f"convs.{index}.weight"] = state[f"{block}.conv{layer}.weight"] * gain[:, None, None, None]
        found[f"convs.{index}.bias"] = norm["bias"] - gain * norm["running_mean"]
    for index in range(len(CATEGORIES)):
        for layer in (0, 2, 4):
            for key in ("weight", "bias"):
                found[f"classifiers.{index}.{layer}.{key}"] = state[f"fc.{index}.{layer}.{key}"]
    return {key: value.half().contiguous() for key, value in found.items()}


def write_golden(state: dict[str, Tensor], table: dict) -> None:
    """What the wheel's own network makes of spectrograms that are given by a formula; see tests/test_audio_sfx.py."""
    spec = importlib.util.spec_from_file_location("cnn2d", checkpoint().parent / "cnn2d.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net = module.CrossNet(module.EmbeddingNet("max", 3, 1, 64), table, "cpu")
    net.load_state_dict(state)
    net.eval()
    frames, bands = np.meshgrid(np.arange(100), np.arange(96), indexing="ij")
    spectrograms = [0.4 + 0.4 * np.sin(0.1 * (k + 1) * frames + 0.05 * (k + 2) * bands) for k in range(2)]
    with torch.no_grad():
        features = net.get_embedding(torch.tensor(np.stack(spectrograms), dtype=torch.float32))
        categories = [net.fc[k](features).softmax(1).numpy() for k in range(len(CATEGORIES))]
    np.savez_compressed(
        ROOT / "tests/golden/sfx.npz", features=features.numpy(), categories=np.concatenate(categories, axis=1)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", action="store_true", help="also write tests/golden/sfx.npz")
    args = parser.parse_args()
    state, table = read()
    weights = converted(state)
    SfxNetwork().load_state_dict(weights)  # every key, every shape
    NETWORK.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, NETWORK)
    print(NETWORK.relative_to(ROOT), NETWORK.stat().st_size, hashlib.sha256(NETWORK.read_bytes()).hexdigest())
    if args.golden:
        write_golden(state, table)


if __name__ == "__main__":
    main()
