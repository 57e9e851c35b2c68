"""DepthCLIP's pipeline beside what its released code computes (golden/depthclip.npz), on inputs made by formula."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from torch.nn import functional as F

from clipx.errors import UnsupportedError
from clipx.modalities.depth import depthclip
from clipx.modalities.depth.files import read_depth, read_rgb
from clipx.modalities.depth.maps import DepthMap
from clipx.modalities.depth.metrics import counted, depth_metrics, mean_and_interval

GOLDEN = np.load(Path(__file__).parent / "golden/depthclip.npz")
S = 1
NYU = ("abs_diff", "d1", "d2", "d3", "abs_rel", "log10", "rmse")
KITTI = ("abs_diff", "abs_rel", "sq_rel", "d1", "d2", "d3", "rmse", "rmse_log")
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}


def stream(*key):
    return np.random.RandomState(zlib.crc32(":".join(map(str, key)).encode()))


def features(which):
    return torch.from_numpy(np.maximum(stream(S, "feature", which).standard_normal((1, 2048, 13, 17)), 0).astype("f4"))


def text(kind):
    z = stream(S, "text").standard_normal((7, 1024)).astype("f4")
    base = stream(S, "textbase").standard_normal((1, 1024)) + 0.05 * stream(S, "text").standard_normal((7, 1024))
    return torch.from_numpy(z if kind == "random" else base.astype("f4"))


def truth(i):
    depth = (0.2 + 11.0 * stream(S, "gt", i).rand(480, 640)).astype("f4")
    depth[stream(S, "hole", i).rand(480, 640) < 0.2] = 0
    return depth


def prediction(i):
    depth = (truth(i) * np.exp(0.4 * stream(S, "prnoise", i).standard_normal((480, 640))) + 0.3).astype("f4")
    u = stream(S, "prhole", i).rand(480, 640)
    depth[u < 0.02], depth[(u >= 0.02) & (u < 0.04)], depth[u > 0.98] = -0.5, 0.0005, 15
    looked = torch.from_numpy(depth)[None, None, 56:472, 60:604]
    return depthclip.pasted(looked)[0]


def picture(folder):
    cells = stream(S, "image").randint(0, 256, size=(60, 80, 3)).astype(np.uint8)
    Image.fromarray(np.kron(cells, np.ones((8, 8, 1), np.uint8))).save(folder / "photo.png")
    return read_rgb(folder / "photo.png")


def test_sentences_and_tokens():
    assert depthclip.prompts() == GOLDEN["prompts"].tolist()
    from open_clip import tokenize

    assert_allclose(tokenize(depthclip.prompts()).numpy(), GOLDEN["prompt_tokens"])


@pytest.mark.parametrize("kind", ["random", "similar"])
def test_features_to_depth(kind):
    rows = text(kind)
    assert_allclose(depthclip.text_vectors(rows).T[:8], GOLDEN[f"text_f_{kind}_head"], atol=1e-6)
    plain = depthclip.expected(depthclip.cell_responses(features("plain"), rows))
    mirrored = depthclip.expected(depthclip.cell_responses(features("flipped"), rows))
    average = (plain + mirrored.flip(-1)) / 2
    full = depthclip.resized(average)
    assert full.shape == (1, 1, 416, 544)
    assert_allclose(plain, GOLDEN[f"depth_plain_{kind}"], atol=1e-4)
    assert_allclose(plain, GOLDEN[f"depth_plain_fp16_{kind}"], atol=0.03)
    assert_allclose(mirrored, GOLDEN[f"depth_of_flipped_{kind}"], atol=1e-4)
    assert_allclose(average, GOLDEN[f"depth_avg_{kind}"], atol=1e-4)
    assert_allclose(full[..., ::8, ::8], GOLDEN[f"depth_full_{kind}_stride8"], atol=1e-4)
    found = depth_metrics(DepthMap(depthclip.pasted(full)[0]), DepthMap(torch.from_numpy(truth(1))), "depthclip")
    compare(found, GOLDEN[f"depth_full_{kind}_metrics_vs_gt1"], NYU)


def compare(found, golden, names):
    for name, value in zip(names, golden, strict=True):
        share = name in ("d1", "d2", "d3")
        assert_allclose(found[name], value, rtol=0 if share else 1e-4, atol=2e-5 if share else 0, err_msg=name)


@pytest.mark.parametrize("crop", ["crop", "nocrop"])
def test_nyu_errors(crop):
    pairs = [(DepthMap(prediction(i)), DepthMap(torch.from_numpy(truth(i)))) for i in (1, 2)]
    found = [depth_metrics(*pair, "depthclip", crop=crop == "crop") for pair in pairs]
    for i, own in enumerate(found, 1):
        compare(own, GOLDEN[f"nyu_metrics_pair{i}_{crop}"], NYU)
        pred, true = pairs[i - 1]
        seen = counted(true.depth, "depthclip", crop == "crop") & (pred.depth > 1e-3)
        rows, columns = (torch.nonzero(seen.any(axis)).flatten() for axis in (1, 0))
        assert [int(own["pixels"]), *(int(v) for v in (rows[0], rows[-1], columns[0], columns[-1]))] == GOLDEN[
            f"nyu_valid_pair{i}_{crop}"
        ].tolist()
    if crop == "crop":
        means = {name: figure["mean"] for name, figure in mean_and_interval(found).items()}
        compare(means, GOLDEN["nyu_metrics_batch_crop"], NYU)


@pytest.mark.parametrize("crop", ["crop", "nocrop"])
@pytest.mark.parametrize("i", [1, 2])
def test_kitti_errors(i, crop):
    true = (85.0 * stream(S, "kgt", i).rand(352, 1216)).astype("f4")
    true[stream(S, "khole", i).rand(352, 1216) < 0.7] = 0
    pred = (true * np.exp(0.3 * stream(S, "kpr", i).standard_normal((352, 1216))) + 1.0).astype("f4")
    pred[stream(S, "kph", i).rand(352, 1216) < 0.02] = -1
    maps = (DepthMap(torch.from_numpy(pred)), DepthMap(torch.from_numpy(true)))
    compare(depth_metrics(*maps, "kitti", crop=crop == "crop"), GOLDEN[f"kitti_metrics_pair{i}_{crop}"], KITTI)


def test_loader(tmp_path):
    rgb = depthclip.prepare(picture(tmp_path))
    assert list(rgb.shape) == GOLDEN["loader_rgb_shape"].tolist()
    assert_allclose(rgb[:, ::16, ::16], GOLDEN["loader_rgb_stride16"], atol=1e-6)
    moments = torch.stack([rgb.mean((1, 2)), rgb.std((1, 2), correction=0)], dim=1)
    assert_allclose(moments, GOLDEN["loader_rgb_mean_std"], rtol=1e-4, atol=1e-5)
    mm = stream(S, "depthmm").randint(0, 12000, size=(480, 640)).astype(np.uint16)
    Image.fromarray(mm).save(tmp_path / "depth.png")
    depth = read_depth(tmp_path / "depth.png")[None].clamp(max=10)
    assert list(depth.shape) == GOLDEN["loader_gt_shape"].tolist()
    assert_allclose(depth[:, ::16, ::16], GOLDEN["loader_gt_stride16"], atol=1e-6)
    assert_allclose(depth.double().mean(), GOLDEN["loader_gt_mean"], rtol=1e-6)


# From pixels, through an RN50 of full size ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rn50():
    """RN50 with the golden file's weights, by name and formula; the text tower is small, as nothing here reads it."""
    from clipx.space import random_space

    vision = {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64, "patch_size": None}
    space = random_space({"embed_dim": 1024, "vision_cfg": vision, "text_cfg": TEXT})
    for name, value in space.backbone.model.visual.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        z, last = stream(f"{S}:rn50", name).standard_normal(tuple(value.shape)), name.rsplit(".", 1)[-1]
        if name.endswith("running_mean"):
            z = 0.1 * z
        elif name.endswith("running_var"):
            z = 0.5 + z**2
        elif z.ndim >= 2 and "embedding" not in name:
            z = z * np.sqrt(2 / np.prod(z.shape[1:]))
        elif "embedding" in name:
            z = z / np.sqrt(z.shape[-1])
        else:
            z = 0.5 + 0.5 * np.abs(z) if last == "weight" else 0.1 * z
        z = 0.25 * z if name.startswith("layer") and name.endswith("bn3.weight") else z
        value.copy_(torch.from_numpy(np.asarray(z, np.float32)))
    return space


@pytest.mark.slow
def test_rn50_from_pixels_to_depth(rn50, tmp_path, monkeypatch):
    pixels = picture(tmp_path)[None]
    tokens = rn50.stages(depthclip.prepare(pixels), normalize=False)["layer4"].flatten(2).permute(2, 0, 1)
    assert list(tokens.shape) == GOLDEN["rn50_tokens_shape"].tolist()
    assert_allclose(tokens[::20, 0, ::64], GOLDEN["rn50_tokens_sample"], rtol=1e-3, atol=1e-4)
    assert_allclose(tokens[:, 0].norm(dim=-1), GOLDEN["rn50_tokens_norm"], rtol=1e-4)
    cells = depthclip.cell_responses(tokens.permute(1, 2, 0).unflatten(2, (13, 17)), text("similar"))
    assert_allclose(depthclip.expected(cells), GOLDEN["rn50_depth_plain"], atol=2e-3)

    def encode_text(said):
        assert said == depthclip.prompts()
        return F.normalize(text("similar"), dim=-1).numpy()

    monkeypatch.setattr(rn50, "encode_text", encode_text)
    depth, responses = depthclip.predict(rn50, pixels)
    assert depth.shape == (1, 480, 640) and responses.shape == (1, 7, 13, 17)
    assert_allclose(depth[:, None, 56:472, 60:604][..., ::8, ::8], GOLDEN["rn50_depth_full_stride8"], atol=2e-3)
    assert not depth[:, :56].any() and not depth[:, 472:].any() and not depth[..., :60].any()
    assert not depth[..., 604:].any()


def test_other_towers_are_refused(tiny_space, tiny_vit_space):
    for space in (tiny_space, tiny_vit_space):
        with pytest.raises(UnsupportedError, match="needs a ResNet of 2048 channels and text of 1024"):
            depthclip.predict(space, torch.rand(1, 3, 480, 640))
