"""The recipe of nano, whole, on a few steps of made-up data; and what ships, by its hash and its card."""

import hashlib
import json
import os
import signal
import tomllib
from pathlib import Path

import pytest
from conftest import cut_down

import clipx
from clipx.errors import ClipxError
from clipx.spaces import two_towers
from clipx.spaces.embedded import SPACES, embedded_names
from clipx.spaces.recipe import train_space

RECIPE = Path(__file__).parents[1] / "examples" / "recipes" / "nano"


@pytest.fixture(scope="module")
def data(recipe_data) -> Path:
    return recipe_data


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    """The recipe itself, cut down in size and in nothing else."""
    changes = {
        '"source.py"': f'"{RECIPE / "source.py"}"',
        "shapes_of_modelnet10 = 400": "shapes_of_modelnet10 = 2",
        "shapes_of_others = 40": "shapes_of_others = 1",
        "rooms = 2400": "rooms = 4",
        "steps = 2000": "steps = 2",
        "batch_size = 192": "batch_size = 16",
        "batch_size = 128": "batch_size = 24",
        "layers = [1, 2, 2, 1]": "layers = [1, 1, 1, 1]",
        "width = 32": "width = 8",
        "stages = [[0.5, 64], [0.85, 80]": "stages = [[0.5, 64], [0.6, 80]",
    }
    return cut_down(RECIPE / "recipe.toml", changes, tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def trained(recipe, data, tmp_path_factory) -> Path:
    return train_space(recipe, data, tmp_path_factory.mktemp("run"), steps=3)


def test_the_recipe_runs_and_its_space_loads(trained):
    space = clipx.load_space(trained)
    assert space.image_size == (96, 96) and space.dim == 256 and space.folder is not None
    assert space.unknown("a photo of a chair") == []
    assert space.unknown("a photo of a zyzzyva") == ["zyzzyva"]
    about = json.loads((trained / "space.json").read_text())
    assert about["train"]["steps"] == 3 and about["data"]["caltech101"]["pictures"] == 4
    assert (trained.parent / "loss.png").stat().st_size > 1000


def test_a_stopped_recipe_resumes_to_the_same_bytes(trained, recipe, data, tmp_path, monkeypatch):
    made = two_towers.contrastive_loss
    calls = []

    def stop_at_the_second(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return made(*args, **kwargs)

    monkeypatch.setattr(two_towers, "contrastive_loss", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        train_space(recipe, data, tmp_path, steps=3)
    assert not (tmp_path / "space").exists()
    again = train_space(recipe, data, tmp_path, steps=3, resume=True)
    assert len(calls) == 3 + 2 + 1  # three steps with pictures in all, one with words (two losses), one at the end
    assert (again / "weights.safetensors").read_bytes() == (trained / "weights.safetensors").read_bytes()
    with pytest.raises(ClipxError, match="--resume"):
        train_space(recipe, data, tmp_path, steps=3)


def test_excluded_concepts_and_their_kinds_lose_their_pictures(recipe, data, trained, tmp_path):
    left = train_space(recipe, data, tmp_path, steps=1, exclude=("chair", "bed"))
    before, after = (json.loads((folder / "space.json").read_text()) for folder in (trained, left))
    assert after["exclude"] == ["chair", "bed"]
    assert after["data"]["caltech101"]["pictures"] == 2 and after["data"]["quickdraw"]["pictures"] == 4 * 10
    assert "rooms" not in after["data"]  # a room may show what it does not name
    assert after["data"]["clouds"]["pictures"] <= before["data"]["clouds"]["pictures"] - 4
    with pytest.raises(ClipxError, match="zyzzyva"):
        train_space(recipe, data, tmp_path / "other", exclude=("zyzzyva",))


def test_a_missing_recipe_or_data_folder_is_one_line(recipe, tmp_path):
    with pytest.raises(ClipxError, match="no such recipe"):
        train_space(tmp_path, tmp_path, tmp_path / "out")
    for before, after, message in (
        ("lr = 2.0e-3", "learning_rate = 2.0e-3", "learning_rate, lr"),
        ("[words]", "[words", "TOML"),
        ("[words]", "[other]", "words"),
        ("[1.0, 96]", "[0.95, 96]", "stages"),
        ('"softmax"', '"hinge"', "loss"),
    ):
        wrong = tmp_path / "recipe.toml"
        wrong.write_text(recipe.read_text().replace(before, after))
        with pytest.raises(ClipxError, match=message):
            train_space(wrong, tmp_path, tmp_path / "out")
    with pytest.raises(ClipxError, match=r"labels\.csv"):
        train_space(recipe, tmp_path, tmp_path / "out", steps=1)


# ----------------------------------------------------------------------------------------------------- what ships

NANO = SPACES / "nano"


@pytest.mark.parametrize("name", embedded_names())
def test_an_embedded_space_is_what_its_card_says(name):
    folder = SPACES / name
    about = json.loads((folder / "space.json").read_text())
    weights = (folder / "weights.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == about["weights_sha256"]
    assert len(weights) <= 30e6
    card = (folder / "README.md").read_text()
    assert about["weights_sha256"] in card and about["data_sha256"] in card
    assert about["recipe"] == tomllib.loads((RECIPE.parent / name / "recipe.toml").read_text())
    regimes = {
        "seen classes, seen domain", "seen classes, new domain", "unseen classes (zero-shot)",
        "names known, shapes never seen",
    }  # fmt: skip
    figures = json.loads((folder / "figures.json").read_text())
    assert figures["weights_sha256"] == about["weights_sha256"]
    for row in figures["rows"]:
        assert f"{row['metrics']['acc1']:.1%}" in card
        assert row["regime"] in regimes


def test_nano_reaches_what_it_was_made_for():
    """The figures are of the shipped weights (their hash stands beside them); `report.py` prints them again."""
    figures = json.loads((NANO / "figures.json").read_text())
    by_name = {row["name"]: row for row in reversed(figures["rows"]) if "note" not in row}
    assert by_name["Caltech-101 photos"]["labels"] == 100 and by_name["QuickDraw sketches"]["labels"] == 344
    assert by_name["Caltech-101 photos"]["metrics"]["acc1"] >= 0.60
    assert by_name["QuickDraw sketches"]["metrics"]["acc5"] >= 0.45
    assert by_name["ModelNet10 clouds"]["metrics"]["acc1"] >= 0.60
    assert figures["withheld"]["ratio"] >= 0.80
    unseen = [row["name"] for row in figures["rows"] if row["regime"].startswith("unseen")]
    assert unseen == ["ModelNet10 clouds"]
    assert figures["plain"] and sum(row.get("note") == "untrained tower" for row in figures["rows"]) == 3


def test_nano_vit_is_near_nano():
    """Caltech-101 within 12 points; a ViT whose class token can be asked where it looks."""
    shares = []
    for name in ("nano", "nano-vit"):
        rows = json.loads((SPACES / name / "figures.json").read_text())["rows"]
        shares.append(next(row["metrics"]["acc1"] for row in rows if row["name"] == "Caltech-101 photos"))
    assert shares[1] >= shares[0] - 0.12
    assert clipx.load_space("nano-vit").supports("class_attention")


def test_nano_knows_the_words_that_later_parts_need():
    space = clipx.load_space("nano")
    assert space.unknown("sea waves, crackling fire, can opening, seat, leg, back, wing, wheel") == []
    assert space.unknown("giant extremely close not in distance a little remote far unseen") == []
    assert space.unknown("photo sketch drawing depth map point cloud rendering sound") == []
