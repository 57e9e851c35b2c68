"""Fixtures that many tests share: small random spaces, and the folder of shared test data where there is one."""

import copy
import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image

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

# A deadline and this check measure how busy the machine is; what the code takes is measured in tests/benchmarks.
settings.register_profile("clipx", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("clipx")


LONGEST = (  # files that take a minute or more with the slow tests: first, so that no process of two ends alone
    *("test_readme.py", "test_composites.py", "test_recipe_lite.py", "test_export.py", "test_devices.py"),
    *("test_ray.py", "test_raster.py", "test_clipasso.py", "test_index_large.py", "test_examples.py"),
    *("test_sketch_draw.py", "test_contract_tasks.py", "test_estimator.py", "test_backbone.py"),
)


def pytest_collection_modifyitems(items):
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))  # stable: else as they were collected


def pytest_collection_finish(session):
    """The pretended device must be there before the first backward pass: autograd counts the devices then."""
    if any(item.path.name == "test_devices.py" for item in session.items):
        import pretend_device

        pretend_device.announce()


@pytest.fixture(scope="session")
def tiny_space():
    """An untrained ModifiedResNet space: 64 px, D = 32."""
    from clipx.space import random_space

    return random_space(RESNET, preprocess_cfg=PREPROCESS, seed=0)


@pytest.fixture(scope="session")
def spread_space(tiny_space):
    """The same tower less most of what all its vectors share: they differ by far more than products are rounded."""
    space = copy.deepcopy(tiny_space)
    pooling = space.backbone.model.visual.attnpool.c_proj
    pictures = np.random.default_rng(0).random((16, 3, 64, 64), dtype=np.float32)
    mean, std = (np.float32(values)[:, None, None] for values in (space.mean, space.std))
    with torch.no_grad():
        pooling.bias -= 0.97 * space.backbone.model.visual(torch.from_numpy((pictures - mean) / std)).mean(0)
    return space


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


# The command line -----------------------------------------------------------------------------------------------------

WORDS = ["a", "of", "the", "photo", "point", "cloud", "depth", "map", "rendering", "sketch", "drawing"]
WORDS += ["chair", "table", "cup", "cat", "night", "stand", "small"]
DEPTH_WORDS = ["this", "object", "is", "extremely", "very", "close", "a", "little", "far", "away"]  # said by default


def save_space(space, folder: Path, words) -> Path:
    """A tiny random space as an embedded one that knows those words, under its folder's name."""
    from clipx.spaces.embedded import save_embedded

    return save_embedded(
        space.backbone.model,
        folder,
        name=folder.name,
        version="0",
        model_cfg=RESNET,
        preprocess_cfg=PREPROCESS,
        vocabulary={"words": dict.fromkeys(words, "pictures")},
        token_index=range(49408),
    )


@pytest.fixture(scope="session")
def space_folder(spread_space, tmp_path_factory):
    return save_space(spread_space, tmp_path_factory.mktemp("spaces") / "tiny", WORDS)


@pytest.fixture
def here(space_folder, tmp_path, monkeypatch):
    """A working folder with a picture, a cloud and a mesh, and the tiny space as the default."""
    monkeypatch.setenv("CLIPX_SPACE", str(space_folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save("photo.png")
    np.savetxt("cloud.xyz", rng.normal(size=(64, 3)))
    (folder / "mesh.off").write_text("OFF\n4 4 0\n0 0 0\n1 0 0\n0 2 0\n0 0 3\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n")
    return folder


@pytest.fixture
def run(here, capfd):
    """Run a command line; returns (exit status, stdout, stderr)."""

    def call(line, *more):
        from clipx.cli import main

        capfd.readouterr()
        status = main([*line.split(), *more])
        return status, *capfd.readouterr()

    return call


@pytest.fixture
def run_json(run):
    def call(line, *more):
        status, out, err = run(f"{line} --json", *more)
        assert status == 0, err
        return json.loads(out)

    return call


# The data sets of the recipes ----------------------------------------------------------------------------------------

RECIPE_LABELS = {
    "caltech101": ["airplane", "chair"],
    "grocery_store": ["avocado", "banana"],
    "clothing": ["dress", "hat"],
    "caltech256_5classes": ["dog", "horse"],
}


@pytest.fixture(scope="session")
def recipe_data(tmp_path_factory) -> Path:
    """The layout of the real data sets with four flat pictures a set and eight drawings."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name, labels in RECIPE_LABELS.items():
        folder = root / "images" / name
        folder.mkdir(parents=True)
        rows = [{"path": f"{i}.png", "label": labels[i % 2], "split": "train" if i < 4 else "test"} for i in range(6)]
        for row in rows:
            pixels = np.full((30, 40, 3), rng.integers(0, 255, 3), np.uint8)
            Image.fromarray(pixels).save(folder / row["path"])
        write_table(folder / "labels.csv", rows)
    folder = root / "images" / "quickdraw"
    folder.mkdir()
    rows, lines = [], []
    for i in range(8):
        rows.append({"npz_index": i, "label": ["cat", "bed"][i % 2], "split": "train", "key_id": str(i)})
        drawing = [[[0, 255, 120], [0, int(rng.integers(1, 255)), 30]], [[5, 9], [5, 9]]]
        lines.append(json.dumps({"word": rows[-1]["label"], "key_id": str(i), "drawing": drawing}))
    write_table(folder / "labels.csv", rows)
    (folder / "quickdraw_simplified.ndjson").write_text("\n".join(lines))
    np.savez(folder / "quickdraw_64.npz", images=rng.integers(0, 255, (8, 64, 64), dtype=np.uint8))
    return root


def cut_down(recipe: Path, changes: dict[str, str], folder: Path) -> Path:
    """A copy of a recipe in that folder, with these lines changed and nothing else."""
    text = recipe.read_text()
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def write_table(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
