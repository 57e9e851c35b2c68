"""The depth fits that come with clipx: their hashes, their place, what they say offline."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipx import load_space
from clipx.modalities.depth import EstimateConfig, estimate, load_fit, read_rgb
from clipx.modalities.depth.estimator import default_config
from clipx.modalities.depth.fit import SHIPPED, shipped_fits

ROOMS = Path(__file__).parents[1] / "examples" / "data" / "rooms"


@pytest.fixture(scope="module")
def nano():
    return load_space("nano")


def near_and_far(metres):
    """Of room-1: does the lamp stand before the wall, and does the floor come towards the eye?"""
    lamp, wall, floor = metres[150:230, 60:130], metres[60:140, 160:250], metres[260:, 150:350]
    return lamp.mean() + 0.4 < wall.mean() and floor.mean() + 0.4 < wall.mean()


@pytest.mark.parametrize("name", ["lite", "nano"])
def test_the_card_names_every_fit_by_its_hash(name):
    space = load_space(name)
    card = (SHIPPED / name / "README.md").read_text()
    fits = shipped_fits(space)
    assert list(fits) == ["rooms", "rooms-words"]
    for name, path in fits.items():
        assert f"| `{name}` |" in card and f"`{hashlib.sha256(path.read_bytes()).hexdigest()}`" in card
        assert path.stat().st_size < 250_000
        fit = load_fit(name, space)
        assert fit.unit == "m" and fit.space_id == space.id


def test_the_first_is_what_nothing_else_means(nano, tiny_space):
    room = read_rgb(ROOMS / "room-1.jpg")
    named = estimate(nano, room, EstimateConfig(fit=load_fit("rooms", nano)))
    assert np.array_equal(estimate(nano, room).depth, named.depth) and near_and_far(named.depth)
    assert default_config(tiny_space) == EstimateConfig()  # no fit comes with it


@pytest.mark.parametrize(
    ("flags", "fitted", "note"),
    [
        ("", True, "fit: rooms, which comes with nano"),
        ("--fit rooms-words", True, ""),
        ("--fit none", False, "unfitted"),
        ("--words near,far --bins 1,2", False, "unfitted"),
    ],
)
def test_the_command_takes_it(run_json, capfd, tmp_path, flags, fitted, note, monkeypatch):
    monkeypatch.setenv("CLIPX_SPACE", "nano")
    from clipx.cli import main

    words = ["depth", str(ROOMS / "room-1.jpg"), "-o", str(tmp_path / "room.png"), *flags.split(), "--json"]
    if "--words" in flags:
        words[words.index("near,far")] = "close,far away"
    assert main(words) == 0
    out, err = capfd.readouterr()
    assert f'"fitted": {str(fitted).lower()}' in out and note in err
    if fitted:
        with Image.open(tmp_path / "room.png") as picture:
            assert near_and_far(np.asarray(picture, np.float32) / 1000)


def test_a_name_that_is_none(run, monkeypatch):
    monkeypatch.setenv("CLIPX_SPACE", "nano")
    status, _, err = run(f"depth {ROOMS / 'room-1.jpg'} --fit kitchens")
    assert status == 2
    assert "kitchens: no fit of that name; nano comes with rooms, rooms-words; a fit's file ends in .safetensors" in err
