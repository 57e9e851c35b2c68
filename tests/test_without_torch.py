"""Naming, embedding, indexing and searching in a space with ONNX graphs never import torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "examples" / "data"
WORDS = "--labels chair,dog,fish,house,cup"
COMMANDS = [
    "classify {photo} " + WORDS,
    f"classify {DATA}/dog.flac " + WORDS,
    f"classify {DATA}/chair.off " + WORDS,
    f"classify {DATA}/chair.off --projection shaded " + WORDS,
    f"classify {DATA}/fish.png " + WORDS,
    f"classify {DATA}/drawings/coffee-16.svg " + WORDS,
    f"embed {DATA}/fish.png {DATA}/toilet.ply {DATA}/rain.flac -o vectors.npz",
    f"index {DATA}/rooms {DATA}/chair.off {DATA}/dog.flac --db my.index",
    "search chair --db my.index",
    f"search {DATA}/dog.flac + {DATA}/chair.off --db my.index",
    "modalities",
    "spaces --help",
]
# one process runs them all, so that an import is seen after the command that made it
SCRIPT = """
import json, sys
from clipx.cli import main

found = []
for line in json.loads(sys.argv[1]):
    status = main(line.split())
    packages = ("torch", "torchaudio", "torchvision", "open_clip", "timm")
    found.append([line, status, [name for name in packages if name in sys.modules]])
print(json.dumps(found), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Command -> its exit status, and the packages that were imported once it was done."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("here")
    Image.effect_mandelbrot((640, 480), (-2, -1.5, 1, 1.5), 60).convert("RGB").save(folder / "photo.jpg")
    lines = [line.format(photo=folder / "photo.jpg") for line in COMMANDS]
    command = [sys.executable, "-c", SCRIPT, json.dumps(lines)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {
        command: (status, packages)
        for command, (_, status, packages) in zip(COMMANDS, json.loads(done.stderr.splitlines()[-1]), strict=True)
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_imports_torch(found, command):
    assert found[command] == (0, [])


def test_python_does_neither():
    """What the one-liners load, they load at first use."""
    code = f"""
import sys, clipx
clipx.classify({str(DATA / "chair.off")!r}, ["chair", "dog"])
clipx.embed([{str(DATA / "fish.png")!r}, {str(DATA / "dog.flac")!r}])
assert "torch" not in sys.modules
space = clipx.load_space()
space.stages(space.backbone.preprocess.normalize(__import__("torch").zeros(1, 3, 224, 224)), normalize=False)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
