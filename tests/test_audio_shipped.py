"""The sound tower that comes with clipx: its weights by their hash, its figures, its texts, its work offline."""

import hashlib
import importlib.util
import json
import sys
from pathlib import Path

import pytest

import clipx
from clipx.modalities.audio.synthesis import synthesise
from clipx.modalities.audio.towers import SHIPPED, WEIGHTS, shipped_tower

ROOT = Path(__file__).parents[1]
TOWER = SHIPPED / "nano"
FIGURES = json.loads((TOWER / "figures.json").read_text())


@pytest.fixture(scope="module")
def audio():
    return clipx.get_modality("audio")(clipx.load_space("nano"))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """examples/recipes/audio/report.py as a module."""
    folder = ROOT / "examples/recipes/audio"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        spec = importlib.util.spec_from_file_location("audio_report", folder / "report.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    sys.modules.pop("retrieval", None)


def test_the_weights_are_those_that_were_measured(audio):
    assert shipped_tower(audio.space) == TOWER
    data = (TOWER / WEIGHTS).read_bytes()
    assert hashlib.sha256(data).hexdigest() == FIGURES["weights_sha256"] and len(data) <= 8_000_000
    assert sum(value.numel() for value in audio.tower.net.parameters()) <= 3_000_000


def test_the_figures_asked_for():
    folds = FIGURES["cross_validation"]["folds"]
    assert set(folds) == {"1", "2", "3", "4"} and sum(one["count"] for one in folds.values()) == 320
    assert FIGURES["cross_validation"]["acc1"] >= 0.85
    assert FIGURES["retrieval"]["of_text_pivot"] >= 0.9
    assert FIGURES["shipped"]["fold"] == "4" and FIGURES["shipped"]["count"] == 80
    assert len(FIGURES["without"]["classes"]) == 10


def test_texts_say_what_was_measured(report):
    table = report.table(FIGURES)
    assert table in (ROOT / "docs/modalities/audio.md").read_text()
    card = (ROOT / "examples/recipes/audio/card.md").read_text().format(table=table, **report.said(FIGURES))
    assert (TOWER / "README.md").read_text() == card


def test_no_clip_that_must_not_be_learnt_from():
    lines = (TOWER / "attribution.csv").read_text().splitlines()
    assert len(lines) == 1 + FIGURES["shipped"]["sounds"]
    assert not [line for line in lines if line.split(",")[0][0] == "4" or "Sampling" in line]  # fold 4; CC Sampling+


@pytest.mark.parametrize("label", ["dog", "rain", "helicopter", "clock_tick", "rooster", "bell"])
def test_synthesised_sounds_of_other_seeds_are_named(audio, label):
    classifier = clipx.ZeroShotClassifier(
        audio.space, ["dog", "rain", "helicopter", "clock tick", "rooster", "bell"], audio.prompts
    )
    sounds = [synthesise(label, 10_000 + seed) for seed in range(4)]
    named = [found[0].label for found in classifier.predict(audio.encode(sounds), top_k=1)]
    assert named.count(label.replace("_", " ")) >= 3


def test_the_readmes_line_works_offline(run_json, monkeypatch):
    monkeypatch.setenv("CLIPX_SPACE", "nano")
    sample = ROOT / "examples/data/dog.flac"
    found = run_json(f"classify {sample} --labels dog,rain,rooster,helicopter,bell")
    assert found["results"][0]["predictions"][0]["label"] == "dog"
