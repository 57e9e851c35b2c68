"""ESC-50 and UrbanSound8K in their own layouts; clipx eval audio and clipx reproduce audioclip on them; synthesis."""

import csv

import numpy as np
import pytest
import soundfile

from clipx.errors import FileError, InputError
from clipx.modalities.audio.benchmarks import read_benchmark
from clipx.modalities.audio.files import Sound
from clipx.modalities.audio.reproduce import as_released
from clipx.modalities.audio.synthesis import LABELS, RATE_HZ, synthesise
from clipx.modalities.audio.towers import new_tower, save_tower
from clipx.spaces.loading import load_space


def layout(folder, table, columns, audio, count=8):
    """Some clips of cats and chairs, in folds 1, 2 and 10, as a benchmark is handed out."""
    rows, rng = [], np.random.default_rng(0)
    for i in range(count):
        fold, label = (1, 2, 10)[i % 3], ("cat", "chair")[i % 2]
        name = f"{i}.wav"
        path = folder / audio.format(fold=fold) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.3 * rng.standard_normal(8_820), 44_100, subtype="PCM_16")
        rows.append({columns[0]: name, columns[1]: label, "fold": fold})
    (folder / table).parent.mkdir(parents=True, exist_ok=True)
    with (folder / table).open("w", newline="") as file:
        writer = csv.DictWriter(file, [*columns, "fold"])
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def esc50(tmp_path_factory):
    return layout(tmp_path_factory.mktemp("esc"), "meta/esc50.csv", ("filename", "category"), "audio")


@pytest.fixture(scope="module")
def urban(tmp_path_factory):
    folder = tmp_path_factory.mktemp("us8k")
    return layout(folder, "metadata/UrbanSound8K.csv", ("slice_file_name", "class"), "audio/fold{fold}")


@pytest.fixture(scope="module")
def tower(space_folder, tmp_path_factory):
    """An untrained tower of the tiny space, which hears a fifth of a second."""
    space = load_space(str(space_folder))
    return str(save_tower(new_tower("logmel", space.dim), tmp_path_factory.mktemp("tower"), space, 0.2, {}))


def test_layouts(esc50, urban, tmp_path):
    assert read_benchmark(tmp_path) is None
    for folder, name, first in ((esc50, "ESC-50", "audio/0.wav"), (urban, "UrbanSound8K", "audio/fold1/0.wav")):
        found = read_benchmark(folder)
        assert found["benchmark"].item() == name and found["path"][0] == first and len(found["labels"]) == 8
        assert found["published"].item().startswith("differs: 8 clips in 3 folds")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/esc50.csv").write_text("filename,fold\na.wav,1\n")
    with pytest.raises(FileError, match="filename, category, fold"):
        read_benchmark(tmp_path)


def test_eval_names_the_folds(esc50, run_json, tower):
    found = run_json(f"eval audio {esc50} --tower {tower} --prompts photo")
    (row,) = found["results"]
    assert found["n"] == 8 and found["subsets"]["fold"] == ["1", "10", "2"] and list(row["folds"]) == ["1", "2", "10"]
    sizes = {"1": 3, "2": 3, "10": 2}
    whole = sum(sizes[fold] * right for fold, right in row["folds"].items()) / 8
    assert whole == pytest.approx(row["metrics"]["acc1"])
    one = run_json(f"eval audio {esc50} --tower {tower} --prompts photo --where fold=2")
    assert one["n"] == 3 and "folds" not in one["results"][0]


def test_a_missing_clip_is_named(run, tmp_path):
    folder = layout(tmp_path, "meta/esc50.csv", ("filename", "category"), "audio", count=4)
    (folder / "audio/1.wav").unlink()
    (folder / "audio/3.wav").unlink()
    status, _, err = run(f"eval audio {folder}")
    assert status == 2 and "1.wav" in err and "3.wav" in err


def test_reproduce_keeps_default_and_best_apart(urban, run_json, run, tower):
    found = run_json(f"reproduce audioclip --data {urban} --weights {tower}")
    assert found["benchmark"] == "UrbanSound8K" and found["published"][0]["acc1"] == pytest.approx(0.6878)
    bare, best = found["results"]
    assert bare["prompts"] == "{}" and bare["tuned_on"] == "" and best["tuned_on"] == "the labels measured on"
    assert best["metrics"]["acc1"] >= bare["metrics"]["acc1"] and set(bare["folds"]) == {"1", "2", "10"}
    assert found["data_as_published"].startswith("differs")
    said = ("--prompts", "a photo of a {}")
    status, shown, _ = run(f"reproduce audioclip --data {urban} --weights {tower}", *said)
    assert status == 0 and "68.78%" in shown and "own prompts" in shown


def test_reproduce_refuses_other_data(run, tmp_path):
    status, _, err = run(f"reproduce audioclip --data {tmp_path}")
    assert status == 2 and "ESC-50" in err and len(err.strip().splitlines()) == 1


def test_clips_as_the_released_loaders_hand_them_on():
    rng = np.random.default_rng(0)
    wave = rng.uniform(-0.2, 0.1, (1, 44_100 * 5)).astype(np.float32)
    urban = as_released(Sound(wave), "UrbanSound8K", 4.0).samples
    assert urban.shape == (2, 176_400) and np.array_equal(urban[0], urban[1])
    assert urban.min() == -1 and urban.max() == pytest.approx(32767 / 32768, abs=1e-6)  # the shift is theirs, too
    short = as_released(Sound(wave[:, :100]), "ESC-50", 5.0).samples
    assert short.shape == (1, 220_500) and short[0, 110_200] == wave[0, 0]  # centred: 220,400 / 2 before it
    assert np.array_equal(as_released(Sound(wave), "ESC-50", 5.0).samples, wave)


# Synthesis ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", LABELS)
def test_sounds_from_nothing(label):
    sound = synthesise(label, 3, seconds=1.5)
    assert sound.samples.shape == (1, RATE_HZ * 3 // 2) and sound.sample_rate_hz == RATE_HZ
    assert 0.1 <= np.abs(sound.samples).max() <= 0.9 and sound.samples.std() > 1e-3
    assert np.array_equal(sound.samples, synthesise(label, 3, seconds=1.5).samples)
    assert not np.array_equal(sound.samples, synthesise(label, 4, seconds=1.5).samples)


def test_synthesis_refuses():
    with pytest.raises(InputError, match="no recipe for the sound 'unicorn'"):
        synthesise("unicorn")
    with pytest.raises(InputError, match=r"1\.5 to 60"):
        synthesise("dog", seconds=0)
