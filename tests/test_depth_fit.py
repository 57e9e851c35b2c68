"""Depth fits: what they learn from few photos, what they promise of every picture, and their file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_depth import write_set

from clipx.errors import ClipxError, FileError, InputError, SpaceMismatchError, UnsupportedError
from clipx.modalities.depth import fit as depth_fit
from clipx.modalities.depth.estimator import EstimateConfig, estimate
from clipx.modalities.depth.files import depth_png
from clipx.modalities.depth.fit import Fit, FitConfig, cell_depth, fit_depth, load_fit, mean_log_map

WORDS = ("near", "middling", "far")
QUICK = {"words": WORDS, "steps": 3, "places": (2, 1)}


def pairs(count, seed=0, size=(48, 64)):
    """Photos whose brightness says how deep they are: dark is far."""
    rng = torch.Generator().manual_seed(seed)
    for _ in range(count):
        blocks = torch.rand(1, 3, 4, generator=rng)
        depth = torch.nn.functional.interpolate(1 + 4 * blocks[None], size, mode="nearest")[0, 0]
        yield (1.2 - depth / 5).clamp(0, 1).expand(3, -1, -1).contiguous(), depth


def config(**more):
    return FitConfig(**(QUICK | more))


KINDS = [
    {"kind": "prompts"},
    {"kind": "prompts", "bins": "log"},
    {"kind": "prompts", "bins": "scene", "scenes": ("kitchen", "office")},
    {"kind": "prompts", "mean_map": True},
    {"kind": "linear"},
    {"kind": "linear", "mean_map": True},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("count", [1, 4])
def test_any_picture_gets_metres_within_the_bins(tiny_space, kind, count):
    fit = fit_depth(tiny_space, pairs(count), config(**kind))
    assert fit.unit == "m"
    assert fit.words == (WORDS if fit.kind == "prompts" else ())
    low, high = fit.tensors["bins"].aminmax()
    for height, width in ((48, 64), (200, 30), (1, 1)):
        pixels = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1))
        depth = fit.predict(fit.features(tiny_space, pixels), (height, width))
        assert depth.shape == (2, height, width)
        assert depth.dtype == torch.float32
        assert bool(((depth >= low) & (depth <= high)).all())


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_fit_comes_back_from_its_file(tiny_space, kind, tmp_path):
    fit = fit_depth(tiny_space, pairs(3), config(**kind))
    again = load_fit(fit.save(tmp_path / "deep" / "fit.safetensors"), tiny_space)
    pixels = torch.rand(1, 3, 48, 64)
    one, other = (f.predict(f.features(tiny_space, pixels), (48, 64)) for f in (fit, again))
    assert torch.equal(one, other)
    assert (again.words, again.bins, again.unit, again.kind) == (fit.words, fit.bins, fit.unit, fit.kind)
    assert not list(tmp_path.rglob("*.part"))


def test_a_fit_is_the_same_every_time(tiny_space):
    for kind in KINDS[2:5]:
        one, other = (fit_depth(tiny_space, pairs(3), config(**kind)) for _ in range(2))
        assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


@pytest.mark.parametrize("kind", [{"kind": "linear"}, {"kind": "prompts", "steps": 40, "lr": 0.1}], ids=str)
def test_it_learns_to_tell_near_from_far(tiny_space, kind):
    fit = fit_depth(tiny_space, pairs(12, size=(96, 128)), config(**kind))
    errors, constant = [], []
    for pixels, depth in pairs(6, seed=1, size=(96, 128)):
        found = fit.predict(fit.features(tiny_space, pixels[None]), tuple(depth.shape))[0]
        errors.append((found.log() - depth.log()).abs().mean())
        constant.append((fit.tensors["map"].mean() - depth.log()).abs().mean())
    assert sum(errors) < (0.95 if fit.kind == "linear" else 1) * sum(constant)  # a random tower helps words little


def test_learning_touches_the_prompts_only(tiny_space):
    before, losses = tiny_space.backbone.weights_sha256(), []
    fit_depth(tiny_space, pairs(2), config(steps=15), lambda step, loss: losses.append(loss))
    assert losses[-1] < losses[0]
    assert len(losses) == 15
    assert tiny_space.backbone.weights_sha256() == before


def test_no_step_says_the_plain_words(tiny_space):
    fit = fit_depth(tiny_space, pairs(2), config(steps=0))
    said = tiny_space.encode_text([f"this object is {w}" for w in WORDS])
    assert np.allclose(fit.tensors["text"], said, atol=1e-6)
    assert float(fit.tensors["scale"]) == pytest.approx(tiny_space.logit_scale, rel=1e-5)


def test_responses_are_shares(tiny_space):
    fit = fit_depth(tiny_space, pairs(2), config())
    seen = fit.features(tiny_space, torch.rand(2, 3, 48, 64))
    shares = fit.responses(seen)
    assert shares.shape == (2, 3, *seen.shape[-2:])
    assert torch.allclose(shares.sum(1), torch.ones(()), atol=1e-5)
    with pytest.raises(UnsupportedError, match="no words"):
        linear = fit_depth(tiny_space, pairs(2), config(kind="linear"))
        linear.responses(linear.features(tiny_space, torch.rand(1, 3, 48, 64)))


def test_bins_are_what_they_say(tiny_space):
    near_and_far = [(torch.rand(3, 64, 64), torch.linspace(1, 4, 64 * 64).view(64, 64))]
    log = fit_depth(tiny_space, near_and_far, config(bins="log")).bins
    assert log[1] == pytest.approx((log[0] * log[2]) ** 0.5, rel=1e-4)
    quantile = fit_depth(tiny_space, near_and_far, config()).bins
    assert quantile[1] == pytest.approx(2.5, abs=0.3)


def test_scene_bins_follow_the_scene(tiny_space):
    fit = fit_depth(tiny_space, pairs(4), config(bins="scene", scenes=("kitchen", "office")))
    bins = fit.tensors["scene.bins"]
    assert bins.shape == (2, 3)
    assert bool((bins.diff(dim=1) > 0).all())


def test_cells_leave_out_what_is_unknown():
    depth = torch.full((4, 4), 2.0)
    depth[:, 2:] = 0
    depth[0, 0] = torch.nan
    logs, known = cell_depth([depth], (2, 2))
    assert known[0].tolist() == [[True, False], [True, False]]
    assert torch.allclose(logs[0, :, 0].exp(), torch.tensor(2.0))
    assert mean_log_map([depth]).exp().unique().numpy() == pytest.approx([2.0])


def test_the_mean_map_is_kept_and_resized(tiny_space):
    near_above = torch.cat([torch.full((24, 64), 1.0), torch.full((24, 64), 4.0)])
    fit = fit_depth(tiny_space, [(torch.rand(3, 48, 64), near_above)], config(kind="linear", mean_map=True, ridge=1e6))
    found = fit.predict(fit.features(tiny_space, torch.rand(1, 3, 30, 20)), (30, 20))[0]
    assert float(found[3, 5]) == pytest.approx(1.0, rel=0.02)
    assert float(found[-3, 5]) == pytest.approx(4.0, rel=0.02)
    assert fit.mean_map_m is not None
    assert fit_depth(tiny_space, pairs(4), config()).mean_map_m is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "forest"}, "no kind of fit"),
        ({"bins": "even"}, "no kind of bins"),
        ({"words": ("far",)}, "two words"),
        ({"words": ("far", "far")}, "'far' is given twice"),
        ({"steps": -1}, "steps"),
        ({"ridge": 0.0}, "ridge"),
        ({"places": (0, 1)}, "places"),
        ({"short_side_px": 0}, "short_side_px"),
    ],
)
def test_settings_that_make_no_sense(change, said):
    with pytest.raises(InputError, match=said):
        config(**change)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no photos"),
        ([(torch.rand(3, 32, 32), torch.zeros(32, 32))], "known depth"),
        ([(torch.rand(3, 32, 32), torch.ones(32, 32))], "everywhere the same"),
    ],
)
def test_photos_that_teach_nothing(tiny_space, given, said):
    with pytest.raises(InputError, match=said):
        fit_depth(tiny_space, given, config())


def test_a_fit_of_another_space_is_refused(tiny_space, tiny_vit_space, tmp_path):
    path = fit_depth(tiny_space, pairs(1), config()).save(tmp_path / "fit.safetensors")
    with pytest.raises(SpaceMismatchError, match="made in space"):
        load_fit(path, tiny_vit_space)
    with pytest.raises(SpaceMismatchError):
        load_fit(path, tiny_space).features(tiny_vit_space, torch.rand(1, 3, 32, 32))


def test_a_vit_can_be_fitted_too(tiny_vit_space):
    for kind in ("prompts", "linear"):
        fit = fit_depth(tiny_vit_space, pairs(2), config(kind=kind))
        assert fit.predict(fit.features(tiny_vit_space, torch.rand(1, 3, 40, 60)), (40, 60)).shape == (1, 40, 60)


def test_files_that_are_no_fit(tiny_space, tmp_path):
    from safetensors.torch import save_file

    for name, data in (("empty", b""), ("truncated", b"\x10\0\0\0\0\0\0\0{"), ("text", b"hello, this is no tensor")):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(data)
        with pytest.raises(FileError):
            load_fit(path, tiny_space)
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    fit = fit_depth(tiny_space, pairs(1), config())
    incomplete = Fit(**(vars(fit) | {"tensors": {"bins": torch.ones(3)}})).save(tmp_path / "incomplete.safetensors")
    for path in (tmp_path / "other.safetensors", incomplete):
        with pytest.raises(FileError, match="no depth fit"):
            load_fit(path, tiny_space)
    with pytest.raises(FileError):
        load_fit(tmp_path / "missing.safetensors", tiny_space)
    with pytest.raises(FileError, match="suffix"):
        fit.save(tmp_path / "fit.bin")


def test_a_fit_with_settings_of_its_own_is_refused(tiny_space, tmp_path):
    """A file whose parts do not belong together is an error when it is read, not when it is used."""
    fit = fit_depth(tiny_space, pairs(1), config())
    broken = {
        "kind": {"kind": "forest"},
        "unit": {"unit": "feet"},
        "settings": {"settings": {}},
        "places": {"settings": fit.settings | {"places": [3, 3]}},
        "map": {"tensors": fit.tensors | {"map": torch.ones(7)}},
        "text": {"tensors": fit.tensors | {"text": torch.ones(2, 5, 32)}},
    }
    for name, change in broken.items():
        path = Fit(**(vars(fit) | change)).save(tmp_path / f"{name}.safetensors")
        with pytest.raises(FileError, match="no depth fit"):
            load_fit(path, tiny_space)
    assert load_fit(fit.save(tmp_path / "whole.safetensors"), tiny_space).config == config()


def test_the_linear_head_is_a_ridge():
    """The definition: centred least squares with a penalty, by the stacked equations; of 4 photos, with holes."""
    rng = torch.Generator().manual_seed(0)
    x, target = torch.randn(4, 6, 3, 5, generator=rng), torch.randn(4, 3, 5, generator=rng)
    known, plan = torch.rand(4, 3, 5, generator=rng) > 0.2, FitConfig(kind="linear", ridge=0.7)
    found = depth_fit._linear(depth_fit._fit_linear(x, target, known, plan), x)

    def standard(values, dim):
        mean, std = values.mean(dim, keepdim=True), values.std(dim, keepdim=True)
        return (values - mean) / (std + 1e-6)

    cells = standard(x.movedim(1, 3).flatten(0, 2), 0) * (depth_fit.CELL_VARIANCE / 6) ** 0.5
    statistics = torch.cat([x.mean((2, 3)), x.flatten(2).std(2, correction=0)], 1)
    image = (standard(statistics, 0) / 12**0.5).repeat_interleave(15, 0)
    rows, aim, keep = torch.cat([cells, image], 1).double(), target.flatten().double(), known.flatten()
    centre, level = rows[keep].mean(0), aim[keep].mean()
    penalty = (0.7 * 15) ** 0.5 * torch.eye(18, dtype=torch.float64)
    stacked = torch.cat([rows[keep] - centre, penalty])
    weights = torch.linalg.lstsq(stacked, torch.cat([aim[keep] - level, torch.zeros(18).double()])).solution
    expected = (level + (rows - centre) @ weights).view(4, 3, 5).float()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_words_are_read_before_the_photos(tiny_space):
    def never():
        raise AssertionError("a photo was looked at")
        yield

    for wrong in ({"prompts": "no hole"}, {"bins": "scene", "scenes": ()}):
        with pytest.raises(InputError):
            fit_depth(tiny_space, never(), config(**wrong))


def test_flipped_responses_are_flipped_as_well(tiny_space):
    fit = fit_depth(tiny_space, pairs(2), config())
    x = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(0))
    both = EstimateConfig(fit=fit, flip=True)
    one, mirrored = estimate(tiny_space, x, both), estimate(tiny_space, x.flip(-1), both)
    torch.testing.assert_close(one.depth, mirrored.depth.flip(-1))
    torch.testing.assert_close(one.responses, mirrored.responses.flip(-1))


def test_wrong_features_are_one_line(tiny_space):
    fit = fit_depth(tiny_space, pairs(1), config())
    with pytest.raises(InputError, match=r"fit\.features"):
        fit.predict(torch.rand(1, 3, 4, 4), (8, 8))


# The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(here):
    rows = ["path,depth_path,depth_encoding,fold"]
    for i, (pixels, depth) in enumerate(pairs(4)):
        Image.fromarray((255 * pixels).byte().permute(1, 2, 0).numpy()).save(f"{i}.png")
        (here / f"{i}_depth.png").write_bytes(depth_png(depth))
        rows.append(f"{i}.png,{i}_depth.png,mm16,{'train' if i < 3 else 'test'}")
    (here / "labels.csv").write_text("\n".join(rows))
    return here


def test_train_writes_a_fit(data, run_json):
    found = run_json("train depth . --kind linear --images 2 -o new/fit.safetensors")
    (row,) = found["results"]
    assert (row["photos"], row["unit"], row["words"]) == (2, "m", [])
    header = (data / "new" / "fit.safetensors").read_bytes()
    facts = json.loads(json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])["__metadata__"]["clipx-depth"])
    assert facts["space_id"] == found["space_id"]


def test_draws_of_one_seed_are_nested(data, run_json, monkeypatch):
    drawn = []

    def spy(space, rows, config, on_step):
        drawn.append([float(d.sum()) for _, d in rows])
        raise InputError("enough")

    monkeypatch.setattr(depth_fit, "fit_depth", spy)
    for count in (1, 2, 3):
        with pytest.raises(AssertionError):
            run_json(f"train depth . --kind linear --images {count} -o fit.safetensors")
    one, two, three = map(set, drawn)
    assert one < two < three


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train depth . --images 4 -o fit.safetensors", "4 photos asked for, 3 are there"),
        ("train depth . --kind linear -o fit.bin", "suffix"),
        ("train depth . --kind linear --words near,far -o fit.safetensors", "--words: a linear head has no words"),
        ("train depth . --kind linear --bins log -o fit.safetensors", "--bins: a linear head has no words"),
        ("train depth . --scenes kitchen,office -o fit.safetensors", "scenes go with --bins scene"),
        ("train depth . --words far,far -o fit.safetensors", "given twice"),
        ("train depth . --kind linear --fold nowhere -o fit.safetensors", "no row of fold"),
        ("train depth . --words far -o fit.safetensors", "two words"),
        ("train depth . --words nearby,faraway -o fit.safetensors", "never saw"),
        ("train depth nowhere -o fit.safetensors", "labels.csv"),
    ],
)
def test_mistakes_are_one_line(data, run, line, said):
    status, _, err = run(line)
    assert status == 2
    assert said in err
    assert len(err.strip().splitlines()) <= 2  # the note on the space may stand before it


def test_the_example_of_the_page_runs(here):
    """docs/modalities/depth.md in Python, on photos made here."""
    page = (Path(__file__).parents[1] / "docs/modalities/depth.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    write_set(here / "nyu", size=(48, 64))
    Image.open("photo.png").convert("RGB").save("room.jpg")
    known = {}
    exec(code, known)
    with Image.open("depth.png") as written:
        assert written.size[::-1] == tuple(known["depth"].depth.shape) and known["depth"].unit == "m"


def test_every_error_is_ours():
    assert issubclass(SpaceMismatchError, ClipxError)
