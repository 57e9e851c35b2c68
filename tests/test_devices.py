"""Every job on a device other than the CPU: one that only pretends (see pretend_device.py), and real ones where there
are any (marked gpu)."""

from __future__ import annotations

import copy
from dataclasses import replace

import pretend_device
import pytest
import torch

from clipx.modalities.sketch.raster import rasterize


@pytest.fixture(scope="module")
def device():
    return pretend_device.register()


def there(space, device, dtype=None):
    """A copy of a space on a device."""
    moved = copy.deepcopy(space)
    moved.backbone.to(device, dtype)
    return moved


# Strokes --------------------------------------------------------------------------------------------------------------


def strokes(count=6, batch=(2,)):
    rng = torch.Generator().manual_seed(0)
    return {
        "strokes": 64 * torch.rand(*batch, count, 4, 2, generator=rng),
        "width_px": 1 + 3 * torch.rand(*batch, count, generator=rng),
        "alpha": torch.rand(*batch, count, generator=rng),
        "color": torch.rand(*batch, count, 3, generator=rng),
        "background": torch.rand(*batch, 3, 64, 64, generator=rng),
    }


def painted(device, backend="auto", **given):
    """The picture, and the gradient of something in all that was given; both on the CPU."""
    leaves = {k: v.to(device).requires_grad_() for k, v in given.items()}
    picture = rasterize(size=64, backend=backend, **leaves)
    assert picture.device.type == torch.device(device).type
    slope = torch.linspace(-1, 1, 64).to(device)
    gradients = torch.autograd.grad((picture * slope).square().sum(), list(leaves.values()))
    assert all(g.device.type == torch.device(device).type for g in gradients)
    return picture.detach().cpu(), [g.cpu() for g in gradients]


@pytest.mark.parametrize("backend", ["auto", "numba"])
@pytest.mark.parametrize("names", [("strokes",), ("strokes", "width_px", "alpha", "color", "background")])
def test_strokes_on_a_device_are_painted_by_the_cpu_kernel(backend, names, device):
    given = {name: value for name, value in strokes().items() if name in names}
    picture, gradients = painted("cpu", "numba", **given)
    pretend_device.called.clear()
    there, gradients_there = painted(device, backend, **given)
    assert torch.equal(there, picture)
    assert all(torch.equal(a, b) for a, b in zip(gradients, gradients_there, strict=True))
    assert sum(pretend_device.called.values()) < 60  # and nothing a stroke: twelve are painted


def test_the_picture_is_moved_once_and_black_on_white_as_one_channel(device):
    given = strokes()["strokes"].to(device)
    pretend_device.moved.clear()
    picture = rasterize(given, 64)
    assert picture.shape == (2, 3, 64, 64)
    assert pretend_device.moved["to"] == 2 * 64 * 64 and pretend_device.moved["from"] == given.numel()


def test_numba_paints_float32_only(device):
    from clipx.errors import InputError

    with pytest.raises(InputError, match="float32"):
        rasterize(strokes()["strokes"].double(), 64, backend="numba")


def test_a_photo_is_drawn_on_a_device_as_on_the_cpu(device, tiny_space):
    from PIL import Image

    from clipx.modalities.sketch.draw import DrawConfig, draw
    from clipx.modalities.sketch.target import prepare

    photo = Image.new("RGB", (60, 50), (230, 230, 230))
    photo.paste((40, 60, 90), (20, 10, 40, 40))
    config = DrawConfig(strokes=(3, 12), seeds=(0,), steps=5, views=1, pool=2, revive=False, rank=False)
    (few, many), steps = draw([prepare(photo)], tiny_space, config), []
    space = there(tiny_space, device)
    for found, wanted in zip(draw([prepare(photo)], space, config), (few, many), strict=True):
        assert found.loss == pytest.approx(wanted.loss, rel=0.02)
        assert torch.allclose(found.strokes.points, wanted.strokes.points, atol=0.5)
    for count in (3, 12):  # as many steps of the device, however many strokes
        pretend_device.called.clear()
        draw([prepare(photo)], space, replace(config, strokes=(count,)))
        steps.append(sum(pretend_device.called.values()))
    assert steps[0] == steps[1]


# Sounds ---------------------------------------------------------------------------------------------------------------


def noises(count):
    from clipx.modalities.audio.files import Sound

    rng = torch.Generator().manual_seed(0)
    return [Sound(0.1 * torch.randn(1, 22_050 * (1 + i % 3), generator=rng), 22_050) for i in range(count)]


def test_windows_of_several_files_are_heard_together(device, tiny_space):
    from clipx.index.scan import Found
    from clipx.index.steps import Read, encode
    from clipx.modalities.audio import Audio, AudioConfig

    sounds, config = noises(6), AudioConfig(window_s=2.0)
    wanted = Audio(tiny_space, config).encode(sounds).vectors
    audio = Audio(there(tiny_space, device), config)
    batches = []
    audio.tower.net.register_forward_pre_hook(lambda net, waves: batches.append(len(waves[0])))
    assert torch.allclose(audio.encode(sounds).vectors.cpu(), wanted, atol=1e-5)
    assert batches == [8]  # of 1, 1 and 2 windows, twice
    batches.clear()
    entries = encode([Read(Found(f"{i}.wav", 0, 0, "audio"), str(i), own) for i, own in enumerate(sounds)], audio)
    assert [len(entry.vectors) for entry in entries] == [1, 1, 2, 1, 1, 2] and batches == [8]
    assert entries[2].times == [(0.0, 2.0), (1.0, 3.0)]
