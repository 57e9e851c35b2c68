"""Grids: what an image tower holds before it pools, from the space and from the command (CLIP-ViL)."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from typer.testing import CliRunner

import clipx
from clipx.errors import InputError, UnsupportedError

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("name", "shape"), [("tiny_space", (2, 2, 256)), ("tiny_vit_space", (4, 4, 64))])
def test_a_grid_is_what_the_tower_holds_before_it_pools(request, name, shape):
    space = request.getfixturevalue(name)
    pixels = torch.rand(3, 3, *space.image_size, generator=torch.Generator().manual_seed(0))
    grid = space.grid_image(pixels)
    assert grid.shape == (3, *shape) and grid.dtype == torch.float32
    seen = {}
    visual = space.backbone.model.visual
    module = visual.layer4 if name == "tiny_space" else visual.transformer.resblocks[-1]
    hook = module.register_forward_hook(lambda _, __, out: seen.update(out=out))
    space.encode_image(pixels)
    hook.remove()
    expected = seen["out"].permute(0, 2, 3, 1) if name == "tiny_space" else seen["out"][:, 1:].unflatten(1, (4, 4))
    assert torch.allclose(grid, expected, atol=1e-4)


def test_the_vector_is_what_the_tower_makes_of_its_grid():
    space = clipx.load_space("lite", backend="torch")
    pixels = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    grid = space.grid_image(pixels)
    assert grid.shape == (2, 7, 7, 320)
    tower = space.backbone.photos.model.visual
    last = tower.trunk.bn2(tower.trunk.conv_head(grid.permute(0, 3, 1, 2)))
    vectors = torch.nn.functional.normalize(tower.head(tower.trunk.forward_head(last)), dim=1)
    assert torch.allclose(vectors, space.encode_image(pixels), atol=1e-6)


def test_pictures_of_any_size_have_grids_of_one_shape_and_gradients(tiny_space):
    pixels = torch.rand(1, 3, 30, 80).requires_grad_()
    grid = tiny_space.grid_image(pixels)
    grid.sum().backward()
    assert grid.shape == (1, 2, 2, 256) and pixels.grad.abs().sum() > 0
    assert tiny_space.grid_image(np.zeros((0, 3, 9, 9), np.float32)).shape == (0, 2, 2, 256)


def test_a_tower_without_stages_is_refused(tiny_space, monkeypatch):
    monkeypatch.setattr(tiny_space.backbone.tower, "capabilities", frozenset(), raising=False)
    with pytest.raises(UnsupportedError) as refused:
        tiny_space.grid_image(torch.rand(1, 3, 64, 64))
    assert "\n" not in str(refused.value)


# The command ----------------------------------------------------------------------------------------------------------


def embed(*args):
    from clipx.cli import app

    return CliRunner().invoke(app, ["embed", *map(str, args), "--space", "nano-vit"])


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, size in zip(paths, ((40, 60), (96, 96), (200, 90)), strict=True):
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(path)
    return paths


def test_embed_grid_writes_a_grid_for_each_photo(photos, tmp_path):
    out = tmp_path / "grids.npz"
    run = embed(*photos, "--grid", "-o", out, "--batch-size", "2", "--json")
    assert run.exit_code == 0, run.output
    record = json.loads(run.stdout)
    assert record["shape"] == [3, 8, 8, 192] and record["n"] == 3
    with np.load(out, allow_pickle=False) as found:
        assert found["grids"].dtype == np.float32 and found["ids"].tolist() == [str(p) for p in photos]
        space = clipx.load_space("nano-vit", backend="torch")
        assert str(found["space_id"]) == space.id
        pixels = np.asarray(Image.open(photos[1]), np.float32).transpose(2, 0, 1)[None] / 255
        assert np.allclose(found["grids"][1:2], space.grid_image(pixels).numpy(), atol=1e-4)


def test_what_has_no_grid_is_named(photos, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    cloud = tmp_path / "cloud.npz"
    np.savez(cloud, points=np.zeros((9, 3), np.float32))
    out = tmp_path / "grids.npz"
    run = embed(bad, photos[0], cloud, "--grid", "-o", out, "--json")
    assert run.exit_code == 2
    record = json.loads(run.stdout)
    assert {Path(one["path"]).name for one in record["failures"]} == {"bad.png", "cloud.npz"}
    with np.load(out, allow_pickle=False) as found:
        assert found["grids"].shape == (1, 8, 8, 192) and found["ids"].tolist() == [str(photos[0])]


@pytest.mark.parametrize(("more", "says"), [(["-o", "x.parquet"], "npz")])
def test_embed_grid_refuses_in_one_line(photos, monkeypatch, tmp_path, more, says):
    monkeypatch.chdir(tmp_path)
    run = embed(photos[0], "--grid", *more)
    assert isinstance(run.exception, InputError) and says in str(run.exception)
    assert not list(tmp_path.glob("x.*"))


# The head of examples/questions.py ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def questions():
    spec = importlib.util.spec_from_file_location("questions", ROOT / "examples" / "questions.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["questions"] = module  # its dataclass looks there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["questions"]


def test_the_table_of_the_page_is_that_of_the_record():
    """docs/results/questions/nano-vit.json, which examples/questions.py writes."""
    record = json.loads((ROOT / "docs" / "results" / "questions" / "nano-vit.json").read_text(encoding="utf-8"))
    wanted = []
    for row in record["results"]:
        kinds = row["kinds"].values()
        cells = [f"{one['acc1']:.1%} ({one['ci95'][0]:.1%} to {one['ci95'][1]:.1%})" for one in kinds]
        wanted.append(f"| {row['reader']} | {row['part']} | {' | '.join(cells)} |")
    page = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8").splitlines()
    assert len(wanted) == 6 and [line for line in page if line in wanted] == wanted


def test_held_out_pairs_are_in_no_training_picture(questions):
    rng, allowed = np.random.default_rng(3), []
    for _ in range(200):
        _, objects = questions.picture(rng, [("red", "circle")], 64)
        allowed += objects
    assert {o[:2] for o in allowed} == {("red", "circle")}
    _, asked = questions.made(60, 0, False, 64)
    _, held = questions.made(30, 0, True, 64)

    def said(some):
        return {(questions.ANSWERS[one.answer], one.words[-1]) for one in some if one.kind == "which colour"}

    assert not said(asked) & questions.HELD_OUT and said(held) & questions.HELD_OUT


def test_answers_are_true_of_the_picture(questions):
    objects = [
        ("red", "circle", 10, 5),
        ("blue", "square", 50, 9),
        ("green", "square", 80, 70),
        ("red", "triangle", 90, 9),
    ]
    said = [(" ".join(one.words), questions.ANSWERS[one.answer]) for one in questions.questions(0, objects)]
    assert said == [
        ("how many circle", "1"), ("how many square", "2"), ("how many triangle", "1"),
        ("which colour is the circle", "red"), ("which colour is the triangle", "red"),
        ("is the circle left of the triangle", "yes"), ("is the triangle left of the circle", "no"),
    ]  # fmt: skip


def test_the_head_reads_cells_and_a_control_cannot(questions):
    """Which of two cells is lit is in the grid, not in its mean: the grid's head learns it, that of the mean cannot."""
    torch.manual_seed(0)
    yes, no = questions.ANSWERS.index("yes"), questions.ANSWERS.index("no")
    lit = torch.randint(2, (256,))
    grid = F.one_hot(lit, 2).float()[..., None].expand(-1, -1, 4) * torch.tensor([1.0, -1.0, 0.5, 0.0])
    words = ["is", "the", "circle", "left", "of", "the", "square"]
    asked = [questions.Asked(i, "left of", words, yes if one else no) for i, one in enumerate(lit.tolist())]
    score = lambda cells: questions.figures(questions.fit(cells, asked, 60, 0), cells, asked)["left of"]["acc1"]  # noqa: E731
    assert score(grid) > 0.98 and score(grid.mean(1, keepdim=True)) < 0.65
