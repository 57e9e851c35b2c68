"""Every script of examples/ runs, offline, with the default space, and writes only where it is told to."""

import importlib.util
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
LESS_WORK = {
    "bind_an_encoder": ["--copies", "3"],
    "composites": ["--count", "2"],
    "distil_space": ["--steps", "2"],
    "draw_a_photo": ["--steps", "4", "--strokes", "4"],
    "edit_a_photo": ["--steps", "3"],
    "few_shot": ["--shots", "2"],
    "learn_without_labels": ["--steps", "2"],
    "ordered_events": ["--train", "2", "--test", "1", "--steps", "2", "--heads", "conv1d"],
    "questions": ["--pictures", "16", "--steps", "4", "--space", "nano-vit"],
    "teach_a_point_tower": ["--copies", "3", "--steps", "2"],
}
SAYS = {
    "add_a_modality": ["house", "kept   batch equals singles"],
    "bind_an_encoder": ["airplane", "of 18, by chance 16.7%", "nearest to an airplane's points: helicopter.png"],
    "composites": ["written to"],
    "depth_from_words": ["very far", "written to"],
    "distil_space": ["cosine with the teacher", "takes the words of nano"],
    "draw_a_photo": ["loss of the plain view", "nano-vit says"],
    "edit_a_photo": ["loss", "temperature", "written to"],
    "few_shot": ["zero-shot", "cache", "linear probe", "chair, ladder, lamp, monitor, sofa, table"],
    "learn_without_labels": ["512 pictures of 12 kinds", "random            spread", "no stop-gradient  spread"],
    "moments": ["6 captions, 6 clips in 2 films", "R@1 at IoU 0.5 in films"],
    "name_things": ["airplane.obj   airplane", "chair.off      chair", "toilet.ply     toilet", "fish.png       fish"],
    "ordered_events": ["12 films to learn from, 6 others", "film or reversal", "mean   ", "50.0%"],
    "questions": ["grid     seed 0 test", "question seed 0 held out", "how many"],
    "search_by_arithmetic": ["13 files added", "a mesh and a word"],
    "sounds_to_pictures": [],
    "teach_a_point_tower": ["pictures ", "tower ", "of 18 right", "clouds a second"],
}
WRITES = {
    "add_a_modality": {"house.asc"},
    "bind_an_encoder": {"shapes.safetensors"},
    "composites": {"images", "masks", "labels.csv", "classes.txt", "boxes.json"},
    "depth_from_words": {"depth.png", "depth.npz"},
    "distil_space": {"photos", "teacher", "space", "checkpoint.safetensors", "history.jsonl", "loss.png"},
    "draw_a_photo": {"photo.png", "drawing.svg", "drawing.png", "search.gif"},
    "edit_a_photo": {"photo.png", "edited.png", "tiles.png"},
    "few_shot": {"things.safetensors"},
    "learn_without_labels": {
        f"{name}{end}" for name in ("simsiam", "no-stop-gradient") for end in ("", ".safetensors")
    },
    "moments": {"my.index", "film0.mp4", "film1.mp4", *(f"clip{i}.mp4" for i in range(6))},
    "name_things": {"cup.png", "names.csv"},
    "ordered_events": {"events", "frames", "conv1d", "conv1d.safetensors"},
    "questions": {"questions.json", "picture.png"},
    "search_by_arithmetic": {"mixed", "my.index"},
    "sounds_to_pictures": {"helicopter.wav", "rain.wav"},
    "teach_a_point_tower": {"run", "tower.safetensors"},
}


def test_every_script_is_listed():
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted(SAYS) == sorted(WRITES)


@pytest.fixture
def example(monkeypatch, tmp_path, capsys):
    """Run a script's ``main`` in this process; returns what it printed and the names of what it wrote."""

    def call(name, *args):
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--out", str(out), *args])
        capsys.readouterr()
        module.main()
        assert not list(elsewhere.iterdir())
        return capsys.readouterr().out, {path.name for path in out.iterdir()}

    return call


@pytest.mark.parametrize("name", sorted(SAYS))
def test_it_runs(example, name):
    said, written = example(name, *LESS_WORK.get(name, []))
    assert written == WRITES[name]
    assert all(words in said for words in SAYS[name]), said


def test_sounds_are_skipped_in_one_line_without_a_tower(example, monkeypatch):
    import clipx.modalities.audio.encoder as encoder

    monkeypatch.setattr(encoder, "shipped_tower", lambda space: None)
    said, _ = example("sounds_to_pictures")
    assert said.startswith("skipped: audio: the space lite has no audio tower") and said.count("\n") == 1
