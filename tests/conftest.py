"""Fixtures that many tests share: small random spaces, and the folder of shared test data where there is one."""

import os
from pathlib import Path

import pytest

TEXT = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
RESNET = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32, "patch_size": None},
    "text_cfg": TEXT,
}
VIT = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": TEXT,
}
PREPROCESS = {"mean": [0.5, 0.45, 0.4], "std": [0.25, 0.26, 0.27], "interpolation": "bicubic", "resize_mode": "squash"}


@pytest.fixture(scope="session")
def tiny_space():
    """An untrained ModifiedResNet space: 64 px, D = 32."""
    from clipx.space import random_space

    return random_space(RESNET, preprocess_cfg=PREPROCESS, seed=0)


@pytest.fixture(scope="session")
def tiny_vit_space():
    """An untrained ViT space: 32 px, patches of 8, 3 blocks of 2 heads, D = 32."""
    from clipx.space import random_space

    return random_space(VIT, preprocess_cfg=PREPROCESS, seed=0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared specs and data; skips where there is none."""
    folder = Path(os.environ.get("CLIPX_SHARED") or Path(__file__).parents[2] / "shared")
    if not folder.is_dir():
        pytest.skip("no shared data folder (CLIPX_SHARED)")
    return folder
