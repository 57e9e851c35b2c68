"""clipx eval with shots, sweeps and pictures; the public benchmarks' files; clipx reproduce."""

import io
import json
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from clipx import evaluation
from clipx.datasets import read_data
from clipx.embedding import Embedding
from clipx.errors import FileError, InputError
from clipx.modalities.pointcloud import PointCloud, benchmarks
from clipx.modalities.pointcloud.benchmarks import SCANOBJECTNN_CLASSES, read_benchmark
from clipx.modality import Modality

NAMES = np.array(["chair", "night_stand"])


def clouds(count: int, seed: int = 0, points: int = 40) -> np.ndarray:
    """Flat ones and tall ones by turns, (N, P, 3)."""
    rng = np.random.default_rng(seed)
    stretch = np.array([[1.0, 0.1, 1.0], [0.1, 1.0, 0.1]])[np.arange(count) % 2]
    return (rng.normal(size=(count, points, 3)) * stretch[:, None]).astype(np.float32)


@pytest.fixture
def sets(here):
    """Clouds to learn from and to test on."""
    np.savez("train.npz", points=clouds(14, 1), labels=np.arange(14) % 2, classes=NAMES)
    np.savez("test.npz", points=clouds(6, 2), labels=np.arange(6) % 2, classes=NAMES, split=np.array(["test"] * 6))
    return here


# Shots ----------------------------------------------------------------------------------------------------------------


def test_few_shot_rows_stand_beside_zero_shot_and_never_share_one(run_json, sets):
    record = run_json("eval pointcloud test.npz --train train.npz --shots 3 --draws 2 --method zero_shot,cache,probe")
    words, cache, probe = record["results"]
    assert [row["method"] for row in record["results"]] == ["zero_shot", "cache", "probe"]
    assert "shots" not in words and "draws" not in words and words["metrics"]["acc5"] is None
    for row in (cache, probe):
        assert row["shots"] == 3 and [draw["seed"] for draw in row["draws"]] == [0, 1]
        assert row["metrics"]["acc1"] == pytest.approx(np.mean([draw["acc1"] for draw in row["draws"]]))
        assert all(draw["settings"]["split"] == "train" for draw in row["draws"])
        low, high = row["ci95"]["acc1"]
        assert low <= row["metrics"]["acc1"] <= high
    assert probe["metrics"]["acc1"] == 1  # flat or tall: the tower need not be trained to tell
    assert record["subsets"] == {"split": ["test"]}
    assert record["train"]["dataset"] == "train" and record["train"]["n"] == 14
    assert record["train"]["data_sha256"] != record["data_sha256"]


def test_cached_views_are_not_made_again(run_json, sets, monkeypatch):
    line = "eval pointcloud test.npz --train train.npz --shots 3 --draws 1 --method cache --cache kept"
    first = run_json(line)
    monkeypatch.setattr("clipx.modalities.pointcloud.encoder.PointCloud.parts", lambda *_: pytest.fail("encoded again"))
    assert run_json(line) == first


def test_shots_may_come_from_the_same_data_but_not_from_the_same_rows(run_json, run, sets):
    both = np.concatenate([clouds(14, 1), clouds(6, 2)])
    split = np.array(["train"] * 14 + ["test"] * 6)
    np.savez("both.npz", points=both, labels=np.arange(20) % 2, classes=NAMES, split=split)
    line = "eval pointcloud both.npz --where split=test --shots 2 --draws 1 --method cache"
    assert run_json(f"{line} --train-where split=train")["results"][0]["shots"] == 2
    for more, said in [("", "name --train or --train-where"), ("--train-where label=chair", "3 samples to learn from")]:
        status, out, err = run(f"{line} {more}".strip())
        assert (status, out, err.count("\n")) == (2, "", 1) and said in err


def test_copies_are_told_whatever_their_file_says_of_them(run, sets):
    test = dict(np.load("test.npz"))
    for more in ({"up": np.array("z")}, {"points": test["points"].astype(np.float64)}):
        np.savez("leak.npz", **{**test, **more})
        status, _, err = run("eval pointcloud test.npz --train leak.npz --shots 1 --draws 1 --method cache")
        assert status == 2 and "6 samples to learn from are among those to test on" in err


def test_the_probe_learns_from_its_shots_alone(sets, tiny_space, monkeypatch):
    from clipx.fewshot import LinearProbe, few_shot_draw, fit_shots
    from clipx.zeroshot import ZeroShotClassifier

    seen, fit = [], LinearProbe.fit
    monkeypatch.setattr(LinearProbe, "fit", lambda *given, **more: (seen.append((given, more)), fit(*given, **more))[1])
    labels = [i % 2 for i in range(40)]
    vectors = torch.nn.functional.normalize(
        torch.randn(40, tiny_space.dim, generator=torch.Generator().manual_seed(0)), dim=1
    )
    things = Embedding(vectors, tiny_space.id, "pointcloud", [str(i) for i in range(40)])
    probe = fit_shots("probe", things, labels, ZeroShotClassifier(tiny_space, ["chair", "table"]), 5, seed=3)
    (train, *_), more = seen[0]
    assert [int(name) for name in train.ids] == few_shot_draw([("chair", "table")[k] for k in labels], 5, 3)
    assert "validation" not in more and probe.settings["samples"] == 10
    assert probe.settings["selection"] == "cross-validation on the shots" and probe.settings["folds"] == 4
    one = fit_shots("probe", things, labels, ZeroShotClassifier(tiny_space, ["chair", "table"]), 1, seed=3)
    assert (one.settings["selection"], one.settings["C"]) == ("fixed beforehand", 1.0)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--train train.npz", "nothing is learnt from it"),
        ("--method probe --shots 8 --train train.npz", "too few samples for 8 shots a class: chair 7, night_stand 7"),
        ("--labels chair,night_stand,cup --shots 2 --train train.npz", "too few samples for 2 shots a class"),
        ("--sweep weights=1,1,1,1,1,1", "weights holds commas itself"),
        ("--seed -1", "seed must be at least 0"),
        ("--method cache --shots 2 --draws 1 --train train.npz --weighting entropy", "separately have no weights"),
        ("--method cache", "cache learns from shots"),
        ("--method magic --shots 2 --train train.npz", "unknown method 'magic'"),
        ("--method cache --shots 9 --train train.npz", "too few samples for 9 shots a class: chair 7, night_stand 7"),
        ("--confusion picture.jpg", "suffix '.jpg' is not .png"),
        ("--confusion no/picture.png", "its folder does not exist"),
        ("--sweep up", "expected column=value"),
        ("--sweep colour=red", "pointcloud has no setting 'colour'; known: prompts, projection"),
        ("--sweep tta=one", "tta takes int values"),
        ("--sweep projection=cubist", "unknown projection 'cubist'"),
        ("--sweep prompts=poem", "no prompt set named 'poem'"),
        ("--sweep tta=1,2,3,4,5,6,7,8,9,10,11,12,13 --confusion a.png", "more than 12 tables"),
    ],
)
def test_unusable_requests_cost_one_line(run, sets, line, said):
    status, out, err = run(f"eval pointcloud test.npz {line}")
    assert (status, out, err.count("\n")) == (2, "", 1) and said in err.replace("setting=", "column="), err


# Sweeps, tables, pictures ---------------------------------------------------------------------------------------------


def test_a_sweep_gives_a_row_for_every_combination(run_json, run, sets):
    line = (
        "eval pointcloud test.npz --points 32 --sweep projection=pointclip_v1,ortho_splat --sweep prompts=plain,photo"
    )
    rows = run_json(line)["results"]
    swept = [(row["sweep"]["projection"], row["sweep"]["prompts"]) for row in rows]
    assert swept == [(p, q) for p in ("pointclip_v1", "ortho_splat") for q in ("plain", "photo")]
    assert [row["config"]["projection"] for row in rows] == [p for p, _ in swept]
    assert all(row["config"]["points"] == 32 and row["prompts"] == row["sweep"]["prompts"] for row in rows)
    alone = run_json("eval pointcloud test.npz --points 32 --projection ortho_splat --prompts photo")["results"][0]
    assert alone["metrics"] == rows[3]["metrics"]
    same = run_json("eval pointcloud test.npz --points 32 --sweep points=32,16")["results"]
    assert [row["sweep"] for row in same] == [{"points": 32}, {"points": 16}]  # the flag's own value too
    out = run(line)[1].splitlines()
    assert out[0].split("\t")[:3] == ["projection", "prompts", "method"] and len(out) == 5


def test_weights_that_were_fitted_say_on_what(run_json, run, sets):
    line = "eval pointcloud test.npz --projection pointclip_v2"
    assert run_json(line)["results"][0]["tuned_on"] == ""
    row = run_json(f"{line} --weighting vitb16_modelnet40")["results"][0]
    assert row["tuned_on"].startswith("test labels of ModelNet40, with CLIP vitb16")
    assert "test labels of ModelNet40" in run(f"{line} --weighting vitb16_modelnet40")[1]
    own = run_json(f"{line} --weights 1,1,1,1,1,1,1,1,0,0")["results"][0]
    assert own["tuned_on"] == "unknown: the view weights were given"
    record = run_json("eval pointcloud test.npz --train train.npz --shots 2 --draws 1 --method zero_shot,cache")
    assert [row["tuned_on"] for row in record["results"]] == ["", "train"]


def test_each_projection_has_its_own_prompts(run_json, sets):
    rows = run_json("eval pointcloud test.npz --sweep projection=pointclip_v1,ortho_splat")["results"]
    assert [row["prompts"] for row in rows] == ["pointclip", "rendering"]


def test_the_interval_is_that_of_the_mean_over_draws():
    from clipx.figures import figures_of
    from clipx.metrics import bootstrap_ci95

    targets = np.array([0, 1] * 20)
    right = torch.nn.functional.one_hot(torch.from_numpy(targets), 2).float()
    figures, table = figures_of([right, right.flip(1)], targets, ["a", "b"], 0)
    assert figures["metrics"]["acc1"] == 0.5 and figures["ci95"]["acc1"] == list(bootstrap_ci95(np.full(40, 0.5)))
    assert table.tolist() == [[20, 20], [20, 20]] and figures["classes"][0]["taken_for"] == "b"


def test_a_bad_sample_is_named(run, sets):
    points = clouds(3)
    points[1, 5] = np.nan
    np.savez("bad.npz", points=points, labels=np.arange(3) % 2, classes=NAMES, array=np.array(7))
    status, out, err = run("eval pointcloud bad.npz")
    assert (status, out, err.count("\n")) == (2, "", 1) and "bad.npz row 1: NaN or infinite coordinates" in err


def test_folders_of_splits_are_no_classes(run, here):
    for folder in ("set/train/chair", "set/test/chair"):
        (here / folder).mkdir(parents=True)
        np.savetxt(here / folder / "0.xyz", clouds(1)[0])
    status, _, err = run("eval pointcloud set")
    assert status == 2 and "its folders are splits (test, train), not classes" in err


def test_the_table_shows_each_class_and_what_it_is_taken_for(run, sets, monkeypatch):
    monkeypatch.setattr("clipx.zeroshot.ZeroShotClassifier.logits", lambda self, e: torch.eye(2)[:1].repeat(len(e), 1))
    out = run("eval pointcloud test.npz")[1]
    assert "class\tn\trecall\tmost often taken for\nchair\t3\t100.0%\t\nnight_stand\t3\t0.0%\tchair 100.0%\n" in out


def test_the_confusion_picture_has_a_panel_a_row(run_json, sets):
    run_json("eval pointcloud test.npz --confusion one.png")
    run_json(
        "eval pointcloud test.npz --confusion two.png --train train.npz --shots 2 --draws 1 --method zero_shot,cache"
    )
    one, two = (np.asarray(Image.open(name).convert("RGB")).astype(int) for name in ("one.png", "two.png"))
    assert two.shape[1] > 1.8 * one.shape[1]
    assert (one[..., 2] - one[..., 0]).max() > 60  # something is blue


def test_class_folders_may_hold_splits(run_json, run, here):
    for split, seed in (("train", 1), ("test", 2)):
        for i, cloud in enumerate(clouds(4, seed)):
            folder = here / "set" / NAMES[i % 2] / split
            folder.mkdir(parents=True, exist_ok=True)
            np.savetxt(folder / f"{i}.xyz", cloud)
    record = run_json("eval pointcloud set --where split=test")
    assert record["n"] == 2 * 2 and record["subsets"] == {"split": ["test"]}
    assert run_json("eval pointcloud set")["subsets"] == {"split": ["test", "train"]}
    line = "eval pointcloud set --where split=test --train-where split=train --shots 1 --draws 1 --method cache"
    assert run_json(line)["train"]["n"] == 4


# The public benchmarks ------------------------------------------------------------------------------------------------


def h5(path, count, classes, seed=0, **more):
    h5py = pytest.importorskip("h5py")
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["data"] = more.get("data", clouds(count, seed, 1500))
        file["label"] = more.get("label", (np.arange(count) % classes).astype(np.uint8)[:, None])
    return path


@pytest.fixture
def modelnet40(tmp_path):
    folder = tmp_path / "modelnet40_ply_hdf5_2048"
    h5(folder / "ply_data_train0.h5", 5, 40)
    h5(folder / "ply_data_test0.h5", 4, 40, 1)
    h5(folder / "ply_data_test1.h5", 3, 40, 2)
    (folder / "shape_names.txt").write_text("\n".join(["airplane", "bathtub", *(f"thing_{i}" for i in range(38))]))
    return folder


def quietly(path, where=()):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = read_benchmark(path, where)
    return found, [str(one.message) for one in told]


def test_modelnet40_is_read_and_compared_with_the_release(modelnet40, monkeypatch):
    found, told = quietly(modelnet40, [("split", "test")])
    assert found["points"].shape == (7, 1500, 3) and found["labels"].tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert found["classes"][1] == "bathtub" and found["split"].tolist() == ["test"] * 7
    assert str(found["up"]) == "y" and str(found["published"]).startswith("differs: ply_data_test0.h5 has another MD5")
    assert len(told) == 1 and "7 shapes in test, 2468 were released" in told[0]
    assert quietly(modelnet40)[0]["split"].tolist() == ["test"] * 7 + ["train"] * 5

    import hashlib

    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in modelnet40.glob("*.h5")}
    monkeypatch.setattr(benchmarks, "MODELNET40_MD5", sums)
    monkeypatch.setattr(benchmarks, "MODELNET40_SHAPES", {"train": 5, "test": 7})
    found, told = quietly(modelnet40)
    assert str(found["published"]) == "yes" and told == []
    found, told = quietly(modelnet40 / "ply_data_test1.h5")  # of one file, only the hash tells
    assert str(found["published"]) == "yes" and len(found["points"]) == 3


def test_scanobjectnn_is_told_by_folder_and_file(tmp_path):
    for folder in ("main_split", "main_split_nobg"):
        for name, count in (("training_objectdataset", 4), ("test_objectdataset", 3)):
            h5(tmp_path / folder / f"{name}.h5", count, 15, label=np.arange(count))
    h5(tmp_path / "main_split" / "test_objectdataset_augmentedrot_scale75.h5", 2, 15, label=np.arange(2))
    found, told = quietly(tmp_path / "main_split_nobg", [("split", "test")])
    assert found["variant"].tolist() == ["OBJ_ONLY"] * 3 and tuple(found["classes"]) == SCANOBJECTNN_CLASSES
    assert "3 shapes in test, 581 were released" in told[0]
    assert quietly(tmp_path / "main_split")[0]["variant"].tolist() == ["OBJ_BG"] * 7
    bare = h5(tmp_path / "main_split_nobg" / "test_objectdataset_augmentedrot_scale75.h5", 2, 15, label=np.arange(2))
    assert quietly(bare)[0]["variant"].tolist() == ["PB_T50_RS_NOBG"] * 2  # the papers' PB_T50_RS has its background
    bare.unlink()
    hard, _ = quietly(tmp_path / "main_split", [("variant", "PB_T50_RS")])
    assert (hard["variant"].tolist(), hard["split"].tolist()) == (["PB_T50_RS"] * 2, ["test"] * 2)
    assert quietly(tmp_path / "main_split" / "test_objectdataset_augmentedrot_scale75.h5")[0]["labels"].tolist() == [
        0,
        1,
    ]
    with pytest.raises(InputError, match="there are test OBJ_BG, test PB_T50_RS, train OBJ_BG"):
        read_benchmark(tmp_path / "main_split", [("variant", "PB_T25")])


def test_other_folders_are_no_benchmark(tmp_path, modelnet40):
    assert read_benchmark(tmp_path) is None
    other = modelnet40 / "ply_data_test0.h5"
    assert read_benchmark(other.rename(tmp_path / "ply_data_test0.npz")) is None
    (tmp_path / "clouds.h5").write_bytes(b"")
    with pytest.raises(FileError, match=r"is no file of ModelNet40 or ScanObjectNN, by its name"):
        read_benchmark(tmp_path / "clouds.h5")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"data": np.zeros((3, 10))}, "do not fit"),
        ({"label": np.arange(9)}, "do not fit"),
        ({"label": np.array([0.0, 1.0, 2.0])}, "do not fit"),
        ({"label": np.array([0, 1, 40])}, "labels 0 to 40 of 40 classes"),
        ({"data": np.array([b"text"])}, "cannot be read as HDF5|do not fit"),
    ],
)
def test_files_of_another_shape_are_refused(modelnet40, more, said):
    path = h5(modelnet40 / "ply_data_test0.h5", 3, 40, **more)
    with pytest.raises(FileError, match=said):
        read_benchmark(path)


def test_damaged_benchmarks_are_refused(modelnet40):
    path = modelnet40 / "ply_data_test0.h5"
    whole = path.read_bytes()
    for data in (b"", b"no HDF5", whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(FileError, match="cannot be read as HDF5"):
            read_benchmark(path)
    (modelnet40 / "shape_names.txt").write_text("airplane\n")
    with pytest.raises(FileError, match="names 1 classes, expected 40"):
        read_benchmark(modelnet40 / "ply_data_test1.h5")
    (modelnet40 / "shape_names.txt").unlink()
    with pytest.raises(FileError, match="it comes with ModelNet40's files"):
        read_benchmark(modelnet40 / "ply_data_test1.h5")


def test_eval_names_the_benchmark_and_its_split(run, here, modelnet40):
    (modelnet40 / "shape_names.txt").write_text(
        "\n".join(["chair", "table", "cup", "cat"] + [f"x{i}" for i in range(36)])
    )
    status, out, err = run(f"eval pointcloud {modelnet40} --where split=test --labels chair,table,cup,cat --json")
    assert status == 0, err
    record = json.loads(out)
    assert record["facts"]["benchmark"] == "ModelNet40" and record["facts"]["published"].startswith("differs")
    assert record["subsets"] == {"split": ["test"]} and record["n"] == 7
    assert err.startswith("warning: ") and err.count("\n") == 1 and "7 shapes in test, 2468 were released" in err


# clipx reproduce ------------------------------------------------------------------------------------------------------


@pytest.fixture
def any_word(tiny_space, monkeypatch):
    """A space that knows every word, under a published tower's name."""
    monkeypatch.setattr("clipx.cli._work.open_space", lambda *_: tiny_space)
    monkeypatch.setattr("clipx.modalities.pointcloud.reproduce.TOWERS", {tiny_space.name: "vitb16"})


@pytest.fixture
def modelnet10(here):
    names = ["bathtub", "bed", "chair", "desk", "dresser", "monitor", "night_stand", "sofa", "table", "toilet"]
    np.savez("ten.npz", points=clouds(10, 3, 1100), labels=np.arange(10), classes=np.array(names))
    return here


def test_reproduce_prints_published_and_measured_side_by_side(run, modelnet10, any_word):
    line = "reproduce pointclip --data ten.npz"
    status, out, err = run(f"{line} --json")
    assert status == 0, err
    record = json.loads(out)
    assert record["published"] == [{"acc1": 0.302, "source": "PointCLIP, CVPR 2022", "shots": 0}]
    assert record["data_as_published"] == "differs: 10 shapes, the official test split has 908"
    assert "warning: not the data of the published figures" in err
    equal, searched = record["results"]
    assert equal["tuned_on"] is None and equal["view_weights"] == [1.0] * 6
    assert searched["tuned_on"] == "the labels measured on"
    assert searched["metrics"]["acc1"] >= equal["metrics"]["acc1"]
    assert record["config"]["projection"] == "pointclip_v1" and len(record["data_sha256"]) == 64
    table = run(line)[1]
    assert "published\t30.20%" in table and "untuned" in table and "tuned on the labels measured on" in table


def test_reproduce_measures_what_the_paper_did(run, modelnet10, any_word, tiny_space):
    """The first 1,024 points where they are stored, V1's six views, its prompt, equal weights, written out."""
    from clipx.modalities.pointcloud import project
    from clipx.modalities.pointcloud.projection import resized

    record = json.loads(run("reproduce pointclip --data ten.npz --json")[1])
    with np.load("ten.npz") as ten:
        points, names = torch.from_numpy(ten["points"]), [str(name).replace("_", " ") for name in ten["classes"]]
    shown = project("pointclip_v1", points[:, :1024].contiguous())
    pixels = resized(shown, tiny_space.image_size).expand(-1, -1, 3, -1, -1)
    views = tiny_space.encode_image(pixels.flatten(0, 1), normalize=False).unflatten(0, (10, 6))
    text = tiny_space.encode_text([f"point cloud depth map of a {name}." for name in names])
    right = (views @ text.T).sum(1).argmax(1) == torch.arange(10)
    assert record["results"][0]["metrics"]["acc1"] == pytest.approx(right.double().mean().item())
    assert [one["recall"] for one in record["results"][0]["classes"]] == right.double().tolist()


def test_reproduce_learns_from_shots_of_another_split(run, modelnet10, any_word, monkeypatch):
    from clipx.fewshot import AdapterConfig

    short = partial(AdapterConfig, epochs=1, batch_size=20)
    monkeypatch.setattr("clipx.fewshot.adapter.AdapterConfig", short)
    with np.load("ten.npz") as ten:
        classes = ten["classes"]
    np.savez("more.npz", points=clouds(160, 4, 30), labels=np.arange(160) % 10, classes=classes)
    status, out, err = run("reproduce pointclip --data ten.npz --train more.npz --json")
    assert status == 0, err
    adapter = json.loads(out)["results"][2]
    assert adapter["tuned_on"] == "16 shots of more" and adapter["settings"]["shots"] == 16
    status, _, err = run("reproduce pointclip --data ten.npz --train ten.npz")
    assert status == 2 and "10 samples to learn from are among those to test on" in err


def test_reproduce_v2_takes_the_published_weights_of_its_tower(run, here, tmp_path, any_word):
    folder = tmp_path / "main_split_nobg"
    h5(folder / "test_objectdataset.h5", 3, 15, label=np.arange(3))
    status, out, err = run(f"reproduce pointclip-v2 --data {folder} --where split=test --json")
    assert status == 0, err
    record = json.loads(out)
    assert record["benchmark"] == "ScanObjectNN OBJ_ONLY" and record["published"][0]["acc1"] == pytest.approx(0.5009)
    equal, published = record["results"]
    assert (equal["tuned_on"], equal["view_weights"]) == (None, [1.0] * 10)
    assert published["tuned_on"].startswith("test labels of ScanObjectNN, with CLIP vitb16")
    assert published["view_weights"] == [0.75, 0.75, 0.75, 0.5, 0.5, 1.0, 0.75, 1.0, 0.25, 0.25]


def test_reproduce_refuses_other_data(run, sets, modelnet40):
    status, out, err = run("reproduce pointclip --data test.npz")
    assert (status, out, err.count("\n")) == (2, "", 1) and "has no figure for these classes" in err
    status, _, err = run(f"reproduce pointclip --data {modelnet40}")
    assert status == 2 and "holds test and train; add --where split=" in err.splitlines()[-1]


def test_the_picture_of_many_classes_is_not_named(tmp_path):
    from clipx.cli._confusion import confusion_png

    rng = np.random.default_rng(0)
    tables = [rng.integers(0, 5, (k, k)) for k in (70, 70, 70)]
    picture = Image.open(io.BytesIO(confusion_png(["a", "b", "c"], tables, [f"class {i}" for i in range(70)])))
    assert picture.width > 1000 and picture.height > 1000


def test_a_table_says_which_axis_of_a_file_points_up(run, here, tiny_space):
    """The column is given to the sense, and takes part in the key of cached vectors."""
    points = np.random.default_rng(0).normal(size=(60, 3)) * [1, 2, 4]
    rows = ["path,label,up", "0.xyz,chair,y", "1.xyz,table,z", "2.xyz,chair,"]
    for i in range(3):
        (here / f"{i}.xyz").write_text("\n".join(" ".join(map(str, point)) for point in points))
    (here / "labels.csv").write_text("\n".join(rows))
    items = read_data(here, PointCloud).items
    assert [item.load(PointCloud(tiny_space)).up for item in items] == ["y", "z", "y"]
    assert items[1].load(PointCloud(tiny_space, PointCloud.Config(up="x"))).up == "x"
    contents = [item.content() if callable(item.content) else item.content.read_bytes() for item in items]
    assert len(set(contents)) == 3
    (here / "labels.csv").write_text("path,label,up\n0.xyz,chair,w\n1.xyz,table,y\n")
    status, _, err = run("eval pointcloud .")
    assert status and "the up axis must be x, y or z, got 'w'" in err


def test_a_modality_without_arrays_reads_no_rows_of_arrays(here):
    """Neither from an .npz nor from a layout of its own."""

    class Words(Modality):
        name, suffixes = "words", (".words",)

        @classmethod
        def read_set(cls, path, where=()):
            return {"words": np.zeros((2, 3)), "labels": np.array(["a", "b"])}

    np.savez(here / "set.npz", words=np.zeros((2, 3)), labels=np.array(["a", "b"]))
    (here / "own").mkdir()
    for data in (here / "set.npz", here / "own"):
        with pytest.raises(InputError, match=r"words has no samples in \.npz data sets"):
            read_data(data, Words)


# Many shots, halves and leaks -----------------------------------------------------------------------------------------


def test_every_number_of_shots_has_a_row_and_the_page_shows_them(run_json, sets):
    line = (
        "eval pointcloud test.npz --train train.npz --shots 4,1,2 --draws 2 --methods zero_shot,cache,probe --shuffled"
    )
    record = run_json(f"{line} --html page.html")
    rows = [(row["method"], row.get("shots"), row.get("control")) for row in record["results"]]
    asked = [(count, control) for count in (1, 2, 4) for control in (None, "shuffled labels")]
    assert rows == [("zero_shot", None, None), *((name, *one) for name in ("cache", "probe") for one in asked)]
    assert all(draw["settings"]["shuffled"] for row in record["results"] if "control" in row for draw in row["draws"])
    page = (sets / "page.html").read_text()
    assert page.count("<tr>") == 1 + len(rows) and "probe, 4 shots (shuffled labels)" in page
    assert page.count("image/svg+xml") == 1 and "http" not in page.replace("http-equiv", "")
    run_json(f"{line} --html again.html")
    assert (sets / "again.html").read_text() == page


def test_exchanged_labels_teach_nothing(run_json, sets):
    line = "eval pointcloud test.npz --train train.npz --shots 7 --draws 5 --method probe --shuffled"
    real, control = run_json(line)["results"]
    assert real["metrics"]["acc1"] == 1 and control["metrics"]["acc1"] < 0.8


def test_groups_of_methods_leave_out_what_the_space_does_not_allow(run_json, run, sets, monkeypatch):
    from clipx.errors import UnsupportedError
    from clipx.fewshot import METHODS, LinearProbe, Method

    class Picky(LinearProbe):
        uses_tower = True

        @classmethod
        def from_shots(cls, shots):
            raise UnsupportedError("this text tower takes no embeddings")

    kept = {name: METHODS[name] for name in ("cache", "probe", "view_weights")}
    monkeypatch.setattr("clipx.fewshot.METHODS", kept | {"picky": Method(Picky)})
    monkeypatch.setattr("clipx.fewshot.methods.METHODS", kept | {"picky": Method(Picky)})
    line = "eval pointcloud test.npz --train train.npz --shots 2 --draws 1"
    record = run_json(f"{line} --methods all")
    assert [row["method"] for row in record["results"]] == ["zero_shot", "cache", "probe", "view_weights"]
    assert record["left_out"] == {"picky": "this text tower takes no embeddings"}
    assert [row["method"] for row in run_json(f"{line} --methods closed")["results"]] == ["zero_shot", "cache"]
    status, _, err = run(f"{line} --method picky")
    assert (status, err.count("\n")) == (2, 1) and "takes no embeddings" in err


def test_short_classes_give_all_they_have(run_json, run, here):
    np.savez("train.npz", points=clouds(13, 1), labels=np.array([0, 1] * 2 + [0] * 9), classes=NAMES)
    np.savez("test.npz", points=clouds(6, 2), labels=np.arange(6) % 2, classes=NAMES)
    line = "eval pointcloud test.npz --train train.npz --shots 4 --draws 1 --method cache"
    status, _, err = run(line)
    assert status == 2 and "too few samples for 4 shots a class: night_stand 2" in err and "--short" in err
    (row,) = run_json(f"{line} --short")["results"]
    assert row["draws"][0]["settings"]["samples"] == 6


def test_a_copy_is_found_among_vectors_that_their_products_cannot_tell_apart():
    rng = np.random.default_rng(0)
    vectors = (np.full((40, 32), 32**-0.5) + 1e-4 * rng.normal(size=(40, 32))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    products = vectors @ vectors.T
    assert (products.argmax(axis=1) != np.arange(40)).any()  # rounding makes another the nearest
    ids = [str(i) for i in range(40)]
    test, train = (Embedding(rows, "a", "image", ids[: len(rows)]) for rows in (vectors[:20], vectors[20:]))
    evaluation.require_distinct(test, train, ids[:20])
    for i in range(20):
        again = Embedding(np.concatenate([vectors[20:], vectors[i : i + 1]]), "a", "image", ids[:21])
        with pytest.raises(InputError, match=f"1 samples .* such as {i};"):
            evaluation.require_distinct(test, again, ids[:20])


def test_a_copy_in_another_file_is_found_by_its_vector(run, here):
    rng = np.random.default_rng(0)
    for folder in ("train", "test"):
        for name in ("chair", "night_stand"):
            (here / folder / name).mkdir(parents=True)
            for i in range(3):
                picture = Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8))
                picture.save(here / folder / name / f"{i}.png")
    Image.open(here / "test/chair/1.png").save(here / "train/night_stand/copy.bmp")  # the pixels, in other bytes
    line = "eval image test --train train --shots 3 --draws 1 --method cache"
    status, out, err = run(line)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "1 samples to test on have the vectors of samples to learn from, such as chair/1.png" in err
    assert run(line.replace("cache", "closed"))[0] == 2  # a group leaves out methods, and learns from no copy
    (here / "train/night_stand/copy.bmp").unlink()
    assert run(line)[0] == 0


def test_copies_are_looked_for_once_for_all_methods_and_shots(run_json, sets, monkeypatch):

    looked, own = [], evaluation.require_distinct
    monkeypatch.setattr(evaluation, "require_distinct", lambda *about: looked.append(1) or own(*about))
    line = "eval pointcloud test.npz --train train.npz --shots 1,2 --draws 1 --method cache,prototype --shuffled"
    assert len(run_json(f"{line} --sweep up=y,z")["results"]) == 16 and len(looked) == 2  # once for each encoding


@pytest.fixture
def four(here):
    """Four classes of clouds, each stretched its own way."""
    names = np.array(["bed", "chair", "night_stand", "table"])
    stretch = np.array([[1, 0.1, 1], [0.1, 1, 0.1], [1, 1, 0.05], [0.05, 0.05, 1]], np.float32)
    for file, count, seed in (("train.npz", 20, 1), ("test.npz", 12, 2)):
        points = np.random.default_rng(seed).normal(size=(count, 40, 3)) * stretch[np.arange(count) % 4][:, None]
        np.savez(file, points=points.astype(np.float32), labels=np.arange(count) % 4, classes=names)
    return here


def test_halves_are_tested_among_their_own_classes(run_json, run, four, any_word, monkeypatch):
    from clipx.fewshot import METHODS, CacheModel, CoOp, LinearProbe, Method, ViewSearch

    seen = []

    class Carried(CacheModel):
        """Its words alone, which can name other classes as well."""

        @classmethod
        def from_shots(cls, shots):
            seen.append((shots.names, len(shots.targets)))
            return super().from_shots(shots)

        def for_classes(self, zeroshot):
            return ViewSearch((1.0,) * self.views, zeroshot.weights, self.logit_scale)

    monkeypatch.setitem(METHODS, "carried", Method(Carried))
    line = "eval pointcloud test.npz --train train.npz --shots 2,5 --draws 2 --base-new"
    words, *rows = run_json(f"{line} --method zero_shot,carried")["results"]
    assert [row.get("shots") for row in rows] == [2, 5]
    assert seen == [(("bed", "chair"), 4)] * 2 + [(("bed", "chair"), 10)] * 2  # no shot of a new class is shown
    for row in (words, *rows):
        b, n, h = (row["metrics"][name] for name in ("base_acc1", "new_acc1", "harmonic_mean"))
        assert h == pytest.approx(2 * b * n / (b + n) if b + n else 0)
        assert set(row["ci95"]) == {"base_acc1", "new_acc1"}
    assert rows[0]["metrics"]["new_acc1"] in {k / 6 for k in range(7)}  # six samples of two classes
    monkeypatch.setattr(LinearProbe, "from_shots", lambda shots: pytest.fail("trained in vain"))
    monkeypatch.setattr(CoOp, "from_shots", lambda shots, **variant: pytest.fail("trained in vain"))
    for method in ("probe", "coop_class", "coop_class_middle"):
        status, _, err = run(f"{line} --method {method}")
        assert status == 2 and "learns its own classes only" in err
    three = "--labels bed,chair,night_stand --where label=bed|chair|night_stand"
    status, _, err = run(f"{line} --method zero_shot --train-where label=bed|chair|night_stand {three}")
    assert status == 2 and "two classes each and samples of both, got 3 classes" in err
    status, _, err = run(f"{line} --confusion a.png --method carried")
    assert status == 2 and "--confusion" in err


def test_a_method_that_fails_leaves_the_others(run_json, sets, monkeypatch):
    from clipx.fewshot import METHODS, LinearProbe, Method

    class Failing(LinearProbe):
        @classmethod
        def from_shots(cls, shots):
            raise InputError("all shots are the same")

    kept = {"failing": Method(Failing), "cache": METHODS["cache"]}
    for place in ("clipx.fewshot.METHODS", "clipx.fewshot.methods.METHODS"):
        monkeypatch.setattr(place, kept)
    record = run_json("eval pointcloud test.npz --train train.npz --shots 2 --draws 1 --methods all")
    assert [row["method"] for row in record["results"]] == ["zero_shot", "cache"]
    assert record["left_out"] == {"failing": "all shots are the same"}


@pytest.mark.parametrize("accuracies", [(1.0, 1.0), (0.0, 0.0), (0.5, 0.51), (0.1, 0.99)])
def test_the_axis_of_accuracies_ends_at_all_right(accuracies):
    from clipx.cli._shots_page import LEAST_SPAN, shots_figure

    rows = [
        {"method": "gda", "shots": count, "sweep": {}, "metrics": {"acc1": value}, "draws": [{"acc1": value}]}
        for count, value in zip((1, 16), accuracies, strict=True)
    ]
    low, high = shots_figure(rows).axes[0].get_ylim()
    assert -1 <= low <= 100 * min(accuracies) and 100 * max(accuracies) <= high <= 101
    assert high - low >= LEAST_SPAN - 1e-9


def test_the_intervals_of_many_captions_take_little_memory():
    import tracemalloc

    from clipx.captions import figures

    rng = np.random.default_rng(0)
    positives = np.eye(20, dtype=bool)[np.arange(4000) % 20]
    tracemalloc.start()
    try:
        found = figures(rng.normal(size=positives.shape), positives)
        assert tracemalloc.get_traced_memory()[1] < 200e6  # 10,000 resamples of 4,000 ranks would be 640 MB
    finally:
        tracemalloc.stop()
    low, high = found["ci95"]["MnR"]
    error = 1.96 * np.sqrt((20**2 - 1) / 12 / 4000)
    assert (low, high) == pytest.approx((found["MnR"] - error, found["MnR"] + error), abs=0.03)
