"""clipx train classifier and classify --classifier: from a folder of samples to names, in two lines."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import clipx
from clipx.errors import FileError, InputError, SpaceMismatchError
from clipx.fewshot import load_classifier


def picture(path, colour, seed):
    """A noisy picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 40, (24, 24, 3))
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def birds(here):
    for k, (name, colour) in enumerate({"robin": (200, 60, 40), "jay": (40, 60, 200), "crow": (20, 20, 20)}.items()):
        for i in range(6):
            picture(here / "birds" / name / f"{i}.png", colour, 10 * k + i)
        picture(here / "garden" / f"{name}.png", colour, 100 + k)
    return here


TRAIN = "train classifier birds --no-words -o birds.safetensors"


def test_a_folder_of_samples_becomes_a_classifier(birds, run_json, run):
    record = run_json(TRAIN)
    (found,) = record["results"]
    assert found["classes"] == {"crow": 6, "jay": 6, "robin": 6} and found["method"] == "gda"
    assert found["check"] == {"acc1": 1.0, "folds": 4, "n": 18}
    assert (record["modality"], record["n"]) == ("image", 18)
    named = run_json("classify garden --classifier birds.safetensors --top 1")
    assert {one["path"]: one["predictions"][0]["label"] for one in named["results"]} == {
        f"garden/{name}.png": name for name in ("crow", "jay", "robin")
    }
    assert named["classifier"]["method"] == "gda" and named["classifier"]["split"] == "birds"
    # Python gives the same answers.
    paths = [one["path"] for one in named["results"]]
    again = clipx.classify(paths, classifier="birds.safetensors", top=1)
    assert [row[0].label for row in again] == ["crow", "jay", "robin"]
    assert [row[0].probability for row in again] == pytest.approx(
        [one["predictions"][0]["probability"] for one in named["results"]]
    )
    before = (birds / "birds.safetensors").read_bytes()
    run(TRAIN)
    assert (birds / "birds.safetensors").read_bytes() == before


def test_the_check_holds_out_what_it_is_measured_on(birds, run_json):
    for i in range(6):  # two classes of random pictures: nothing can be learned
        for name, seed in (("one", i), ("two", 50 + i)):
            (birds / "twins" / name).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((24, 24), 0).save(birds / "twins" / name / f"{i}.png")
    check = run_json("train classifier twins --no-words -o twins.safetensors")["results"][0]["check"]
    assert check["acc1"] <= 0.8
    assert run_json(f"{TRAIN} --no-check")["results"][0]["check"] is None


def test_what_cannot_be_read_is_left_out_and_named(birds, run):
    (birds / "birds" / "jay" / "0.png").write_bytes(b"no picture")
    status, out, err = run(f"{TRAIN} --json")
    record = json.loads(out)
    assert status == 2 and "not read: birds/jay/0.png" in err
    assert record["results"][0]["classes"] == {"crow": 6, "jay": 5, "robin": 6} and record["n"] == 17
    assert record["results"][0]["check"] == {"acc1": 1.0, "folds": 4, "n": 17}
    assert [one["path"] for one in record["failures"]] == ["birds/jay/0.png"]
    assert load_classifier("birds.safetensors").labels == ("crow", "jay", "robin")
    for i in range(6):  # a class must not vanish without a word
        (birds / "birds" / "jay" / f"{i}.png").write_bytes(b"no picture")
    status, out, err = run("train classifier birds --no-words -o none.safetensors")
    assert (status, out) == (2, "") and "birds/jay/0.png" in err and not (birds / "none.safetensors").exists()


def test_the_classifier_is_there_before_it_is_checked(birds, run, monkeypatch):
    def interrupted(*_, **__):
        assert load_classifier("birds.safetensors").labels == ("crow", "jay", "robin")
        raise KeyboardInterrupt

    monkeypatch.setattr("clipx.fewshot.cross_validated", interrupted)
    assert run(TRAIN)[0] != 0 and (birds / "birds.safetensors").exists()


def test_a_copy_is_not_held_out_of_what_has_it(birds, run):
    for i in range(6):  # nothing can be learned but that copies are equal
        for name, seed in (("one", i % 3), ("two", 50 + i % 3)):
            (birds / "twins" / name).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((24, 24), 0).save(birds / "twins" / name / f"{i}.png")
    status, out, err = run("train classifier twins --no-words -o twins.safetensors --json")
    assert status == 0 and "6 samples are copies of others" in err
    (found,) = json.loads(out)["results"]
    assert found["check"]["n"] == 6 and found["classes"] == {"one": 6, "two": 6}


def test_clouds_are_learned_as_clouds_with_their_settings(here, run_json):
    rng = np.random.default_rng(0)
    for name, stretch in (("table", (1, 0.1, 1)), ("chair", (0.1, 1, 0.1))):
        for i in range(4):
            (here / "clouds" / name).mkdir(parents=True, exist_ok=True)
            np.save(here / "clouds" / name / f"{i}.npy", (rng.normal(size=(60, 3)) * stretch).astype(np.float32))
    record = run_json("train classifier clouds -o c.safetensors --up z --method view_weights --no-check")
    assert record["modality"] == "pointcloud"
    fitted = load_classifier(here / "c.safetensors")
    assert fitted.settings["config"]["up"] == "z" and fitted.views > 1
    named = run_json("classify clouds/table/0.npy clouds/chair/1.npy --classifier c.safetensors --top 1")
    assert named["modalities"]["pointcloud"]["config"]["up"] == "z" and len(named["results"]) == 2
    assert named["results"][0]["path"] == "clouds/table/0.npy"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train classifier birds -o birds.json", "suffix '.json' is not .safetensors"),
        ("train classifier birds -o no/birds.safetensors", "its folder does not exist"),
        ("train classifier birds --method magic", "unknown few-shot method 'magic'"),
        ("train classifier nothing", "no such file"),
        ("train classifier garden", "holds no class folders"),
        ("train classifier mixed", "several modalities: audio 1, image 1"),
        ("train classifier lone", "has one class, 'robin'"),
        ("train classifier cases --no-words", "classes 'Robin' and 'robin' have one name"),
        ("train classifier birds --method cache --labels a,b", "No such option"),
        ("classify garden", "takes words or a classifier"),
        ("classify garden --labels crow --classifier birds.safetensors", "takes words or a classifier"),
        ("classify garden --classifier birds.safetensors --prompts photo", "is for words"),
        ("classify garden --classifier birds.safetensors --none-threshold 0.2", "is for words"),
        ("classify garden --classifier birds.safetensors --modality audio", "learned from image, not from audio"),
        ("classify garden --classifier missing.safetensors", "missing.safetensors"),
        ("classify garden --classifier truncated.safetensors", "is no few-shot classifier"),
        ("classify garden --classifier bare.safetensors", "does not say what files it names"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(birds, run, line, said):
    run(TRAIN)
    (birds / "truncated.safetensors").write_bytes((birds / "birds.safetensors").read_bytes()[:100])
    bare = load_classifier("birds.safetensors")
    del bare.settings["modality"]
    bare.save("bare.safetensors")
    for folder, file in (
        ("mixed/a", "a.wav"),
        ("mixed/b", "b.png"),
        ("lone/robin", "b.png"),
        ("cases/robin", "b.png"),
        ("cases/Robin", "b.png"),
    ):
        (birds / folder).mkdir(parents=True, exist_ok=True)
        (birds / folder / file).write_bytes((birds / "garden" / "crow.png").read_bytes())
    status, out, err = run(line)
    assert (status, out) == (2, "") and said in err
    assert err.count("\n") == 1 or "No such option" in said


def test_a_method_of_views_is_refused_where_a_sample_has_one(birds, run, tiny_space, monkeypatch):
    monkeypatch.setattr(type(tiny_space), "unknown", lambda self, text: [])
    monkeypatch.setattr(type(tiny_space), "require_words", lambda self, texts: None)
    status, out, err = run("train classifier birds --method view-weights -o birds.safetensors")
    assert (status, out) == (2, "") and "here a sample has one" in err and err.count("\n") == 1
    assert not (birds / "birds.safetensors").exists()


def test_a_classifier_belongs_to_its_space(birds, run, tiny_vit_space):
    run(TRAIN)
    with pytest.raises(SpaceMismatchError, match="fitted in space"):
        clipx.classify(["garden/crow.png"], classifier="birds.safetensors", space=tiny_vit_space)
    with pytest.raises(InputError, match="are for words"):
        clipx.classify(["garden/crow.png"], ["crow"], classifier="birds.safetensors", space=tiny_vit_space)
    with pytest.raises(InputError, match="takes words or a classifier"):
        clipx.classify(["garden/crow.png"], space=tiny_vit_space)
    with pytest.raises(FileError):
        clipx.classify(["garden/crow.png"], classifier="garden/crow.png", space=tiny_vit_space)


def test_words_that_the_space_never_saw_are_said_and_left_out(birds, run, run_json, tiny_space, monkeypatch):
    monkeypatch.setattr(type(tiny_space), "unknown", lambda self, text: [text] if text in ("jay", "robin") else [])
    status, _, err = run("train classifier birds -o birds.safetensors")
    assert status == 0 and "learned without words: tiny never saw 'jay' and 1 more" in err
    assert run_json("train classifier birds -o b.safetensors")["results"][0]["words"] is False


def test_every_saved_fact_is_json(birds, run):
    run(TRAIN)
    settings = load_classifier("birds.safetensors").settings
    assert settings == json.loads(json.dumps(settings)) and settings["space"] and settings["method"] == "gda"
    assert torch.isfinite(torch.tensor(settings["samples"]))


def test_a_file_is_no_reason_to_fetch_a_space(birds, run):
    run(TRAIN)
    foreign = load_classifier("birds.safetensors")
    foreign.settings["space"] = "hf-hub:someone/else"
    foreign.save("foreign.safetensors")
    status, out, err = run("classify garden --classifier foreign.safetensors")
    assert (status, out, err.count("\n")) == (2, "", 1) and "name it: --space hf-hub:someone/else" in err
    with pytest.raises(InputError, match="was learned in hf-hub:someone/else"):
        clipx.classify("garden/crow.png", classifier="foreign.safetensors")
