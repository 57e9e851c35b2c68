"""Strokes to pixels: near the truth, one function in two implementations, and the gradient of what is painted."""

import math
import multiprocessing
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipx.errors import InputError, MissingDependencyError
from clipx.modalities.sketch import raster
from clipx.modalities.sketch.raster import kernel, light, plain, rasterize

# Three scenes of 16 strokes, 3 px wide: the target they are drawn towards, a picture with 8 x 8 samples per pixel, and
# its loss's central differences, h = .05 px (diffvg 85802a71).
TRUTH = Path(__file__).parent / "golden" / "raster_truth.npz"
SCENES = ("long 0", "long 1", "initial 0")
NAN = float("nan")


@pytest.fixture(scope="module")
def truth():
    with np.load(TRUTH) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def scribbles(*shape: int, size: int = 48, seed: int = 0) -> torch.Tensor:
    """(*shape, 4, 2) curves that bend about a canvas and partly leave it."""
    return (torch.rand(*shape, 4, 2, generator=torch.Generator().manual_seed(seed)) * 1.4 - 0.2) * size


def gradients(inputs: list[torch.Tensor], size, weights: torch.Tensor, backend: str) -> tuple[torch.Tensor, ...]:
    """The picture of (strokes, width, alpha, color, background), and the gradients of its weighted sum by them."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    image = rasterize(leaves[0], size, *leaves[1:], backend=backend)
    return image.detach(), *torch.autograd.grad((image * weights).sum(), leaves)


# Near the truth.


@pytest.mark.parametrize("backend", ["plain", "numba"])
@pytest.mark.parametrize("scene", range(len(SCENES)), ids=SCENES)
def test_the_truth(truth, scene, backend):
    """The issue asks for .0007 and .985; diffvg as CLIPasso uses it has .0011-.0052 and .87-.89."""
    strokes = truth["points"][scene].clone().requires_grad_()
    image = rasterize(strokes, 224, 3.0, backend=backend)
    ((image - truth["target"][scene]) ** 2).sum().backward()
    assert (image[0] - truth["image"][scene]).abs().mean() <= 0.0003
    assert torch.cosine_similarity(strokes.grad.ravel(), truth["gradient"][scene].ravel(), dim=0) >= 0.99


def ink(*args, **kwargs) -> float:
    return float((1 - rasterize(*args, **kwargs)[0].double()).sum())


@pytest.mark.parametrize("width, share", [(1, 0.2), (1.5, 0.06), (3, 0.02), (8, 0.01), (21, 0.01)])
@pytest.mark.parametrize("x", [20.5, 20.0, 20.21])
def test_a_point_is_a_round_dot(x, width, share):
    """Of the disc's area, where diffvg paints nothing."""
    image = 1 - rasterize(torch.tensor([x, 20.5]).expand(1, 4, 2), 41, width)[0]
    assert float(image.sum()) == pytest.approx(math.pi * width**2 / 4, rel=share)
    if x == 20.5:
        assert image.equal(image.flip(0)) and torch.allclose(image, image.T, atol=1e-6)


@pytest.mark.parametrize("width", [0.25, 0.5, 1, 3, 10])
@pytest.mark.parametrize("degrees", [0, 17, 45, 90])
def test_ink_of_a_line(width, degrees):
    """Length times width and two half discs; a line thinner than a pixel is pale, not jagged."""
    along = 40 * torch.tensor([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
    line = torch.stack((torch.tensor([10.3, 9.8]), torch.tensor([10.3, 9.8]) + along))[None]
    assert ink(line, 64, width) == pytest.approx(40 * width + math.pi * width**2 / 4, rel=0.02)


def test_a_cap_is_round():
    """Beside a picture of the same capsule with 16 x 16 samples per pixel."""
    at = (torch.arange(32 * 16) + 0.5) / 16
    x, y = at[None, :], at[:, None]
    beyond = torch.hypot((x - x.clamp(8.3, 20.6)), y - 15.8)
    sampled = 1 - (beyond <= 2.5).float().unfold(0, 16, 16).unfold(1, 16, 16).mean((-1, -2))
    image = rasterize(torch.tensor([[[8.3, 15.8], [20.6, 15.8]]]), 32, 5.0)[0]
    assert (image - sampled).abs().max() < 0.03


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_segments_keep_to_the_curve(seed):
    control = scribbles(size=224, seed=seed).double()
    vertices = plain.flatten(control)
    t = torch.linspace(0, 1, 8 * len(vertices), dtype=torch.float64)[:, None]
    curve = sum(math.comb(3, i) * (1 - t) ** (3 - i) * t**i * control[i] for i in range(4))
    start, along = vertices[:-1], vertices.diff(dim=0)
    share = (((curve[:, None] - start) * along).sum(-1) / (along * along).sum(-1)).clamp(0, 1)[..., None]
    assert (curve[:, None] - start - share * along).norm(dim=-1).amin(1).max() <= plain.FLATNESS_PX


def test_lower_degrees_are_the_same_curves():
    a, b, c = scribbles(5)[:, :3].unbind(1)
    quadratic, cubic = torch.stack((a, b, c), 1), torch.stack((a, (a + 2 * b) / 3, (2 * b + c) / 3, c), 1)
    torch.testing.assert_close(rasterize(quadratic, 48), rasterize(cubic, 48), atol=1e-4, rtol=0)
    line, straight = torch.stack((a, c), 1), torch.stack((a, (2 * a + c) / 3, (a + 2 * c) / 3, c), 1)
    torch.testing.assert_close(rasterize(line, 48), rasterize(straight, 48), atol=1e-4, rtol=0)
    points = torch.stack((a, c), 1).requires_grad_()
    (rasterize(points, 48).square() * torch.rand(48, 48)).sum().backward()
    assert points.grad.shape == (5, 2, 2) and points.grad.abs().sum() > 0


# One function, twice.


@st.composite
def scenes(draw):
    """Strokes of all kinds, degenerate ones too, and what they are painted with and on."""
    coordinate = st.one_of(st.integers(-8, 40), st.floats(-60, 90, width=32))
    point = st.tuples(coordinate, coordinate)
    kinds = {
        "curve": st.tuples(point, point, point, point),
        "dot": point.map(lambda p: (p, p, p, p)),
        "hairpin": st.tuples(point, point).map(lambda p: (p[0], p[1], p[1], p[0])),
        "straight": st.tuples(point, point).map(lambda p: (p[0], p[0], p[1], p[1])),
        # Under .001 px long a point; just above, a line whose ends have gradients that float32 cannot tell well.
        "speck": st.tuples(point, st.floats(0, 9e-4)).map(lambda p: (p[0], p[0], p[0], (p[0][0] + p[1], p[0][1]))),
    }
    batch, count = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    each = st.sampled_from(sorted(kinds)).flatmap(kinds.get)
    strokes = torch.tensor(draw(st.lists(each, min_size=batch * count, max_size=batch * count)), dtype=torch.float32)
    height, columns = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    widths = st.one_of(st.sampled_from((0.0, 0.3, 1.0, 2.0, 3.0, 50.0)), st.floats(0.01, 9))
    width = torch.tensor(draw(st.lists(widths, min_size=batch * count, max_size=batch * count)), dtype=torch.float32)
    torch.manual_seed(draw(st.integers(0, 1000)))
    shift = torch.rand(2) / 7  # off the grid: where two segments are equally near, rounding chooses
    strokes, width = strokes.reshape(batch, count, 4, 2) + shift, width.reshape(batch, count)
    canvas = torch.rand(batch, 3, height, columns)
    weights = torch.randn(batch, 3, height, columns)
    return [strokes, width, torch.rand(batch, count), torch.rand(batch, count, 3), canvas], (height, columns), weights


@settings(max_examples=150, deadline=None)
@given(scenes())
def test_both_paint_the_same(scene):
    image, *by = gradients(*scene, "numba")
    assert all(found.isfinite().all() for found in (image, *by))
    expected, *expected_by = gradients(*scene, "plain")
    torch.testing.assert_close(image, expected, atol=1e-5, rtol=0)
    for name, ours, theirs in zip(("points", "width", "alpha", "color", "background"), by, expected_by, strict=True):
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm() + 1e-4, name


@settings(max_examples=150, deadline=None)
@given(scenes())
def test_numpy_alone_paints_the_kernel_s_bits(scene):
    """How many pictures were painted before must not change what is painted."""
    given = [tensor.numpy() for tensor in scene[0]]
    assert np.array_equal(light.paint(*given), kernel.paint(*given))


@pytest.mark.parametrize("count", [0, 1, 40])
def test_whole_drawings_are_painted_to_the_same_bits(count):
    strokes = scribbles(3, count, size=200, seed=count)
    strokes[:, ::3, 1:] = strokes[:, ::3, :1]  # dots
    strokes[:, 1::3] = strokes[:, 1::3, :1].lerp(strokes[:, 1::3, 3:], torch.linspace(0, 1, 4)[:, None])  # lines
    width, alpha = torch.rand(3, count) * 12, torch.rand(3, count)
    given = [each.numpy() for each in (strokes, width, alpha, torch.rand(3, count, 3), torch.rand(3, 3, 160, 200))]
    assert np.array_equal(light.paint(*given), kernel.paint(*given))


def test_numpy_leaves_to_the_kernel_what_takes_it_long(monkeypatch):
    broad = rasterize(scribbles(99, size=224).numpy(), 224, 200.0)
    monkeypatch.setattr(kernel, "is_loaded", lambda: False)
    monkeypatch.setattr(raster, "_painted", 0)
    assert np.array_equal(rasterize(scribbles(99, size=224).numpy(), 224, 200.0), broad)  # too many pixels
    called = []
    monkeypatch.setattr(light, "paint", lambda *given: called.append(given))  # which gives None
    rasterize(scribbles(2).numpy(), 48)
    rasterize(scribbles(2).numpy(), 48, backend="numba")
    rasterize(scribbles(2), 48)
    assert len(called) == 1


def test_numpy_paints_the_first_pictures_and_counts_them_in_batches_too(monkeypatch):
    monkeypatch.setattr(kernel, "is_loaded", lambda: False)
    monkeypatch.setattr(raster, "_painted", 0)
    painted = []
    paint = light.paint
    monkeypatch.setattr(light, "paint", lambda *given: painted.append(len(given[0])) or paint(*given))
    for batch in ((20,), (20,), (2, 6), ()):
        rasterize(scribbles(*batch, 2).numpy(), 24)
    assert painted == [20, 12]


@pytest.mark.parametrize("backend", ["auto", "plain", "numba"])
def test_an_array_is_painted_as_a_tensor_is(backend):
    strokes, widths, alpha, ink = scribbles(2, 5), torch.rand(2, 5) * 6, torch.rand(2, 5), torch.rand(2, 5, 3)
    page = torch.rand(2, 3, 40, 48)
    for points in (strokes, strokes[..., :2, :], strokes[..., :3, :], strokes[:0]):
        for how in ((3.0,), (widths, alpha, ink, page), (widths, 0.5, (1, 0, 0), (0.2, 0.3, 0.4))):
            how = [value[: len(points)] if torch.is_tensor(value) else value for value in how]
            drawn = rasterize(points, (40, 48), *how, backend=backend)
            arrays = [value.numpy() if torch.is_tensor(value) else value for value in how]
            for also in (arrays, how):
                found = rasterize(points.numpy(), (40, 48), *also, backend=backend)
                assert isinstance(found, np.ndarray) and found.dtype == np.float32
                assert np.array_equal(found, drawn.numpy())
    wide = rasterize(strokes.double().numpy(), 40)  # which the plain version paints
    assert wide.dtype == np.float64 and np.abs(wide - rasterize(strokes, 40).numpy()).max() < 1e-5


def test_a_coloured_picture_can_be_written_into():
    for backend in ("auto", "numba", "plain"):
        for colors in ((0, 0, 1), None), (None, (1, 1, 0)):
            picture = rasterize(scribbles(2, 5).numpy(), 24, 3.0, 1.0, *colors, backend=backend)
            picture[:, 0] = 0.5
            assert picture.shape == (2, 3, 24, 24) and (picture[:, 1] != 0.5).any()


def test_an_array_that_cannot_be_painted_is_refused_in_the_same_words():
    for change, message in (
        ({"strokes": np.zeros((2, 4, 2), np.float16)}, "got float16"),
        ({"strokes": np.full((2, 4, 2), NAN, np.float32)}, "^stroke 0: points must lie in .*nan"),
        ({"width_px": np.float32([1, NAN])}, "^stroke 1: width_px .* got nan"),
        ({"width_px": -1}, r"^width_px must lie in \[0, 1e\+06\], got -1"),
        ({"width_px": np.ones(3)}, r"width_px must be of shape \(2,\) or stretch to it, got shape \(3,\)"),
        ({"alpha": "half"}, "alpha must be of shape"),
        ({"color": np.zeros((2, 4))}, "color must be of shape"),
        ({"strokes": np.zeros((1, 4, 2)), "backend": "numba"}, 'float32, got float64; take .*"plain"'),
    ):
        with pytest.raises(InputError, match=message):
            rasterize(**{"strokes": np.zeros((2, 4, 2), np.float32), "size": 9, **change})


@pytest.mark.parametrize("backend", ["plain", "numba"])
def test_black_on_white_is_the_coloured_picture_of_one_channel(backend):
    strokes, weights = scribbles(2, 5), torch.randn(2, 3, 48, 48)
    grey, colored = strokes.clone().requires_grad_(), strokes.clone().requires_grad_()
    one = rasterize(grey, 48, 2.5, 0.7, backend=backend)
    three = rasterize(colored, 48, 2.5, 0.7, (0, 0, 0), (1, 1, 1), backend=backend)
    assert one.shape == three.shape == (2, 3, 48, 48) and one.equal(three)
    (one * weights).sum().backward()
    (three * weights).sum().backward()
    torch.testing.assert_close(grey.grad, colored.grad, rtol=1e-4, atol=1e-4)


# The gradient.


@pytest.mark.parametrize("width", [0.4, 1.3, 3.0])
def test_gradcheck(width):
    torch.manual_seed(0)
    strokes = torch.cat((scribbles(1, size=9), scribbles(1, size=9)[:, :1] + torch.randn(4, 2) * 1e-2))  # and a dot
    inputs = [strokes, torch.full((2,), width), torch.rand(2), torch.rand(2, 3), torch.rand(3)]
    inputs = [tensor.double().requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(lambda strokes, *how: rasterize(strokes, (9, 8), *how), inputs, atol=1e-5)


def test_the_kernel_against_its_own_differences():
    strokes, size = scribbles(6, seed=3), 48
    ramp = torch.linspace(0, 3, size)
    smooth = torch.stack([torch.sin(ramp[:, None] + phase) * torch.cos(2 * ramp + phase) for phase in (0, 1, 2)])
    inputs = [strokes, torch.linspace(0.8, 6, 6), torch.linspace(0.4, 1, 6), torch.rand(6, 3), torch.rand(3, 48, 48)]
    _, *by = gradients(inputs, size, smooth, "numba")

    def loss(which: int, step: torch.Tensor) -> float:
        strokes, *how = (tensor + step if n == which else tensor for n, tensor in enumerate(inputs))
        return float((rasterize(strokes, size, *how).double() * smooth).sum())

    for which, h in enumerate((0.02, 0.02, 0.01, 0.01)):
        numeric = torch.zeros_like(inputs[which])
        for place in range(numeric.numel()):
            step = torch.zeros_like(numeric)
            step.view(-1)[place] = h
            numeric.view(-1)[place] = (loss(which, step) - loss(which, -step)) / (2 * h)
        assert (by[which] - numeric).norm() <= 0.02 * numeric.norm(), which


@pytest.mark.parametrize("backend", ["plain", "numba"])
def test_a_centre_on_the_line_has_a_sensible_gradient(backend):
    """Lines, ends and dots through centres of pixels, wide and thin."""
    ends = [[[4.5, 8.5], [12.5, 8.5]], [[8.5, 8.5], [8.5, 8.5]], [[3.5, 3.5], [9.5, 9.5]], [[8.5, 4.0], [8.5, 12.0]]]
    for width in (0.0, 0.5, 1.0, 3.0):
        strokes, widths = torch.tensor(ends).requires_grad_(), torch.full((4,), width).requires_grad_()
        image = rasterize(strokes, 17, widths, 0.5, backend=backend)
        (image * torch.linspace(0, 1, 17)).sum().backward()
        for gradient in (strokes.grad, widths.grad):
            assert gradient.isfinite().all() and gradient.abs().max() < 100
        assert (widths.grad < 0).all()  # more ink, less light
    # Exactly on the edge as well: 3 channels of light that grows by 1/16 per row, under 8 x 3 px and two half discs.
    line = torch.tensor([[[4.5, 8.0], [12.5, 8.0]]]).requires_grad_()
    (rasterize(line, 17, 3.0, backend=backend) * torch.linspace(0, 1, 17)[:, None]).sum().backward()
    assert line.grad[..., 1].sum().item() == pytest.approx(-3 / 16 * (24 + math.pi * 1.5**2), rel=0.02)


# What is painted where.


@pytest.mark.parametrize("backend", ["plain", "numba"])
def test_strokes_lie_over_each_other_in_order(backend):
    """Broad crossing bars, composited by hand where both cover the pixel wholly."""
    bars = torch.tensor([[[0.0, 10.0], [20.0, 10.0]], [[10.0, 0.0], [10.0, 20.0]]])
    red, blue, paper = torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0]), torch.tensor([0.9, 0.8, 0.7])
    image = rasterize(bars, 20, 6.0, torch.tensor([0.5, 0.25]), torch.stack((red, blue)), paper, backend=backend)
    under = 0.5 * red + 0.5 * paper
    torch.testing.assert_close(image[:, 10, 2], under)
    torch.testing.assert_close(image[:, 2, 10], 0.25 * blue + 0.75 * paper)
    torch.testing.assert_close(image[:, 10, 10], 0.25 * blue + 0.75 * under)
    torch.testing.assert_close(image[:, 2, 2], paper)
    turned = rasterize(bars.flip(0), 20, 6.0, torch.tensor([0.25, 0.5]), torch.stack((blue, red)), paper)
    torch.testing.assert_close(turned[:, 10, 10], 0.5 * red + 0.5 * (0.25 * blue + 0.75 * paper))


@pytest.mark.parametrize("backend", ["plain", "numba"])
def test_strokes_off_the_canvas_do_nothing(backend):
    away = torch.tensor([[-50.0, -9], [-30, 60], [-20, 10], [-9, 9]])
    around = torch.tensor([[-9.0, -9], [-9, 60], [60, 60], [60, -9]])  # its polygon crosses, the curve does not
    strokes = torch.stack((away, away + 1000, -1000 * away, around * 1.5 - 8)).requires_grad_()
    background = torch.rand(3, 40, 40)
    image = rasterize(strokes, 40, 3.0, 0.5, (1, 0, 0), background, backend=backend)
    assert image.equal(background)
    image.sum().backward()
    assert strokes.grad.eq(0).all()
    nothing = rasterize(torch.zeros(2, 0, 4, 2), (4, 6), backend=backend)
    assert nothing.shape == (2, 3, 4, 6) and nothing.eq(1).all()


def test_bits_depend_on_neither_threads_nor_batch():
    size, weights = (100, 70), torch.randn(5, 3, 100, 70)
    inputs = [scribbles(5, 9, size=80), torch.rand(5, 9) * 6, torch.rand(5, 9), torch.rand(5, 9, 3)]
    inputs.append(torch.rand(5, 3, 100, 70))
    torch.set_num_threads(1)
    expected = gradients(inputs, size, weights, "numba")
    for count in (2, 3, 16):
        torch.set_num_threads(count)
        assert all(a.equal(b) for a, b in zip(gradients(inputs, size, weights, "numba"), expected, strict=True))
    for n in range(5):
        alone = gradients([tensor[n : n + 1] for tensor in inputs], size, weights[n : n + 1], "numba")
        assert all(a.equal(b[n : n + 1]) for a, b in zip(alone, expected, strict=True))


def test_many_threads_may_paint_at_once():
    torch.set_num_threads(2)
    pages = [scribbles(9, seed=seed) for seed in range(12)]
    with ThreadPoolExecutor(6) as pool:
        images = list(pool.map(lambda strokes: rasterize(strokes, 48), pages))
    assert all(image.equal(rasterize(strokes, 48)) for image, strokes in zip(images, pages, strict=True))


def _paint_and_leave() -> None:
    torch.set_num_threads(2)
    rasterize(scribbles(3), 48)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_worker_paints():
    """As a DataLoader's workers do: the parent's threads are not in the child."""
    _paint_and_leave()
    child = multiprocessing.get_context("fork").Process(target=_paint_and_leave)
    child.start()
    child.join(60)
    assert child.exitcode == 0


# What is refused, and what is loaded.


@pytest.mark.parametrize(
    "change, message",
    [
        ({"strokes": [[1, 2]]}, "strokes must be a float32 or float64 tensor or array, got list"),
        ({"strokes": torch.zeros(2, 4, 2).half()}, "got torch.float16"),
        ({"strokes": torch.zeros(4, 2)}, r"\(..., N, 2 to 4 control points, 2\), got shape \(4, 2\)"),
        ({"strokes": torch.zeros(1, 5, 2)}, r"got shape \(1, 5, 2\)"),
        ({"strokes": torch.zeros(1, 4, 3)}, r"got shape \(1, 4, 3\)"),
        ({"strokes": torch.zeros(3, 4, 2).index_fill(0, torch.tensor(2), NAN)}, "^stroke 2: points must lie in .*nan"),
        ({"strokes": torch.full((2, 3, 4, 2), math.inf)}, "^stroke 0, 0: points .* got inf"),
        ({"strokes": torch.full((2, 4, 2), 1e7)}, r"^stroke 0: points must lie in \[-1e\+06, 1e\+06\], got 1e\+07"),
        ({"size": 0}, "size must be one or two whole numbers from 1 to 16384, got 0"),
        ({"size": (9, 9, 9)}, "size"),
        ({"size": (9, -1)}, "size"),
        ({"size": 9.5}, "size"),
        ({"size": 100_000}, "size"),
        ({"size": "9"}, "size"),
        ({"width_px": -1}, r"^width_px must lie in \[0, 1e\+06\], got -1"),
        ({"width_px": torch.tensor([1.0, NAN])}, "^stroke 1: width_px .* got nan"),
        ({"width_px": torch.ones(3)}, r"width_px must be of shape \(2,\) or stretch to it, got shape \(3,\)"),
        ({"alpha": torch.tensor([math.inf, 1])}, "^stroke 0: alpha"),
        ({"alpha": "half"}, "alpha must be of shape"),
        ({"color": torch.tensor([[0, 0, 0], [0, NAN, 0]])}, "^stroke 1: color"),
        ({"color": "red"}, "color must be of shape"),
        ({"background": (1, NAN, 1)}, "^background must lie in"),
        ({"background": torch.ones(3, 8, 9)}, "background must be of shape"),
        ({"backend": "vulkan"}, "backend 'vulkan' is unknown; choose auto, plain, numba, pydiffvg"),
        ({"strokes": torch.zeros(1, 4, 2).double(), "backend": "numba"}, 'float32, got torch.float64; take .*"plain"'),
    ],
)
def test_what_is_refused(change, message):
    with pytest.raises(InputError, match=message) as caught:
        rasterize(**{"strokes": torch.zeros(2, 4, 2), "size": 9, **change})
    assert "\n" not in str(caught.value)


def test_pydiffvg_is_asked_for_a_radius(monkeypatch):
    asked = {}

    class Renderer:
        serialize_scene = staticmethod(lambda columns, height, paths, groups: (paths, groups))

        @staticmethod
        def apply(columns, height, *rest):
            asked.update(samples=rest[:2], paths=rest[4], groups=rest[5])
            return torch.tensor([1.0, 0, 0, 0.25]).expand(height, columns, 4)

    fake = types.SimpleNamespace(
        RenderFunction=Renderer,
        Path=lambda inner, points, closed, stroke_width: (inner.tolist(), points, closed, stroke_width),
        ShapeGroup=lambda ids, fill_color, stroke_color: (ids.tolist(), fill_color, stroke_color.tolist()),
        set_use_gpu=lambda use: asked.update(gpu=use),
    )
    monkeypatch.setitem(sys.modules, "pydiffvg", fake)
    image = rasterize(scribbles(2), (4, 6), 3.0, 0.5, (0, 1, 0), backend="pydiffvg")
    assert image.shape == (3, 4, 6) and image[:, 0, 0].tolist() == [1, 0.75, 0.75]
    assert asked["samples"] == (2, 2) and asked["gpu"] is False
    assert [(path[0], path[2], float(path[3])) for path in asked["paths"]] == [([2], False, 1.5)] * 2
    assert [group[2] for group in asked["groups"]] == [[0, 1, 0, 0.5]] * 2
    assert rasterize(scribbles(2), 4, backend="pydiffvg").shape == (3, 4, 4)
    monkeypatch.setitem(sys.modules, "pydiffvg", None)
    with pytest.raises(MissingDependencyError, match="needs pydiffvg, which is on no index"):
        rasterize(scribbles(2), 4, backend="pydiffvg")


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    import os

    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, timeout=600
    )


def test_numba_comes_with_the_first_stroke():
    code = (
        "import sys, torch, clipx.modalities.sketch.raster as r\n"
        "assert 'numba' not in sys.modules\n"
        "r.rasterize(torch.zeros(1, 4, 2), 4, backend='plain')\n"
        "assert 'numba' not in sys.modules\n"
        "r.rasterize(torch.zeros(1, 4, 2), 4)\n"
        "assert 'numba' in sys.modules\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_memory_is_bounded():
    """4,096 strokes on 4,096 x 4,096 pixels; strokes x pixels would be 256 GB."""
    code = (
        "import resource, torch\n"
        "from clipx.modalities.sketch.raster import rasterize\n"
        "rasterize(torch.zeros(1, 4, 2), 4)\n"
        "torch.manual_seed(0)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "strokes = torch.rand(4096, 1, 2) * 4096 + torch.randn(4096, 4, 2) * 40\n"
        "rasterize(strokes.requires_grad_(), 4096).mean().backward()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2**20  # KiB: 64 MiB for each canvas and what is kept of the pixels touched


@pytest.mark.slow
def test_the_first_use_says_that_it_compiles(tmp_path):
    code = "import torch\nfrom clipx.modalities.sketch.raster import rasterize\nrasterize(torch.zeros(1, 4, 2), 4)\n"
    first, second = (run(code, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first.returncode == second.returncode == 0
    assert first.stderr.count("\n") == 1 and "compiling the stroke kernels" in first.stderr
    assert second.stderr == ""


def test_one_signature_takes_every_layout():
    """Strided, transposed and borrowed tensors: numba refuses whatever the kernels were not built for."""
    points = scribbles(2, 3)
    strided = torch.stack([points, points], -1)[..., 0]
    for same in (
        strided,
        points.transpose(0, 1).contiguous().transpose(0, 1),
        torch.from_numpy(points.numpy()[::-1].copy()[::-1].copy()),
    ):
        assert torch.equal(rasterize(same, 48), rasterize(points, 48))
    assert [len(function.signatures) for function in kernel.compiled()] == [1] * 4


@pytest.mark.parametrize("backend", ["plain", "numba"])
def test_an_empty_batch_has_a_gradient_too(backend):
    strokes = torch.zeros(0, 3, 4, 2, requires_grad=True)
    image = rasterize(strokes, 8, backend=backend)
    image.sum().backward()
    assert image.shape == (0, 3, 8, 8) and strokes.grad.shape == strokes.shape


def test_more_than_memory_holds_is_refused_before_painting():
    strokes = (torch.rand(4096, 4, 2, generator=torch.Generator().manual_seed(0)) * 4096).requires_grad_()
    with pytest.raises(InputError, match="million pixels"):
        rasterize(strokes, 4096, 50.0)
