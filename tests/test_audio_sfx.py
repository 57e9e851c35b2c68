"""The sound-effects tower: its network beside the wheel's own, its hearing, its closed form, its command."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from clipx.errors import FileError, InputError
from clipx.modalities.audio import fit, sfx
from clipx.modalities.audio.categories import CATEGORIES, HOLDS
from clipx.modalities.audio.config import AudioTrainConfig
from clipx.modalities.audio.encoder import Audio, AudioConfig
from clipx.modalities.audio.fit import SoundFeatures, choose_label_weight, directions_of, fit_map
from clipx.modalities.audio.spectrograms import sfx_bank
from clipx.modalities.audio.towers import WEIGHTS, load_tower, new_tower, save_tower
from clipx.modalities.audio.train import cross_validate, train_audio

GOLDEN = np.load(Path(__file__).parent / "golden/sfx.npz")
RATE = 44_100
PROMPTS = ("a photo of a {}",)


@pytest.fixture(scope="module")
def net():
    return new_tower("sfx", 8, seed=1).eval().requires_grad_(False)


def noise(seconds, seed=0):
    return 0.1 * torch.randn(1, 1, round(seconds * RATE), generator=torch.Generator().manual_seed(seed))


# Network --------------------------------------------------------------------------------------------------------------


def test_the_network_equals_the_wheels_own(net):
    """Spectrograms by the formula of examples/recipes/audio/convert.py; half precision is what differs."""
    frames, bands = np.meshgrid(np.arange(100), np.arange(96), indexing="ij")
    sounds = [0.4 + 0.4 * np.sin(0.1 * (k + 1) * frames + 0.05 * (k + 2) * bands) for k in range(2)]
    features = net.network.features(torch.tensor(np.stack(sounds), dtype=torch.float32).transpose(1, 2))
    assert np.abs(features - GOLDEN["features"]).max() < 0.005 * GOLDEN["features"].max()
    categories = torch.cat(net.network.categories(features), dim=1)
    assert np.abs(categories - GOLDEN["categories"]).max() < 0.02


def test_it_hears_log_mel_power(net):
    """The filter bank beside torchaudio's: 96 HTK bands up to 22,050 Hz, each of unit sum; loudness does not matter."""
    from torchaudio.functional import melscale_fbanks

    bank = melscale_fbanks(1025, 0.0, 22_050.0, 96, RATE, norm=None, mel_scale="htk").T
    own = torch.from_numpy(sfx_bank())
    # its narrowest filters may miss every bin in float32
    assert torch.allclose(own, bank / bank.sum(1, keepdim=True), atol=2e-3)
    wave = noise(3.0)
    power = torch.stft(wave[0] / wave.abs().max(), 2048, 1024, window=torch.hann_window(2048), return_complex=True)
    wanted = torch.log10(1 + 10_000 * (own @ power.abs().square())) / 9.457798957824707
    assert torch.allclose(net.listen(wave), wanted, atol=1e-6) and wanted.shape == (1, 96, 1 + 3 * RATE // 1024)
    assert torch.allclose(net.listen(0.01 * wave), wanted, atol=1e-5)


def test_silence_and_short_sounds(net):
    assert net(torch.zeros(2, 1, RATE)).isfinite().all()
    for samples in (1, 1000, RATE):
        wave = torch.ones(1, 1, samples)
        assert net.listen(wave).shape == (1, 96, 100) and net(wave).isfinite().all()
    wave = noise(2.0)
    followed = F.pad(wave, (0, RATE))
    near = F.cosine_similarity(net.pooled(net.listen(wave)), net.pooled(net.listen(followed)))
    assert near > 0.9  # silence after a sound does little harm


def test_categories_are_named():
    assert [len(names) for names in CATEGORIES] == [78, 79, 69] and len(HOLDS) == 82
    # listened to on ESC-10: fire, rain, voices, water, clocks
    for classifier, places in enumerate(((29, 55, 70, 71, 13), (30, 55, 70, 71, 14), (27, 50, 61, 62, 13))):
        names = [CATEGORIES[classifier][place] for place in places]
        assert names == ["fire", "rain", "voices", "water", "clocks"]
    assert not {name for names in CATEGORIES for name in names if name} - HOLDS.keys()


# Folders --------------------------------------------------------------------------------------------------------------


def test_a_tower_comes_back_from_disk(tiny_space, tmp_path):
    net = new_tower("sfx", tiny_space.dim, seed=3).eval()
    folder = save_tower(net, tmp_path / "t", tiny_space, 5.0, {"note": "x"})
    assert set(load_file(folder / WEIGHTS)) == {"weight", "bias"}  # the network comes with clipx
    tower = load_tower(folder, tiny_space)
    assert (tower.kind, tower.window_s, tower.channels, tower.about["note"]) == ("sfx", 5.0, 1, "x")
    with torch.no_grad():
        assert np.allclose(tower(noise(1.0).numpy()), net(noise(1.0)), rtol=1e-5, atol=0.05)
    save_file({"weight": torch.zeros(4, 4), "bias": torch.zeros(4)}, folder / WEIGHTS)
    with pytest.raises(InputError, match="do not fit the tower"):
        load_tower(folder, tiny_space)


def test_a_network_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(sfx, "NETWORK", tmp_path / "weights.safetensors")
    sfx.network_state.cache_clear()
    try:
        with pytest.raises(FileError, match="missing or corrupt"):
            new_tower("sfx", 8)
    finally:
        sfx.network_state.cache_clear()


def test_the_size_of_the_network():
    assert sfx.NETWORK.stat().st_size < 10 * 2**20


# Closed form ----------------------------------------------------------------------------------------------------------


def heard_of(kinds, seed=0, groups=None, width=6, categories=4):
    """Sounds whose features point to their label, of one window each; categories at random."""
    rng = torch.Generator().manual_seed(seed)
    kinds = torch.tensor(kinds)
    centres = torch.randn(int(kinds.max()) + 1, width, generator=rng, dtype=torch.float64)
    features = 5 * centres[kinds] + torch.randn(len(kinds), width, generator=rng, dtype=torch.float64)
    shares = torch.rand(len(kinds), categories, generator=rng, dtype=torch.float64)
    weight = 1 / torch.bincount(kinds).double()[kinds]
    return SoundFeatures(
        torch.cat([features, shares], 1), torch.arange(len(kinds)), kinds, tuple(groups or [""] * len(kinds)),
        weight / weight.sum(),
    )  # fmt: skip


def unit(rows, dim, seed):
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_the_closed_form_centres_and_whitens():
    """Outputs have mean 0 on the training sounds, and a covariance of C / (C + noise): no direction stands out."""
    sounds = heard_of([0, 0, 0, 0, 1, 1, 2, 2])
    slope, offset = fit_map(sounds, unit(3, 5, 1), unit(4, 5, 2), 3.0)
    out = sounds.means() @ slope.T + offset
    weight = sounds.weight[:, None]
    assert (weight * out).sum(0).abs().max() < 1e-9
    values = torch.linalg.eigvalsh(out.T @ (weight * out))
    assert values.max() < 1 and values.min() > -1e-9
    assert (sounds.vectors(slope, offset) @ unit(3, 5, 1).double().T).argmax(1).equal(sounds.kinds)


def test_what_all_words_share_changes_nothing_but_the_scale():
    """A text side whose vectors all lean one way is taken as if they did not."""
    sounds, words, directions = heard_of([0, 0, 1, 1, 2, 2]), unit(3, 5, 1), unit(4, 5, 2)
    lean = 3 * unit(1, 5, 3)
    one, other = (fit_map(sounds, words + by, directions + by, 2.0)[0] for by in (0 * lean, lean))
    assert torch.allclose(one, other, atol=1e-6)


def test_a_category_reaches_a_word_that_no_sound_was_labelled_with():
    sounds = heard_of([0, 0, 0, 1, 1, 1])
    words = torch.eye(5)[:3]
    directions = torch.cat([torch.eye(5)[2:3], torch.zeros(1, 5), torch.eye(5)[3:5]])  # the second has no name
    slope, offset = fit_map(sounds, words, directions, 2.0)
    unseen = sounds.means().mean(0, keepdim=True).clone()
    unseen[:, 6] += 1  # the first category
    assert ((unseen @ slope.T + offset) @ words.double().T).argmax().item() == 2
    assert slope[:, 7].abs().max() == 0


def test_the_weight_is_chosen_on_the_sounds_given():
    groups = ["1", "2"] * 6
    sounds = heard_of([k for k in (0, 1, 2) for _ in range(4)], groups=groups)
    words, directions = unit(3, 5, 1), unit(4, 5, 2)
    chosen = choose_label_weight(sounds, words, directions)
    assert chosen in fit.LABEL_WEIGHTS and chosen == choose_label_weight(sounds, words, directions)
    assert choose_label_weight(sounds.subset(sounds.kinds < 2), words, directions) in fit.LABEL_WEIGHTS


def test_directions_are_of_the_words_that_a_space_knows(tiny_space):
    from clipx.spaces.loading import load_space

    found = directions_of(tiny_space, PROMPTS)
    assert found.shape == (226, tiny_space.dim)
    named = torch.tensor([name is not None for names in CATEGORIES for name in names])
    assert torch.allclose(found.norm(dim=1), named.float(), atol=1e-5)
    known = directions_of(load_space("nano"), PROMPTS)  # a vocabulary of two thousand words
    assert 50 < (known.norm(dim=1) > 0).sum() < named.sum()


# Runs -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four low tones called cat, four hisses called chair and four chirps called table, in folds 1 and 2."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    t = np.arange(RATE // 2) / RATE
    rows = [("path", "label", "fold")]
    for i in range(4):
        waves = {
            "cat": np.sin(2 * np.pi * (200 + 20 * i) * t),
            "chair": 0.2 * rng.standard_normal(len(t)),
            "table": np.sin(2 * np.pi * (1000 + 100 * i) * t**2),
        }
        for label, wave in waves.items():
            soundfile.write(folder / f"{label}{i}.wav", 0.5 * wave, RATE)
            rows.append((f"{label}{i}.wav", label, str(i % 2 + 1)))
    (folder / "labels.csv").write_text("\n".join(map(",".join, rows)))
    return folder


def test_a_run_and_its_tower(data, tiny_space, tmp_path):
    config = AudioTrainConfig(tower="sfx", crop_s=0.5)
    found = train_audio(data, tiny_space, tmp_path / "run", config, fold="2", prompts=PROMPTS)
    assert found["acc1"] == 1.0 and found["count"] == 6 and set(found["classes"]) == {"cat", "chair", "table"}
    again = train_audio(data, tiny_space, tmp_path / "again", config, fold="2", prompts=PROMPTS)
    read = [(Path(one["tower"]) / WEIGHTS).read_bytes() for one in (found, again)]
    assert read[0] == read[1]
    about = json.loads((tmp_path / "run/tower/audio.json").read_text())
    assert about["tower"] == "sfx" and about["fit"]["label_weight"] in fit.LABEL_WEIGHTS
    assert about["fit"]["network_sha256"] == hashlib.sha256(sfx.NETWORK.read_bytes()).hexdigest()


def test_the_figures_are_the_encoders(data, tiny_space, tmp_path):
    """What is judged equals what ``Audio`` makes of the same files, several windows and half precision included."""
    config = AudioTrainConfig(tower="sfx", crop_s=0.3)
    found = train_audio(data, tiny_space, tmp_path / "run", config, where=[("fold", "1")], prompts=PROMPTS)
    assert "acc1" not in found and found["training_acc1"] > 0.5
    audio = Audio(tiny_space, AudioConfig(tower=found["tower"]))
    sounds = audio.encode([audio.load(data / f"table{i}.wav") for i in (0, 2)]).vectors
    paths = [data / f"table{i}.wav" for i in (0, 2)]
    pooled = [fit._pooled_file(path, fit.Stamp.of(path), 0.3, "cpu") for path in paths]
    assert len(pooled[0]) == 3
    kept = fit._features_of(pooled, ["table"] * 2, [""] * 2, ["table"])
    last = audio.tower.net.last
    vectors = kept.vectors(last.weight.double(), last.bias.double())
    assert np.allclose(sounds, vectors, rtol=1e-5, atol=1e-4)


def test_labels_left_out_and_synthetic_sounds(data, tiny_space, tmp_path, monkeypatch):
    from clipx.modalities.audio import train as training

    monkeypatch.setattr(training, "SYNTHETIC", ("cat", "bell"))
    made = fit.synthesise
    monkeypatch.setattr(fit, "synthesise", lambda label, seed: made(label, seed, 1.5))
    config = AudioTrainConfig(tower="sfx", crop_s=0.5, synthetic=0.25, synthetic_count=2)
    options = {"prompts": PROMPTS, "exclude": ["cat"], "fold": "1"}
    found = train_audio(data, tiny_space, tmp_path / "run", config, **options)
    about = json.loads((tmp_path / "run/tower/audio.json").read_text())
    assert about["synthetic"]["labels"] == ["bell"] and about["exclude"] == ["cat"] and about["sounds"] == 4
    assert set(found["classes"]) == {"cat", "chair", "table"}  # still ranked
    with pytest.raises(InputError, match="fitted to words alone"):
        train_audio(data, tiny_space, tmp_path / "other", config, images=data, **options)


def test_cross_validation_hears_a_sound_once(data, tiny_space, tmp_path, monkeypatch):
    counted = []
    inner = fit._pooled
    monkeypatch.setattr(fit, "_pooled", lambda *given: counted.append(1) or inner(*given))
    fit._pooled_file.cache_clear()
    config = AudioTrainConfig(tower="sfx", crop_s=0.5)
    found = cross_validate(data, tiny_space, tmp_path / "cv", config, prompts=PROMPTS)
    assert set(found["folds"]) == {"1", "2"} and len(counted) == 12


def test_the_command(data, run, run_json):
    status, out, err = run("", *f"train audio {data} -o out --tower sfx --crop-s 0.5 --fold 2 --prompts photo".split())
    assert status == 0, err
    assert "held-out fold" in out
    found = run_json("classify", str(data / "cat1.wav"), "--labels", "cat,chair", "--tower", "out/tower")
    assert found["results"][0]["modality"] == "audio"


def test_the_recipes_texts():
    """The card says what was measured, what the network's licence asks for, and leaves nothing open."""
    import importlib.util

    path = Path(__file__).parents[1] / "examples/recipes/audio/sfx.py"
    spec = importlib.util.spec_from_file_location("audio_sfx", path)
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    row = {"count": 4, "labels": 2, "acc1": 0.25, "acc5": 0.5, "ci95": [0.2, 0.8]}
    figures = {
        "cross_validation": {"acc1": 0.95, "ci95": [0.9, 1.0], "count": 320, "folds": {"1": 0.9, "2": 1.0}},
        "without": {
            "acc1": 0.5, "ci95": [0.4, 0.6], "count": 64, "chance": 0.1,
            "classes": {"rain": {"right": 30, "n": 32, "most_often": "rain"},
                        "sea_waves": {"right": 2, "n": 32, "most_often": "rain"}},
        },
        "more": {"labels": 45, "chance5": 5 / 45, "parts": {"all": row}},
    }  # fmt: skip
    about = {"sounds": 318, "fit": {"label_weight": 3.0, "ridge": 1.0, "whitening": 0.3, "categories": 209}}
    card = recipe.card("nano", figures, about)
    for said in (
        *("95.0% (90.0% to 100.0%)", "rain 30 of 32, sea waves 2 of 32 (most often rain)", "50.0% (20.0% to 80.0%)"),
        *("CC BY 4.0", "Ma and Alexander Lerch", "318 clips"),
    ):
        assert said in card
    assert not set("{}") & set(card)
