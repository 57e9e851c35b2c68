"""The towers that come with clipx by onnxruntime: equal to their modules in torch, small, and without importing it."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from clipx._threads import one_thread, single_threaded_pool
from clipx.backbone import state_sha256
from clipx.errors import FileError, InputError
from clipx.modalities.audio.encoder import Audio, AudioConfig
from clipx.modalities.audio.files import Sound
from clipx.modalities.audio.graph import INPUT, OUTPUT, GraphNetwork
from clipx.modalities.audio.torch_network import TorchNetwork
from clipx.modalities.audio.towers import ABOUT, load_tower, new_tower, save_tower
from clipx.modalities.audio.weights import GRAPH, SFX, SHIPPED, WEIGHTS

FOLDERS = sorted(about.parent for about in SHIPPED.glob(f"*/{ABOUT}"))


def space_of(folder, on_cpu=True):
    """All of a space that its tower asks for."""
    about = json.loads((folder / ABOUT).read_text())
    space = SimpleNamespace(id=about["space"], dim=about["dim"], name=folder.name, on_cpu=on_cpu, device="cpu")
    space.domain = lambda name: space
    return space


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def folder(request):
    return request.param


@pytest.fixture(scope="module")
def tower(folder):
    found = load_tower(folder, space_of(folder))
    assert isinstance(found.network, GraphNetwork)
    return found


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal((1, round(seconds * 44_100)))).astype(np.float32)


@pytest.mark.parametrize(("count", "frames"), [(1, 100), (2, 101), (3, 103), (1, 216), (2, 251), (1, 1000)])
def test_graphs_are_their_modules(tower, count, frames):
    bands = tower.network.listen(noise(1.0)[None]).shape[1]
    spectrograms = np.random.default_rng(frames).random((count, bands, frames), np.float32)
    (found,) = tower.network.graph([OUTPUT], **{INPUT: spectrograms})
    with torch.no_grad():
        wanted = tower.net.pooled(torch.from_numpy(spectrograms)).numpy()
    assert found.dtype == np.float32 and found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_vectors_are_those_of_torch(folder, tower):
    other = load_tower(folder, space_of(folder, on_cpu=False))  # as on an accelerator
    assert isinstance(other.network, TorchNetwork) and (other.kind, other.window_s) == (tower.kind, tower.window_s)
    for sound in (noise(0.3), noise(7.0), noise(5.0, 1).repeat(2, axis=0)):
        waves = np.stack([sound, 0.01 * sound[:, ::-1]])
        found, wanted = tower(waves), other(waves)
        assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


IDENTITIES = {  # as of clipx 0.2: features that were cached then are found
    "lite": "1792d9b64f9a7398ec8d70a2256b3100138721b69a5077e4674e6079edefba60",
    "nano": "e61e1f37ee3a52ae7cdbab034b8289c4cf4ae431fe4b879281169949e1fde837",
}


def test_the_identity_is_that_of_the_modules_weights(folder, tower):
    audio = Audio(space_of(folder), AudioConfig(tower=str(folder)))
    assert audio.context == state_sha256(tower.net.state_dict()) == IDENTITIES[folder.name]


def test_a_graph_has_no_weights_of_its_own(folder):
    home = folder if (folder / GRAPH).is_file() else SFX
    assert (home / GRAPH).stat().st_size < 25_000 < (home / WEIGHTS).stat().st_size / 50


def test_the_same_bits_in_any_thread(tower):
    waves = np.stack([noise(5.0), noise(5.0, 1)])
    with one_thread():
        wanted = tower(waves)
    with single_threaded_pool(3) as pool:
        assert all(np.array_equal(found, wanted) for found in pool.map(tower, [waves] * 6))
    with ThreadPoolExecutor(2) as pool:  # each call may use several threads
        assert all(np.allclose(found, wanted, rtol=0, atol=1e-5) for found in pool.map(tower, [waves] * 4))


def test_towers_that_are_trained_are_served(tiny_space, tmp_path):
    """Of the sound-effects tower any, since the graph is of the network that all share; of others the module."""
    served = load_tower(save_tower(new_tower("sfx", 32), tmp_path / "a", tiny_space, 5.0, {}), tiny_space)
    assert isinstance(served.network, GraphNetwork)
    (tmp_path / "a" / GRAPH).write_bytes(b"of a tower that lay there before")
    folder = save_tower(new_tower("logmel", 32), tmp_path / "a", tiny_space, 5.0, {})
    assert not (folder / GRAPH).exists() and isinstance(load_tower(folder, tiny_space).network, TorchNetwork)


def test_a_tower_of_another_width_or_without_its_network_is_refused(tmp_path, monkeypatch):
    lite, nano = SHIPPED / "lite", SHIPPED / "nano"
    for folder, width in ((lite, 256), (nano, 512)):
        space = space_of(folder)
        space.dim = width
        with pytest.raises(InputError, match=r"do not fit the tower: head\.bias and 1 more"):
            load_tower(folder, space)
    shutil.copy(SFX / GRAPH, tmp_path)
    monkeypatch.setattr("clipx.modalities.audio.graph.SFX", tmp_path)
    with pytest.raises(FileError, match=r"the network is missing or corrupt; install clipx again"):
        Audio(space_of(lite)).encode([Sound(noise(1.0), 44_100)])


SCRIPT = """
import sys
from types import SimpleNamespace
from clipx.modalities.audio import Audio

name, id, dim, *paths = sys.argv[1:]
space = SimpleNamespace(id=id, dim=int(dim), name=name, on_cpu=True)
space.domain = lambda name: space
audio = Audio(space)
sounds = [audio.load(path) for path in paths] + [audio.example(), audio.from_array([0.0] * 5000)]
vectors = audio.encode(sounds).vectors
pictures = [audio.pictures(sound) for sound in sounds]
assert vectors.shape == (len(sounds), space.dim) and len(audio.context) == 64
print({"torch", "torchaudio", "torchvision", "scipy", "onnx", "open_clip", "numba"} & sys.modules.keys())
"""


def test_no_torch_from_a_file_to_its_vector(tmp_path):
    stereo = noise(7.0).repeat(2, axis=0).T
    paths = [tmp_path / "a.wav", tmp_path / "b.flac", tmp_path / "c.ogg", tmp_path / "long.flac"]
    for path, rate in zip(paths, (44_100, 48_000, 22_050, 44_100), strict=True):
        soundfile.write(path, noise(61.0).T if path.stem == "long" else stereo, rate)
    for folder in FOLDERS:
        space = space_of(folder)
        given = [sys.executable, "-c", SCRIPT, space.name, space.id, str(space.dim), *map(str, paths)]
        done = subprocess.run(given, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "set()\n"
