"""clipx train audio: labels, batches, a few steps of both towers, resume, folds, the command."""

import csv
import errno
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from clipx.errors import FileError, InputError
from clipx.modalities.audio import train as training
from clipx.modalities.audio.config import AudioTrainConfig
from clipx.modalities.audio.encoder import Audio, AudioConfig
from clipx.modalities.audio.labelled import read_labels
from clipx.modalities.audio.towers import new_tower
from clipx.modalities.audio.train import cross_validate, train_audio

QUICK = AudioTrainConfig(epochs=2, batch_size=4, crop_s=0.5)
RATE = 22_050


def write(folder, rows, columns=("path", "label", "fold", "kind")):
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six low tones called cat and six hisses called chair, in folds 1 to 3; one sound of no fold."""
    folder, rng, rows = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0), []
    t = np.arange(RATE // 2) / RATE
    for i in range(6):
        soundfile.write(folder / f"cat{i}.wav", 0.5 * np.sin(2 * np.pi * (200 + 20 * i) * t), RATE)
        soundfile.write(folder / f"chair{i}.wav", 0.1 * rng.standard_normal(len(t)), RATE)
        rows += [(f"cat{i}.wav", "cat", i % 3 + 1, "a"), (f"chair{i}.wav", "chair", i % 3 + 1, "a")]
    soundfile.write(folder / "extra.wav", 0.1 * rng.standard_normal(len(t)), RATE)
    write(folder, [*rows, ("extra.wav", "table", "", "b")])
    return folder


# Labels ---------------------------------------------------------------------------------------------------------------


def test_labels(data):
    found = read_labels(data)
    assert len(found) == 12 and set(found.folds) == {"1", "2", "3"}  # what has no fold is left out
    assert len(read_labels(data, skip=["cat0.wav"])) == 11
    assert len(read_labels(data, where=[("kind", "a"), ("fold", "2")])) == 4


def test_labels_that_do_not_do(data, tmp_path):
    with pytest.raises(FileError, match=r"labels\.csv"):
        read_labels(tmp_path)
    write(tmp_path, [("a.wav", "cat", 1, "a"), ("b.wav", "chair", 1, "a"), ("c.wav", "chair", 1, "a")])
    with pytest.raises(FileError, match=r"3 sounds that are not there: a\.wav, b\.wav, c\.wav"):
        read_labels(tmp_path)
    write(tmp_path, [("a.wav", "", 1, "a")])
    with pytest.raises(FileError, match="filled in every row"):
        read_labels(tmp_path)
    write(tmp_path, [], columns=("file", "label"))
    with pytest.raises(FileError, match="path and label"):
        read_labels(tmp_path)
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match=r"labels\.csv"):
        read_labels(tmp_path)
    with pytest.raises(InputError, match="no such sounds to skip: x"):
        read_labels(data, skip=["x.wav"])
    with pytest.raises(InputError, match="no column 'colour'"):
        read_labels(data, where=[("colour", "red")])
    with pytest.raises(InputError, match="at least two labels"):
        read_labels(data, skip=[f"cat{i}.wav" for i in range(6)])


# Batches --------------------------------------------------------------------------------------------------------------


def test_batches_are_balanced_and_of_their_number_alone(data):
    everything = read_labels(data)
    few = everything.chosen([label == "chair" or path.stem == "cat0" for path, label in zip(
        everything.paths, everything.labels, strict=True)])  # fmt: skip
    names = ["cat", "chair", "dog"]  # nobody heard a dog
    config = AudioTrainConfig(batch_size=8, crop_s=0.4, mixup=0.0)
    batches = training._Batches(few, names, config, RATE)
    waves, targets = batches.draw(np.random.default_rng([0, 5]))
    assert waves.shape == (8, 1, round(0.4 * RATE)) and targets.sum(0).tolist() == [4, 4, 0]
    again, _ = batches.draw(np.random.default_rng([0, 5]))
    other, _ = batches.draw(np.random.default_rng([0, 6]))
    assert torch.equal(waves, again) and not torch.equal(waves, other)
    mixed = training._Batches(few, names, AudioTrainConfig(batch_size=8, crop_s=0.4, mixup=1.0), RATE)
    _, targets = mixed.draw(np.random.default_rng(0))
    assert torch.allclose(targets.sum(1), torch.ones(8)) and ((targets > 0).sum(1) == 2).any()


def test_the_last_layer_is_fitted_to_the_words(data):
    """It meets the normal equations of ridge regression with a free intercept, every label of equal weight."""
    names = ["cat", "chair"]
    config = AudioTrainConfig(batch_size=4, crop_s=0.4)
    everything = read_labels(data)
    some = everything.chosen([label == "cat" or i > 6 for i, label in enumerate(everything.labels)])
    batches = training._Batches(some, names, config, RATE)
    net = new_tower("logmel", 8, seed=1)
    words = torch.nn.functional.normalize(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    batches.waves[0] = batches.waves[0].repeat(1, 3)[:, : round(2.2 * batches.length)]

    def pieces(wave):
        """As the encoder cuts: half overlapping, the last one ends with the sound, a short sound is padded."""
        length, hop, count = batches.length, round(batches.length / 2), wave.shape[1]
        starts = [*range(0, max(1, count - length + 1), hop)]
        starts += [count - length] * (count - length - starts[-1] > length / 20)
        return [torch.nn.functional.pad(p, (0, length - p.shape[1])) for p in (wave[:, s : s + length] for s in starts)]

    batches.refit_last(net, words, 0.05)
    with torch.no_grad():
        heard = [[net.pooled(net.listen(piece[None]))[0] for piece in pieces(wave)] for wave in batches.waves]
    assert max(len(one) for one in heard) > 3  # some are longer than a window
    x = torch.stack([torch.stack(one).mean(0) for one in heard]).double()
    y = words[batches.classes].double()
    weight = 0.5 / torch.bincount(batches.classes).double()[batches.classes]
    slope, offset = net.last.weight.detach().double(), net.last.bias.detach().double()
    left = weight[:, None] * (x @ slope.T + offset - y)
    middle = (weight[:, None] * x).sum(0)
    variance = (weight[:, None] * (x - middle) ** 2).sum(0).mean()
    assert left.sum(0).abs().max() < 1e-4  # the intercept is free
    assert torch.allclose(left.T @ x, -0.05 * variance * slope, atol=1e-4)  # the slope is shrunk
    with torch.no_grad():
        assert (torch.nn.functional.normalize(net.last(x.float()), dim=1) @ words.T).argmax(1).equal(batches.classes)


# Runs -----------------------------------------------------------------------------------------------------------------


def test_a_run_and_its_tower(data, tiny_space, tmp_path):
    before = torch.get_rng_state()
    found = train_audio(data, tiny_space, tmp_path / "run", QUICK, fold="3", prompts=("a photo of a {}",))
    assert found["steps"] == 4 and found["count"] == 4 and set(found["classes"]) == {"cat", "chair"}
    assert 0 <= found["acc1"] <= 1 and np.sum(found["confusion"]) == 4
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {
        *("tower", "checkpoint.safetensors", "history.jsonl", "loss.png", "accuracy.jsonl", "accuracy.png")
    }
    assert [json.loads(line)["step"] for line in (tmp_path / "run/accuracy.jsonl").read_text().splitlines()] == [
        1,
        2,
        3,
        4,
    ]
    audio = Audio(tiny_space, AudioConfig(tower=found["tower"]))
    assert audio.tower.window_s == 0.5 and audio.tower.about["labels"] == ["cat", "chair"]
    assert audio.tower.about["figures"]["acc1"] == found["acc1"] and audio.tower.about["sounds"] == 8
    assert audio.encode([audio.load(data / "cat0.wav")]).vectors.shape == (1, 32)
    assert torch.equal(before, torch.get_rng_state())


def test_a_stopped_run_goes_on(data, tiny_space, tmp_path):
    options = {"fold": "3", "prompts": ("a photo of a {}",)}
    whole = train_audio(data, tiny_space, tmp_path / "whole", QUICK, **options)
    train_audio(data, tiny_space, tmp_path / "parts", QUICK, stop_after=2, **options)
    with pytest.raises(InputError, match="holds a run already"):
        train_audio(data, tiny_space, tmp_path / "parts", QUICK, **options)
    resumed = train_audio(data, tiny_space, tmp_path / "parts", QUICK, resume=True, **options)
    for name in ("weights.safetensors",):
        assert (tmp_path / "parts/tower" / name).read_bytes() == (tmp_path / "whole/tower" / name).read_bytes()
    assert whole["confusion"] == resumed["confusion"]
    with pytest.raises(InputError, match="other settings"):
        train_audio(data, tiny_space, tmp_path / "parts", QUICK, resume=True, fold="2", prompts=("a photo of a {}",))


def test_the_faithful_tower_learns_too(data, tiny_space, tmp_path):
    config = AudioTrainConfig(tower="fbsp", epochs=1, batch_size=4, crop_s=0.1)
    fold = [("fold", "1")]  # four sounds: the tower is of full size
    found = train_audio(data, tiny_space, tmp_path / "run", config, prompts=("a photo of a {}",), where=fold)
    assert found["steps"] == 1 and "acc1" not in found and 0 <= found["training_acc1"] <= 1
    audio = Audio(tiny_space, AudioConfig(tower=found["tower"]))
    assert audio.tower.kind == "fbsp" and audio.tower.channels == 1
    centres = audio.tower.net.fbsp.fc
    assert centres.dtype == torch.float32 and not torch.equal(centres, torch.arange(1025.0))


def test_a_word_left_out_is_no_wrong_answer(data, tiny_space, tmp_path, monkeypatch):
    """Weights must not depend on what the word of a label that is left out means."""
    weights = []
    for k, name in enumerate(("one", "other")):

        def other(space, names, prompts, made=training.ZeroShotClassifier, k=k):
            classifier = made(space, names, prompts)
            classifier.weights.vectors[names.index("chair")] = torch.eye(space.dim)[k]
            return classifier

        with monkeypatch.context() as patch:
            patch.setattr(training, "ZeroShotClassifier", other)
            train_audio(data, tiny_space, tmp_path / name, QUICK, exclude=["chair"], prompts=("a photo of a {}",))
        weights.append((tmp_path / name / "tower/weights.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_synthetic_sounds_beside_recordings(data, tiny_space, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SYNTHETIC", ("cat", "chair", "cup"))  # words that the tiny space knows
    made = training.synthesise
    monkeypatch.setattr(training, "synthesise", lambda label, seed: made({"cat": "cat"}.get(label, "bell"), seed, 1.5))
    config = AudioTrainConfig(epochs=1, batch_size=4, crop_s=0.5, synthetic=0.5, synthetic_count=2)
    found = train_audio(
        data, tiny_space, tmp_path / "run", config, fold="1", exclude=["cat"], prompts=("a photo of a {}",)
    )
    about = json.loads((tmp_path / "run/tower/audio.json").read_text())
    assert about["labels"] == ["cat", "chair", "cup"] and about["synthetic"]["labels"] == ["chair", "cup"]
    assert about["sounds"] == 4 and found["steps"] == 2  # two recordings a batch
    assert set(found["classes"]) == {"cat", "chair"}  # ranked among the set's own labels
    with pytest.raises(InputError, match="synthetic must be"):
        AudioTrainConfig(synthetic=0.01)


def test_pictures_and_labels_left_out(data, tiny_space, tmp_path):
    (tmp_path / "pictures/cat").mkdir(parents=True)
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"pictures/cat/{i}.png")
    options = {"images": tmp_path / "pictures", "prompts": ("a photo of a {}",), "fold": "1"}
    found = train_audio(data, tiny_space, tmp_path / "run", QUICK, exclude=["chair"], **options)
    about = json.loads((tmp_path / "run/tower/audio.json").read_text())
    assert about["pictures"] == 3 and about["exclude"] == ["chair"] and about["sounds"] == 4
    assert set(found["classes"]) == {"cat", "chair"}  # still ranked
    with pytest.raises(FileError, match="no folder of pictures"):
        train_audio(data, tiny_space, tmp_path / "other", QUICK, images=data)


def test_folds_and_labels_that_are_not_there(data, tiny_space, tmp_path):
    with pytest.raises(InputError, match="no fold '9'; its folds: 1, 2, 3"):
        train_audio(data, tiny_space, tmp_path / "a", QUICK, fold="9")
    with pytest.raises(InputError, match="no such labels: dog; known: cat, chair"):
        train_audio(data, tiny_space, tmp_path / "a", QUICK, exclude=["dog"])
    for wrong in ({"epochs": 0}, {"lr": 0.0}, {"crop_s": 0.0}, {"mixup": 2.0}, {"speed": 0.5}):
        with pytest.raises(InputError):
            AudioTrainConfig(**wrong)


def test_cross_validation(data, tiny_space, tmp_path):
    config = AudioTrainConfig(epochs=1, batch_size=8, crop_s=0.25)
    found = cross_validate(data, tiny_space, tmp_path / "cv", config, prompts=("a photo of a {}",))
    assert set(found["folds"]) == {"1", "2", "3"}
    assert found["acc1"] == pytest.approx(np.mean([fold["acc1"] for fold in found["folds"].values()]))
    assert json.loads((tmp_path / "cv/cv.json").read_text())["space"] == tiny_space.id


def test_the_command(data, run, run_json, tiny_space, monkeypatch):
    line = f"train audio {data} -o out --epochs 1 --batch-size 8 --crop-s 0.25 --prompts".split()
    status, out, err = run("", *line, "a photo of a {}", "--fold", "3", "--skip", "cat0.wav", "--where", "kind=a")
    assert status == 0, err
    assert "held-out fold" in out and "tower" in out
    found = run_json(
        "classify", str(data / "cat1.wav"), "--labels", "cat,chair", "--prompts", "photo", "--tower", "out/tower"
    )
    assert found["results"][0]["modality"] == "audio"
    status, _, err = run("", *line, "a photo of a {}", "--fold", "9")
    assert status == 2 and "no fold '9'" in err
    for share, warned in ((0.49, True), (0.5, False)):
        figures = {"training_acc1": share, "tower": "out/tower"}
        monkeypatch.setattr(training, "train_audio", lambda *_, figures=figures, **__: figures)
        status, out, err = run("", *line, "a photo of a {}")
        assert status == 0 and out.splitlines() == [
            "held-out fold\ttop-1 on its own training sounds\ttower",
            f"(no fold held out)\t{100 * share:.1f} %\tout/tower",
        ]
        assert ("learnt little" in err and "more --epochs or more sounds" in err) == warned
    status, out, _ = run("train audio --help")
    assert status == 0 and "Example: clipx train audio" in " ".join(out.split())
    assert run("train space --help")[0] == 0  # the group is still there beside it


def test_the_picture_of_an_accuracy_curve_is_whole_or_the_old_one(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def full(self, file, **options):
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    (tmp_path / "accuracy.png").write_bytes(b"old")
    curve = training._Curve(tmp_path / "accuracy.jsonl", 1)
    curve.add(1, 0.5)
    with pytest.raises(FileError, match="No space left on device"):
        curve.plot()
    assert (tmp_path / "accuracy.png").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["accuracy.jsonl", "accuracy.png"]
