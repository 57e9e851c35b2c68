"""JointSpace: what goes in, what comes out, what is refused; and embedded spaces on disk."""

import hashlib
import json
import math
import re

import numpy as np
import pytest
import torch
from conftest import PREPROCESS, RESNET, VIT
from hypothesis import given, settings
from hypothesis import strategies as st

import clipx.space
from clipx import backbone as bb
from clipx.errors import FileError, InputError, SpaceError, UnsupportedError, VocabularyError
from clipx.preprocess import Preprocess, resample
from clipx.space import random_space
from clipx.spaces.embedded import embedded_for, list_spaces, load_embedded, save_embedded
from clipx.spaces.loading import load_space
from clipx.vocabulary import Vocabulary, words_in


@pytest.fixture(params=["tiny_space", "tiny_vit_space"])
def space(request):
    return request.getfixturevalue(request.param)


def picture(n=2, h=50, w=70, seed=0):
    return torch.rand(n, 3, h, w, generator=torch.Generator().manual_seed(seed))


# Identity -------------------------------------------------------------------------------------------------------------


def test_identity(space):
    assert space.dim == 32 and space.image_size in [(64, 64), (32, 32)] and space.folder is None and space.version == ""
    assert space.mean == (0.5, 0.45, 0.4) and space.std == (0.25, 0.26, 0.27)
    assert space.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)
    assert space.device == torch.device("cpu") and space.dtype == torch.float32
    assert space.id in repr(space)


def test_id_tells_weights_and_preprocessing_apart(tiny_vit_space):
    twin = random_space(VIT, preprocess_cfg=PREPROCESS, seed=0)
    seed = random_space(VIT, preprocess_cfg=PREPROCESS, seed=1)
    mean = random_space(VIT, preprocess_cfg={**PREPROCESS, "mean": 0.5}, seed=0)
    mode = random_space(VIT, preprocess_cfg={**PREPROCESS, "resize_mode": "longest"}, seed=0)
    assert twin.id == tiny_vit_space.id
    assert len({space.id for space in (twin, seed, mean, mode)}) == 4


def test_self_test(space):
    assert max(space.self_test().values()) < 1e-5


def test_train_does_nothing(space):
    assert space.train() is space and space.train(False) is space
    x = picture()
    before = space.encode_image(x)
    space.backbone.model.train()
    assert torch.equal(before, space.encode_image(x))


# Words ----------------------------------------------------------------------------------------------------------------


def test_text(space):
    texts = ["a photo of a chair", "dog", "three small boats on a lake"]
    rows = space.encode_text(texts)
    assert rows.shape == (3, 32) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    for i, text in enumerate(texts):
        np.testing.assert_allclose(space.encode_text([text])[0], rows[i], atol=1e-5, rtol=0)
    assert np.array_equal(space.encode_text(texts), rows)
    embedding = space.embed_text(texts)
    assert embedding.ids == tuple(texts) and embedding.modality == "text" and embedding.space_id == space.id
    assert space.encode_text([]).shape == (0, 32) and len(space.embed_text([])) == 0


def test_text_goes_in_batches(tiny_space, monkeypatch):
    texts = [f"a photo of {i} chairs" for i in range(9)]
    whole = tiny_space.encode_text(texts)
    monkeypatch.setattr(clipx.space, "TEXT_BATCH", 4)
    torch.testing.assert_close(tiny_space.encode_text(texts), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("texts", ["a chair", [3], ["a", None], ["a", " "], [""]])
def test_bad_text(space, texts):
    with pytest.raises(InputError, match="text"):
        space.encode_text(texts)


def test_open_vocabulary(space):
    assert space.unknown("zxqw flurble") == []
    space.require_words(["zxqw flurble"])


# Pictures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("h", "w"), [(64, 64), (32, 32), (50, 70), (7, 200), (1, 1)])
def test_image(space, h, w):
    rows = space.encode_image(picture(h=h, w=w))
    assert rows.shape == (2, 32) and rows.dtype == torch.float32
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(2))


def test_batches_do_not_matter(space):
    x = picture(n=7)
    whole, order = space.encode_image(x), torch.tensor([3, 1, 6, 0, 2, 5, 4])
    torch.testing.assert_close(space.encode_image(x[order]), whole[order], atol=1e-5, rtol=0)
    for i in range(7):
        torch.testing.assert_close(space.encode_image(x[i : i + 1])[0], whole[i], atol=1e-5, rtol=0)
        dense = space.dense_image(x[i : i + 1])[0]
        torch.testing.assert_close(dense, space.dense_image(x)[i], atol=1e-5, rtol=0)
    assert torch.equal(space.encode_image(x), whole)


def test_cells_of_a_picture_keep_their_lengths_where_the_picture_has_the_norm(space):
    x = picture(n=2)
    cells, whole = space.dense_image(x), space.dense_image(x, unit="picture")
    torch.testing.assert_close(whole.square().sum(1).mean((1, 2)), torch.ones(2))
    assert whole.norm(dim=1).std() > 0  # some are shorter than others
    torch.testing.assert_close(torch.nn.functional.normalize(whole, dim=1), cells)


def test_stages_up_to_one_are_the_first_of_all(space):
    x = picture(h=space.image_size[0], w=space.image_size[1])
    every = space.stages(x)
    some = space.stages(x, last=list(every)[1])
    assert list(some) == list(every)[:2] and len(every) > 2
    for name in some:
        torch.testing.assert_close(some[name], every[name])
    with pytest.raises(InputError, match="no stage 'layer9'"):
        space.stages(x, last="layer9")


def test_a_tower_that_embeds_one_size_says_so(space):
    with pytest.raises(InputError, match="pixels only"):
        space.encode_with_stages(picture(h=2 * space.image_size[0], w=space.image_size[1]), resize=False)
    with pytest.raises(InputError, match="cell or picture"):
        space.dense_image(picture(), unit="cells")


def test_input_is_untouched(space):
    x = picture(h=space.image_size[0], w=space.image_size[1])
    before = x.clone()
    space.encode_image(x), space.dense_image(x), space.stages(x), space.attention(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_goes_in_float32_comes_out(space, dtype):
    x = picture()
    rows = space.encode_image(x.to(dtype))
    assert rows.dtype == torch.float32
    assert (rows * space.encode_image(x)).sum(dim=1).min() > 0.999
    assert space.dense_image(x.to(dtype)).dtype == torch.float32
    assert all(stage.dtype == torch.float32 for stage in space.stages(x.to(dtype)).values())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("config", [RESNET, VIT], ids=["resnet", "vit"])
def test_space_in_another_dtype(config, dtype):
    space, x = random_space(config, preprocess_cfg=PREPROCESS), picture()
    rows, words, name = space.encode_image(x), space.encode_text(["a dog"]), space.id
    space.backbone.to(dtype=dtype)
    assert space.dtype == dtype and space.id == name
    other = space.encode_image(x), space.encode_text(["a dog"])
    assert other[0].dtype == torch.float32 and other[1].dtype == np.float32
    assert (other[0] * rows).sum(dim=1).min() > 0.99 and (other[1] * words).sum() > 0.99
    assert space.dense_image(x).dtype == torch.float32
    assert space.logit_scale == pytest.approx(1 / 0.07, rel=1e-6)


def test_gradients_reach_pixels_of_any_size(space):
    looks = (
        lambda x: space.encode_image(x)[0, 0],
        lambda x: space.dense_image(x)[:, 0].sum(),
        lambda x: space.attention(x)[..., 0, 1].square().sum(),
    )
    for look in looks:
        x = picture(n=1).requires_grad_()
        look(x).backward()
        assert x.grad.isfinite().all() and (x.grad != 0).float().mean() > 0.5


def test_gradient_is_the_derivative():
    space = random_space(VIT, preprocess_cfg=PREPROCESS)
    space.backbone.to(dtype=torch.float64)
    towards = torch.randn(32, generator=torch.Generator().manual_seed(1))
    x = (picture(n=1, h=32, w=32) * 0.8 + 0.1).double().requires_grad_()
    (space.encode_image(x)[0] @ towards).backward()
    step = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).double()
    with torch.no_grad():
        ends = [space.encode_image(x + sign * 2e-3 * step)[0] @ towards for sign in (1, -1)]
    assert float(ends[0] - ends[1]) / 4e-3 == pytest.approx(float((x.grad * step).sum()), rel=2e-2)


def test_normalize_and_resize_can_be_left_out(space):
    h, w = space.image_size
    x = picture(h=h, w=w)
    own = (x - torch.tensor(space.mean).view(3, 1, 1)) / torch.tensor(space.std).view(3, 1, 1)
    expected = space.encode_image(x)
    torch.testing.assert_close(space.encode_image(own, normalize=False), expected)
    torch.testing.assert_close(space.encode_image(x, resize=False), expected)
    torch.testing.assert_close(space.dense_image(own, normalize=False), space.dense_image(x))
    assert space.encode_image(x * 255, normalize=False).isfinite().all()
    with pytest.raises(InputError, match=f"pixels are 50 x 70, the space reads {h} x {w}"):
        space.encode_image(picture(), resize=False)


@pytest.mark.parametrize(
    ("pixels", "what"),
    [
        (torch.zeros(3, 8, 8), r"\(N, 3, H, W\)"),
        (torch.zeros(1, 4, 8, 8), r"\(N, 3, H, W\)"),
        (torch.zeros(1, 3, 0, 8), r"\(N, 3, H, W\)"),
        ([[[[0.0]]]], "got list"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "float"),
        (torch.full((1, 3, 8, 8), torch.nan), "NaN or infinity"),
        (torch.full((1, 3, 8, 8), torch.inf), "NaN or infinity"),
        (torch.full((1, 3, 8, 8), 255.0), r"\[0, 1\], got 255 to 255"),
        (torch.full((1, 3, 8, 8), -1.0), r"\[0, 1\], got -1 to -1"),
    ],
)
def test_bad_pixels(space, pixels, what):
    for look in (space.encode_image, space.dense_image, space.stages, space.attention):
        with pytest.raises(InputError, match=what):
            look(pixels)


def test_nothing_in_nothing_out(space):
    none = torch.zeros(0, 3, 20, 20)
    assert space.encode_image(none).shape == (0, 32)
    assert space.dense_image(none).shape == (0, *space.dense_image(picture(n=1, h=20, w=20)).shape[1:])
    assert space.attention(none).shape[0] == 0 and all(len(stage) == 0 for stage in space.stages(none).values())


def test_dense_and_stages_keep_the_shape_of_the_picture(space):
    stride = space.backbone.stride[0]
    x = picture(h=3 * stride + 1, w=5 * stride - 1)
    dense = space.dense_image(x)
    assert dense.shape == (2, 32, 3, 5)
    torch.testing.assert_close(dense.norm(dim=1), torch.ones(2, 3, 5))
    assert list(space.stages(x).values())[-1].shape[-2:] == (3, 5)
    weights = space.attention(x)
    assert weights.shape[-2:] == (16, 16)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))
    assert space.dense_image(picture(h=1, w=1)).shape == (2, 32, 1, 1)


def test_stage_names(tiny_space, tiny_vit_space):
    assert list(tiny_space.stages(picture())) == ["stem", "layer1", "layer2", "layer3", "layer4"]
    assert list(tiny_vit_space.stages(picture())) == ["block0", "block1", "block2"]
    assert tiny_vit_space.attention(picture(h=32, w=32)).shape == (2, 3, 2, 17, 17)
    assert tiny_space.attention(picture(h=64, w=64)).shape == (2, 1, 8, 5, 5)


def test_token_path(tiny_space, tiny_vit_space):
    assert tiny_vit_space.dense_image(picture(), path="token").shape == tiny_vit_space.dense_image(picture()).shape
    with pytest.raises(UnsupportedError, match="has no tokens"):
        tiny_space.dense_image(picture(), path="token")


def test_towers_of_one_size():
    vision = {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none", "image_size": 160}
    space = random_space({"embed_dim": 64, "custom_text": True, "vision_cfg": vision, "text_cfg": VIT["text_cfg"]})
    assert space.encode_image(picture()).shape == (2, 64)
    assert space.dense_image(picture(h=160, w=160)).shape == (2, 64, 10, 10)
    with pytest.raises(InputError, match="looks at 160 x 160 pixels only, got 50 x 70"):
        space.dense_image(picture())


@pytest.mark.parametrize("resize", [False, True])
def test_a_tower_of_one_size_that_its_patches_do_not_divide(tiny_space, monkeypatch, resize):
    """ViT-SO400M-14-SigLIP-384: its patches leave six pixels over, and it still takes 384 x 384 only."""
    tower, seen = tiny_space.backbone.tower, []
    monkeypatch.setattr(tower, "any_size", False, raising=False)
    monkeypatch.setattr(tower, "stride", (14, 14))
    monkeypatch.setattr(tower, "dense", lambda x, path: seen.append(x.shape[-2:]) or torch.ones(len(x), 32, 1, 1))
    tiny_space.dense_image(picture(h=64, w=64), resize=resize)
    assert seen == [(64, 64)]


# Preprocessing --------------------------------------------------------------------------------------------------------

SIZES = [224, 240, 256, 336, 378, 384, 448]  # of the towers that people use


def pair_of(size, **config):
    """Our preprocessing and open_clip's transform of the same config; neither subtracts nor divides."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = {"mean": [0, 0, 0], "std": [1, 1, 1], **config}
    theirs = image_transform_v2(PreprocessCfg(size=size, **config), is_train=False)
    return Preprocess.from_config(config, size=(size, size) if isinstance(size, int) else size, where="test"), theirs


def photo(height, width):
    """Detail at every scale, and no channel like another: a shift by a pixel shows."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = [np.sin(0.9 * x + 0.3 * y), np.sin(x * y / 50), np.cos(0.05 * x) * np.sin(0.7 * y)]
    return np.stack([(127.5 + 127.5 * wave).astype(np.uint8) for wave in waves], axis=2)


def as_pixels(picture):
    """(H, W, 3) of 8 bits -> (1, 3, H, W) float32 array in [0, 1]."""
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1)[None], np.float32) / 255


def ours_of_picture(preprocess, picture, kind=np.asarray):
    return preprocess.resize(kind(as_pixels(preprocess.fit(picture))))[0]


each_kind = pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["array", "tensor"])


@pytest.mark.parametrize("size", SIZES)
@given(short=st.integers(1, 1500), ratio=st.floats(1, 12), upright=st.booleans())
@settings(max_examples=300, deadline=None)
def test_sizes_are_torchvisions(size, short, ratio, upright):
    """The size that torchvision resizes to, at any size: below the tower's there would be a black line."""
    from torchvision.transforms.functional import _compute_resized_output_size

    h, w = (int(short * ratio), short) if upright else (short, int(short * ratio))
    preprocess, _ = pair_of(size)
    assert list(preprocess.fitted(h, w)) == _compute_resized_output_size((h, w), [size])


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@given(
    size=st.sampled_from([*SIZES, (224, 336), (384, 240)]), short=st.integers(9, 500), ratio=st.floats(1, 3),
    upright=st.booleans(), fill=st.sampled_from([0, 128]),
)  # fmt: skip
@settings(max_examples=12, deadline=None)
def test_pixels_are_open_clips(resize_mode, interpolation, size, short, ratio, upright, fill):
    """Equal in every bit: a Pillow picture, and a float tensor of the same pixels; an array but for rounding."""
    from PIL import Image

    shape = (int(short * ratio), short) if upright else (short, int(short * ratio))
    pixels = photo(*shape)
    ours, theirs = pair_of(size, interpolation=interpolation, resize_mode=resize_mode, fill_color=fill)
    for kind in (np.asarray, torch.from_numpy):
        found = torch.as_tensor(ours_of_picture(ours, Image.fromarray(pixels), kind))
        assert torch.equal(found, theirs(Image.fromarray(pixels)))
    array = as_pixels(pixels).astype(np.float64)  # in float32 torch places pixels to 1e-5 or so
    resized = ours.resize(array)
    np.testing.assert_allclose(resized, ours.resize(torch.from_numpy(array)), atol=1e-9, rtol=0)
    np.testing.assert_allclose(ours.resize(array.astype(np.float32)), resized, atol=1e-6, rtol=0)
    if resize_mode == "squash" or (resize_mode == "shortest" and isinstance(size, int)):  # else it takes no tensors
        tensor = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
        assert torch.equal(ours.resize(tensor[None])[0], theirs(tensor))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@given(given=st.tuples(*[st.integers(1, 200)] * 2), wanted=st.tuples(*[st.integers(2, 200)] * 2))
@settings(max_examples=60, deadline=None)
def test_arrays_are_resampled_as_torch_does(interpolation, given, wanted):
    """Either axis made larger or smaller, whatever the other. (A new width of 1 is wrong in torch 2.14.)"""
    pixels = np.random.default_rng(0).random((2, 3, *given))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(pixels), wanted, mode=interpolation, antialias=True, align_corners=False
    )
    found = resample(pixels, wanted, interpolation)
    np.testing.assert_allclose(found, expected, atol=1e-9, rtol=0)
    single = resample(pixels.astype(np.float32), wanted, interpolation)
    assert single.dtype == np.float32 and single.flags.c_contiguous
    np.testing.assert_allclose(single, found, atol=2e-6, rtol=0)
    assert resample(pixels[:0], wanted, interpolation).shape == (0, 3, *wanted)


@pytest.mark.parametrize(
    "shape", [(375, 500), (500, 333), (1200, 1600), (3024, 4032), (224, 224), (223, 225), (97, 61)]
)
@pytest.mark.parametrize("size", SIZES)
@each_kind
def test_no_line_of_a_white_photo_is_black(kind, size, shape):
    from PIL import Image

    ours, _ = pair_of(size)
    assert ours_of_picture(ours, Image.new("RGB", shape[::-1], "white"), kind).min() == 1
    assert ours.resize(kind(np.ones((1, 3, *shape), np.float32))).min() > 0.999


@each_kind
def test_a_very_long_picture_is_read_in_its_middle(kind):
    """open_clip would resample a strip of 3 x 60,000 pixels to 224 x 4,480,000."""
    from PIL import Image

    ours, _ = pair_of(224)
    strip = np.zeros((3, 60_000, 3), np.uint8)
    strip[:, 29_000:31_000] = 255
    assert ours_of_picture(ours, Image.fromarray(strip), kind).min() == 1
    resized = ours.resize(kind(as_pixels(strip)))
    assert resized.shape == (1, 3, 224, 224) and resized.min() > 0.999
    assert max(ours.fit(Image.fromarray(strip)).size) <= 224 * 32


@each_kind
def test_preprocess_config_round_trip(kind):
    config = {**PREPROCESS, "resize_mode": "longest", "fill_color": 128}
    one = Preprocess.from_config(config, size=(8, 9), where="test")
    assert Preprocess.from_config(one.as_config(), size=(8, 9), where="test") == one
    padded = one.resize(kind(np.ones((1, 3, 90, 8), np.float32)))
    assert padded.shape == (1, 3, 8, 9) and padded[0, 0, 0, 0] == pytest.approx(128 / 255)


# Embedded spaces ------------------------------------------------------------------------------------------------------

WORDS = {"a": "text", "photo": "text", "of": "text", "chair": "pictures", "night stand": "pictures", "leaf": "text",
         "knives": "text", "t-shirt": "pictures"}  # fmt: skip


def save(space, folder, config=VIT, **changes):
    tokens = space.backbone.tokenizer([f"a photo of a {word}" for word in WORDS]).unique().tolist()
    options = {
        "name": "toy",
        "version": "3",
        "model_cfg": config,
        "preprocess_cfg": PREPROCESS,
        "vocabulary": {"words": WORDS},
    }
    return save_embedded(space.backbone.model, folder, **{**options, "token_index": tokens, **changes})


@pytest.fixture
def toy(tiny_vit_space, tmp_path):
    return save(tiny_vit_space, tmp_path / "toy", card="# toy\n", about={"recipe": "none"})


@pytest.mark.parametrize("family", ["resnet", "vit", "custom-text"])
def test_saved_space_is_the_same(family, tmp_path):
    config = {"resnet": RESNET, "vit": VIT, "custom-text": {**VIT, "custom_text": True}}[family]
    space = random_space(config, preprocess_cfg=PREPROCESS)
    loaded = load_space(save(space, tmp_path / "toy", config))
    assert (loaded.folder, loaded.version, loaded.name) == (tmp_path / "toy", "3", "toy")
    assert loaded.id.startswith("toy:")
    assert (loaded.encode_image(picture()) * space.encode_image(picture())).sum(dim=1).min() > 0.9999
    texts = ["a photo of a chair", "a night stand"]
    assert (loaded.encode_text(texts) * space.encode_text(texts)).sum(1).min() > 0.9999
    assert loaded.logit_scale == pytest.approx(space.logit_scale, rel=1e-6)
    assert loaded.id == load_space(tmp_path / "toy").id
    assert loaded.train() is loaded and not any(p.requires_grad for p in loaded.backbone.model.parameters())


def test_files_of_an_embedded_space(toy, tiny_vit_space):
    from safetensors.torch import load_file

    assert {p.name for p in toy.iterdir()} == {
        "space.json", bb.CONFIG, "weights.safetensors", "vocabulary.json", "README.md",
    }  # fmt: skip
    about = json.loads((toy / "space.json").read_text())
    assert about["recipe"] == "none" and about["licence"] == "Apache-2.0"
    assert about["weights_bytes"] == (toy / "weights.safetensors").stat().st_size < 1_000_000
    state = load_file(toy / "weights.safetensors")
    assert state["token_rows"].dtype == torch.float16 and state["token_index"].dtype == torch.int32
    assert len(state["token_rows"]) == len(state["token_index"]) < 40 and "token_embedding.weight" not in state
    table = load_space(toy).backbone.model.token_embedding.weight
    assert (table.norm(dim=1) > 0).nonzero().flatten().tolist() == state["token_index"].tolist()


def test_saving_again_keeps_the_card_and_the_bytes(toy, tiny_vit_space):
    before = {p.name: p.read_bytes() for p in toy.iterdir()}
    save(tiny_vit_space, toy, about={"recipe": "none"})
    assert {p.name: p.read_bytes() for p in toy.iterdir()} == before


def test_what_cannot_be_saved(tiny_vit_space, tmp_path):
    with pytest.raises(InputError, match=r"token ids must be in 0\.\.49407"):
        save(tiny_vit_space, tmp_path / "toy", token_index=[49408])
    huge = bb.build_model(VIT)
    huge.visual.proj.data[0, 0] = 1e6
    with pytest.raises(InputError, match=r"visual\.proj: a weight does not fit float16"):
        save_embedded(
            huge, tmp_path / "toy", name="x", version="1", model_cfg=VIT, preprocess_cfg={}, vocabulary={"words": {}}
        )
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"weights\.safetensors: cannot be written"):
        save(tiny_vit_space, tmp_path / "file")
    assert not (tmp_path / "toy").exists()


@pytest.mark.parametrize("where", [10, 5000, -1])
def test_corrupt_weights(toy, where):
    blob = bytearray((toy / "weights.safetensors").read_bytes())
    blob[where] ^= 1
    (toy / "weights.safetensors").write_bytes(blob)
    with pytest.raises(SpaceError, match=r"weights\.safetensors: weights are corrupt"):
        load_space(toy)


@pytest.mark.parametrize(
    ("file", "content", "what"),
    [
        ("weights.safetensors", None, "weights are missing"),
        ("weights.safetensors", b"", "weights are corrupt"),
        ("space.json", b"{}", "missing keys: name, version"),
        ("space.json", b"[1]", "not a JSON object"),
        ("space.json", b"[" * 100_000, "cannot be read"),
        ("space.json", b'{"name": 3, "version": "1", "weights_bytes": 1, "weights_sha256": "x"}', "missing keys: name"),
        ("vocabulary.json", b'{"words": [1]}', "malformed space"),
        ("vocabulary.json", None, "cannot be read"),
        ("vocabulary.json", b"{}", "malformed space"),
        ("vocabulary.json", b"\xff\xfe", "cannot be read"),
        (bb.CONFIG, b'{"model_cfg": 3}', "malformed space"),
        (bb.CONFIG, b"{", "cannot be read"),
    ],
)
def test_broken_files(toy, file, content, what):
    (toy / file).unlink() if content is None else (toy / file).write_bytes(content)
    with pytest.raises(SpaceError, match=what):
        load_embedded(toy)


def rewrite(folder, tensors):
    """Other tensors under a right hash."""
    from safetensors.torch import load_file, save_file

    save_file({**load_file(folder / "weights.safetensors"), **tensors}, folder / "weights.safetensors")
    about = json.loads((folder / "space.json").read_text())
    about["weights_sha256"] = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    (folder / "space.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    "tensors",
    [
        {"token_index": torch.tensor([49408], dtype=torch.int32)},
        {"token_index": torch.tensor(3)},
        {"token_index": torch.tensor([-1], dtype=torch.int32), "token_rows": torch.zeros(1, 32)},
        {"token_index": torch.tensor([1, 2], dtype=torch.int32), "token_rows": torch.zeros(1, 32)},
        {"token_index": torch.tensor([49408], dtype=torch.int32), "token_rows": torch.zeros(1, 32)},
        {"token_rows": torch.zeros(())},
    ],
    ids=["too few", "no list", "negative", "broadcast", "out of range", "no table"],
)
def test_malformed_tokens(toy, tensors):
    rewrite(toy, tensors)
    with pytest.raises(SpaceError, match="malformed space"):
        load_embedded(toy)


def test_weights_that_are_no_safetensors(toy):
    about = json.loads((toy / "space.json").read_text())
    (toy / "weights.safetensors").write_bytes(b"junk")
    (toy / "space.json").write_text(json.dumps({**about, "weights_sha256": hashlib.sha256(b"junk").hexdigest()}))
    with pytest.raises(SpaceError, match="malformed space"):
        load_embedded(toy)


@pytest.mark.parametrize("vocab_size", [-3, "many", 10])
def test_malformed_vocabulary_sizes(toy, vocab_size):
    model = {**VIT, "text_cfg": {**VIT["text_cfg"], "vocab_size": vocab_size}}
    (toy / bb.CONFIG).write_text(json.dumps({"model_cfg": model, "preprocess_cfg": PREPROCESS}))
    with pytest.raises(SpaceError):
        load_embedded(toy)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"mean": ["x", 0, 0]}, "mean is"),
        ({"mean": "grey"}, "mean is"),
        ({"mean": [0, 0]}, "mean is"),
        ({"std": [1, math.nan, 1]}, "std is"),
        ({"std": 0}, "std is"),
        ({"fill_color": "black"}, "fill_color is"),
        ({"interpolation": ["bicubic"]}, "interpolation is"),
    ],
)
def test_malformed_preprocessing(changes, what):
    with pytest.raises(SpaceError, match=f"preprocessing is unknown: {what}"):
        Preprocess.from_config({**PREPROCESS, **changes}, size=(8, 8), where="test")


def test_weights_of_another_architecture(toy):
    config = {"model_cfg": {**VIT, "embed_dim": 48}, "preprocess_cfg": PREPROCESS}
    (toy / bb.CONFIG).write_text(json.dumps(config))
    with pytest.raises(SpaceError, match="do not fit"):
        load_embedded(toy)


def test_embedded_by_name(toy, monkeypatch):
    monkeypatch.setattr(clipx.spaces.embedded, "SPACES", toy.parent)
    assert load_space("toy").folder == toy
    (info,) = list_spaces(pretrained=False)
    assert (info.name, info.kind, info.version, info.licence) == ("toy", "embedded", "3", "Apache-2.0")
    assert info.weights_bytes and load_space("toy").weights_sha256 == info.weights_sha256
    names = {info.name for info in list_spaces()}
    assert {"toy", "ViT-B-32-quickgelu/openai"} <= names and "ViT-B-32/openai" not in names
    with pytest.raises(SpaceError, match="did you mean toy"):
        load_space("toyy")


# Vocabulary -----------------------------------------------------------------------------------------------------------


def test_coverage(toy):
    space = load_space(toy)
    assert space.unknown("A photo of Chairs, night-stand; leaves! knife t-shirts night_stand") == []
    assert space.unknown("a photo of a zebra, a Zebra and 7 ch\u00e4irs") == ["zebra", "and", "7", "ch\u00e4irs"]
    space.require_words(["a photo of a chair", "leaf"])
    with pytest.raises(VocabularyError, match=r"space toy: words this space never saw: chiar \(nearest: chair"):
        space.require_words(["a chiar"])
    with pytest.raises(VocabularyError, match="and 2 more"):
        space.require_words([" ".join(f"w{c}{c}{c}" for c in "abcdefg")])


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("\u6905\u5b50", ["\u6905\u5b50"]),  # chair, in Chinese
        ("a \u0441\u0442\u0443\u043b", ["\u0441\u0442\u0443\u043b"]),  # in Russian
        ("cha\u0308ir", ["ch\u00e4ir"]),  # the same word, its accent a character of its own
        ("?!", ["?!"]),
        ("\U0001fa91", ["\U0001fa91"]),  # an emoji
        ("chair?!", []),
        ("", []),  # encode_text refuses it
    ],
)
def test_other_scripts_and_no_words_at_all_are_unknown(text, unknown):
    vocabulary = Vocabulary(WORDS)
    assert vocabulary.unknown(text) == unknown
    if unknown:
        with pytest.raises(VocabularyError, match=re.escape(unknown[0])):
            vocabulary.require([text], "here")
    assert vocabulary.unknown(vocabulary.rewrite(text)) == unknown


def test_unseen_plurals_mean_what_was_seen(toy):
    """Rows of tokens that training never saw are zero, so a plural must be read as its singular."""
    space = load_space(toy)
    assert np.array_equal(
        space.encode_text(["two chairs", "A photo of LEAVES"]), space.encode_text(["two chair", "a photo of leaf"])
    )


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("Two chairs.", "Two chair."),
        ("night_stands", "night stand"),
        ("a knife's edge", "a knives edge"),
        ("glass of bus", "glass of bus"),
        ("leaves, Leaf", "leaf, leaf"),
    ],
)
def test_rewrite(text, rewritten):
    assert Vocabulary({**WORDS, "bus": "text", "glass": "text"}).rewrite(text) == rewritten


def test_words_in():
    assert words_in("A dog's t-shirt, night_stand (x2)") == ["a", "dog's", "t", "shirt", "night", "stand", "x2"]


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("", "no space named ''"),
        ("nowhere", "no space named 'nowhere'.*clipx spaces"),
        ("ViT-B-32", "say which weights: ViT-B-32/"),
        ("./no/such.pt", "no space named"),
        ("ViT-B-32/openai", "take ViT-B-32-quickgelu"),
        ("ViT-X/openai", "no architecture 'ViT-X'"),
        ("RN50/no/such.pt", "neither a weights file nor a pretrained tag"),
        ("random:RN5", "no architecture"),
        ("random:RN50:x", "seed must be a whole number"),
    ],
)
def test_names_that_load_nothing(name, what):
    with pytest.raises(SpaceError, match=what):
        load_space(name)


def test_device_and_dtype_that_cannot_be():
    with pytest.raises(InputError, match="device 'nonsense' cannot be used here"):
        load_space("random:RN50", device="nonsense")
    with pytest.raises(InputError, match="floating dtype"):
        load_space("random:RN50", dtype=torch.int64)


def test_folder_without_config(tmp_path):
    with pytest.raises(SpaceError, match=r"open_clip_config\.json: is missing"):
        load_space(tmp_path)


def test_open_clip_folder(tmp_path, tiny_vit_space):
    torch.save(tiny_vit_space.backbone.model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    (tmp_path / bb.CONFIG).write_text(json.dumps({"model_cfg": VIT, "preprocess_cfg": PREPROCESS}))
    space = load_space(tmp_path, dtype=torch.float64)
    assert space.dtype == torch.float64 and space.weights_sha256 == tiny_vit_space.weights_sha256
    assert space.folder is None and space.unknown("zxqw") == []


def test_hub_offline(monkeypatch):
    monkeypatch.setattr("clipx.backbone.hub.reachable", lambda: False)
    with pytest.raises(SpaceError, match=r"org/model.*offline.*lite.*local folder"):
        load_space("hf-hub:org/model")


def test_embedded_spaces_by_use(monkeypatch):
    assert embedded_for("class_attention") == ["nano-vit"] and embedded_for("drawings") == ["nano", "nano-vit"]
    assert embedded_for("drawings_of_photos") == ["nano-vit"] and embedded_for("smells") == []
    assert load_space(embedded_for("class_attention")[0]).supports("class_attention")
    monkeypatch.setattr("clipx.spaces.embedded.embedded_names", lambda: ["lite"])
    assert embedded_for("drawings") == []
