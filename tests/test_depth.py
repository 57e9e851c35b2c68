"""Depth: files and their encodings, figures by hand, estimates of any picture, and the lift to points."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_allclose
from PIL import Image

from clipx.dense import dense_logits
from clipx.errors import FileError, InputError
from clipx.modalities.depth import baselines, controls, depthclip, lift, metrics
from clipx.modalities.depth.encoder import Depth
from clipx.modalities.depth.estimator import EstimateConfig, Estimator, estimate
from clipx.modalities.depth.files import ENCODINGS, depth_png, read_depth, read_pairs, read_rgb
from clipx.modalities.depth.inputs import viewed
from clipx.modalities.depth.maps import DepthMap, colored, nearness
from clipx.zeroshot import ZeroShotClassifier

quick = settings(deadline=None, max_examples=25)


def depth_map(values, unit="m"):
    return DepthMap(torch.tensor(values, dtype=torch.float32), unit)


def picture(h=64, w=96, seed=0):
    return torch.rand(3, h, w, generator=torch.Generator().manual_seed(seed))


# Maps -----------------------------------------------------------------------------------------------------------------


def test_a_map_knows_where_it_is_known():
    values = [[1.0, 0.0], [-1.0, math.nan]]
    assert depth_map(values).known.tolist() == [[True, False], [False, False]]
    assert depth_map(values, "affine").known.tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unit": "feet"}, "no unit named 'feet'"),
        ({"depth": torch.ones(3)}, "depth must be"),
        ({"depth": torch.ones(2, 2).double()}, "depth must be"),
        ({"depth": torch.full((2, 2), math.inf)}, "infinite"),
        ({"responses": torch.ones(3, 2, 2), "words": ("a", "b")}, "2 words, but responses"),
    ],
)
def test_a_map_that_makes_no_sense(change, said):
    with pytest.raises(InputError, match=said):
        DepthMap(**({"depth": torch.ones(2, 2)} | change))


def test_near_is_one_in_every_unit():
    assert_allclose(nearness(depth_map([[1.0, 2.0, 4.0]])), [[1, 1 / 3, 0]], atol=1e-6)
    assert_allclose(nearness(depth_map([[1.0, 2.0, 4.0]], "inverse")), [[0, 1 / 3, 1]], atol=1e-6)
    assert_allclose(nearness(depth_map([[-1.0, 2.0, 5.0]], "affine")), [[1, 0.5, 0]], atol=1e-6)
    assert nearness(depth_map([[3.0, 3.0, math.nan]])).isnan().tolist() == [[False, False, True]]
    rgb = colored(depth_map([[1.0, 9.0, 0.0]]))
    assert rgb.shape == (3, 1, 3) and not rgb[:, 0, 2].any()
    assert rgb[0, 0, 0] > rgb[2, 0, 0] and rgb[2, 0, 1] > rgb[0, 0, 1]  # red near, blue far


# Files ----------------------------------------------------------------------------------------------------------------


def test_encodings_by_hand(tmp_path):
    path = tmp_path / "depth.png"

    def read(values, encoding):
        Image.fromarray(np.array([values], np.uint8 if encoding == "nyu8" else np.uint16)).save(path)
        return read_depth(path, encoding)[0].tolist()

    assert read([0, 255], "nyu8") == pytest.approx([0.5 / 255 * 9.99547, 255.5 / 255 * 9.99547])
    assert read([0, 1, 1500, 65534, 65535], "mm16") == pytest.approx([0, 0.001, 1.5, 65.534, 0])
    assert read([0, 256, 65535], "kitti256") == pytest.approx([0, 1, 65535 / 256])
    assert read([0, 5000], "tum5000") == pytest.approx([0, 1])
    values = [0, 1500 << 3, (5 << 13) | 1]
    assert read(values, "sun_rot3") == pytest.approx([turned_right(value) for value in values])
    assert read(values, "sun_rot3")[1] == pytest.approx(1.5)


def turned_right(value):
    """The 16 bits turned right by three, bit by bit."""
    bits = f"{value:016b}"
    return int(bits[-3:] + bits[:-3], 2) / 1000


@quick
@given(arrays.arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_millimetres_come_back_to_the_bit(tmp_path_factory, mm):
    path = tmp_path_factory.mktemp("png") / "depth.png"
    mm[mm == 65535] = 0
    path.write_bytes(depth_png(torch.from_numpy(mm.astype(np.float32) / 1000)))
    assert np.array_equal((read_depth(path) * 1000).round().numpy().astype(np.uint16), mm)
    with Image.open(path) as png:
        assert np.array_equal(np.asarray(png), mm) and "millimetres" in png.text["Description"]


@quick
@given(arrays.arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9))), st.sampled_from(sorted(ENCODINGS)))
def test_every_encoding_gives_finite_metres(tmp_path_factory, values, encoding):
    path = tmp_path_factory.mktemp("png") / "depth.png"
    Image.fromarray(values.astype(np.uint8) if encoding == "nyu8" else values).save(path)
    depth = read_depth(path, encoding)
    assert depth.shape == values.shape and depth.dtype == torch.float32
    assert depth.isfinite().all() and (depth >= 0).all()
    assert encoding == "nyu8" or (depth[torch.from_numpy(values == 0)] == 0).all()


def test_what_a_png_cannot_say():
    with pytest.warns(UserWarning, match="beyond 65.534 m"):
        png = depth_png(torch.tensor([[1.0, 70.0, math.nan, -1.0]]))
    assert np.asarray(Image.open(io.BytesIO(png))).tolist() == [[1000, 0, 0, 0]]


def test_other_pictures_are_no_depth(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "rgb.png")
    Image.new("L", (4, 4)).save(tmp_path / "grey.png")
    for name, encoding in (("rgb.png", "mm16"), ("grey.png", "mm16"), ("rgb.png", "nyu8"), ("no.png", "mm16")):
        with pytest.raises(FileError, match=name):
            read_depth(tmp_path / name, encoding)
    with pytest.raises(InputError, match="no depth encoding named 'cm8'"):
        read_depth(tmp_path / "grey.png", "cm8")


def write_set(folder, train=3, test=2, size=(12, 16)):
    """Photos whose lower rows are nearer, depth in millimetres."""
    folder.mkdir(exist_ok=True)
    rng, lines = np.random.default_rng(0), ["path,depth_path,label,fold,depth_encoding"]
    for i in range(train + test):
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        mm = np.linspace(4000, 1000 + 200 * i, size[0])[:, None] * np.ones(size)
        Image.fromarray(mm.astype(np.uint16)).save(folder / f"{i}-depth.png")
        lines.append(f"{i}.png,{i}-depth.png,room,{'train' if i < train else 'test'},mm16")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_pairs(tmp_path):
    folder = write_set(tmp_path / "set")
    pairs = read_pairs(folder, "train")
    assert [p.name for p in pairs] == ["0.png", "1.png", "2.png"] and len(read_pairs(folder)) == 5
    assert (pairs[0].label, pairs[0].fold, pairs[0].encoding) == ("room", "train", "mm16")
    assert read_rgb(pairs[0].rgb).shape == (3, 12, 16) and read_depth(pairs[0].depth, "mm16")[0, 0] == 4
    with pytest.raises(InputError, match="no row of fold 'val'; there are test, train"):
        read_pairs(folder, "val")
    assert len(read_pairs(folder, "train", folds_needed=False)) == 3
    table = (folder / "labels.csv").read_text()
    for other in ("kind", "fold"):  # no such column, and an empty one
        none = table.replace(",train,", ",,").replace(",test,", ",,").replace("fold", other)
        (folder / "labels.csv").write_text(none)
        assert len(read_pairs(folder, "train", folds_needed=False)) == 5
        with pytest.raises(InputError, match="names no folds; add a column fold with train and test"):
            read_pairs(folder, "train")
    for broken, said in [
        (table.replace("depth_encoding", "encoding"), "has no column depth_encoding"),
        (table.replace("4-depth.png", "5-depth.png"), "no such file"),
        (table.replace("mm16", "cm16"), "no depth encoding named 'cm16'"),
        (table + "one,two\n", "line 7 has 2 cells, the header 5"),
    ]:
        (folder / "labels.csv").write_text(broken)
        with pytest.raises((FileError, InputError), match=said):
            read_pairs(folder)
    with pytest.raises(FileError, match="no such file"):
        read_pairs(tmp_path)


# Figures --------------------------------------------------------------------------------------------------------------


def test_figures_by_hand():
    found = metrics.figures(torch.tensor([2.0, 2.0, 8.0]).double(), torch.tensor([1.0, 2.0, 4.0]).double())
    assert found["d1"] == found["d2"] == found["d3"] == pytest.approx(1 / 3)
    assert found["abs_diff"] == pytest.approx(5 / 3)
    assert found["abs_rel"] == pytest.approx(2 / 3)
    assert found["sq_rel"] == pytest.approx((1 + 0 + 4) / 3)
    assert found["rmse"] == pytest.approx(math.sqrt(17 / 3))
    assert found["rmse_log"] == pytest.approx(math.log(2) * math.sqrt(2 / 3))
    assert found["log10"] == pytest.approx(math.log10(2) * 2 / 3)
    assert found["silog"] == pytest.approx(100 * math.log(2) * math.sqrt(2 / 3 - 4 / 9))
    assert found["spearman"] == pytest.approx(math.sqrt(3) / 2)  # ranks 1.5 1.5 3 and 1 2 3
    strict = metrics.figures(torch.tensor([1.25, 1.0]).double(), torch.tensor([1.0, 1.0]).double())
    assert strict["d1"] == 0.5 and strict["d2"] == 1.0  # exactly 1.25 is no less than 1.25


@quick
@given(arrays.arrays(np.float64, st.integers(3, 30), elements=st.integers(1, 9)), st.floats(0.1, 9))
def test_silog_and_ranks_ignore_the_scale(truth, factor):
    true = torch.from_numpy(truth)
    pred = true * factor
    found = metrics.figures(pred, true)
    assert found["silog"] == pytest.approx(0, abs=1e-4)
    constant = len(set(truth)) == 1
    assert math.isnan(found["spearman"]) if constant else found["spearman"] == pytest.approx(1)
    assert constant or metrics.spearman(-true, true) == pytest.approx(-1)


def test_the_crops():
    """Eigen's 41 and DepthCLIP's 46 differ by five columns of 426 rows; each edge is where it is said to be."""
    truth = torch.full((480, 640), 2.0)
    nyu, own = (metrics.counted(truth, name) for name in ("nyu", "depthclip"))
    assert nyu.sum() == 426 * 560 and own.sum() == 426 * 555
    assert nyu[45, 41] and not nyu[44, 41] and not nyu[45, 40] and nyu[470, 600] and not nyu[471, 600]
    assert not nyu[470, 601] and not own[45, 45] and own[45, 46]
    far_left = truth.clone()
    far_left[:, 41:46] = 4.0
    error = [metrics.depth_metrics(DepthMap(far_left), DepthMap(truth), p)["abs_rel"] for p in ("nyu", "depthclip")]
    assert error == pytest.approx([5 / 560, 0])
    garg = metrics.counted(torch.full((375, 1242), 2.0), "kitti")
    rows, columns = (torch.nonzero(garg.any(axis)).flatten() for axis in (1, 0))
    assert [int(v) for v in (rows[0], rows[-1], columns[0], columns[-1])] == [153, 370, 44, 1196]


def test_the_whole_picture_counts():
    truth = torch.tensor([[300.0, 0.002, 0.001, 0.0], [math.nan, math.nan, -1.0, 5.0]])
    assert metrics.counted(truth, "full").tolist() == [[True, True, False, False], [False, False, False, True]]
    pred = DepthMap(torch.tensor([[330.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 5.0]]))
    found = metrics.depth_metrics(pred, DepthMap(truth), "full")
    assert found["pixels"] == 2 and found["coverage"] == pytest.approx(2 / 3)  # without a prediction: left out
    assert found["abs_diff"] == pytest.approx(15, rel=1e-5)  # no cap


def test_what_counts():
    truth = torch.full((480, 640), 2.0)
    truth[100, 100], truth[100, 101], truth[100, 102], truth[100, 103] = 0, 10.0, 0.001, math.nan
    mask = metrics.counted(truth, "nyu")
    assert mask.sum() == 426 * 560 - 4
    pred = torch.full((480, 640), 50.0)
    assert metrics.depth_metrics(DepthMap(pred), DepthMap(truth))["abs_diff"] == pytest.approx(8)  # clamped to 10
    pred[:, :320] = 0  # unknown
    found = metrics.depth_metrics(DepthMap(pred), DepthMap(truth))
    assert found["coverage"] == pytest.approx(281 / 560, abs=1e-4) and found["abs_diff"] == pytest.approx(8)
    nothing = DepthMap(torch.zeros(480, 640))
    found = metrics.depth_metrics(nothing, DepthMap(torch.ones(480, 640)))
    assert math.isnan(found["abs_rel"]) and found["coverage"] == 0
    found = metrics.depth_metrics(nothing, DepthMap(torch.ones(480, 640)), "kitti")  # to say nothing is no way out
    assert found["abs_rel"] == pytest.approx(0.999) and found["coverage"] == 0
    assert math.isnan(metrics.depth_metrics(DepthMap(torch.ones(9, 9)), DepthMap(torch.zeros(9, 9)), "kitti")["rmse"])
    half = torch.tensor([[0.0, 1.0]])
    found = metrics.depth_metrics(DepthMap(half), DepthMap(torch.ones(1, 2)), "kitti", crop=False)
    assert found["abs_diff"] == pytest.approx(0.999 / 2)  # counted as 1 mm


def test_alignment():
    truth = DepthMap(1 + 4 * torch.rand(20, 30, generator=torch.Generator().manual_seed(0)))
    t = truth.depth

    def abs_rel(depth, unit, alignment):
        return metrics.depth_metrics(DepthMap(depth, unit), truth, "kitti", alignment, crop=False)["abs_rel"]

    assert abs_rel(3 * t, "m", "none") == pytest.approx(2, abs=1e-4)
    assert abs_rel(3 * t, "m", "median") == pytest.approx(0, abs=1e-5)
    assert abs_rel(3 * t + 2, "m", "median") > 0.05
    assert abs_rel(3 * t - 7, "affine", "scale+shift") == pytest.approx(0, abs=1e-5)
    assert abs_rel(0.3 / t, "inverse", "median") == pytest.approx(0, abs=1e-5)
    assert abs_rel(0.3 / t + 1, "inverse", "scale+shift") == pytest.approx(0, abs=1e-5)
    assert abs_rel(1e-9 * t, "affine", "scale+shift") == pytest.approx(0, abs=1e-5)
    mean = float(((t - t.mean()) / t).abs().mean())
    assert abs_rel(torch.full_like(t, 3.3), "affine", "scale+shift") == pytest.approx(mean, rel=1e-4)


def test_a_median_is_the_middle():
    two = metrics.aligned(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 6.0]), "m", "median")
    assert two.tolist() == [2.0, 6.0]
    even = metrics.aligned(torch.tensor([1.0, 2.0, 3.0, 10.0]), torch.ones(4), "m", "median")
    assert even.tolist() == pytest.approx([0.4, 0.8, 1.2, 4.0])  # by 2.5


@pytest.mark.parametrize("unit", ["affine", "inverse"])
def test_a_line_does_not_mend_the_order(unit):
    t = 1 + 4 * torch.rand(20, 30, generator=torch.Generator().manual_seed(0))
    wrong = {"affine": -t, "inverse": t}[unit]
    for depth, order in ((wrong, -1), ({"affine": t, "inverse": 1 / t}[unit], 1)):
        found = metrics.depth_metrics(DepthMap(depth, unit), DepthMap(t), "kitti", "scale+shift", crop=False)
        assert found["spearman"] == pytest.approx(order)


@pytest.mark.parametrize(
    ("unit", "alignment", "said"),
    [
        ("inverse", "none", "cannot compare depth in inverse with depth in m"),
        ("affine", "none", "cannot compare depth in affine"),
        ("affine", "median", "unknown shift"),
        ("m", "best", "no alignment named 'best'"),
    ],
)
def test_units_are_never_mixed(unit, alignment, said):
    ones = torch.ones(480, 640)
    with pytest.raises(InputError, match=said):
        metrics.depth_metrics(DepthMap(ones, unit), DepthMap(ones), "nyu", alignment)
    with pytest.raises(InputError, match="the truth must be in metres"):
        metrics.depth_metrics(DepthMap(ones, "affine"), DepthMap(ones, "affine"))
    with pytest.raises(InputError, match="sizes differ"):
        metrics.depth_metrics(DepthMap(ones), DepthMap(ones[:10]))
    with pytest.raises(InputError, match=r"^a\.png: .* 480 x 640 pixels, got 10 x 640; .*--protocol full"):
        metrics.depth_metrics(DepthMap(ones[:10]), DepthMap(ones[:10], source="a.png"))
    with pytest.raises(InputError, match="no protocol named 'sun'"):
        metrics.depth_metrics(DepthMap(ones), DepthMap(ones), "sun")


def test_paired_differences_are_of_the_same_images():
    here, there = [{"rmse": 1.0}, {"rmse": 5.0}, {"rmse": math.nan}], [{"rmse": 0.5}, {"rmse": 4.5}, {"rmse": 1.0}]
    assert metrics.paired(here, there)["rmse"] == {"mean": 0.5, "low": 0.5, "high": 0.5}


def test_intervals():
    images = [{"a": float(i), "b": math.nan, "c": 2.0} for i in range(10)]
    found = metrics.mean_and_interval(images)
    assert found["a"]["mean"] == 4.5 and 2 < found["a"]["low"] < 4.5 < found["a"]["high"] < 7
    assert found["c"] == {"mean": 2.0, "low": 2.0, "high": 2.0} and math.isnan(found["b"]["mean"])
    assert found == metrics.mean_and_interval(images)


# Estimates ------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["tiny_space", "tiny_vit_space"])
def space(request):
    return request.getfixturevalue(request.param)


CONFIG = EstimateConfig(words=("near", "far", "away"), bins=(1.0, 2.5, 6.0))


def test_the_definition(space):
    x = picture()
    found = estimate(space, x, CONFIG)
    words = ZeroShotClassifier(space, CONFIG.words, CONFIG.prompts).weights
    shares = dense_logits(space, x[None], words)[0].softmax(dim=0)
    torch.testing.assert_close(found.responses, shares)
    torch.testing.assert_close(found.depth, (shares * torch.tensor(CONFIG.bins)[:, None, None]).sum(0))
    assert (found.unit, found.words) == ("m", CONFIG.words)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (37, 5), (30, 200), (600, 20)])
@pytest.mark.parametrize("more", [{}, {"flip": True, "temperature": 0.01}, {"window": 24}])
def test_any_size_within_the_bins(space, size, more):
    found = estimate(space, picture(*size), replace(CONFIG, **more))
    assert found.depth.shape == size and found.depth.isfinite().all()
    assert found.depth.min() >= 1 and found.depth.max() <= 6
    assert_allclose(found.responses.sum(0), 1, atol=1e-5)


def test_a_uniform_picture(space):
    found = estimate(space, torch.full((3, 32, 64), 0.5), CONFIG)
    assert found.depth.isfinite().all() and 1 <= found.depth.min() <= found.depth.max() <= 6


def test_flipping_is_symmetric(space):
    both, x = replace(CONFIG, flip=True), picture()
    torch.testing.assert_close(estimate(space, x.flip(-1), both).depth.flip(-1), estimate(space, x, both).depth)


def test_a_batch_is_its_photos(space):
    see = Estimator(space, CONFIG)
    batch = torch.stack([picture(seed=0), picture(seed=1)])
    for one, alone in zip(see(batch), batch, strict=True):
        torch.testing.assert_close(one.depth, see(alone[None])[0].depth, atol=1e-4, rtol=0)


def test_large_photos_are_seen_smaller(space):
    assert viewed(space, torch.zeros(1, 3, 480, 640), 240).shape == (1, 3, 240, 320)
    assert viewed(space, torch.zeros(1, 3, 20, 30)).shape == (1, 3, 20, 30)
    high, wide = viewed(space, torch.zeros(1, 3, 100, 100_000)).shape[-2:]  # a strip
    assert high * wide <= 4096 * space.backbone.stride[0] ** 2 * 1.01 and wide / high == pytest.approx(1000, rel=0.05)
    high, wide = viewed(space, torch.zeros(1, 3, 100, 100), 50).shape[-2:]
    assert (high, wide) == (50, 50)


def test_a_fit_looks_at_small_photos_enlarged(space):
    assert viewed(space, torch.zeros(1, 3, 20, 30), 60, enlarge=True).shape == (1, 3, 60, 90)
    high, wide = viewed(space, torch.zeros(1, 3, 10, 10_000), 400, enlarge=True).shape[-2:]
    assert high * wide <= 4096 * space.backbone.stride[0] ** 2 * 1.01


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bins": (1.0, 1.0, 2.0)}, "bins must increase, got 1, 1, 2"),
        ({"bins": (1.0, math.nan, 2.0)}, "bins must increase"),
        ({"bins": (0.0, 1.0, 2.0)}, "must be above 0"),
        ({"bins": (1.0, 2.0)}, "3 words, but 2 bins"),
        ({"words": ("far",), "bins": (1.0,)}, "at least two words, got 1"),
        ({"unit": "cm"}, "no unit named 'cm'"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"preset": "best"}, "no preset named 'best'"),
        ({"fit": object(), "window": 3}, "a fit looks at the whole photo"),
        ({"words": "abc"}, "two words, got the text 'abc'"),
        ({"words": ("near", "far", "near")}, "'near' is given twice"),
        ({"preset": "depthclip"}, "depthclip fixes words"),
    ],
)
def test_configs_that_make_no_sense(change, said):
    with pytest.raises(InputError, match=said):
        replace(CONFIG, **change)
    assert replace(CONFIG, unit="affine", bins=(-1.0, 0.0, 1.0)).unit == "affine"


def test_the_preset_brings_all_its_own():
    config = EstimateConfig(preset="depthclip")
    assert (config.words, config.bins) == (depthclip.WORDS, depthclip.BINS_M)
    assert (config.prompts, config.temperature, config.flip) == ("This object is {}", 0.1, True)
    assert replace(config) == config
    with pytest.raises(InputError, match="depthclip fixes unit"):
        EstimateConfig("depthclip", unit="affine")


NO_PICTURES = {
    "a batch": torch.rand(1, 3, 8, 8),
    "no colours": torch.rand(8, 8),
    "nothing": None,
    "bytes, which clamping would make white": torch.full((3, 8, 8), 99, dtype=torch.uint8),
    "0 to 255": torch.full((3, 8, 8), 99.0),
    "NaN": torch.full((3, 8, 8), math.nan),
    "no pixel": torch.rand(3, 0, 8),
    "grey": torch.rand(1, 8, 8),
}


@pytest.mark.parametrize("pixels", NO_PICTURES.values(), ids=NO_PICTURES)
def test_pixels_that_are_no_picture(space, pixels):
    with pytest.raises(InputError):
        estimate(space, pixels, CONFIG)


# The lift -------------------------------------------------------------------------------------------------------------


def test_the_camera_by_hand():
    camera = lift.Intrinsics.from_fov(90, 2, 4)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx((2, 2, 2, 1))
    points = lift.lift(depth_map([[2.0, 0.0, 2.0, math.nan], [1.0, 1.0, 1.0, 4.0]]), camera)
    assert points.shape == (6, 3)
    assert_allclose(points[0], [2 * -1.5 / 2, 2 * -0.5 / 2, 2])  # left of the axis, above it, ahead
    assert_allclose(points[-1], [4 * 1.5 / 2, 4 * 0.5 / 2, 4])


@quick
@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.floats(0.0625, 80, width=32)
    ),
    st.floats(5, 170),
)
def test_points_are_seen_where_they_came_from(depth, fov):
    given_depth = DepthMap(torch.from_numpy(depth))
    camera = lift.Intrinsics.from_fov(fov, *depth.shape)
    at, z = lift.reproject(lift.lift(given_depth, camera), camera)
    rows, columns = torch.nonzero(given_depth.known, as_tuple=True)
    assert_allclose(at, torch.stack([columns + 0.5, rows + 0.5], 1), atol=1e-3)
    assert_allclose(z, depth[rows, columns], rtol=1e-6)


def test_what_cannot_be_lifted():
    camera = lift.Intrinsics.from_fov(60, 2, 2)
    with pytest.raises(InputError, match="a cloud needs metres, this depth is inverse"):
        lift.lift(DepthMap(torch.ones(2, 2), "inverse"), camera)
    with pytest.raises(InputError, match="no pixel has a depth"):
        lift.lift(DepthMap(torch.zeros(2, 2)), camera)
    for fov in (0, 180, math.nan):
        with pytest.raises(InputError, match="between 0 and 180"):
            lift.Intrinsics.from_fov(fov, 2, 2)
    with pytest.raises(InputError, match="focal lengths above 0"):
        lift.Intrinsics(0, 1, 1, 1)


def test_large_clouds_are_thinned():
    depth, pixels = DepthMap(torch.ones(40, 60)), picture(40, 60)
    data, count = lift.cloud_ply(depth, pixels, lift.Intrinsics.from_fov(60, 40, 60), max_points=300)
    assert 150 <= count <= 300 and f"element vertex {count}".encode() in data
    _, count = lift.cloud_ply(
        DepthMap(torch.ones(1, 900)), picture(1, 900), lift.Intrinsics.from_fov(60, 1, 900), max_points=100
    )
    assert 100 <= count <= 300  # a strip one pixel high keeps its row


# Baselines and controls -----------------------------------------------------------------------------------------------


def test_baselines_by_hand():
    photo = torch.full((3, 2, 2), 0.5)
    pairs = [(photo, torch.tensor([[1.0, 2.0], [0.0, 4.0]])), (photo, torch.tensor([[4.0, 2.0], [0.0, 0.0]]))]
    known = baselines.Baselines.from_pairs(pairs)
    assert known.images == 2 and known.constant_m == pytest.approx((1 * 2 * 4 * 4 * 2) ** 0.2)
    assert_allclose(known.mean_map_m, [[2.5, 2], [known.constant_m, 4]], rtol=1e-6)
    assert_allclose(known.log_mean_map_m, [[2, 2], [known.constant_m, 4]], rtol=1e-6)
    rows = known.rows()
    assert list(rows) == ["constant", "mean map", "mean map of log depth"]
    assert all(predict(torch.zeros(3, 5, 9)).shape == (5, 9) for predict in rows.values())
    holes = [(photo, torch.where(depth > 0, depth, torch.nan)) for _, depth in pairs]
    assert_allclose(baselines.Baselines.from_pairs(holes).mean_map_m, known.mean_map_m)
    with pytest.raises(InputError, match="no training photo with a known depth"):
        baselines.Baselines.from_pairs([])
    with pytest.raises(InputError, match="no training photo"):
        baselines.Baselines.from_pairs([(photo, torch.zeros(2, 2))])


def test_the_ridge_learns_from_colour_and_place():
    def pair(seed):
        x = picture(48, 64, seed) * 0.1 + picture(1, 1, seed + 50)
        rows = torch.linspace(0, 1, 48)[:, None]
        return x, (0.5 + x.mean() - rows / 2).exp() * torch.ones(48, 64)

    known = baselines.Baselines.from_pairs(pair(i) for i in range(30))
    x, truth = pair(99)
    off = (known.by_color_and_position(x) / truth - 1).abs().mean()
    assert off < 0.1 < (known.constant_m / truth - 1).abs().mean()


def test_a_random_tower_forgot_its_weights_only(space):
    before = space.weights_sha256
    x = torch.stack([picture(seed=i) for i in range(3)])
    made, again = (controls.random_tower(space, x, seed=1) for _ in range(2))
    assert made.id == again.id != space.id and space.weights_sha256 == before == space.backbone.weights_sha256()
    torch.testing.assert_close(made.encode_text(["far"]), space.encode_text(["far"]))
    cells = made.dense_image(x)
    assert cells.isfinite().all() and cells.std(dim=(0, 2, 3)).max() > 1e-3  # it responds to something
    assert controls.random_tower(space, x, seed=2).id != made.id
    assert not any(p.requires_grad for p in made.backbone.model.parameters()) and not made.backbone.model.training


def test_shuffled_words_keep_no_place():
    other = controls.shuffled_words(CONFIG)
    assert sorted(other.words) == sorted(CONFIG.words) and other.bins == CONFIG.bins
    assert not any(a == b for a, b in zip(other.words, CONFIG.words, strict=True))


# The modality ---------------------------------------------------------------------------------------------------------


def test_depth_maps_are_a_sense(tiny_space, tmp_path):
    modality, map_ = Depth(tiny_space), Depth.example()
    (tmp_path / "map.png").write_bytes(depth_png(map_.depth))
    loaded = modality.load(tmp_path / "map.png")
    assert_allclose(loaded.depth, map_.depth, atol=6e-4)
    together = modality.encode([loaded, DepthMap(torch.ones(5, 7))])
    seen = tiny_space.encode_image(colored(loaded)[None])
    assert_allclose(together.vectors[:1], seen, atol=1e-5)
    assert modality.pictures(loaded).shape == (1, 3, 48, 64) and Depth.suffixes == ()
    (tmp_path / "none.png").write_bytes(depth_png(torch.zeros(4, 4)))
    with pytest.raises(FileError, match="no pixel has a depth"):
        modality.load(tmp_path / "none.png")
    Image.new("L", (4, 4)).save(tmp_path / "grey.png")
    with pytest.raises(FileError, match="16-bit grey"):
        modality.load(tmp_path / "grey.png")
    assert modality.from_array(np.array([[0, 2]], np.uint8)).known.tolist() == [[False, True]]


def test_an_index_takes_depth_maps_by_name(tiny_space, tmp_path):
    """Files that are named, with the modality; in a folder a .png is a picture."""
    from clipx.index import Index

    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for i, path in enumerate(paths):
        path.write_bytes(depth_png(Depth.example().depth * (1 + i) + torch.rand(48, 64)))
    with Index.create(tmp_path / "my.index", tiny_space) as index:
        did = index.add(paths, modality="depth")
        assert (did.added, did.failures) == (2, []) and index.stats()["modalities"] == {"depth": 2}
        assert {hit.modality for hit in index.search("a depth map of a chair", k=2)} == {"depth"}
