"""Encoders bound to a joint space: the map in closed form, its file, the modality and the command."""

import csv
import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as pil

import clipx
from clipx.errors import FileError, InputError, SpaceMismatchError
from clipx.modalities.bound import Bound, BoundConfig, BoundMap, fit_map, get_encoder, load_map
from clipx.modalities.bound.encoders import ENCODERS, OtherSpace, TimmEncoder
from clipx.modalities.bound.fit import BindConfig, captions_to_targets, ridge_map
from clipx.pictures import open_picture


class Means:
    """An encoder of pictures: the mean and the spread of each colour."""

    reads, id = "image", "means 1"

    def load(self, path):
        return np.asarray(open_picture(path).convert("RGB"), np.float32) / 255

    def features(self, samples):
        return np.stack([np.concatenate([one.mean((0, 1)), one.std((0, 1))]) for one in samples])


@pytest.fixture
def means(monkeypatch):
    """``means`` as an installed encoder."""
    from importlib.metadata import EntryPoint

    real = clipx.modalities.bound.encoders.registered
    point = EntryPoint("means", f"{__name__}:Means", ENCODERS)
    monkeypatch.setattr(
        "clipx.modalities.bound.encoders.registered",
        lambda group: {"means": point} if group == ENCODERS else real(group),
    )
    return Means()


def test_an_installed_encoder_without_its_parts_is_one_line(means, monkeypatch):
    monkeypatch.delattr(Means, "reads")
    monkeypatch.delattr(Means, "features")
    with pytest.raises(InputError, match=r"test_bound:Means: the encoder 'means' has no reads, features"):
        get_encoder("means")


def test_an_installed_encoder_that_cannot_be_made_is_one_line(means, monkeypatch):
    monkeypatch.setattr(Means, "__init__", lambda self, weights: None)
    with pytest.raises(InputError, match=r"test_bound:Means: the encoder 'means' cannot be made: TypeError: .*weights"):
        get_encoder("means")


def pictures(folder, count=12):
    """Red ones are cats, blue ones are cups."""
    rows = []
    for i in range(count):
        rng, kind = np.random.default_rng(i), ("cat", "cup")[i % 2]
        (folder / kind).mkdir(parents=True, exist_ok=True)
        colour = np.array([(200, 30, 30), (30, 30, 200)][i % 2]) + rng.integers(-20, 20, (16, 16, 3))
        pil.fromarray(colour.astype(np.uint8)).save(folder / kind / f"{i}.png")
        rows.append((f"{kind}/{i}.png", kind, f"a {kind}", i % 4 // 2, "photo.png"))
    with open(folder / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "caption", "fold", "beside"), *rows])
    return folder


def toy(space, count=40, seed=0):
    """Features that are a linear map of targets, with noise."""
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(count, space.dim))
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    return targets @ rng.normal(size=(space.dim, 48)) + 0.01 * rng.normal(size=(count, 48)) + 3, targets


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(1, 12), st.sampled_from([1e-3, 0.1, 10.0]), st.integers(0, 3))
def test_ridge_regression_solves_its_normal_equations(samples, features, ridge, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(samples, features)), rng.normal(size=(samples, 4))
    weight, bias = ridge_map(x, y, ridge)
    error = x @ weight + bias - y
    assert np.abs(error.mean(0)).max() < 1e-9  # the derivative by the bias
    assert np.abs(x.T @ error / samples + ridge * weight).max() < 1e-9  # and by the weight


def test_a_map_finds_what_was_mapped_linearly_and_a_perceptron_begins_there(tiny_space, tmp_path):
    features, targets = toy(tiny_space)
    made = fit_map(Means(), "means", features[:30], targets[:30], tiny_space)
    assert (made(features[:30]) * targets[:30]).sum(1).min() > 0.99
    assert made.settings["ridge"] < 1e-2 and made.settings["samples"] == 30
    begun = fit_map(
        Means(), "means", features, targets, tiny_space, BindConfig(kind="mlp", hidden=8, steps=1), tmp_path / "a"
    )
    same = fit_map(Means(), "means", features, targets, tiny_space)
    assert np.abs(begun(features) - same(features)).max() < 1e-2


def test_a_perceptron_learns_what_no_linear_map_can(tiny_space, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (400, 2))
    words = tiny_space.encode_text(["cat", "cup"])
    targets = words[(x[:, 0] * x[:, 1] > 0).astype(int)]

    def right(made):
        return ((made(x) @ words.T).argmax(1) == (x[:, 0] * x[:, 1] > 0)).mean()

    linear = fit_map(Means(), "means", x, targets, tiny_space)
    config = BindConfig(kind="mlp", hidden=64, steps=200)
    bent = fit_map(Means(), "means", x, targets, tiny_space, config, tmp_path / "run")
    assert right(linear) < 0.65 and right(bent) > 0.9


def test_a_perceptron_goes_on_with_its_own_samples_alone(tiny_space, tmp_path):
    features, targets = toy(tiny_space)
    config = BindConfig(kind="mlp", hidden=8, steps=2)
    fit_map(Means(), "means", features, targets, tiny_space, config, tmp_path / "run")
    fit_map(Means(), "means", features, targets, tiny_space, config, tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="a run with other settings"):
        fit_map(Means(), "means", features + 1, targets, tiny_space, config, tmp_path / "run", resume=True)


def test_an_installed_encoder_refuses_arrays(run, here, means):
    shown = np.zeros((4, 16, 16, 3), np.uint8)
    np.savez(here / "set.npz", images=shown, labels=np.array([0, 1, 0, 1]), classes=np.array(["cat", "cup"]))
    assert "its samples are arrays, and this encoder reads files" in run("bind means set.npz -o a.safetensors")[2]


def test_the_file_is_read_back_and_belongs_to_one_space(tiny_space, tiny_vit_space, tmp_path):
    features, targets = toy(tiny_space)
    made = fit_map(Means(), "means", features, targets, tiny_space)
    path = made.save(tmp_path / "a.safetensors")
    found = load_map(path, tiny_space)
    assert np.array_equal(found(features), made(features)) and found.encoder_id == "means 1"
    with pytest.raises(SpaceMismatchError, match="clipx bind"):
        load_map(path, tiny_vit_space)
    damaged = BoundMap({**made.arrays, "bias": np.full_like(made.arrays["bias"], np.nan)}, "means", "", tiny_space.id)
    with pytest.raises(FileError, match="not finite"):
        load_map(damaged.save(tmp_path / "b.safetensors"), tiny_space)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FileError, match="is no map of an encoder"):
        load_map(path, tiny_space)


@pytest.mark.parametrize(
    ("features", "targets", "what"),
    [
        (np.ones((4, 3)), np.ones((4, 32)) / 32**0.5, "of 1 meanings"),
        (np.ones((4, 3)), np.eye(4, 31), "targets"),
        (np.full((4, 3), np.inf), np.eye(4, 32), "must be finite"),
    ],
)
def test_what_cannot_be_fitted_is_refused(tiny_space, features, targets, what):
    with pytest.raises(InputError, match=what):
        fit_map(Means(), "means", features, targets, tiny_space)


def test_an_encoder_with_other_weights_is_refused(tiny_space, means, tmp_path, monkeypatch):
    features, targets = toy(tiny_space)
    path = fit_map(means, "means", features[:, :6], targets, tiny_space).save(tmp_path / "a.safetensors")
    bound = Bound(tiny_space, BoundConfig(map=str(path)))
    assert bound.encoder.id == "means 1"
    monkeypatch.setattr(Means, "id", "means 2")
    with pytest.raises(InputError, match="another than the map was made for"):
        Bound(tiny_space, BoundConfig(map=str(path))).encoder  # noqa: B018


def test_unknown_encoders_are_refused():
    with pytest.raises(InputError, match=r"no encoder named 'clap'.*audio@lite"):
        get_encoder("clap")
    with pytest.raises(InputError, match="timm knows no model"):
        get_encoder("timm:no_such_model=weights.safetensors")
    with pytest.raises(InputError, match="no modality named"):
        get_encoder("smell@nano")


def test_a_timm_model_reads_pictures_by_weights_from_a_file(tmp_path):
    import timm
    from safetensors.torch import save_file

    model = timm.create_model("test_resnet", pretrained=False)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    found = get_encoder(f"timm:test_resnet={tmp_path / 'weights.safetensors'}")
    assert isinstance(found, TimmEncoder)
    path = pictures(tmp_path / "set", 2) / "cat/0.png"
    rows = found.features([found.load(path), found.load(path)])
    assert rows.shape == (2, model.num_features) and np.array_equal(rows[0], rows[1])
    state = model.state_dict()
    wider = {name: value for name, value in state.items() if name != "conv1.0.weight"}
    for i, other in enumerate([wider, state | {"conv1.0.weight": torch.ones(9, 9)}]):
        save_file(other, tmp_path / f"other{i}.safetensors")
        with pytest.raises(InputError, match=r"conv1\.0\.weight and 0 more weights are missing, or of another shape"):
            get_encoder(f"timm:test_resnet={tmp_path / f'other{i}.safetensors'}")


def test_a_modality_of_another_space_is_an_encoder(space_folder, tmp_path):
    other = OtherSpace("image", str(space_folder))
    assert other.id.startswith("image@tiny") and other.reads == "image" and other.prompts == "photo"
    path = pictures(tmp_path / "set", 4) / "cat/0.png"
    expected = clipx.embed([path], space=clipx.load_space(space_folder)).vectors
    assert np.abs(other.features([other.load(path)]) - expected).max() < 1e-6


def test_the_windows_of_a_sound_keep_their_times(tiny_space, tiny_vit_space, tmp_path, monkeypatch):
    """An encoder of sounds: the untrained tower of another space."""
    from clipx.modalities.audio import Audio
    from clipx.modalities.bound import encoders

    t = np.arange(12 * 16_000) / 16_000
    soundfile.write(tmp_path / "a.wav", 0.3 * np.sin(2 * np.pi * 440 * t), 16_000)
    monkeypatch.setattr("clipx.spaces.loading.load_space", lambda name, device: tiny_vit_space)
    found = encoders.get_encoder("audio@tiny")
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(20, 32)), toy(tiny_space, 20)[1]
    path = fit_map(found, "audio@tiny", features, targets, tiny_space).save(tmp_path / "a.safetensors")
    bound = Bound(tiny_space, BoundConfig(map=str(path)))
    parts, own = bound.parts([bound.load(tmp_path / "a.wav")]), Audio(tiny_vit_space)
    assert list(parts.places) == list(own.parts([own.load(tmp_path / "a.wav")]).places) and len(parts.vectors) > 2
    assert bound.prompts == "sound"


def test_files_are_bound_classified_and_indexed(run_json, run, here, means):
    pictures(here / "set")
    record = run_json("bind means set --where fold=0 --test-where fold=1 -o map.safetensors")
    (row,) = record["results"]
    assert (record["samples"], row["n"], row["labels"], row["chance"]) == (6, 6, 2, 0.5)
    assert row["acc1"] == 1.0 and row["ci95"][0] == 1.0
    shutil.copytree(here / "set", here / "more")
    (other,) = run_json("bind means set --where fold=0 --test more --test-where fold=1 -o other.safetensors")["results"]
    assert other == row
    assert run("bind means set --test more -o other.safetensors")[0] == 2  # the same files by another path
    named = run_json("classify set/cat/0.png set/cup/1.png --modality bound --map map.safetensors --labels cat,cup")
    assert [one["predictions"][0]["label"] for one in named["results"]] == ["cat", "cup"]
    run_json("index set/cat set/cup --db my.index --modality bound --map map.safetensors")
    found = run_json("search cup --db my.index -k 6")["results"]
    assert {hit["path"].rsplit("/", 2)[-2] for hit in found} == {"cup"} and found[0]["modality"] == "bound"


def test_the_figure_is_that_of_the_modality_also_of_several_parts(run_json, here, monkeypatch):
    """Windows of sounds are mapped one by one: the mean of what they become is not what their mean becomes."""
    rng = np.random.default_rng(0)
    rows = ["path,label,fold"]
    for i in range(12):
        parts = [rng.normal(size=16_000) * rng.uniform(0.01, 0.5) * np.sin(np.arange(16_000) * rng.uniform(0.01, 1))]
        soundfile.write(here / f"{i}.wav", np.concatenate([*parts, parts[0][::-1] * 0.1, *parts] * 3), 8000)
        rows.append(f"{i}.wav,{('cat', 'cup')[i % 2]},{i // 2 % 2}")
    (here / "labels.csv").write_text("\n".join(rows))
    (row,) = run_json("bind audio@nano . --where fold=0 --test-where fold=1 -o map.safetensors --ridge 0.01")["results"]
    seen = run_json("eval bound labels.csv --where fold=1 --map map.safetensors")["results"]
    assert seen[0]["metrics"]["acc1"] == row["acc1"]
    points, labels = rng.normal(size=(12, 40, 3)).astype(np.float32), np.arange(12) % 2
    np.savez(here / "set.npz", points=points, labels=labels, classes=np.array(["cat", "cup"]))
    np.savez(here / "more.npz", points=points + 0.01, labels=labels, classes=np.array(["cat", "cup"]))
    (row,) = run_json("bind pointcloud@nano set.npz --test more.npz -o clouds.safetensors --ridge 0.01")["results"]
    space, own = clipx.load_space(), clipx.get_modality("pointcloud")
    bound = Bound(space, BoundConfig(map="clouds.safetensors"))
    clouds = [own(clipx.load_space("nano")).from_array(one) for one in points + np.float32(0.01)]
    words = captions_to_targets(space, ["cat", "cup"], bound.prompts)
    assert row["acc1"] == ((bound.encode(clouds).vectors @ words.T).argmax(1) == labels).mean()


def test_a_file_that_cannot_be_read_is_left_out_and_named(run, here, means):
    folder = pictures(here / "set")
    (folder / "cat/0.png").write_bytes(b"no picture")
    status, out, err = run("bind means set -o map.safetensors --json")
    assert status == 2 and json.loads(out)["samples"] == 11 and (here / "map.safetensors").exists()
    assert json.loads(out)["failures"][0]["path"].endswith("cat/0.png") and "not read: " in err


def test_captions_and_files_beside_are_targets_too(run_json, here, means):
    folder = pictures(here / "set")
    shutil.copy(here / "photo.png", folder)
    record = run_json("bind means set --captions -o captions.safetensors")
    assert record["samples"] == 12 and record["settings"]["meanings"] == 2
    for i in range(12):  # every other one belongs to another photo
        pil.fromarray(np.full((20, 20, 3), 20 * i, np.uint8)).save(folder / f"other{i}.png")
    rows = [line.split(",") for line in (folder / "labels.csv").read_text().splitlines()]
    for i, row in enumerate(rows[1:]):
        row[-1] = f"other{i}.png"
    with open(folder / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    record = run_json("bind means set --paired beside -o pairs.safetensors --test-where fold=1 --where fold=0")
    assert record["settings"]["meanings"] == 6


def test_targets_are_the_space_s_words(tiny_space):
    rows = captions_to_targets(tiny_space, ["cat", "cup", "cat"], "photo")
    assert np.array_equal(rows[0], rows[2]) and np.abs(np.linalg.norm(rows, axis=1) - 1).max() < 1e-5


def test_without_a_map_it_says_what_to_do(space_folder, tmp_path):
    bound = Bound(clipx.load_space(space_folder))
    assert "clipx bind" in (bound.unavailable() or "")
    with pytest.raises(InputError, match="make one with clipx bind"):
        bound.load(tmp_path / "a.png")


def test_the_table_of_a_folder_is_no_sample(run_json, here, means):
    pictures(here / "set")
    run_json("bind means set -o map.safetensors")
    record = run_json("index set --db my.index --modality bound --map map.safetensors")
    (did,) = record["results"]
    assert did["added"] == 12 and not did["failures"]
