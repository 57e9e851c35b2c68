"""Labels -> logits per cell -> any H x W."""

import pytest
import torch
from conftest import VIT
from torch.nn import functional as F

from clipx.dense import _boxes, dense_logits
from clipx.embedding import Embedding
from clipx.errors import InputError, SpaceMismatchError, UnsupportedError
from clipx.space import random_space

LABELS = ["a chair", "the wall", "a dog"]


@pytest.fixture(params=["tiny_space", "tiny_vit_space"])
def space(request):
    return request.getfixturevalue(request.param)


def picture(n=2, h=64, w=96, seed=0):
    return torch.rand(n, 3, h, w, generator=torch.Generator().manual_seed(seed))


def test_whole_picture_is_cosine_times_scale(space):
    """The definition."""
    x, labels = picture(), space.embed_text(LABELS)
    cells = space.logit_scale * torch.einsum("ndhw,kd->nkhw", space.dense_image(x), torch.from_numpy(labels.vectors))
    expected = F.interpolate(cells, (64, 96), mode="bilinear")
    logits = dense_logits(space, x, labels)
    assert logits.shape == (2, 3, 64, 96) and logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(dense_logits(space, x, labels.vectors), expected)
    assert logits.abs().max() <= space.logit_scale * 1.0001


@pytest.mark.parametrize("size", [(1, 1), (17, 5), (200, 300)])
def test_any_size(space, size):
    labels = space.embed_text(LABELS)
    assert dense_logits(space, picture(), labels, size=size).shape == (2, 3, *size)
    assert dense_logits(space, picture(h=50, w=70), labels, window=40, size=size).shape == (2, 3, *size)


def test_one_window_is_the_whole(space):
    labels = space.embed_text(LABELS)
    whole = dense_logits(space, picture(), labels)
    torch.testing.assert_close(dense_logits(space, picture(), labels, window=(64, 96)), whole)
    torch.testing.assert_close(dense_logits(space, picture(), labels, window=1000, stride=3), whole)


def test_windows_are_averaged(space):
    x, labels = picture(), space.embed_text(LABELS)
    logits = dense_logits(space, x, labels, window=64, stride=32)
    left, right = dense_logits(space, x[..., :64], labels), dense_logits(space, x[..., 32:], labels)
    torch.testing.assert_close(logits[..., :32], left[..., :32])
    torch.testing.assert_close(logits[..., 64:], right[..., 32:])
    torch.testing.assert_close(logits[..., 32:64], (left[..., 32:] + right[..., :32]) / 2)


@pytest.mark.parametrize("canvas", [(10, 10), (33, 47), (5, 100)])
@pytest.mark.parametrize("window", [(8, 8), (16, 4), (64, 64)])
def test_windows_cover_everything(canvas, window):
    seen = torch.zeros(canvas)
    for top, left, height, width in _boxes(canvas, window, None):
        assert 0 <= top <= canvas[0] - height and 0 <= left <= canvas[1] - width
        assert (height, width) == (min(window[0], canvas[0]), min(window[1], canvas[1]))
        seen[top : top + height, left : left + width] += 1
    assert seen.min() >= 1


def test_flip(space):
    x, labels = picture(), space.embed_text(LABELS)
    flipped = dense_logits(space, x, labels, flip=True)
    mirrored = dense_logits(space, x.flip(-1), labels).flip(-1)
    torch.testing.assert_close(flipped, (dense_logits(space, x, labels) + mirrored) / 2)
    torch.testing.assert_close(dense_logits(space, x.flip(-1), labels, flip=True), flipped.flip(-1))


def test_batches_do_not_matter(space):
    x, labels = picture(n=3), space.embed_text(LABELS)
    whole = dense_logits(space, x, labels, window=64, flip=True)
    for i in range(3):
        alone = dense_logits(space, x[i : i + 1], labels, window=64, flip=True)[0]
        torch.testing.assert_close(alone, whole[i], atol=1e-4, rtol=0)  # logits are cosines times 14
    assert dense_logits(space, x[:0], labels).shape == (0, 3, 64, 96)
    assert dense_logits(space, x[:0], labels, window=40, size=(5, 6)).shape == (0, 3, 5, 6)


def test_gradients(space):
    x = picture(n=1).requires_grad_()
    labels = torch.from_numpy(space.encode_text(LABELS)).requires_grad_()
    dense_logits(space, x, labels, window=64, flip=True)[:, 0].mean().backward()
    assert x.grad.abs().max() > 0 and labels.grad[0].abs().max() > 0 and labels.grad[1].abs().max() == 0


def test_tower_of_one_size():
    """Windows of any size are resampled to the only one it takes."""
    vision = {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none", "image_size": 160}
    space = random_space({"embed_dim": 64, "custom_text": True, "vision_cfg": vision, "text_cfg": VIT["text_cfg"]})
    labels = space.embed_text(LABELS)
    assert dense_logits(space, picture(), labels).shape == (2, 3, 64, 96)
    assert dense_logits(space, picture(), labels, window=64).shape == (2, 3, 64, 96)


def test_bad_input(space, tiny_vit_space):
    labels, x = space.embed_text(LABELS), picture()
    for options, what in [
        ({"window": 0}, "window must be a positive"),
        ({"window": (4, 4, 4)}, "window must be a positive"),
        ({"window": 2.5}, "window must be a positive"),
        ({"stride": 4}, "a stride needs a window"),
        ({"window": 32, "stride": 33}, "pixels would be left out"),
        ({"size": (0, 4)}, "size must be a positive"),
    ]:
        with pytest.raises(InputError, match=what):
            dense_logits(space, x, labels, **options)
    with pytest.raises(InputError, match=r"labels must be \(K, 32\)"):
        dense_logits(space, x, labels.vectors[:0])
    with pytest.raises(InputError, match=r"labels must be \(K, 32\)"):
        dense_logits(space, x, torch.ones(3, 7))
    with pytest.raises(InputError, match="pixels"):
        dense_logits(space, x[0], labels)
    with pytest.raises(SpaceMismatchError):
        dense_logits(space, x, Embedding(labels.vectors, "another", "text"))


def test_tower_without_dense_features():
    vision = {"timm_model_name": "test_convnext", "timm_pool": "avg", "timm_proj": "linear", "image_size": 160}
    space = random_space({"embed_dim": 32, "custom_text": True, "vision_cfg": vision, "text_cfg": VIT["text_cfg"]})
    with pytest.raises(UnsupportedError, match="has no dense"):
        dense_logits(space, picture(h=160, w=160), space.embed_text(LABELS))
