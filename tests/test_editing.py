"""Pictures moved by words: the filter, the two losses, the descent and the command (StyleCLIP)."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F
from typer.testing import CliRunner

import clipx
from clipx.editing import Generator, PhotoFilter, directional_loss, optimise, ramp, similarity_loss
from clipx.editing.photo_filter import PARAMETERS, gained, saturated, to_linear, to_srgb
from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError, VocabularyError
from clipx.modalities.sketch import StrokeGenerator
from clipx.task import Stopped

ROOT = Path(__file__).parents[1]
ROWS = torch.rand(3, 24, 36, generator=torch.Generator().manual_seed(1))


def one(name, value):
    latent = torch.zeros(len(PARAMETERS))
    latent[PARAMETERS.index(name)] = math.atanh(value)
    return latent


# The filter -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_latent_of_zeros_is_the_photo_in_every_bit(dtype):
    photo = torch.cat([ROWS, torch.zeros(3, 24, 2), torch.ones(3, 24, 2)], -1).to(dtype)
    made = PhotoFilter(photo)
    assert torch.equal(made.render(made.latent())[0], photo)


def lab_like(picture):
    """Brightness, warmth, chroma, contrast and how dark corners are, by plain means."""
    red, green, blue = picture[0]
    grey = picture[0].mean(0)
    corners = grey[[0, 0, -1, -1], [0, -1, 0, -1]].mean() - grey[10:14, 16:20].mean()
    return {
        "exposure": grey.mean(), "temperature": (red - blue).mean(), "tint": (red + blue - 2 * green).mean(),
        "vignette": -corners, "contrast": grey.std(), "saturation": (picture[0] - grey).abs().mean(),
        "shadows": grey[grey < 0.5].mean(), "highlights": grey[grey > 0.5].mean(),
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", ["exposure", "temperature", "tint", "vignette", "contrast", "shadows", "highlights", "saturation"]
)
def test_each_slider_does_what_it_is_called(name):
    made = PhotoFilter(0.5 * ROWS + 0.25)
    low, zero, high = (float(lab_like(made.render(one(name, v)))[name]) for v in (-0.8, 0, 0.8))
    assert low < zero < high


def test_saturation_of_minus_one_is_grey_and_hue_keeps_luma():
    picture = saturated(ROWS, torch.tensor(-1.0))
    assert torch.allclose(picture[0], picture[1], atol=1e-6) and torch.allclose(picture[0], picture[2], atol=1e-6)
    made, luma = PhotoFilter(0.5 * ROWS + 0.25), torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    turned = made.render(one("hue", 0.7))[0]
    assert torch.allclose((turned * luma).sum(0), (made.photo * luma).sum(0), atol=1e-5)
    assert not torch.allclose(turned, made.photo, atol=0.02)


def test_brightening_clips_nothing_and_darkening_is_a_product():
    x = torch.tensor([0.0, 0.25, 1.0])
    assert gained(x, torch.tensor(2.0)).tolist() == pytest.approx([0, 0.5 / 1.25, 1])
    assert gained(x, torch.tensor(0.5)).tolist() == pytest.approx([0, 0.125, 0.5])


def test_the_transfer_curves_are_those_of_srgb():
    assert to_linear(torch.tensor([0.0, 0.04, 0.5, 1.0])).tolist() == pytest.approx(
        [0, 0.0030960, 0.2140411, 1], abs=1e-6
    )
    assert torch.allclose(to_srgb(to_linear(ROWS)), ROWS, atol=1e-6)


def test_gradients_are_right():
    photo = 0.6 * ROWS[:, :4, :5].double() + 0.2
    made = PhotoFilter(photo)
    for sign in (0.3, -0.3):  # at 0 a gain bends and a saturation too
        latent = (sign + 0.05 * torch.arange(10.0).double()).requires_grad_()
        assert torch.autograd.gradcheck(made.render, latent)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=10, max_size=10),
    st.integers(1, 5), st.integers(1, 5), st.sampled_from([0.0, 1.0, 0.5, 0.003]),
)  # fmt: skip
def test_any_latent_gives_a_picture(values, height, width, level):
    photo = torch.full((3, height, width), level)
    photo[0] *= 0.5
    latent = torch.tensor(values, requires_grad=True)
    picture = PhotoFilter(photo).render(latent)
    picture.sum().backward()
    assert picture.shape == (1, 3, height, width) and picture.min() >= 0 and picture.max() <= 1
    assert torch.isfinite(latent.grad).all()


def test_no_colour_leaves_rgb_however_vivid():
    picture = saturated(ROWS, torch.tensor(1.0))
    assert picture.min() >= -1e-6 and picture.max() <= 1 + 1e-6
    assert (picture - picture.mean(0)).abs().mean() > 1.05 * (ROWS - ROWS.mean(0)).abs().mean()


def test_a_large_photo_in_bands_is_the_same(monkeypatch):
    latent = torch.linspace(-1, 1, 10)
    whole = PhotoFilter(ROWS).render(latent)
    monkeypatch.setattr("clipx.editing.photo_filter.ROWS_AT_ONCE", 7)
    assert torch.allclose(PhotoFilter(ROWS).render(latent), whole, atol=1e-6)


def test_grain_is_as_coarse_in_a_large_photo():
    flat = PhotoFilter(torch.full((3, 640, 640), 0.5)).render(one("grain", 0.9))[0, 0]
    large = PhotoFilter(torch.full((3, 1920, 1920), 0.5)).render(one("grain", 0.9))[0, 0]
    small = PhotoFilter(torch.full((3, 64, 64), 0.5)).render(one("grain", 0.9))[0, 0]
    neighbours = lambda x: float(torch.corrcoef(torch.stack([x[:, 1:].flatten(), x[:, :-1].flatten()]))[0, 1])  # noqa: E731
    assert neighbours(flat) < 0.1 and neighbours(large) > 0.7
    # a pixel of a small copy covers 100 grains
    assert float(small.std()) == pytest.approx(float(F.avg_pool2d(flat[None], 10).std()), rel=0.2)


@pytest.mark.parametrize(
    ("photo", "strength", "says"),
    [
        (ROWS[0], 1, "3, H, W"), (2 * ROWS, 1, "in [0, 1]"), (ROWS * float("nan"), 1, "in [0, 1]"),
        (ROWS, 0, "strength"), (ROWS, 1.1, "strength"), (ROWS.numpy(), 1, "tensor"),
    ],
)  # fmt: skip
def test_what_is_no_photo_is_refused(photo, strength, says):
    with pytest.raises(InputError) as refused:
        PhotoFilter(photo, strength)
    assert says in str(refused.value)


# Losses ---------------------------------------------------------------------------------------------------------------


def test_the_losses_are_those_computed_by_hand():
    x, y, z = torch.eye(3)
    assert similarity_loss(x, (x + y) / math.sqrt(2)).item() == pytest.approx(1 - math.sqrt(0.5))
    # the picture went from x to y, the words from z to y: cos((y - x), (y - z)) = 1/2
    assert directional_loss(y, x, y, z, floor=0).item() == pytest.approx(0.5)
    assert directional_loss(y, x, y, z, floor=math.sqrt(2)).item() == pytest.approx(1 - 0.5 / math.sqrt(2))


def test_the_directional_loss_of_no_change_is_one_with_a_finite_gradient():
    x, y, z = torch.eye(3)
    row = x.clone().requires_grad_()
    loss = directional_loss(row, x, y, z)
    loss.backward()
    assert loss.item() == 1 and torch.isfinite(row.grad).all() and row.grad[1] < 0 < row.grad[2]


def test_the_ramp_rises_over_5_percent_and_falls_over_25():
    assert [ramp(at) for at in (0, 0.025, 0.05, 0.5, 0.75, 0.875, 1)] == pytest.approx([0, 0.5, 1, 1, 1, 0.5, 0])


# The descent ----------------------------------------------------------------------------------------------------------


class Colour:
    """A toy: three numbers -> a picture of one colour."""

    def __init__(self):
        self.rendered = 0

    def latent(self):
        return torch.zeros(3)

    def render(self, latent):
        self.rendered += 1
        return torch.sigmoid(latent)[None, :, None, None].expand(1, 3, 32, 32)


class Mean:
    """A space whose vectors are mean colours; words are colours' names."""

    WORDS = {"red": (1, 0.1, 0.1), "grey": (1, 1, 1), "blue": (0.1, 0.1, 1)}  # noqa: RUF012


@pytest.fixture
def colours(tiny_vit_space, monkeypatch):
    """The tiny space, made to see colours: mean RGB, and what words mean."""
    from clipx.space import JointSpace

    def rows(self, pixels):
        return F.normalize(F.pad(pixels.mean((2, 3)), (0, self.dim - 3)), dim=-1)

    def said(self, texts):
        values = torch.tensor([Mean.WORDS[text] for text in texts], dtype=torch.float32)
        return F.normalize(F.pad(values, (0, self.dim - 3)), dim=-1).numpy()

    monkeypatch.setattr(JointSpace, "encode_image", rows)
    monkeypatch.setattr(JointSpace, "encode_text", said)
    return tiny_vit_space


@pytest.mark.parametrize("loss", ["clip", "directional"])
def test_the_picture_becomes_what_the_words_say(colours, loss):
    found = optimise(Colour(), "red", space=colours, loss=loss, source="grey", steps=60)
    red, green, blue = torch.sigmoid(found.latent)
    assert red > 0.7 and max(green, blue) < 0.35
    assert found.similarity > 0.95 > found.similarity_before and found.loss < found.before
    assert len(found.history) == 61 and found.loss == min(found.history) and not found.stopped


def test_the_best_is_kept_not_the_last(colours):
    found = optimise(Colour(), "red", space=colours, steps=12, lr=200.0, l2=0.1)  # so large that it jumps about
    assert found.history[-1] > found.loss == min(found.history)
    with torch.no_grad():
        row = colours.encode_image(Colour().render(found.latent))
    again = 1 - row[0] @ torch.from_numpy(colours.encode_text(["red"]))[0] + 0.1 * found.latent.square().sum()
    assert float(again) == pytest.approx(found.loss, abs=1e-5)


def test_l2_and_identity_hold_it_back(colours):
    far = optimise(Colour(), "red", space=colours, steps=40).latent.norm()
    near = optimise(Colour(), "red", space=colours, steps=40, l2=1.0).latent.norm()
    same = lambda a, b: -F.mse_loss(a, b)[None]  # noqa: E731
    held = optimise(Colour(), "red", space=colours, steps=40, identity=same, identity_weight=20.0).latent.norm()
    assert near < 0.5 * far and held < 0.5 * far


def test_a_vector_of_the_space_is_a_target(colours):
    target = Embedding(colours.encode_text(["red"]), colours.id, "text", ["red"])
    by_vector, by_word = (optimise(Colour(), t, space=colours, steps=5) for t in (target, "red"))
    assert torch.equal(by_vector.latent, by_word.latent)
    with pytest.raises(SpaceMismatchError):
        optimise(Colour(), Embedding(target.vectors, "other", "text", ["red"]), space=colours)


def test_stopping_keeps_the_best_so_far(colours):
    asked = iter([False, False, True])
    with pytest.raises(Stopped) as stopped:
        optimise(Colour(), "red", space=colours, steps=50, stop=lambda: next(asked))
    found = stopped.value.results[0]
    assert found.stopped and len(found.history) == 3 and found.loss == min(found.history)


def test_the_global_random_state_is_left_alone_and_the_seed_decides(tiny_vit_space):
    class Noisy(Colour):
        def render(self, latent):
            return (super().render(latent) + 0.05 * torch.randn(1, 3, 32, 32)).clamp(0, 1)

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    runs = [optimise(Noisy(), "a photo", space=tiny_vit_space, steps=4, seed=seed).latent for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"loss": "l1"}, "unknown loss"), ({"steps": 0}, "one step"), ({"lr": 0}, "lr"), ({"l2": -1}, "weights"),
        ({"identity_weight": 1.0}, "needs an identity"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(tiny_vit_space, how, says):
    with pytest.raises(InputError, match=says):
        optimise(Colour(), "a photo", space=tiny_vit_space, **how)


def test_words_that_say_no_more_than_the_source_are_refused(tiny_vit_space):
    with pytest.raises(InputError, match="the same to"):
        optimise(Colour(), "a photo", space=tiny_vit_space, loss="directional", source="a photo")


def test_a_generator_without_gradients_is_refused(tiny_vit_space):
    class Fixed(Colour):
        def render(self, latent):
            return super().render(latent.detach())

    with pytest.raises(InputError, match="does not depend on the latent"):
        optimise(Fixed(), "a photo", space=tiny_vit_space, steps=2)


def test_an_unknown_word_is_refused():
    with pytest.raises(VocabularyError, match="warmer"):
        clipx.optimise(Colour(), "warmer", space="nano", steps=1)


def test_strokes_are_a_generator(tiny_vit_space):
    strokes = StrokeGenerator(3, size=48, seed=2)
    assert isinstance(strokes, Generator) and isinstance(PhotoFilter(ROWS), Generator)
    start = strokes.latent()
    assert start.shape == (3, 11) and strokes.render(start).shape == (1, 3, 48, 48)
    assert torch.equal(start, StrokeGenerator(3, size=48, seed=2).latent())
    found = optimise(strokes, "a photo", space=tiny_vit_space, steps=8, l2=0)
    assert found.loss < found.before and not torch.equal(found.latent, start)
    with pytest.raises(InputError):
        StrokeGenerator(0)


def test_the_table_of_the_page_is_that_of_the_records():
    """docs/results/edit: knows-*.json of examples/recipes/looks/knows.py, looks.json of measure.py."""
    page = (ROOT / "docs" / "edit.md").read_text(encoding="utf-8")
    wanted = []
    for path in sorted((ROOT / "docs" / "results" / "edit").glob("knows-*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        for row in record["results"].values():
            low, high = row["ci95"]
            wanted.append(
                f"| {record['space']} | {' / '.join(row['prompts'])} | {row['n']} | {row['share']:.1%} ({low:.1%} to "
                f"{high:.1%}) | {row['cosine']:+.3f} |"
            )
    for text, row in json.loads((ROOT / "docs" / "results" / "edit" / "looks.json").read_text())["results"].items():
        low, high = row["moved"]["ci95"]
        wanted.append(
            f"| {text} | {row['moved']['n']} | {row['moved']['share']:.1%} ({low:.1%} to {high:.1%}) | "
            f"{row['random']['share']:.1%} | {row['beats_opposite']['share']:.1%} | {row['mean']:+.1f} |"
        )
    assert [line for line in page.splitlines() if line in wanted] == wanted


# The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def edit(tmp_path, monkeypatch):
    from clipx.cli import app

    monkeypatch.chdir(tmp_path)

    def call(*args):
        return CliRunner().invoke(app, ["edit", *map(str, args)])

    return call


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


SPACE = ["--space", "nano", "--steps", "2"]


def test_edit_writes_the_photo_at_its_size_and_says_how(edit, photo, tmp_path):
    run = edit(photo, "dark", *SPACE, "--source", "photo", "--json")
    assert run.exit_code == 0, run.output
    record = json.loads(run.stdout)
    (result,) = record["results"]
    assert set(result["parameters"]) == set(PARAMETERS) and len(result["latent"]) == 10
    assert result["loss"] <= result["loss_before"] == pytest.approx(1) and result["steps"] == 2
    first = (tmp_path / "clipx-edit.png").read_bytes()
    assert Image.open(tmp_path / "clipx-edit.png").size == (60, 40)
    edit(photo, "dark", *SPACE, "--source", "photo", "-o", "again.png")
    assert (tmp_path / "again.png").read_bytes() == first


def test_a_space_that_learnt_no_looks_is_said_to_be_one(edit, photo, tmp_path):
    import shutil

    from clipx.spaces.embedded import embedded_folder

    assert "learnt what things are called" in edit(photo, "dark", *SPACE, "--source", "photo").stderr
    folder = tmp_path / "taught"
    shutil.copytree(embedded_folder("nano"), folder)
    about = json.loads((folder / "space.json").read_text())
    about["recipe"]["provides"] = ["looks"]
    (folder / "space.json").write_text(json.dumps(about))
    run = edit(photo, "dark", "--space", folder, "--steps", "2", "--source", "photo")
    assert run.exit_code == 0 and "learnt what" not in run.stderr


def test_the_full_photo_is_filtered_by_the_latent_that_was_found(edit, tmp_path):
    large = torch.rand(3, 300, 200, generator=torch.Generator().manual_seed(0))
    pixels = (large * 255).round().byte()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "large.png")
    run = edit("large.png", "dark", *SPACE, "--source", "photo", "--strength", "0.5", "--json")
    latent = torch.tensor(json.loads(run.stdout)["results"][0]["latent"])
    expected = PhotoFilter(pixels.float() / 255, 0.5).render(latent)[0]
    written = np.asarray(Image.open(tmp_path / "clipx-edit.png")).astype(np.float32) / 255
    assert np.abs(written - expected.permute(1, 2, 0).numpy()).max() <= 0.51 / 255


@pytest.mark.parametrize("mode", ["RGBA", "L", "I;16", "P", "CMYK", "1"])
def test_edit_takes_photos_of_any_mode(edit, tmp_path, mode):
    rng = np.random.default_rng(0)
    if mode == "I;16":
        made = Image.fromarray(rng.integers(0, 65535, (30, 20)).astype(np.uint16))
    else:
        made = Image.fromarray(rng.integers(0, 255, (30, 20, 3), np.uint8)).convert(mode)
    made.save(tmp_path / "x.tif")
    run = edit("x.tif", "dark", *SPACE, "--source", "photo")
    assert run.exit_code == 0, run.output
    assert Image.open(tmp_path / "clipx-edit.png").size == (20, 30)


def test_edit_turns_a_photo_upright(edit, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20), "red").save(tmp_path / "x.jpg", exif=exif)
    assert edit("x.jpg", "dark", *SPACE, "--source", "photo", "-o", "y.jpg").exit_code == 0
    assert Image.open(tmp_path / "y.jpg").size == (20, 30)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["none.png", "dark"], "none.png"),
        (["photo.png", "zzqqx"], "words this space never saw"),
        (["photo.png", "dark", "-o", "x.gif"], "suffix"),
        (["photo.png", "dark", "--source", "photo", "--strength", "2"], "strength"),
        (["photo.png", " ", "--source", "photo"], "text is empty"),
    ],
)
def test_edit_refuses_in_one_line(edit, photo, args, says):
    run = edit(*args, *SPACE)
    assert run.exit_code != 0
    error = run.exception
    assert isinstance(error, clipx.ClipxError) and says in str(error) and "\n" not in str(error)


def test_ctrl_c_writes_the_best_so_far(edit, photo, tmp_path, monkeypatch):
    import signal

    from clipx.editing import descent

    original = descent.similarity_loss
    calls = []

    def interrupted(image, target):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return original(image, target)

    monkeypatch.setattr(descent, "similarity_loss", interrupted)
    run = edit(photo, "dark", "--space", "nano", "--steps", "500", "--source", "photo", "--json")
    assert run.exit_code != 0 and len(calls) == 3
    assert (tmp_path / "clipx-edit.png").exists()


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16_384), (".jpg", 65_501)])
def test_a_panorama_too_long_for_its_format_is_refused_before_the_work(edit, tmp_path, suffix, side):
    Image.new("RGB", (side, 3)).save(tmp_path / "long.png")
    run = edit(tmp_path / "long.png", "dark", *SPACE, "-o", tmp_path / f"out{suffix}")
    assert run.exit_code != 0 and f"a side of {side:,} pixels" in str(run.exception or run.output)
    assert not (tmp_path / f"out{suffix}").exists()
