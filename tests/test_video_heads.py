"""Heads on frame vectors: before training they are the mean, padding changes nothing, and a file brings them back."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clipx.errors import FileError, InputError, SpaceMismatchError
from clipx.files import parse_tensors, write_tensors
from clipx.modalities.video.heads import HEADS, Head, load_head, new_head
from clipx.modalities.video.heads.base import padded, spread

SAMPLING = {"fps": 1.0, "frames": 0, "uniform": 6}
ALL = sorted(HEADS)


def films(dim=32, counts=(6, 3, 1, 5), seed=0):
    make = torch.Generator().manual_seed(seed)
    return [F.normalize(torch.randn(count, dim, generator=make), dim=1) for count in counts]


def texts(dim=32, count=5):
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(9)), dim=1)


def learned(kind, frames=6, **more):
    """A head whose last layer is no longer zero."""
    network = new_head(kind, 32, frames, **more)
    make = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.startswith("out."):
                value.copy_(0.3 * torch.randn(value.shape, generator=make))
    return network


@pytest.mark.parametrize("kind", ALL)
def test_before_training_a_head_is_exactly_the_mean(kind):
    frames, mask = padded(films(), 6)
    expected = torch.stack([film.sum(0) / len(film) for film in films()])
    expected = F.normalize(expected, dim=1)
    with torch.no_grad():
        network, mean = new_head(kind, 32, 6), new_head("mean", 32, 6)
        assert torch.equal(network(frames, mask, texts()), mean(frames, mask, texts()))
        assert torch.allclose(mean.vectors(frames, mask), expected, atol=1e-6)
        if network.gives_vectors:
            assert torch.equal(network.vectors(frames, mask), mean.vectors(frames, mask))


@pytest.mark.parametrize("kind", ALL)
def test_padding_changes_nothing(kind):
    network = learned(kind)
    frames, mask = padded(films(), 6)
    dirty = torch.where(mask[..., None], frames, torch.tensor(7.0))
    with torch.no_grad():
        alone = torch.cat([network(*padded([film], 6), texts()) for film in films()])
        assert torch.allclose(network(frames, mask, texts()), alone, atol=1e-5)
        assert torch.allclose(network(dirty, mask, texts()), alone, atol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "mean"])
def test_a_learned_head_knows_the_order_of_frames(kind):
    network = learned(kind)
    film = films()[0]
    with torch.no_grad():
        there, back = (network(*padded([one], 6), texts()) for one in (film, film.flip(0)))
        plain = [new_head("mean", 32, 6)(*padded([one], 6), texts()) for one in (film, film.flip(0))]
    assert (there - back).abs().max() > 1e-3
    assert torch.allclose(plain[0], plain[1], atol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "mean"])
def test_every_layer_learns_once_the_last_one_has_moved(kind):
    network = learned(kind).requires_grad_(True)
    network(*padded(films(), 6), texts()).square().sum().backward()
    assert all(value.grad is not None and value.grad.abs().max() > 0 for value in network.parameters())


def test_conv1d_transposes_time_and_channels():
    network = new_head("conv1d", 32, 6)
    frames = films()[0][None]
    shifted = network.shift(frames.transpose(1, 2)).transpose(1, 2)[0]
    assert torch.equal(shifted[:-1, :4], frames[0, 1:, :4])  # the next frame's
    assert torch.equal(shifted[1:, 4:8], frames[0, :-1, 4:8])  # the one before
    assert torch.equal(shifted[:, 8:], frames[0, :, 8:])


def test_of_long_films_evenly_spread_frames_are_taken():
    assert spread(3, 6) == [0, 1, 2] and spread(12, 6) == [1, 3, 5, 7, 9, 11]
    assert spread(1_000_000, 4) == [125_000, 375_000, 625_000, 875_000]
    frames, mask = padded([torch.arange(12.0)[:, None], torch.arange(2.0)[:, None]], 6)
    assert frames[0, :, 0].tolist() == spread(12, 6) and mask.sum(1).tolist() == [6, 2]


def test_unknown_heads_and_sizes_are_refused():
    with pytest.raises(InputError, match="no head 'lstm'"):
        new_head("lstm", 32, 6)
    for wrong in ({"layers": 2}, {"layers": 0}, {"frames": 0}):
        with pytest.raises(InputError, match="layers"):
            new_head("seqlstm", 32, **({"frames": 6} | wrong))
    assert new_head("transf", 32, 6, layers=2).shape["layers"] == 2


@pytest.mark.parametrize("kind", ALL)
def test_a_file_brings_a_head_back(kind, tiny_space, tmp_path):
    network = learned(kind)
    head = Head(kind, network, tiny_space.id, SAMPLING, {"steps": 3})
    found = load_head(head.save(tmp_path / "new" / "head.safetensors"), tiny_space)
    assert (found.kind, found.sampling, found.settings) == (kind, SAMPLING, {"steps": 3})
    rows = [film.numpy() for film in films()]
    assert np.array_equal(found.scores(rows, texts().numpy()), head.scores(rows, texts().numpy()))
    if network.gives_vectors:
        assert abs(np.linalg.norm(found.vector(rows[0])) - 1) < 1e-6
    else:
        with pytest.raises(InputError, match="no vector of a film"):
            found.vector(rows[0])


def test_files_that_are_no_head_and_other_spaces_are_refused(tiny_space, tiny_vit_space, tmp_path):
    path = Head("conv1d", learned("conv1d"), tiny_space.id, SAMPLING, {}).save(tmp_path / "a.safetensors")
    with pytest.raises(SpaceMismatchError, match="made in space"):
        load_head(path, tiny_vit_space)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileError, match="no head of films"):
        load_head(path, tiny_space)
    with pytest.raises(FileError, match="suffix"):
        Head("mean", new_head("mean", 32, 6), tiny_space.id, SAMPLING, {}).save(tmp_path / "a.pt")
    broken = learned("conv1d")
    with torch.no_grad():
        broken.mix.weight[0, 0] = float("nan")
    with pytest.raises(FileError, match="finite"):
        load_head(Head("conv1d", broken, tiny_space.id, SAMPLING, {}).save(tmp_path / "b.safetensors"), tiny_space)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sampling": {"fps": "2", "frames": 0, "uniform": 0}},
        {"sampling": {"fps": 1.0, "frames": 0, "uniform": -8}},
        {"shape": {"dim": 32, "frames": 10**12, "layers": 1}},
        {"shape": {"dim": 10**9, "frames": 6, "layers": 1}},
        {"shape": {"dim": 32, "frames": 6, "layers": 10**9}},
        {"shape": {"dim": 32, "frames": 6.5, "layers": 1}},
    ],
)
def test_wrong_facts_of_a_file_are_refused_before_anything_is_made_of_them(wrong, tiny_space, tmp_path, monkeypatch):
    path = Head("seqtransf", learned("seqtransf"), tiny_space.id, SAMPLING, {}).save(tmp_path / "a.safetensors")
    tensors, facts = parse_tensors(path.read_bytes(), "clipx-video-head")
    write_tensors(path, tensors, {"clipx-video-head": json.dumps(facts | wrong)})
    made = []
    monkeypatch.setitem(HEADS, "seqtransf", lambda **shape: made.append(shape))
    with pytest.raises(FileError, match="is no head of films"):
        load_head(path, tiny_space)
    assert not made
