"""Every command of the README and of the pages of the jobs is run, in order, with small files of those names.

Real CLIPs become nano, as none can be fetched here, and long work is cut short. What is left to tests of its own: the
demo, the test line, DepthCLIP's preset (which needs RN50), and figures that need the authors' weights.
"""

import runpy
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from films import grey, write_film
from PIL import Image
from test_docs import FENCE, command_lines

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / f"docs/{name}.md" for name in ("search", "few-shot", "prompt-learning")]
PAGES += sorted((ROOT / "docs/modalities").glob("*.md"))
ELSEWHERE = (
    "ground kitchen.jpg a red cup on a table --model",
    "sketch cat.jpg --mask cat-mask-cat.png",
    "demo",
    "reproduce",
    "depth room.jpg --preset depthclip",
    "train audio sounds --space S --tower sfx",
)
SHORT = {  # the words that a command begins with -> flags that make it short; the last one given counts
    "sketch": "--steps 2 --seeds 1 --strokes 4",
    "eval sketch": "--strokes 4 --steps 2 --seeds 1 --per-class 1 --dtype float32",
    "eval pointcloud": "--shots 2 --draws 1",
    "eval image photos --where split=test --train-where split=train": "--shots 1 --draws 1",
    "train audio": "--epochs 1 --batch-size 4",
    "train detect": "--steps 2 --limit 8",
    "train segment": "--steps 2",
    "train pointcloud": "--steps 2 --turns 1 --points 64 --batch-size 4",
    "train video": "--steps 2 --layers 1",
    "train depth nyu --kind prompts": "--steps 1",
    "train depth nyu --space nano --kind linear": "--images 2",
}


def lines_of(pages):
    """The commands that pages show, as words, each once."""
    found = [line for page in pages for line in command_lines(page.read_text(encoding="utf-8"))]
    lines = dict.fromkeys(tuple(words) for words, whole in found if whole)
    return [words for words in lines if not " ".join(words).startswith(ELSEWHERE)]


def write_files(folder):
    """What the pages call files of yours."""
    rng = np.random.default_rng(0)
    (folder / "examples").symlink_to(ROOT / "examples")
    runpy.run_path(str(ROOT / "examples/composites.py"))["write"](folder / "own", 6)
    (folder / "words.txt").write_text("cat\ncar\n")
    (folder / "own.csv").write_text("path,left,top,right,bottom\nstreet.jpg,20,10,60,50\nstreet.jpg,0,0,30,30\n")
    for name in ("photo.jpg", "room.jpg", "kitchen.jpg"):
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).save(folder / name)
    y, x = np.mgrid[:60, :80]
    for name in ("cat.jpg", "street.jpg"):  # with an object
        lit = np.where((x - 45) ** 2 + (y - 30) ** 2 < 18**2, 60, 200)[..., None] + rng.integers(0, 30, (60, 80, 3))
        Image.fromarray(lit.astype(np.uint8)).save(folder / name)
    (folder / "films").mkdir()
    write_film(folder / "films/walk.mp4", [grey(i) for i in range(8)], rate=2)
    (folder / "clips").mkdir()
    rows = ["path,label,caption,split"]
    for i in range(6):
        write_film(folder / f"clips/{i}.mp4", [grey(i + j * (1 - 2 * (i % 2)) + 8) for j in range(8)], rate=4)
        rows.append(
            f"{i}.mp4,{('falling', 'moving up')[i % 2]},a {('cat', 'dog')[i % 2]},{'train' if i < 4 else 'test'}"
        )
    (folder / "clips/labels.csv").write_text("\n".join(rows) + "\n")
    (folder / "clipx-demo").mkdir()
    for name in ("chelsea", "coffee"):
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save(folder / f"clipx-demo/{name}.png")
    points = rng.normal(size=(48, 200, 3)).astype(np.float32)
    np.savez(folder / "scan.npz", points=points[0])
    for name in ("test.npz", "train.npz"):
        labels, classes = np.arange(24) % 2, np.array(["chair", "table"])
        own = points[24:] if name == "train.npz" else points[:24]
        np.savez(folder / name, points=own, labels=labels, classes=classes)
    vertices = "".join(f"{x} {y} {z}\n" for x, y, z in points[0])
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    (folder / "chair.ply").write_text(f"ply\nformat ascii 1.0\nelement vertex 200\n{properties}end_header\n{vertices}")
    about = "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 200\nHEIGHT 1\nPOINTS 200\nDATA ascii\n"
    (folder / "scan.pcd").write_text(f"VERSION .7\n{about}{vertices}")
    for name in ("bark.ogg", "walk.mp3"):
        soundfile.write(folder / name, 0.1 * rng.normal(size=22_050), 22_050)
    for name in ("chair.off", "rain.flac"):
        (folder / name).symlink_to(ROOT / "examples/data" / name)
    (folder / "sketch.png").symlink_to(ROOT / "examples/data/house.png")
    for place in ("sounds", "nyu", "photos", "clouds"):
        (folder / place).mkdir(parents=True)
    (folder / "clouds/chair.ply").symlink_to(folder / "chair.ply")
    rows = ["path,label,fold"]
    for i in range(8):
        soundfile.write(folder / f"sounds/{i}.wav", 0.1 * rng.normal(size=11_025), 22_050)
        rows.append(f"{i}.wav,{('dog', 'cat')[i % 2]},{1 + i // 4}")
    (folder / "sounds/labels.csv").write_text("\n".join(rows))
    rows = ["path,depth_path,depth_encoding,label,fold"]
    for i in range(4):
        Image.fromarray(rng.integers(0, 255, (480, 640, 3), np.uint8)).save(folder / f"nyu/{i}.jpg")
        slope = np.linspace(3000, 1000 + 100 * i, 480).astype(np.uint16)
        Image.fromarray(np.repeat(slope[:, None], 640, axis=1)).save(folder / f"nyu/{i}.png")
        rows.append(f"{i}.jpg,{i}.png,mm16,room,{('train', 'test')[i % 2]}")
    (folder / "nyu/labels.csv").write_text("\n".join(rows))
    rows = ["path,label,split"]
    for name in ("watch", "airplane", "cup", "chair"):
        for split in ("test", "train"):
            Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(folder / f"photos/{name}-{split}.png")
            rows.append(f"{name}-{split}.png,{name},{split}")
    (folder / "photos/labels.csv").write_text("\n".join(rows))
    for i in range(6):
        place = folder / "birds" / ("robin", "crow")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(place / f"{i}.jpg")
    (folder / "garden").mkdir()
    for name in ("garden/new.jpg", "new.jpg"):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(folder / name)


def shortened(words):
    """The command with nano in place of a real CLIP, and its work cut short."""
    words = ["nano" if i and words[i - 1] == "--space" else word for i, word in enumerate(words)]
    words = [*words, "--space", "lite"] if "--domain" in words else words  # nano has no picture domains
    flags = max((key for key in SHORT if " ".join(words).startswith(key)), key=len, default=None)
    return [*words, *SHORT[flags].split()] if flags else words


@pytest.mark.parametrize(
    ("pages", "least", "written"),
    [
        ([ROOT / "README.md"], 8, ("ridge.png", "words.png", "cat.svg")),
        pytest.param(
            PAGES, 32, ("dog.html", "views.png", "mistakes.png", "room.ply", "fit.safetensors"), marks=pytest.mark.slow
        ),
    ],
    ids=["readme", "pages"],
)
def test_every_command_runs(pages, least, written, run, tmp_path, monkeypatch):
    folder = tmp_path / "pages"
    folder.mkdir()
    write_files(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CLIPX_SPACE", "nano")
    lines = lines_of(pages)
    assert len(lines) >= least
    for words in lines:
        status, _, err = run("", *shortened(words))
        assert status == 0, f"clipx {' '.join(words)}: {err}"
    for name in written:
        assert (folder / name).stat().st_size > 100, name


def test_the_python_it_shows_runs(tmp_path, monkeypatch):
    """One block after another, as a reader would; a drawing is cut short. A modality and its check: test_contract."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIPX_SPACE", "nano")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    audio = (ROOT / "docs/modalities/audio.md").read_text(encoding="utf-8")
    blocks = [block for language, block in FENCE.findall(text) if language == "python"]
    blocks += [block for language, block in FENCE.findall(audio) if language == "python"]
    assert len(blocks) >= 3 and sum("strokes=(16,)" in block for block in blocks) == 1
    scope = {"points": torch.rand(1, 64, 3) - 0.5, "strokes": torch.rand(2, 4, 2) * 224}
    for block in blocks:
        exec(block.replace("strokes=(16,)", "strokes=(4,), steps=2, seeds=(0,)"), scope)
    assert scope["parts"].vectors.shape[1] == scope["space"].dim and scope["image"].shape == (3, 224, 224)
    assert scope["pictures"].ndim == 5 and len(scope["best"].strokes) == 4


def test_the_documented_modality_is_the_one_that_is_tested():
    toy = (ROOT / "tests/toy_modality/clipx_toy.py").read_text(encoding="utf-8")
    assert f"```python\n{toy}```" in (ROOT / "docs/add-a-modality.md").read_text(encoding="utf-8")
