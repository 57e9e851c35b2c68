"""clipx depth and clipx eval depth: what they write, what others take of it, and what they refuse."""

import json
import os
import signal

import numpy as np
import pytest
import torch
from conftest import DEPTH_WORDS, save_space
from PIL import Image
from test_depth import write_set

from clipx.modalities.depth.files import drawn, read_depth, read_pairs
from clipx.modalities.depth.lift import Intrinsics, reproject

WORDS = [*DEPTH_WORDS, "a", "near", "of", "depth", "map"]
WORDS += ["map", "point", "cloud", "rendering", "photo", "chair", "table"]


@pytest.fixture
def depth_space(tiny_space, tmp_path, here, monkeypatch):
    """The default space, which knows the words of depth."""
    folder = save_space(tiny_space, tmp_path / "spaces" / "tiny", WORDS)
    monkeypatch.setenv("CLIPX_SPACE", str(folder))
    return folder


@pytest.fixture
def call(depth_space, run):
    return run


@pytest.fixture
def call_json(depth_space, run_json):
    return run_json


def size_of(path):
    with Image.open(path) as picture:
        return picture.size


def test_what_it_writes(call_json, here):
    record = call_json("depth photo.png -o depth.png --cloud room.ply --fov 57")
    (result,) = record["results"]
    assert (record["command"], result["source"], result["unit"]) == ("depth", "photo.png", "m")
    assert result["files"] == ["depth.png", "depth-color.png", "depth.npz", "depth-words.png"]
    assert (result["height"], result["width"], result["fitted"]) == (40, 50, False)
    assert 1 <= result["min"] <= result["median"] <= result["max"] <= 7
    with np.load("depth.npz", allow_pickle=False) as arrays:
        depth, settings = arrays["depth"], json.loads(str(arrays["settings"]))
        assert depth.shape == (40, 50) and depth.dtype == np.float32 and str(arrays["unit"]) == "m"
        assert arrays["words"].tolist() == result["words"] == settings["words"] == record["settings"]["words"]
        assert arrays["responses"].shape == (6, 40, 50)
    assert np.abs(read_depth("depth.png").numpy() - depth).max() <= 0.00051
    assert min(size_of("depth-color.png")) > 300 and min(size_of("depth-words.png")) > 150
    assert not [path for path in here.iterdir() if path.name.endswith(".part")]
    again = call_json("depth photo.png -o again.png")
    assert (here / "again.npz").exists() and again["results"][0]["median"] == result["median"]


def test_the_cloud_is_a_cloud_for_others(call, call_json, here):
    from clipx.modalities.depth.lift import lift  # the file's points are these, y up
    from clipx.modalities.depth.maps import DepthMap
    from clipx.modalities.pointcloud import read_geometry

    result = call_json("depth photo.png -o depth.png --cloud room.ply --intrinsics 50,55,24,21")["results"][0]
    cloud, camera = read_geometry("room.ply"), Intrinsics(50, 55, 24, 21)
    assert result["points"] == len(cloud.points) == 2000 and result["intrinsics"]["fy"] == 55
    with np.load("depth.npz", allow_pickle=False) as arrays:
        points = lift(DepthMap(torch.from_numpy(arrays["depth"])), camera)
    np.testing.assert_allclose(cloud.points, points * torch.tensor([1, -1, -1]), atol=1e-5)
    seen = np.asarray(Image.open("photo.png")).reshape(-1, 3)
    np.testing.assert_allclose(cloud.colors * 255, seen, atol=0.5)
    at, _ = reproject(torch.from_numpy(np.asarray(cloud.points, np.float32)) * torch.tensor([1, -1, -1]), camera)
    np.testing.assert_allclose(at[:51], [[0.5 + i, 0.5] for i in range(50)] + [[0.5, 1.5]], atol=1e-3)
    assert call("views room.ply -o views.png")[0] == 0 and (here / "views.png").exists()
    assert call("classify room.ply --labels chair,table --json")[0] == 0
    status, _, err = call("depth photo.png -o depth.png --cloud room.ply")
    assert status == 0 and "unfitted" in err


def test_a_folder_of_maps(call_json, here):
    """Panorama, portrait, one pixel, one colour, 16 bits, transparency, CMYK."""
    rng = np.random.default_rng(0)

    def noise(*shape):
        return rng.integers(0, 255, shape, dtype=np.uint8)

    Image.fromarray(noise(16, 160, 3)).save("panorama.png")
    Image.fromarray(noise(90, 30, 3)).save("portrait.jpg")
    Image.fromarray(noise(1, 1, 3)).save("pixel.png")
    Image.new("RGB", (33, 20), "red").save("uniform.png")
    Image.fromarray(rng.integers(0, 65535, (20, 30), dtype=np.uint16)).save("sixteen.png")
    Image.fromarray(noise(20, 30, 4)).save("alpha.png")
    Image.fromarray(noise(20, 30, 4), "CMYK").save("cmyk.jpg")
    names = ["panorama.png", "portrait.jpg", "pixel.png", "uniform.png", "sixteen.png", "alpha.png", "cmyk.jpg"]
    record = call_json(f"depth {' '.join(names)} -o maps --words near,far --bins 1,4")
    for name, result in zip(names, record["results"], strict=True):
        stem = name.split(".")[0]
        assert result["source"] == name and result["files"][0] == f"maps/{stem}-depth.png"
        assert size_of(here / "maps" / f"{stem}-depth.png") == size_of(name)
        assert 1 <= result["min"] <= result["max"] <= 4


def test_other_units(call_json, here):
    """Millimetres are written where the bins are metres only."""
    result = call_json("depth photo.png -o rank.png --unit affine")["results"][0]
    assert result["unit"] == "affine" and result["files"] == ["rank-color.png", "rank.npz", "rank-words.png"]
    result = call_json("depth photo.png -o near.png --unit inverse --words far,near --bins 0.1,1 --window 32 --flip")
    assert result["results"][0]["unit"] == "inverse" and not (here / "near.png").exists()
    record = call_json("depth photo.png -o mine.png", "--prompts", "a {}", "--temperature", "0.5")
    assert record["settings"]["prompts"] == "a {}" and record["settings"]["temperature"] == 0.5


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--words near,far --bins 2,1", "bins must increase"),
        ("--words near,far --bins 1,1", "bins must increase"),
        ("--words near --bins 1", "at least two words"),
        ("--words near,far,away --bins 1,2", "3 words, but 2 bins"),
        ("--bins 1,2,3", "6 words, but 3 bins; give as many of both: --words"),
        ("--words near,far", "2 words, but 6 bins"),
        ("--words near,near --bins 1,2", "'near' is given twice"),
        ("--words near,qwxz --bins 1,2", "qwxz"),
        ("--bins 1,x,3", "--bins: expected numbers"),
        ("--words near,far --bins=-1,2", "must be above 0"),
        ("--preset depthclip", "needs a ResNet of 2048 channels"),
        ("--preset depthclip --words near,far", "the preset depthclip fixes it, got --words"),
        ("--preset best", "best"),
        ("--unit inverse", "give --words and --bins"),
        ("--unit affine --cloud a.ply", "a cloud needs metres"),
        ("--cloud a.xyz", "suffix '.xyz' is not .ply"),
        ("--cloud a.ply --fov 180", "between 0 and 180"),
        ("--cloud a.ply --fov 60 --intrinsics 1,1,1,1", "one of the two"),
        ("--cloud a.ply --intrinsics 1,1,1", "expected fx,fy,cx,cy, got 3"),
        ("--cloud a.ply --intrinsics 0,1,1,1", "focal lengths above 0"),
        ("--cloud no/a.ply", "make the folder first"),
        ("--fov 60", "go with --cloud"),
        ("--temperature 0", "temperature must be above 0"),
        ("-o maps.npz", "is not .png"),
        ("-o photo.png", "is the photo itself"),
        ("-o no/depth.png", "make the folder first"),
        ("--fit a.safetensors --words near,far", "brings its own words"),
        ("no.png", "no such file"),
        ("cloud.xyz -o one.png", "do not fit into one file"),
    ],
)
def test_what_is_refused(call, here, line, said):
    before = sorted(here.iterdir())
    status, out, err = call(f"depth photo.png {line}")
    lines = [text for text in err.splitlines() if not text.startswith("unfitted")]
    assert status == 2 and not out and len(lines) == 1 and said in lines[0], err
    assert [
        path for path in sorted(here.iterdir()) if path not in before and path.name != "maps"
    ] == [] or "xyz" in line


@pytest.mark.parametrize("line", ["room-color.png -o room.png", "room.png room-depth-color.png -o ."])
def test_no_photo_is_written_over(call, here, line):
    """Neither by the map nor by what is written beside it."""
    for name in line.split(" -o ")[0].split():
        (here / name).write_bytes((here / "photo.png").read_bytes())
    before = {path: path.read_bytes() for path in here.iterdir() if path.is_file()}
    status, _, err = call(f"depth {line}")
    assert status == 2 and "is the photo itself" in err
    assert before == {path: path.read_bytes() for path in here.iterdir() if path.is_file()}


def test_ctrl_c_keeps_what_is_done(call, here, monkeypatch):
    from clipx.modalities.depth.estimator import Estimator

    estimate, handlers = Estimator.__call__, []

    def interrupted(self, pixels):
        handlers.append(signal.getsignal(signal.SIGINT))
        if len(handlers) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return estimate(self, pixels)

    monkeypatch.setattr(Estimator, "__call__", interrupted)
    before = signal.getsignal(signal.SIGINT)
    for name in ("one", "three", "four"):
        (here / f"{name}.png").write_bytes((here / "photo.png").read_bytes())
    (here / "two.png").write_text("no photo")
    status, out, err = call("depth one.png two.png three.png four.png -o maps --json")
    assert status == 130, err
    assert [result["source"] for result in json.loads(out)["results"]] == ["one.png", "three.png"]
    assert {path.name.partition("-")[0] for path in (here / "maps").iterdir()} == {"one", "three"}
    assert all((here / file).exists() for result in json.loads(out)["results"] for file in result["files"])
    assert handlers[0] is handlers[1] and handlers[0] is not before  # set once, for all photos
    assert signal.getsignal(signal.SIGINT) is before


def test_help_has_an_example(call):
    for command in ("depth", "eval depth"):
        status, out, _ = call(f"{command} --help")
        assert status == 0 and f"Example: clipx {command}" in " ".join(out.split())


def test_depth_maps_are_read_by_name(call, call_json, here):
    """By --modality; a .png is a picture's otherwise."""
    call_json("depth photo.png -o depth.png --words near,far --bins 1,4")
    record = call_json("embed depth.png --modality depth -o vectors.npz")
    assert record["modality"] == "depth" if "modality" in record else True
    assert call("classify depth.png --modality depth --labels chair,table")[0] == 0
    status, _, err = call("classify photo.png --modality depth --labels chair,table")
    assert status == 2 and "16-bit grey" in err


# clipx eval depth -----------------------------------------------------------------------------------------------------


def test_rows_beside_the_baselines(call, call_json, here):
    write_set(here / "set", size=(48, 64))
    base = ["constant", "mean map", "mean map of log depth"]
    record = call_json("eval depth set --protocol kitti --words near,far --bins 1,4 --out record.json")
    rows = {result["row"]: result for result in record["results"]}
    assert list(rows) == [*base, "words, unfitted"]
    assert record["training_images"] == 3 and len(record["data_sha256"]) == 64
    for result in rows.values():
        assert (result["protocol"], result["alignment"], result["unit"], result["n"]) == ("kitti", "none", "m", 2)
        assert result["figures"]["abs_rel"]["low"] <= result["figures"]["abs_rel"]["mean"]
    assert rows["constant"]["figures"]["spearman"]["mean"] is None  # a constant has no order
    assert rows["mean map"]["figures"]["spearman"]["mean"] > 0.99
    assert json.loads((here / "record.json").read_text()) == record
    aligned = call_json("eval depth set --protocol kitti --alignment scale+shift --unit affine --controls")
    rows = {result["row"]: result for result in aligned["results"]}
    assert list(rows) == [
        *base,
        "control: ridge on colour and position",
        "words, unfitted",
        "control: random tower, words, unfitted",
        "control: shuffled words, words, unfitted",
    ]
    assert {result["alignment"] for result in rows.values()} == {"scale+shift"}
    assert rows["mean map"]["figures"]["abs_rel"]["mean"] < 0.02 and rows["words, unfitted"]["unit"] == "affine"
    status, out, _ = call("eval depth set --protocol kitti")
    assert status == 0 and out.startswith("row\tn\tAbsRel\tRMSE") and "mean map of log depth\t2\t" in out


@pytest.mark.parametrize(("photos", "said"), [(1, "1 photo say nothing"), (9, "9 photos say little"), (10, None)])
def test_a_set_of_any_size_and_of_few_photos(call, here, photos, said):
    write_set(here / "set", test=photos, size=(12, 16))
    status, out, err = call("eval depth set --protocol full")
    assert status == 0 and f"constant\t{photos}\t" in out
    assert f"warning: intervals over {said}" in err.splitlines() if said else "intervals" not in err


def test_a_table_without_folds(call, call_json, here):
    """Is fitted on as a whole, and cannot be judged on."""
    table = write_set(here / "set") / "labels.csv"
    table.write_text(table.read_text().replace("fold", "kind"))
    assert call_json("train depth set --kind linear -o all.safetensors")["results"][0]["photos"] == 5
    for line in ("eval depth set", "train depth set --fold train"):
        status, _, err = call(line)
        assert status == 2 and "add a column fold with train and test" in err and len(err.splitlines()) == 1


def test_what_is_no_photo_is_named(call, here):
    status, out, err = call("depth cloud.xyz -o maps")
    assert (status, out) == (2, "") and "error: cloud.xyz: not a readable picture: it is text" in err


def test_a_fit_is_taken(call, call_json, depth_space, tiny_vit_space, here):
    """By clipx depth and clipx eval depth, in its own space only."""
    write_set(here / "set", size=(48, 64))
    plan = ["--words", "near,far", "--steps", "2", "-o", "fit.safetensors"]
    assert call("train depth set --mean-map", *plan)[0] == 0
    assert call("train depth set --kind linear -o line.safetensors")[0] == 0
    record = call_json("depth photo.png -o fitted.png --fit fit.safetensors")
    result = record["results"][0]
    assert result["fitted"] and result["words"] == ["near", "far"] and result["unit"] == "m"
    assert record["settings"]["fit"] == "fit.safetensors" and 0.9 <= result["min"] <= result["max"] <= 4.1
    result = call_json("depth photo.png -o line.png --flip --fit line.safetensors")["results"][0]
    assert result["words"] == [] and result["files"] == ["line.png", "line-color.png", "line.npz"]
    line = "eval depth set --protocol kitti --controls --fit fit.safetensors --fit line.safetensors"
    results = call_json(line)["results"]
    assert [result["row"] for result in results[4:]] == [
        "words, unfitted",
        "words, fitted on the mean map",
        "linear head",
        "control: random tower, words, unfitted",
        "control: shuffled words, words, unfitted",
        "control: random tower, words, fitted on the mean map",
        "control: shuffled words, words, fitted on the mean map",
        "control: random tower, linear head",
    ]
    assert [result["fit"] for result in results[4:7]] == [None, "fit.safetensors", "line.safetensors"]
    assert not any(result["fit"] for result in results[:4] + results[7:])  # controls are fitted again
    status, _, err = call("depth photo.png -o other.png --fit fit.safetensors --space random:RN50")
    assert status == 2 and "the fit was made in space" in err and len(err.splitlines()) == 1


def test_controls_are_fitted_on_as_many_photos(call, call_json, here, monkeypatch):
    """And on the same ones: a fit on one photo is not held against a control that saw three."""
    from clipx.modalities.depth import controls

    seen, refitted = [], controls.refitted

    def spy(fit, space, pairs, **more):
        pairs = list(pairs)
        seen.append([float(depth.sum()) for _, depth in pairs])
        return refitted(fit, space, pairs, **more)

    monkeypatch.setattr(controls, "refitted", spy)
    write_set(here / "set", size=(48, 64))
    assert call("train depth set --kind linear --images 1 --seed 3 -o one.safetensors")[0] == 0
    call_json("eval depth set --protocol kitti --controls --fit one.safetensors")
    (photo,) = drawn(read_pairs(here / "set", "train"), 1, 3)
    assert seen == [[float(read_depth(photo.depth).sum())]]


def test_rows_are_named_by_kind_not_by_path(call, call_json, here):
    """The file's stem where two are of a kind, a number where the stems are alike too; the same file counts once."""
    write_set(here / "set", size=(48, 64))
    for name in ("a/fit", "b/fit", "c"):
        assert call(f"train depth set --kind linear -o {name}.safetensors")[0] == 0
    fits = " ".join(f"--fit {name}.safetensors" for name in ("a/fit", "b/fit", here / "c", here / "c"))
    results = call_json(f"eval depth set --protocol kitti {fits}")["results"]
    assert [(result["row"], result["fit"]) for result in results[4:]] == [
        ("linear head (fit) 1", "fit.safetensors"),
        ("linear head (fit) 2", "fit.safetensors"),
        ("linear head (c)", "c.safetensors"),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "3.png: the protocol nyu is for 480 x 640 pixels, got 48 x 64; "),
        ("--protocol kitti --unit affine", "cannot compare depth in affine with depth in m"),
        ("--protocol kitti --unit affine --alignment median", "unknown shift"),
        ("--protocol kitti --test-fold val", "no row of fold 'val'"),
        ("--protocol kitti --test-fold train", "0.png is of both folds"),
        ("--protocol kitti --preset depthclip", "needs a ResNet of 2048 channels"),
        ("--protocol kitti --bins 2,1 --words near,far", "bins must increase"),
        ("--protocol kitti -o no/record.json", "make the folder first"),
    ],
)
def test_what_eval_refuses(call, here, line, said):
    write_set(here / "set", size=(48, 64))
    status, out, err = call(f"eval depth set {line}")
    assert status == 2 and not out and said in err.splitlines()[-1] and len(err.splitlines()) == 1


def test_eval_wants_a_table(call, here):
    status, _, err = call("eval depth nowhere")
    assert status == 2 and "labels.csv: no such file" in err
