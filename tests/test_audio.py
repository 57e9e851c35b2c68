"""The audio sense: towers, encoder, AudioCLIP's checkpoints; small and untrained, on sounds made in code."""

import copy
import json
import subprocess
import sys
from dataclasses import astuple, replace

import numpy as np
import pytest
import soundfile
import torch
from conftest import PREPROCESS, RESNET
from safetensors.torch import load_file, save_file

from clipx.backends import TorchBackend
from clipx.errors import FileError, InputError
from clipx.modalities.audio import augment, fbsp, losses
from clipx.modalities.audio.checkpoint import load_audioclip
from clipx.modalities.audio.encoder import Audio, AudioConfig
from clipx.modalities.audio.esresnext import ESResNeXt
from clipx.modalities.audio.files import Sound
from clipx.modalities.audio.logmel import LogMelTower
from clipx.modalities.audio.spectrograms import LogMelConfig, log_mel, mel_bank
from clipx.modalities.audio.torch_network import TorchNetwork
from clipx.modalities.audio.towers import Tower, load_tower, new_tower, save_tower
from clipx.modalities.audio.windows import windows
from clipx.space import random_space
from clipx.training import contrastive_loss


def noise(seconds, seed=0, channels=1, rate=22_050):
    rng = np.random.default_rng(seed)
    return Sound((0.2 * rng.standard_normal((channels, round(seconds * rate)))).astype(np.float32), rate)


def batch(sound):
    """(1, C, T) of a sound as a tensor, for modules."""
    return torch.from_numpy(sound.samples)[None]


# Towers ---------------------------------------------------------------------------------------------------------------


def test_keys_and_shapes_of_the_released_tower():
    tower = ESResNeXt()
    state = {key: tuple(value.shape) for key, value in tower.state_dict().items()}
    assert len(state) == 370 and sum(p.numel() for p in tower.parameters()) == 32_104_771
    expected = {
        "window": (1654,),
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_var": (64,),
        "layer1.0.conv1.weight": (128, 64, 1, 1),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "fc.weight": (1024, 2048),
        "fc.bias": (1024,),
        "fbsp.m": (1025,),
        "fbsp.fb": (1025,),
        "fbsp.fc": (1025,),
        "fbsp.bias": (0,),
    }
    for number, (count, keys, grouped) in enumerate([(3, 60, 4), (4, 78, 8), (6, 114, 16), (3, 60, 32)], start=1):
        width = 64 * 2**number
        assert sum(key.startswith(f"layer{number}.") for key in state) == keys
        expected[f"layer{number}.{count - 1}.conv2.weight"] = (width, grouped, 3, 3)
        expected[f"layer{number}.{count - 1}.conv3.weight"] = (2 * width, width, 1, 1)
    depths = [(64, 1, 3, 1), (256, 1, 1, 5), (512, 1, 3, 1), (1024, 1, 1, 5), (2048, 1, 3, 5)]
    for number, depth in enumerate(depths, start=1):
        wanted = min(2048, 128 * 2**number)
        expected[f"att{number}.conv_depth.weight"] = depth
        expected[f"att{number}.conv_depth.bias"] = depth[:1]
        expected[f"att{number}.conv_point.weight"] = (wanted, depth[0], 1, 1)
        expected[f"att{number}.bn.running_mean"] = (wanted,)
    assert {key: state[key] for key in expected} == expected


def test_filters_are_kept_in_eval_and_made_anew_when_they_change():
    bank = fbsp.LinearFBSP(bins=5)
    assert bank.filters() is not bank.filters()  # training
    bank.eval()
    assert bank.filters().requires_grad  # a gradient may be wanted
    with torch.no_grad():
        first = bank.filters()
        assert bank.filters() is first
        assert torch.equal(first, fbsp.filters(bank.m, bank.fb, bank.fc))
        bank.fc += 0.5
        second = bank.filters()
    assert not torch.equal(first, second)
    bank.load_state_dict(fbsp.LinearFBSP(bins=5).state_dict())
    bank.requires_grad_(False)
    assert torch.equal(bank.filters(), first) and bank.filters() is bank.filters()
    assert bank.double().filters().dtype == torch.float64


def test_gradients_of_the_filters_are_normalised_once_a_backward_pass():
    bank = fbsp.LinearFBSP(bins=5)
    for factor in (1.0, 1000.0):
        bank.zero_grad()
        (factor * (bank.filters()[..., 0].sum() + bank.filters()[..., 1].square().sum())).backward()
        for parameter in (bank.fb, bank.fc):
            assert float(parameter.grad.abs().max()) == pytest.approx(1, abs=1e-5)


def test_the_small_tower_is_small_and_hears_bands():
    assert sum(p.numel() for p in LogMelTower(dim=1024).parameters()) < 3_000_000
    bank = mel_bank(LogMelConfig())
    assert bank.shape == (64, 513) and (bank.sum(1) > 0).all() and bank.max() <= 1
    peaks = bank.argmax(1)
    assert (peaks[1:] >= peaks[:-1]).all()
    tower, t = LogMelTower(dim=4).eval(), torch.arange(22_050) / 22_050
    high, low = (tower.listen(torch.sin(2 * torch.pi * hz * t)[None, None])[0].mean(1).argmax() for hz in (6000, 300))
    assert high > 45 and low < 15
    quiet, loud = (tower.listen(level * batch(noise(1.0))) for level in (0.1, 1.0))
    assert (quiet - loud).abs().max() < 0.01  # loudness does not matter
    assert tower(torch.zeros(1, 1, 22_050)).isfinite().all() and tower(torch.zeros(1, 1, 1)).isfinite().all()


@pytest.mark.parametrize("length", [300, 22_050, 50_001])
def test_log_mel_spectrograms_by_torch(length):
    config, waves = LogMelConfig(), np.stack([noise(3.0, seed, 2).samples[:, :length] for seed in (1, 2)])
    waves[1] *= 1e-3
    window = torch.hann_window(config.n_fft)
    x = torch.nn.functional.pad(torch.from_numpy(waves).mean(1), (config.n_fft // 2, config.n_fft // 2))
    spectra = torch.stft(x, config.n_fft, config.hop, window=window, center=False, return_complex=True)
    power = torch.from_numpy(mel_bank(config)) @ spectra.abs().square() / window.sum() ** 2
    wanted = torch.log(power + 1e-10)
    wanted = (wanted - wanted.mean((1, 2), keepdim=True)) / (wanted.std((1, 2), keepdim=True) + 0.1)
    found = log_mel(waves, config)
    assert found.dtype == np.float32 and found.shape == (2, 64, 1 + length // config.hop)
    assert np.abs(found - wanted.numpy()).max() < 1e-5


def test_a_tower_comes_back_from_disk(tiny_space, tmp_path):
    net = new_tower("logmel", tiny_space.dim, seed=3).eval()
    folder = save_tower(net, tmp_path / "t", tiny_space, 2.5, {"note": "x"})
    tower = load_tower(folder, tiny_space)
    assert (tower.kind, tower.window_s, tower.about["note"]) == ("logmel", 2.5, "x")
    assert tower.about["space"] == tiny_space.id and sorted(p.name for p in folder.iterdir()) == [
        "audio.json",
        "weights.safetensors",
    ]
    waves = noise(2.5).samples[None]
    with torch.no_grad():
        assert np.allclose(tower(waves), net(torch.from_numpy(waves)), rtol=1e-5, atol=0.02)
    assert not any(p.requires_grad for p in tower.net.parameters()) and not tower.net.training
    assert torch.equal(new_tower("logmel", 8, seed=3).head.weight, new_tower("logmel", 8, seed=3).head.weight)


def test_a_tower_named_from_here_is_found_from_elsewhere(tmp_path, monkeypatch):
    """An index keeps the settings it was made with, and may be searched from any folder."""
    monkeypatch.chdir(tmp_path)
    config = AudioConfig(tower="tower")
    monkeypatch.chdir("/")
    assert config.tower == str(tmp_path / "tower") and AudioConfig(**vars(config)) == config


def test_full_scale_is_each_towers_own(tiny_space):
    class Ear(torch.nn.Module):
        sample_rate_hz, full_scale, channels = 8000, 32_768.0, 1

        def forward(self, waves):
            return waves[:, 0, :2]

    waves = np.array([[[0.5, -1.0]]], np.float32)
    assert Tower(TorchNetwork(Ear()), "fbsp")(waves).tolist() == [[16_384.0, -32_768.0]]
    assert ESResNeXt.full_scale == 32_768 and LogMelTower.full_scale == 1


def test_a_tower_that_is_not_in_that_folder(tiny_space, tmp_path):
    with pytest.raises(FileError, match="name the folder that holds it"):
        load_tower(tmp_path, tiny_space)
    save_tower(new_tower("logmel", 32), tmp_path / "run" / "tower", tiny_space, 1.0, {})
    with pytest.raises(FileError, match=r"audio\.json is missing; name .*run.tower"):
        load_tower(tmp_path / "run", tiny_space)


def test_windows_are_encoded_in_order_by_any_number_of_threads(tiny_space):
    audio, before = Audio(tiny_space, AudioConfig(window_s=0.5)), torch.get_num_threads()
    sound = noise(4.0)
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            found.append(audio.parts([sound])[0])
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
    one_by_one = [audio.encode([Sound(w.samples, 22_050)]).vectors[0] for w in windows(sound, 0.5, 0.25, 22_050)]
    for vectors, times in found:
        assert times == found[0][1] and len(times) == 15
        assert np.allclose(vectors, np.stack(one_by_one), rtol=1e-5, atol=1e-5)


def test_an_error_in_a_thread_is_raised(tiny_space, monkeypatch):
    audio, before = Audio(tiny_space, AudioConfig(window_s=0.5)), torch.get_num_threads()

    def fail(tower, waves):
        raise InputError("no ear for that")

    monkeypatch.setattr(Tower, "__call__", fail)
    with pytest.raises(InputError, match="no ear"):
        audio.encode([noise(4.0)])
    assert torch.get_num_threads() == before


def test_towers_that_do_not_fit(tiny_space, tiny_vit_space, tmp_path):
    folder = save_tower(new_tower("logmel", tiny_space.dim), tmp_path / "t", tiny_space, 5.0, {})
    with pytest.raises(InputError, match="belongs to the space"):
        load_tower(folder, tiny_vit_space)
    with pytest.raises(FileError, match="no such folder"):
        load_tower(tmp_path / "none", tiny_space)
    state = load_file(folder / "weights.safetensors")
    save_file({k: v for k, v in state.items() if k != "head.bias"}, folder / "weights.safetensors")
    with pytest.raises(InputError, match=r"do not fit the tower: head\.bias"):
        load_tower(folder, tiny_space)
    save_file({**state, "head.bias": state["head.bias"] * torch.nan}, folder / "weights.safetensors")
    with pytest.raises(InputError, match="NaN"):
        load_tower(folder, tiny_space)
    (folder / "weights.safetensors").write_bytes(b"half")
    with pytest.raises(FileError, match="corrupt"):
        load_tower(folder, tiny_space)
    about = json.loads((folder / "audio.json").read_text())
    for wrong in ({"tower": "ear"}, {"logmel": {"ears": 2}}, {"window_s": "long"}):
        (folder / "audio.json").write_text(json.dumps(about | wrong))
        with pytest.raises(InputError):
            load_tower(folder, tiny_space)
    (folder / "audio.json").write_text("[")
    with pytest.raises(FileError):
        load_tower(folder, tiny_space)
    with pytest.raises(InputError, match="no audio tower named"):
        new_tower("ear", 8)


# AudioCLIP's checkpoints ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def released():
    """A state dict of the layout of AudioCLIP-Partial-Training.pt, narrow where the audio side does not care."""
    torch.manual_seed(0)
    tower = ESResNeXt(1024)
    state = {f"audio.{key}": value for key, value in tower.state_dict().items()}
    state |= {"visual.conv1.weight": torch.zeros(8, 3, 3, 3), "token_embedding.weight": torch.zeros(5, 4)}
    state |= {name: torch.tensor(value) for name, value in [("logit_scale", 4.6), ("logit_scale_ai", 4.5)]}
    return state | {"logit_scale_at": torch.tensor(4.4)}


def saved(state, path):
    torch.save(state, path)
    return path


def test_partial(released, tmp_path):
    found = load_audioclip(saved(released, tmp_path / "partial.pt"), dim=1024)
    assert found.scales == pytest.approx({"logit_scale_ai": 4.5, "logit_scale_at": 4.4})
    assert not found.tower.training
    for key, value in found.tower.state_dict().items():
        assert torch.equal(value, released[f"audio.{key}"]), key


def test_a_tower_is_read_where_a_default_device_knows_no_linspace(released, tmp_path, monkeypatch):
    """As within from_pretrained of transformers: the set of functions that a default device is for stays as it was."""
    known = torch.utils._device._device_constructors
    known.cache_clear()
    with monkeypatch.context() as patch, torch.device("cpu"):
        patch.setattr(torch, "linspace", lambda *args, **kwargs: None)
        torch.empty(0)
    try:
        found = load_audioclip(saved(released, tmp_path / "partial.pt"), dim=1024)
    finally:
        known.cache_clear()
    assert torch.equal(found.tower.window, released["audio.window"])


def test_a_tower_alone_and_without_its_empty_bias(released, tmp_path):
    alone = {
        k.removeprefix("audio."): v for k, v in released.items() if k.startswith("audio.") and "fbsp.bias" not in k
    }
    alone |= {"fc.weight": torch.zeros(527, 2048), "fc.bias": torch.zeros(527)}
    found = load_audioclip(saved(alone, tmp_path / "ESRNXFBSP.pt"))
    assert found.tower.dim == 527 and found.scales == {} and found.tower.fbsp.bias.shape == (0,)
    with pytest.raises(InputError, match="527 numbers, the space has 1024"):
        load_audioclip(tmp_path / "ESRNXFBSP.pt", dim=1024)


def without(key):
    return lambda state: state.pop(key)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without("audio.att3.bn.bias"), r"missing keys of the tower \(1\): att3\.bn\.bias"),
        (lambda s: s.update({"audio.extra": torch.zeros(1)}), r"unknown keys of the tower \(1\): extra"),
        (
            lambda s: s.update({"audio.conv1.weight": torch.zeros(64, 1, 7, 7)}),
            r"keys of another shape of the tower \(1\)",
        ),
        (lambda s: s.update({"audio.fc.bias": torch.full((1024,), torch.nan)}), "NaN or infinite weights in fc.bias"),
        (lambda s: [s.pop(k) for k in [*s] if k.startswith("audio.")], "no ESResNeXt-fbsp tower"),
        (lambda s: s.update({"epoch": 3}), "no state dict"),
    ],
)
def test_checkpoints_that_do_not_fit(spoil, said, released, tmp_path):
    state = dict(released)
    spoil(state)
    with pytest.raises(InputError, match=said):
        load_audioclip(saved(state, tmp_path / "x.pt"))


class Bomb:
    def __reduce__(self):
        return print, ("unpickled",)


def test_hostile_and_truncated_checkpoints(released, tmp_path, capsys):
    path = saved({"audio.fc.weight": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(FileError, match="not a readable checkpoint of tensors"):
        load_audioclip(path)
    assert "unpickled" not in capsys.readouterr().out
    whole = saved(released, tmp_path / "whole.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match="not a readable checkpoint of tensors"):
        load_audioclip(tmp_path / "half.pt")
    with pytest.raises(FileError, match="no such file"):
        load_audioclip(tmp_path / "none.pt")


def test_a_checkpoint_needs_its_space(released, tmp_path, tiny_space):
    path = saved(released, tmp_path / "partial.pt")
    with pytest.raises(InputError, match="RN50"):
        load_tower(path, tiny_space)


@pytest.fixture(scope="module")
def wide_space():
    """As wide as OpenAI's RN50, whatever it is called."""
    return random_space({**RESNET, "embed_dim": 1024}, preprocess_cfg=PREPROCESS, seed=1)


def beside(released, space):
    """That checkpoint as if its audio tower had been trained beside the image tower of a space."""
    visual = {f"visual.{key}": value.clone() for key, value in space.backbone.model.visual.state_dict().items()}
    return {k: v for k, v in released.items() if not k.startswith("visual.")} | visual


def test_partial_in_its_space(released, wide_space, tmp_path):
    path = saved(beside(released, wide_space), tmp_path / "partial.pt")
    audio = Audio(wide_space, AudioConfig(tower=str(path), window_s=0.1))
    assert audio.tower.kind == "fbsp" and audio.tower.window_s == 5.0 and audio.tower.channels == 2
    vectors = audio.encode([noise(0.1), noise(0.1, channels=2)]).vectors
    assert vectors.shape == (2, 1024) and np.allclose(np.linalg.norm(vectors, axis=1), 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_checkpoint_of_the_same_weights_in_half_precision(dtype, released, wide_space, tmp_path):
    state = beside(released, wide_space)
    path = saved({k: v.half() if k.startswith("visual.") else v for k, v in state.items()}, tmp_path / "partial.pt")
    assert load_tower(path, wide_space).kind == "fbsp"
    half = copy.deepcopy(wide_space)
    half.backbone.to(dtype=dtype)
    assert load_tower(path, half).kind == "fbsp"


def test_statistics_that_drifted_while_the_tower_stood_still(released, wide_space, tmp_path):
    state = beside(released, wide_space)
    state |= {k: v + 1 for k, v in state.items() if k.startswith("visual.") and "running_" in k}
    assert load_tower(saved(state, tmp_path / "partial.pt"), wide_space).kind == "fbsp"


@pytest.mark.parametrize(
    "other",
    [
        lambda state: state | {k: v * 1.01 for k, v in state.items() if k == "visual.layer3.0.conv2.weight"},
        lambda state: {k: v for k, v in state.items() if k != "visual.attnpool.c_proj.weight"},
        lambda state: state | {"visual.conv1.weight": torch.zeros(8, 3, 3, 3)},
        lambda state: state | {"visual.conv1.weight": torch.full((4, 3, 3, 3), torch.nan)},
    ],
    ids=["another training", "a part missing", "another width", "not finite"],
)
def test_a_checkpoint_of_another_space_is_refused_whatever_the_name(other, released, wide_space, tmp_path):
    renamed, backbone = copy.copy(wide_space), copy.copy(wide_space.backbone)
    backbone.architecture = "RN50-quickgelu"
    renamed.backend = TorchBackend(backbone)
    path = saved(other(beside(released, wide_space)), tmp_path / "full.pt")
    with pytest.raises(InputError, match=r"full\.pt: .*visual\.[a-z].*RN50-quickgelu/openai") as raised:
        load_tower(path, renamed)
    assert "\n" not in str(raised.value)


def test_an_audio_tower_without_the_image_tower_beside_it_cannot_be_checked(released, wide_space, tmp_path):
    alone = {k: v for k, v in released.items() if not k.startswith("visual.")}
    with pytest.raises(InputError, match=r"alone\.pt: holds no visual\.\* weights"):
        load_tower(saved(alone, tmp_path / "alone.pt"), wide_space)


# The encoder ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sounds():
    return [noise(0.4, 1), noise(5.0, 2), noise(12.3, 3), noise(6.0, 4, channels=2), noise(1 / 22_050, 5)]


def test_vectors_do_not_depend_on_the_batch(tiny_space, sounds):
    audio = Audio(tiny_space)
    together = audio.encode(sounds).vectors
    alone = np.concatenate([audio.encode([sound]).vectors for sound in sounds])
    assert np.abs(together - alone).max() < 1e-5
    assert np.array_equal(together, Audio(tiny_space).encode(sounds).vectors)


def test_the_faithful_tower_in_a_batch(tiny_space, sounds):
    audio = Audio(tiny_space, AudioConfig(window_s=0.2, overlap=0.0))
    net = new_tower("fbsp", tiny_space.dim).eval().requires_grad_(False)
    audio.__dict__["tower"] = Tower(TorchNetwork(net), "fbsp")
    bark = sounds[0].samples.copy()
    bark[:, 2000:] = 0  # silence, which dB make loud
    some = [Sound(bark, 22_050), noise(0.2, 7), noise(0.3, 8, channels=2)]
    together = audio.encode(some).vectors
    alone = np.concatenate([audio.encode([sound]).vectors for sound in some])
    assert np.abs(together - alone).max() < 1e-5


def test_windows_and_their_mean(tiny_space, sounds):
    audio = Audio(tiny_space)
    rows, times = audio.parts(sounds[2:3])[0]
    assert [astuple(time) for time in times] == [(0.0, 5.0), (2.5, 7.5), (5.0, 10.0), pytest.approx((7.3, 12.3))]
    total = rows.astype(np.float64).sum(0)
    assert np.abs(total / np.linalg.norm(total) - audio.encode([sounds[2]]).vectors[0]).max() < 1e-6
    first = audio.parts([Sound(sounds[2].samples[:, : 5 * 22_050], 22_050)]).vectors
    assert np.abs(rows[0] - first[0]).max() < 1e-5


def test_views_need_equally_many_windows(tiny_space, sounds):
    audio = Audio(tiny_space)
    assert audio.parts(sounds[:2]).stacked().shape == (2, 1, tiny_space.dim)
    with pytest.raises(InputError, match="1 to 4 parts"):
        audio.parts(sounds[:3]).stacked()


def test_another_process_gives_the_same_bits(tmp_path):
    script = """
import hashlib, sys
from types import SimpleNamespace
from clipx.modalities.audio.encoder import Audio
# all of a space that a sound asks for
space = SimpleNamespace(dim=32, device="cpu", on_cpu=True, name="random:tiny", id="tiny")
space.domain = lambda name: space
audio = Audio(space)
print(hashlib.sha256(audio.parts([audio.load(sys.argv[1])]).vectors.tobytes()).hexdigest())
"""
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(1.5, rate=44_100).samples.T, 44_100)
    runs = [[sys.executable, "-c", script, str(path)]] * 2
    seen = [subprocess.run(run, capture_output=True, text=True, check=True).stdout for run in runs]
    assert seen[0] == seen[1] and len(seen[0]) == 65


def test_a_space_without_a_tower_says_so(space_folder):
    from clipx.spaces.loading import load_space

    with pytest.raises(InputError, match="has no audio tower; name one with --tower"):
        Audio(load_space(space_folder)).encode([noise(0.1)])


def test_settings():
    for wrong in ({"window_s": 0.0}, {"window_s": float("nan")}, {"overlap": 1.0}, {"overlap": -0.1}):
        with pytest.raises(InputError):
            AudioConfig(**wrong)


def test_arrays(tiny_space):
    audio = Audio(tiny_space)
    whole = audio.from_array(np.array([0, 16_384, -32_768], dtype=np.int16), sample_rate_hz=np.int64(8000))
    assert whole.samples.tolist() == [[0.0, 0.5, -1.0]] and whole.sample_rate_hz == 8000
    assert audio.from_array(np.zeros((5, 7))).samples.shape == (1, 7)
    for wrong in (np.zeros((2, 3, 4)), np.array(["a"]), np.zeros(3, dtype=complex), np.zeros(0)):
        with pytest.raises(InputError):
            audio.from_array(wrong)


def test_the_weights_are_part_of_a_features_key(tiny_space, tmp_path):
    towers = [
        save_tower(new_tower("logmel", tiny_space.dim, s), tmp_path / str(s), tiny_space, 5.0, {}) for s in (0, 1)
    ]
    seen = {Audio(tiny_space, AudioConfig(tower=str(folder))).context for folder in towers}
    assert len(seen) == 2


# Losses and augmentations ---------------------------------------------------------------------------------------------


def unit(rows, dim=16, seed=0):
    values = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(values, dim=1)


def test_scales_learn_even_at_their_bounds():
    scales = losses.AudioScales(start=100.0)
    for log in (np.log(100.0), np.log(1000.0), np.log(0.5)):
        scales.zero_grad()
        with torch.no_grad():
            scales.logit_scale_at.fill_(float(log))
        _, words = scales()
        assert 1 <= float(words.detach()) <= 100 * (1 + 1e-6)
        words.backward()
        assert float(scales.logit_scale_at.grad) > 0
    released = torch.tensor(float(np.log(1000.0)), requires_grad=True)
    loss, _ = losses.audioclip_loss({"audio": unit(3), "text": unit(3, seed=1)}, {("audio", "text"): released})
    loss.backward()
    assert float(released.grad) == 0  # theirs do not


def test_trimodal_loss():
    audio, text, image = unit(6), unit(3, seed=1), unit(4, seed=2)
    words = torch.nn.functional.one_hot(torch.tensor([0, 1, 2, 0, 1, 2]), 3).float()
    scale = torch.tensor(10.0)
    apart = losses.trimodal_loss(audio, text, words, scale)
    assert torch.allclose(apart, contrastive_loss(audio, text, scale, words))
    shown = words @ torch.nn.functional.one_hot(torch.tensor([0, 0, 1, 1]), 3).float().T  # label 2 has no picture
    both = losses.trimodal_loss(audio, text, words, scale, image, shown, scale)
    assert torch.allclose(both, (apart + contrastive_loss(audio, image, scale, shown)) / 2)
    nothing = losses.trimodal_loss(audio, text, words, scale, image, torch.zeros(6, 4), scale)
    assert torch.equal(nothing, apart)
    # with one positive each and as many rows as columns it is half of the released loss of that pair
    eye = torch.eye(3)
    released, _ = losses.audioclip_loss({"audio": audio[:3], "text": text}, {("audio", "text"): scale.log()})
    assert torch.allclose(2 * losses.trimodal_loss(audio[:3], text, eye, scale), released, atol=1e-5)


def test_augmentations_have_the_length_asked_for_and_one_seed_gives_one_sound():
    for seconds in (0.01, 1.0, 3.0):
        wave = batch(noise(seconds))[0]
        for seed in range(5):
            once, again = (
                augment.augment(wave, 22_050, np.random.default_rng(seed), augment.AugmentConfig()) for _ in range(2)
            )
            assert once.shape == (1, 22_050) and torch.equal(once, again) and once.isfinite().all()


def test_masks_hide_bands_and_stretches():
    spectra = torch.randn(4, 20, 50, generator=torch.Generator().manual_seed(0))
    masked = augment.mask(spectra, np.random.default_rng(0), bins=6, frames=10)
    changed = masked != spectra
    assert changed.any() and not changed.all()
    rows, columns = changed.all(2), changed.all(1)  # each hidden value lies in a hidden band or stretch
    assert torch.equal(changed, rows[:, :, None] | columns[:, None, :])
    assert rows.sum(1).max() <= 12 and columns.sum(1).max() <= 20
    assert torch.equal(augment.mask(spectra, np.random.default_rng(0), 0, 0), spectra)


def test_the_example_is_valid():
    assert replace(Audio.example()).seconds == 1.5
