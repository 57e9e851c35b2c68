"""The audio tower, its loss and its transforms beside what AudioCLIP's released code computes (golden/audioclip.npz).

Tolerances are what the released code itself needs between float32 and float64.
"""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from clipx.modalities.audio import augment, fbsp, losses
from clipx.modalities.audio.esresnext import ESResNeXt

GOLDEN = np.load(Path(__file__).parent / "golden/audioclip.npz")
SETS = ("P0", "P1", "P2")


def wave(name, dtype=torch.float32):
    """The waveform a or b, by its formula: (1, C, T) in int16 range."""
    channels, length, seed = {"a": (1, 66150, 101), "b": (2, 100_000, 202)}[name]
    t = np.arange(length) / 44100
    duration = length / 44100
    noise = np.random.default_rng(seed).standard_normal((channels, length))
    envelope = np.where(np.arange(length) < int(0.8 * length), 1.0, 0.05)
    x = np.empty((channels, length))
    for ch in range(channels):
        up = np.sin(2 * np.pi * ((200 + 150 * ch) * t + 0.5 * (9000 / duration) * t**2))
        down = np.sin(2 * np.pi * ((18000 - 2000 * ch) * t - 0.5 * (15000 / duration) * t**2))
        x[ch] = envelope * (6000 * up + 3000 * down + 900 * noise[ch])
    x = np.clip(np.round(x), -32768, 32767)
    assert zlib.crc32(x.astype("<i2").tobytes()) == int(GOLDEN[f"wave_{name}_check"][2])
    return torch.from_numpy(x)[None].to(dtype)


def parameters(which, dtype=torch.float32):
    """m, fb and fc of a parameter set, (1025,) each."""
    k = np.arange(1025.0)
    names = ("m", "fb", "fc")
    values = (0 * k, 0 * k + 1, k) if which == "P0" else [GOLDEN[f"fbsp_{which}_{name}"] for name in names]
    return [torch.tensor(v, dtype=torch.float32).to(dtype) for v in values]


def window():
    return torch.signal.windows.general_cosine(
        1654, a=[0.35875, 0.48829, 0.14128, 0.01168], sym=False, dtype=torch.float64
    )


def db_of(which, name, dtype=torch.float32):
    spectra = fbsp.spectrum(fbsp.frames(wave(name, dtype), window().to(dtype)), fbsp.filters(*parameters(which, dtype)))
    return spectra, fbsp.decibels(spectra)


def at(tensor, key):
    return tensor.flatten()[torch.from_numpy(GOLDEN[f"{key}_idx"])].numpy()


def test_framing():
    for length, count, left, right in GOLDEN["frames_table"].tolist():
        assert (fbsp.frame_count(length), *fbsp.frame_padding(length)) == (count, left, right)
    own = ESResNeXt(dim=8).window
    assert_allclose(own[[0, 1, 2, 413, 826, 827, 828, 1240, 1652, 1653]], GOLDEN["window_values"], atol=1e-7)


@pytest.mark.parametrize("which", SETS)
def test_filters(which):
    bank = fbsp.filters(*parameters(which))
    assert bank.shape == (1025, 2048, 2)
    assert_allclose(at(bank, f"W_{which}"), GOLDEN[f"W_{which}_val"], atol=2e-5)
    assert_allclose(bank.flatten(1).norm(dim=1), GOLDEN[f"W_{which}_norm"], atol=2e-5)
    assert_allclose(fbsp.norm_penalty(bank), GOLDEN[f"ttf_{which}"], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", "ab")
@pytest.mark.parametrize("which", SETS)
def test_front_end(which, name):
    spectra, db = db_of(which, name)
    key = f"fe_{which}_{name}"
    assert spectra.shape == (1, *GOLDEN[f"{key}_spec_shape"])
    assert_allclose(at(spectra, f"{key}_spec"), GOLDEN[f"{key}_spec_val"], atol=1e-4)
    assert db.shape == tuple(GOLDEN[f"{key}_db_shape"])
    away = at(db, f"{key}_db") - GOLDEN[f"f64_{key}_db_val"]
    assert np.sqrt((away**2).mean()) < 0.01 and np.abs(away).max() < 1.5
    away = db[..., ::4, ::4].numpy() - GOLDEN[f"{key}_db_slice"]
    assert np.sqrt((away**2).mean()) < 0.01 and np.abs(away).max() < 1.5


def test_exact_zero_after_scaling_stands_on_the_floor():
    quiet = torch.full((1, 1, 20_000), -0.5)
    db = fbsp.decibels(fbsp.spectrum(fbsp.frames(quiet, window().float()), fbsp.filters(*parameters("P0"))))
    mean, std, *_ = GOLDEN["fe_floor_const_minus_half"]
    assert_allclose((float(db.double().mean()), float(db.double().std(correction=0))), (mean, std), atol=1e-3)


def gradients(which, dtype):
    bank = fbsp.LinearFBSP().to(dtype)
    raw = {}
    with torch.no_grad():
        for name, value in zip(("m", "fb", "fc"), parameters(which, dtype), strict=True):
            getattr(bank, name).copy_(value)
            # hooks run in order of registration, so this one comes after the module's own
            getattr(bank, name).register_hook(lambda g, name=name: raw.__setitem__(name, g))
    weights = bank.filters()
    loss = fbsp.decibels(bank(fbsp.frames(wave("a", dtype), window().to(dtype)), weights)).mean()
    loss = loss + fbsp.norm_penalty(weights)
    loss.backward()
    assert_allclose(loss.item(), GOLDEN[f"grad_{which}_loss"], rtol=1e-4)
    return {name: getattr(bank, name).grad.numpy() for name in ("m", "fb", "fc")}


@pytest.mark.parametrize("which", SETS)
def test_gradient_of_the_centres_in_float32(which):
    expected = GOLDEN[f"f64_grad_{which}_fc"]
    found = gradients(which, torch.float32)["fc"]
    assert np.abs(found).max() == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.05


def test_gradients_in_float64():
    found = gradients("P1", torch.float64)
    for name in ("m", "fb", "fc"):
        expected = GOLDEN[f"f64_grad_P1_{name}"]
        assert np.linalg.norm(found[name] - expected) / np.linalg.norm(expected) < 1e-3, name


# The tower ------------------------------------------------------------------------------------------------------------


def fill(tower, variant):
    """Weights by formula, see the golden file's README."""
    state = {}
    for key, value in tower.state_dict().items():
        if key == "window" or key.startswith("fbsp.") or key.endswith("num_batches_tracked"):
            state[key] = value
            continue
        r = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(tuple(value.shape))
        norm = ".bn" in f".{key}" or "downsample.1" in key
        if norm and key.endswith("running_var"):
            x = 1 + 0.1 * np.abs(r)
            if variant == "B":
                gates = {"att1": 2.3, "att2": 2.9, "att3": 2.4, "att4": 2.1, "att5": 0.23, "bn1": 60}
                x = x * gates.get(key.split(".")[0], 0.7)
        elif norm and key.endswith(".weight"):
            x = 1 + 0.1 * r
        elif r.ndim > 1:
            x = r / np.sqrt(np.prod(r.shape[1:]))
            if variant == "B" and key == "conv1.weight":
                x = x - x.mean(axis=(1, 2, 3), keepdims=True)
        else:
            x = 0.1 * r
        state[key] = torch.from_numpy(x).float()
    tower.load_state_dict(state)
    return state


@pytest.fixture(scope="module")
def towers():
    made = {}
    for variant in "AB":
        made[variant] = ESResNeXt().eval().requires_grad_(False)
        state = fill(made[variant], variant)
        for key, (first, total) in zip(GOLDEN["weights_keys"], GOLDEN[f"weights_{variant}_check"], strict=True):
            assert_allclose(float(state[key].flatten()[0]), first, rtol=1e-6)
            assert_allclose(float(state[key].double().sum()), total, rtol=1e-6, atol=1e-6)
    return made


@pytest.mark.parametrize(
    ("variant", "which", "name", "tolerance"),
    [("A", "P0", "a", 2e-3), ("B", "P0", "b", 2e-4), ("B", "P1", "a", 2e-4)],
)
def test_tower(towers, variant, which, name, tolerance):
    tower = towers[variant]
    for parameter, value in zip((tower.fbsp.m, tower.fbsp.fb, tower.fbsp.fc), parameters(which), strict=True):
        parameter.copy_(value)
    key = f"tower_{variant}{which}_{name}"
    heard, pooled = tower.listen(wave(name)), []
    for channel in range(heard.shape[1]):
        for i, (stage, value) in enumerate(tower.stages(heard[:, channel])):
            assert stage == GOLDEN["tower_stages"][i]
            assert value.shape[1:] == tuple(GOLDEN[f"{key}_stage_shape"][i])[1:]
            expected = GOLDEN[f"{key}_stage_val"][i, channel]
            found = value.flatten()[torch.from_numpy(GOLDEN[f"{key}_stage_idx"][i])].numpy()
            assert np.abs(found - expected).max() <= 10 * tolerance * max(1, np.abs(expected).max()), stage
        pooled.append(value.flatten(1))
    both = torch.stack(pooled).sum(0)
    for found, what in ((both, "pooled"), (tower.fc(both), "out")):
        expected = GOLDEN[f"{key}_{what}"]
        assert np.linalg.norm(found.numpy() - expected) / np.linalg.norm(expected) < tolerance


def test_the_forward_pass_is_its_parts(towers):
    tower, sound = towers["B"], wave("b")[..., :20_000]
    whole = tower(sound)
    assert torch.equal(whole, tower.fc(tower.pooled(tower.listen(sound))))
    one, two = (tower.pooled(tower.listen(sound[:, c : c + 1])) for c in (0, 1))
    assert_allclose(whole, tower.fc(one + two), atol=1e-4)


# Loss and transforms --------------------------------------------------------------------------------------------------

LETTERS = {"audio": "a", "image": "i", "text": "t"}


@pytest.mark.parametrize("subset", [i for i, names in enumerate(GOLDEN["loss_subsets"]) if len(names) > 1])
@pytest.mark.parametrize("scales", range(4))
def test_the_loss_as_released(scales, subset):
    names = [name for name, letter in LETTERS.items() if letter in str(GOLDEN["loss_subsets"][subset])]
    vectors = {n: torch.tensor(GOLDEN[f"loss_emb_{LETTERS[n]}"], requires_grad=True) for n in names}
    logs = [torch.tensor(value, requires_grad=True) for value in GOLDEN["loss_scales"][scales]]
    by_pair = dict(zip(losses.PAIRS, logs, strict=True))
    loss, logits = losses.audioclip_loss(vectors, by_pair)
    loss.backward()
    assert_allclose(loss.item(), GOLDEN["loss_contrastive"][scales, subset], rtol=1e-5)
    total, _ = losses.audioclip_loss(vectors, by_pair, torch.tensor(GOLDEN["loss_regulariser"]))
    assert_allclose(total.item(), GOLDEN["loss_total"][scales, subset], rtol=1e-5)
    for j, pair in enumerate(losses.PAIRS):
        assert (pair in logits) == bool(np.isfinite(GOLDEN["loss_grad_scales"][scales, subset, j]))
        if pair in logits:
            assert_allclose(logits[pair].detach(), GOLDEN["loss_logits"][scales, subset, j], rtol=1e-5, atol=1e-5)
            assert_allclose(by_pair[pair].grad, GOLDEN["loss_grad_scales"][scales, subset, j], rtol=1e-4, atol=1e-5)
    for j, name in enumerate(LETTERS):
        if name in vectors:
            assert_allclose(vectors[name].grad, GOLDEN["loss_grad_emb"][scales, subset, j], rtol=1e-3, atol=1e-5)


def test_transforms():
    x = torch.from_numpy(GOLDEN["aug_in_2x31"])
    assert torch.equal(augment.fit(x, 50), torch.from_numpy(GOLDEN["aug_pad_eval_50"]))
    assert torch.equal(augment.fit(x, 20), torch.from_numpy(GOLDEN["aug_crop_eval_20"]))
    assert torch.equal(augment.pad(x, 50, 15), torch.from_numpy(GOLDEN["aug_pad_train_50"]))  # what their seed drew
    assert torch.equal(augment.crop(x, 20, 4), torch.from_numpy(GOLDEN["aug_crop_train_20"]))
    slower = augment.speed(x, float(GOLDEN["aug_scale_factor"]))
    assert_allclose(slower, GOLDEN["aug_scale_out"], atol=1e-2)
    for given, expected in zip(GOLDEN["aug_crop_cases_in"], GOLDEN["aug_crop_cases_out"], strict=True):
        assert torch.equal(augment.fit(torch.from_numpy(given), 20), torch.from_numpy(expected))
    for u, std in GOLDEN["aug_noise_u_std"]:
        added = augment.add_noise(x, torch.ones_like(x), 10 + 111 * u) - x
        assert_allclose(added, np.full_like(added, std), rtol=1e-3, atol=1e-4)
    # theirs turns the channels round, ours the time
    assert torch.equal(x.flip(0), torch.from_numpy(GOLDEN["aug_flip_p1_stereo"]))
    assert torch.equal(augment.flip(x)[:, 0], x[:, -1])
