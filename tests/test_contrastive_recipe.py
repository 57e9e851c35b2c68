"""The recipe of docs/contrastive.md: its table on made-up data, words for a tower that stands still, its records."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import cut_down, write_table

import clipx
from clipx.backbone import build_model
from clipx.contrastive import features, load_tower, new_tower
from clipx.contrastive.tower import TEXT
from clipx.errors import ClipxError
from clipx.spaces.recipe import _with_tower, load_module, train_space

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "examples/recipes/contrastive"


@pytest.fixture(scope="module")
def table():
    return load_module(RECIPE / "table.py")


@pytest.fixture(scope="module")
def data(recipe_data, tmp_path_factory) -> Path:
    """The sets of the recipes, with sketches to test on."""
    root = tmp_path_factory.mktemp("contrastive") / "data"
    shutil.copytree(recipe_data, root)
    path = root / "images/quickdraw/labels.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    write_table(path, [row | {"split": "test" if i > 5 else "train"} for i, row in enumerate(rows)])
    return root


def test_the_table_is_made_and_goes_on(table, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(table, "BATCH", 4)
    monkeypatch.setattr(table, "TOWER", {"embed_dim": 64, "vision_cfg": {"layers": [1, 1, 1, 1], "width": 4}})
    page = tmp_path / "page.md"
    page.write_text(f"Before\n{table.BEGIN}\nold\n{table.END}\nAfter\n")
    records = tmp_path / "records"
    words = ["table.py", "--data", str(data), "--runs", str(tmp_path / "runs"), "--records", str(records)]
    words += ["--methods", "random,supervised,simclr-v1", "--page", str(page)]
    monkeypatch.setattr("sys.argv", words)
    table.main()
    found = {path.stem: json.loads(path.read_text()) for path in records.glob("*.json")}
    assert set(found) == {"random", "supervised", "simclr-v1"}
    assert found["simclr-v1"]["pictures"] == 4 + 6 and found["simclr-v1"]["steps"] == 2
    assert found["simclr-v1"]["sets"]["caltech101"]["n"] == found["random"]["sets"]["quickdraw"]["n"] == 2
    assert found["simclr-v1"]["settings"]["loss"] == "nt_xent"
    assert load_tower(tmp_path / "runs/simclr-v1.safetensors").about["pictures"]["count"] == 10
    written = page.read_text()
    assert written.startswith("Before\n") and written.endswith("\nAfter\n") and "old" not in written
    assert [line.split(" | ")[0] for line in written.splitlines()[4:7]] == ["| random", "| supervised", "| simclr-v1"]
    monkeypatch.setattr(table, "record_of", None)  # what has a record is not trained again
    table.main()
    assert page.read_text() == written


def test_words_learn_beside_a_tower_that_stands_still(data, tmp_path, run_json):
    tower = tmp_path / "tower.safetensors"
    new_tower({"embed_dim": 64, "vision_cfg": {"layers": [1, 1, 1, 1], "width": 4}}, 64).save(tower)
    changes = {'"source.py"': f'"{RECIPE / "source.py"}"', "steps = 400": "steps = 4", "steps = 300": "steps = 4"}
    recipe = cut_down(RECIPE / "recipe.toml", changes | {"batch_size = 128": "batch_size = 8"}, tmp_path)
    out = tmp_path / "run"
    (result,) = run_json(f"train space {recipe} --data {data} --image-tower {tower} -o {out}")["results"]
    space = clipx.load_space(result["space"], backend="torch")
    assert space.image_size == (64, 64) and space.dim == 64 and space.unknown("a sketch of a cat") == []
    photo = np.random.default_rng(0).integers(0, 255, (1, 3, 64, 64), np.uint8)
    own = torch.nn.functional.normalize(features(load_tower(tower), photo), dim=1)
    found = np.asarray(space.encode_image(torch.from_numpy(photo).float() / 255))
    assert np.abs(found - own.numpy()).max() < 1e-3  # it is kept in float16
    about = json.loads((Path(result["space"]) / "space.json").read_text())
    assert len(about["image_tower"]["sha256"]) == 64 and not (out / "tune").exists()
    assert about["data"] == {"caltech101": {"pictures": 4}, "quickdraw": {"pictures": 6}}


def test_a_tower_keeps_its_activation_beside_any_recipe(tmp_path):
    """OpenAI's QuickGELU stands beside vision_cfg in a model_cfg, and decides what the weights mean."""
    vit = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    plan = {"model": {"embed_dim": 8, "text_cfg": TEXT}, "train": {}}
    photo = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for quick in (True, False):
        new_tower({"embed_dim": 32, "vision_cfg": vit, "quick_gelu": quick}, 32).save(tmp_path / "tower.safetensors")
        tower = load_tower(tmp_path / "tower.safetensors")
        model = build_model(_with_tower(plan | {"model": plan["model"] | {"quick_gelu": not quick}}, tower)["model"])
        model.visual.load_state_dict(tower.visual.state_dict())
        assert torch.allclose(model.eval().visual(photo), tower.visual(photo), atol=1e-5)
        assert quick is any(type(part).__name__ == "QuickGELU" for part in model.visual.modules())


def test_an_image_tower_is_refused_where_it_cannot_stand(data, tmp_path):
    with pytest.raises(ClipxError, match="makes its own image tower"):
        train_space(ROOT / "examples/recipes/lite", data, tmp_path / "lite", image_tower=tmp_path / "tower.safetensors")
    (tmp_path / "no.safetensors").write_bytes(b"no")
    with pytest.raises(ClipxError, match="is no image tower"):
        train_space(RECIPE, data, tmp_path / "lit", image_tower=tmp_path / "no.safetensors")


def test_the_page_shows_its_records(table, tmp_path):
    page = tmp_path / "contrastive.md"
    shutil.copy(ROOT / "docs/contrastive.md", page)
    table.page(ROOT / "docs/results/contrastive", page)
    assert page.read_text() == (ROOT / "docs/contrastive.md").read_text()
