"""Refinement moves borders to edges; MaskCLIP's denoising does what its formulas say."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clipx.errors import InputError
from clipx.modalities.segment import refine
from clipx.modalities.segment.denoise import denoise_prompts, smooth_keys
from clipx.modalities.segment.refine import REFINEMENTS, guided, pamr, superpixels

EDGE = 37  # columns left of it are one thing


def made(height=64, width=96, off=4.5, noise=0.02):
    """A photo of two colours that meet at column 37, and logits whose border is blurred and off by some pixels."""
    generator = torch.Generator().manual_seed(0)
    right = (torch.arange(width) >= EDGE).float().expand(height, width)
    photo = torch.stack([0.2 + 0.5 * right, 0.6 - 0.3 * right, 0.3 + 0.2 * right])
    photo = (photo + noise * torch.randn(photo.shape, generator=generator)).clamp(0, 1)
    ramp = ((torch.arange(width) - EDGE - off) / 8).expand(height, width).clamp(-1, 1)
    return torch.stack([-ramp, ramp]), photo, right.long()


@pytest.mark.parametrize(
    ("name", "off", "options"),
    [
        ("pamr", 4.5, {}),
        ("pamr", 4.5, {"steps": 20, "dilations": (2, 4)}),
        ("superpixels", 4.5, {"count": 60}),
        ("guided", 2.5, {}),  # its windows average: it sharpens a border that is nearly right
    ],
)
def test_a_blurred_border_moves_to_the_edge(name, off, options):
    logits, photo, truth = made(off=off)
    wrong = int((logits.argmax(0) != truth).sum())
    left = int((REFINEMENTS[name](logits, photo, **options).argmax(0) != truth).sum())
    assert wrong >= 2 * 64 and left <= wrong / 4, (left, wrong)


@pytest.mark.parametrize("name", REFINEMENTS)
def test_constant_logits_stay_constant(name):
    _, photo, _ = made()
    logits = torch.tensor([3.0, -2.0, 0.5])[:, None, None].expand(3, 64, 96)
    torch.testing.assert_close(REFINEMENTS[name](logits, photo), logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", REFINEMENTS)
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (5, 7)])
def test_small_photos(name, size):
    photo = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    found = REFINEMENTS[name](torch.rand(2, *size), photo)
    assert found.shape == (2, *size) and torch.isfinite(found).all()


@pytest.mark.parametrize("name", REFINEMENTS)
def test_one_colour_has_no_edges(name):
    logits, _, _ = made()
    assert torch.isfinite(REFINEMENTS[name](logits, torch.full((3, 64, 96), 0.5))).all()


@pytest.mark.parametrize("name", ["pamr", "guided"])
def test_strips_are_the_whole(name, monkeypatch):
    """Large photos are worked on in strips, which changes nothing."""
    logits, photo, _ = made(height=300)
    options = {"steps": 3, "dilations": (2, 4)} if name == "pamr" else {"radius": 5}
    whole = REFINEMENTS[name](logits, photo, **options)
    monkeypatch.setattr(refine, "STRIP", 1)
    torch.testing.assert_close(REFINEMENTS[name](logits, photo, **options), whole, atol=1e-4, rtol=1e-4)


def test_superpixels_of_a_large_photo_are_found_at_a_smaller_size(monkeypatch):
    logits, photo, truth = made()
    monkeypatch.setattr(refine, "SLIC_PIXELS", 64 * 96 // 4)
    found = superpixels(logits, photo, 60)
    assert found.shape == logits.shape
    assert (found.argmax(0) != truth).sum() <= (logits.argmax(0) != truth).sum() / 2


def test_pamr_is_the_papers_formula():
    """A transcription, pixel by pixel: softmax over 16 neighbours of -|I - I'| / (.1 sigma), the channels' mean."""
    rng = np.random.default_rng(0)
    photo, logits = rng.random((3, 9, 11)), rng.random((2, 9, 11))
    found = pamr(torch.from_numpy(logits), torch.from_numpy(photo), steps=2, dilations=(1, 3))

    def at(maps, y, x):
        return maps[:, min(max(y, 0), 8), min(max(x, 0), 10)]

    places = [(d * i, d * j) for d in (1, 3) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    near = [place for place in places if place != (0, 0)]
    expected = logits
    for _ in range(2):
        after = np.zeros_like(expected)
        for y in range(9):
            for x in range(11):
                sigma = np.std([at(photo, y + i, x + j) for i, j in places], axis=0, ddof=1)
                k = [-(abs(at(photo, y + i, x + j) - photo[:, y, x]) / (1e-8 + 0.1 * sigma)).mean() for i, j in near]
                weights = np.exp(np.array(k) - max(k))
                weights /= weights.sum()
                after[:, y, x] = sum(w * at(expected, y + i, x + j) for w, (i, j) in zip(weights, near, strict=True))
        expected = after
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-8)


def test_guided_is_the_papers_formula():
    rng = np.random.default_rng(0)
    photo, logits = rng.random((3, 9, 11)), rng.random((1, 9, 11))
    p, eps, r = logits[0], 1e-2, 2

    def window(maps, y, x):
        return maps[..., max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1].reshape(*maps.shape[:-2], -1)

    a, b = np.zeros_like(photo), np.zeros_like(p)
    for y in range(9):
        for x in range(11):
            i, q = window(photo, y, x), window(p, y, x)
            mean = i.mean(1)
            a[:, y, x] = np.linalg.solve(np.cov(i, ddof=0) + eps * np.eye(3), (i * q).mean(1) - mean * q.mean())
            b[y, x] = q.mean() - a[:, y, x] @ mean
    expected = [
        [window(a, y, x).mean(1) @ photo[:, y, x] + window(b, y, x).mean() for x in range(11)] for y in range(9)
    ]
    found = guided(torch.from_numpy(logits), torch.from_numpy(photo), r, eps)[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-8)


def test_bad_refinements():
    logits, photo, _ = made()
    for function in REFINEMENTS.values():
        with pytest.raises(InputError, match="same size"):
            function(logits[:, 1:], photo)
    for call in (
        lambda: pamr(logits, photo, steps=-1),
        lambda: pamr(logits, photo, dilations=()),
        lambda: superpixels(logits, photo, count=0),
        lambda: guided(logits, photo, radius=0),
        lambda: guided(logits, photo, eps=0),
    ):
        with pytest.raises(InputError, match="need"):
            call()


# MaskCLIP's denoising -------------------------------------------------------------------------------------------------


def test_prompt_denoising_leaves_out_classes_that_are_nowhere_likely():
    logits = torch.tensor([[[4.0, 0.0]], [[0.0, 4.0]], [[3.0, 3.0]]])[None]  # the third never wins with confidence
    best = logits.softmax(1).amax((2, 3))[0]
    found = denoise_prompts(logits, 0.5)
    for k in range(3):
        expected = logits[0, k] if best[k] >= 0.5 else torch.full((1, 2), -100.0)
        assert torch.equal(found[0, k], expected)
    assert torch.equal(found[:, 2], torch.full((1, 1, 2), -100.0))
    assert torch.equal(denoise_prompts(logits[0], 0.5), found[0])
    assert torch.equal(denoise_prompts(logits, 1.0), logits)  # none is left: the picture stays as it is


def test_key_smoothing_is_cosine_times_probabilities_where_unsure():
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(2, 3, 4, 5, generator=generator).softmax(1)
    keys = torch.randn(2, 7, 4, 5, generator=generator)
    found = smooth_keys(p, keys, 0.4)
    for n in range(2):
        rows, probabilities = keys[n].flatten(1).T, p[n].flatten(1).T
        for i in range(20):
            expected = probabilities[i]
            if expected.max() < 0.4:
                cosines = F.cosine_similarity(rows[i], rows, dim=1)
                expected = (cosines[:, None] * probabilities).sum(0)
            torch.testing.assert_close(found[n].flatten(1).T[i], expected)
    assert torch.equal(smooth_keys(p, keys, 0.0), p)


def test_denoising_refuses_what_does_not_fit():
    p = torch.rand(1, 3, 4, 5)
    for call in (
        lambda: denoise_prompts(p, 1.5),
        lambda: denoise_prompts(p[0, 0], 0.5),
        lambda: smooth_keys(p, torch.rand(1, 7, 4, 4)),
        lambda: smooth_keys(p, torch.rand(2, 7, 4, 5)),
    ):
        with pytest.raises(InputError):
            call()
