"""The command line: what it prints, what it writes, and what it refuses."""

import inspect
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from PIL import Image

import clipx.cli

COMMANDS = ["classify", "demo", "doctor", "embed", "eval", "index", "modalities", "search", "spaces", "train"]
COMMANDS += ["train space"]


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# Help -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(None, "passive"), ("active", "active")])
def test_threads_sleep_while_they_wait_unless_the_user_says_otherwise(before, after, monkeypatch, capsys):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):  # so that they are put back
        monkeypatch.setenv(name, before or "")
        if before is None or name == "GOMP_SPINCOUNT":
            monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "argv", ["clipx", "--version"])
    monkeypatch.setattr("atexit.register", lambda function: None)
    assert clipx.cli.main() == 0 and os.environ["OMP_WAIT_POLICY"] == after
    assert os.environ.get("GOMP_SPINCOUNT") == (None if before else "20000")


def test_help_lists_the_commands_without_importing_torch():
    code = "import sys, clipx.cli as c; s = c.main(['--help']); sys.exit(s or 3 * ('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f" {name.split()[0]} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_carries_an_example(run, command):
    status, out, _ = run(f"{command} --help")
    assert status == 0
    assert f"Example: clipx {command}" in " ".join(out.split())


def test_config_fields_are_flags(run):
    out = run("classify --help")[1]
    assert "--up" in out and "Settings of pointcloud" in out and "axis that points up" in out


def test_version(run):
    assert run("--version")[:2] == (0, f"clipx {clipx.__version__}\n")


def test_a_third_party_command_runs_and_is_listed_unloaded(run, monkeypatch):
    points = {"hello": EntryPoint("hello", "json:dumps", "clipx.commands"), **clipx.cli._points()}
    points["broken"] = EntryPoint("broken", "no_such_module:f", "clipx.commands")
    monkeypatch.setattr(clipx.cli, "_points", lambda: points)
    status, out, _ = run("--help")
    assert status == 0 and "hello" in out and "broken" in out

    def greet(name: str):
        """Greet."""
        print("hello", name)

    monkeypatch.setattr(EntryPoint, "load", lambda self: greet)
    assert run("hello you")[:2] == (0, "hello you\n")


# classify -------------------------------------------------------------------------------------------------------------


def test_classify_agrees_with_python(run_json, space_folder):
    record = run_json("classify photo.png cloud.xyz --labels chair,table,cup --top 2")
    assert (record["schema"], record["command"], record["space"]) == (1, "classify", "tiny")
    assert [(r["path"], r["modality"]) for r in record["results"]] == [
        ("photo.png", "image"),
        ("cloud.xyz", "pointcloud"),
    ]
    wanted = clipx.classify(["photo.png", "cloud.xyz"], ["chair", "table", "cup"], space=str(space_folder), top=2)
    for result, predictions in zip(record["results"], wanted, strict=True):
        assert [p["label"] for p in result["predictions"]] == [p.label for p in predictions]
        assert [p["cosine"] for p in result["predictions"]] == pytest.approx([p.cosine for p in predictions], abs=1e-5)
        assert [p["rank"] for p in result["predictions"]] == [1, 2]


def test_classify_table_is_tab_separated_off_a_terminal(run):
    status, out, err = run("classify photo.png cloud.xyz --labels chair,table --top 1")
    rows = [line.split("\t") for line in out.splitlines()]
    assert status == 0 and err == ""
    assert rows[0] == ["file", "label", "cosine", "probability"]
    assert [row[0] for row in rows[1:]] == ["photo.png", "cloud.xyz"]


def test_one_bad_file_ends_nothing(run, here):
    (here / "half.png").write_bytes((here / "photo.png").read_bytes()[:200])
    (here / "notes.doc").write_text("no modality reads this")
    files = "half.png photo.png notes.doc cloud.xyz"
    bad = ["notes.doc", "half.png"]
    for line in (f"classify {files} --labels chair,table", f"embed {files} -o vectors.npz"):
        status, out, err = run(f"{line} --json")
        record = json.loads(out)
        assert status == 2
        assert [result["path"] for result in record["results"]] == ["photo.png", "cloud.xyz"]
        assert [failure["path"] for failure in record["failures"]] == bad
        assert [line.split(": ")[:2] for line in err.splitlines()] == [["not read", name] for name in bad]
        assert "half.png" not in record["failures"][1]["reason"]
    with np.load(here / "vectors.npz", allow_pickle=False) as file:
        assert list(file["ids"]) == ["photo.png", "cloud.xyz"] and list(file["modalities"]) == ["image", "pointcloud"]
        assert np.allclose(file["vectors"], clipx.embed(file["ids"].tolist(), space=os.environ["CLIPX_SPACE"]).vectors)


def test_when_all_fail_all_are_listed(run, here):
    (here / "a.xyz").write_text("1 2 3\n")
    (here / "b.ply").touch()
    (here / "c.jpg").write_bytes(b"x")
    (here / "d.what").touch()
    for line in ("classify a.xyz b.ply c.jpg d.what --labels chair,table", "embed a.xyz b.ply c.jpg d.what -o v.npz"):
        status, out, err = run(f"{line} --json")
        record = json.loads(out)
        assert status == 2 and record["results"] == [] and not (here / "v.npz").exists()
        assert {failure["path"] for failure in record["failures"]} == {"a.xyz", "b.ply", "c.jpg", "d.what"}
        assert len(err.splitlines()) == 4 and all(line.startswith("not read: ") for line in err.splitlines())
        status, out, again = run(line)
        assert (status, out, again) == (2, "", err)
    for line in ("classify d.what --labels chair", "classify c.jpg --labels chair"):  # one file: one error
        status, out, err = run(f"{line} --json")
        assert status == 2 and len(json.loads(out)["failures"]) == 1
        assert err.startswith("error: ") and err.count("\n") == 1
    assert "or name the modality with --modality" in run("classify d.what --labels chair")[2]
    run("classify c.jpg d.what --labels chair -o out.json")
    assert len(json.loads((here / "out.json").read_text())["failures"]) == 2


def test_what_is_skipped_in_folders_is_counted(run, run_json, here):
    album = here / "album"
    (album / "deep").mkdir(parents=True)
    shutil.copy(here / "photo.png", album / "photo.png")
    for name in ("a.cr2", "b.CR2", "deep/c.cr2", "clip.mxf", "README", ".DS_Store", ".hidden.cr2"):
        (album / name).write_bytes(b"?")
    for name in ("labels.csv", "drawings-config.json", "found.html", "vectors.parquet", "fit.safetensors", "notes.txt"):
        (album / name).write_text("what clipx writes, and prose")
    np.savez(album / "room-depth.npz", depth=np.ones((4, 4)))  # as clipx depth writes it
    said = "5 files of no known suffix: .cr2 3, no suffix 1, .mxf 1"
    for line in ("classify album --labels chair", "embed album -o v.npz", "index album --db my.index"):
        status, _, err = run(line)
        assert status == 0 and err.splitlines() == [said], line
    counts = {".cr2": 3, ".mxf": 1, "": 1}
    assert run_json("classify album --labels chair")["skipped"] == counts
    assert run_json("embed album -o v.npz")["skipped"] == counts
    assert run_json("index album --db my.index")["results"][0]["skipped"] == counts
    assert run_json("classify photo.png --labels chair")["skipped"] == {}
    shutil.copy(here / "cloud.xyz", album / "deep")
    assert said in run("classify album --modality image --labels chair")[2]  # a cloud is of a known suffix
    for i in range(12):
        (here / "odd").mkdir(exist_ok=True)
        (here / f"odd/a.x{i:02}\n").touch()
    err = run("classify odd --labels chair")[2]
    assert err.startswith("error: odd: holds no file that a modality reads: 12 files of no known suffix: .x00")
    assert err.endswith("and 4 others\n") and err.count("\n") == 1


def test_a_package_that_many_files_need_is_told_once(run, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for i in range(3):
        (here / f"IMG_{i}.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    status, out, err = run("classify . --labels chair --json")
    assert status == 2 and len(json.loads(out)["results"]) == 3 and len(json.loads(out)["failures"]) == 3
    (line,) = err.splitlines()
    assert "IMG_0.HEIC and 2 more: HEIC pictures need pillow-heif; pip install 'clipx-modalities[heic]'" in line


def test_the_modality_that_is_named_reads_a_file_of_any_suffix(run_json, run, here, space_folder):
    shutil.copy(here / "photo.png", here / "photo")
    shutil.copy(here / "photo.png", here / "photo.download")
    results = run_json("classify photo photo.download photo.png --modality image --labels chair,table")["results"]
    assert [result["path"] for result in results] == ["photo", "photo.download", "photo.png"]
    assert results[0]["predictions"] == results[1]["predictions"] == results[2]["predictions"]
    for name, copy, modality in (
        ("cloud.xyz", "points", "pointcloud"),
        ("mesh.off", "mesh.mesh", "pointcloud"),
        ("house.ndjson", "house", "sketch"),
        ("house.ndjson", "house.json", "sketch"),
    ):
        (here / "house.ndjson").write_text('{"word": "house", "drawing": [[[0, 90, 90, 0, 0], [0, 0, 60, 60, 0]]]}')
        shutil.copy(here / name, here / copy)
        one, other = run_json(f"classify {name} {copy} --modality {modality} --labels chair,table")["results"]
        for ours, theirs in zip(one["predictions"], other["predictions"], strict=True):
            assert (ours["label"], ours["rank"]) == (theirs["label"], theirs["rank"])
            assert ours == pytest.approx(theirs, abs=1e-6)  # rows of one batch may be rounded differently
    status, _, err = run("classify photo --modality pointcloud --labels chair")
    assert status == 2 and "photo: its content is of no known format; read are .ply .off" in err
    assert "whatever their suffix" in " ".join(run("classify --help")[1].split())


def test_a_folder_stands_for_its_files(run_json, run, here):
    (here / "notes.txt").write_text("Taken in May.\n")  # prose, met in a folder, is nobody's
    (here / "deep").mkdir()
    shutil.copy(here / "photo.png", here / "deep/again.png")
    results = run_json("classify . deep --labels chair,table")["results"]
    wanted = ["cloud.xyz", "mesh.off", "photo.png", "deep/again.png", "deep/again.png"]
    assert [result["path"] for result in results] == wanted
    results = run_json("embed deep cloud.xyz -o vectors.npz")["results"]
    assert [result["path"] for result in results] == ["deep/again.png", "cloud.xyz"]
    (here / "empty").mkdir()
    status, out, err = run("classify empty --labels chair")
    assert (status, out, err) == (2, "", "error: empty: holds no file that a modality reads\n")


def test_labels_and_prompts_from_files(run_json, here):
    (here / "labels.txt").write_text("chair\ntable\n\nnight_stand\n")
    (here / "prompts.json").write_text(json.dumps(["a photo of a {}", "a drawing of a {}"]))
    (here / "own.json").write_text(json.dumps({w: [f"the {w}"] for w in ("chair", "table", "night_stand")}))
    for prompts in ("@prompts.json", "@own.json", "plain", "sketch"):
        results = run_json(f"classify photo.png --labels @labels.txt --prompts {prompts}")["results"]
        assert {p["label"] for p in results[0]["predictions"]} == {"chair", "table", "night_stand"}


def test_templates_left_out_are_told_in_one_line(run, run_json, labelled):
    status, out, err = run("classify photo.png --labels chair,table --prompts imagenet7 --json")
    assert status == 0 and json.loads(out)["results"] and err.count("\n") == 1
    assert err.startswith("prompts imagenet7: ") and "left out for words tiny never saw" in err
    record = run_json("eval image table --prompts imagenet7")
    assert 0 < len(record["results"][0]["dropped_prompts"]) < 7
    assert run_json("eval image table --prompts plain")["results"][0]["dropped_prompts"] == []


def test_none_threshold(run_json):
    results = run_json("classify photo.png --labels chair,table --none-threshold 1")["results"]
    assert results[0]["predictions"][0]["label"] == "none"


def test_settings_reach_the_modality_that_has_them(run_json):
    def cosines(flags):
        results = run_json(f"classify mesh.off photo.png --labels chair,table {flags}")["results"]
        return [[p["cosine"] for p in result["predictions"]] for result in results]

    plain = cosines("")
    assert plain == cosines("") == cosines("--up y --seed 0")
    for flags in ("--up x", "--seed 1", "--points 50", "--weights 1,0,0,0,0,0"):
        changed = cosines(flags)
        assert changed[0] != plain[0] and changed[1] == plain[1], flags


def test_out_holds_the_same_object(run, here):
    status, out, _ = run("classify photo.png --labels chair,table --json -o result.json")
    assert status == 0
    assert (here / "result.json").read_text() == out


def test_config_file_gives_defaults_that_flags_override(run_json, here):
    (here / "my.toml").write_text('labels = "chair,table,cup"\ntop = 1\nbatch-size = 2\nup = "z"\n')
    first = run_json("classify cloud.xyz --config my.toml")["results"][0]["predictions"]
    assert len(first) == 1
    assert len(run_json("classify cloud.xyz --config my.toml --top 3")["results"][0]["predictions"]) == 3


def test_where_the_space_comes_from(run_json, run, space_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPX_SPACE", "no-such-space")
    line = "classify photo.png --labels chair,table"
    assert run_json(f"{line} --space {space_folder}")["space"] == "tiny"
    assert "no space named 'no-such-space'" in run(line)[2]
    monkeypatch.delenv("CLIPX_SPACE")
    settings = tmp_path / "config" / "clipx" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'space = "{space_folder}"\n')
    assert run_json(line)["space"] == "tiny"
    settings.write_text("spaec = 1\n")
    assert "unknown key 'spaec'" in run(line)[2]
    settings.unlink()
    import clipx.spaces.embedded

    monkeypatch.setattr(clipx.spaces.embedded, "SPACES", tmp_path)
    assert run(line)[2].splitlines()[0].startswith("space: lite (small; it knows nouns")


# Mistakes: one line on stderr, exit status 2, nothing on stdout, nothing written --------------------------------------


def make_bad_file(name, good_photo, space_folder):
    """Write the bad input of that name into the working folder."""
    if name == "damaged-space":
        shutil.copytree(space_folder, name)
        weights = space_folder / "weights.safetensors"
        (Path(name) / weights.name).write_bytes(weights.read_bytes()[:-1] + b"!")
    elif name == "pickle.npy":
        np.save(name, np.array([{}], dtype=object), allow_pickle=True)
    elif name in ARRAYS:
        np.save(name, ARRAYS[name])
    else:
        Path(name).write_bytes(good_photo[:200] if name == "half.png" else BYTES[name])


ARRAYS = {"nan.npy": np.full((9, 3), np.nan), "inf.npy": np.full((9, 3), np.inf)}
PLY = "ply\nformat binary_little_endian 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n"
SIZE = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
BYTES = {
    "empty.ply": b"",
    "empty.png": b"",
    "empty.txt": b"",
    "one.xyz": b"0 0 0\n",
    "equal.xyz": b"1 2 3\n" * 5,
    "faceless.off": b"OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n",
    "empty.off": b"OFF\n0 0 0\n",
    "huge.ply": (PLY.format(10**9) + "end_header\n").encode(),
    "bomb.png": b"\x89PNG\r\n\x1a\n"
    + struct.pack(">I", 13)
    + b"IHDR"
    + SIZE
    + struct.pack(">I", crc32(b"IHDR" + SIZE)),
    "what.xyzzy": b"?",
    "typo.toml": b"lables = 1\n",
    "broken.toml": b"= =\n",
    "prompts.json": b"{",
    "shape.json": b"[1]",
    "unseen.json": b'["a zeppelin of a {}"]',
}
BAD = ["damaged-space", "half.png", "pickle.npy", *ARRAYS, *BYTES]

MISTAKES = {
    "classify missing.png --labels chair": "missing.png: no such file",
    "classify missing.png gone.xyz photo.png --labels chair": "2 of 3 files are missing: missing.png, gone.xyz",
    "classify what.xyzzy --labels chair": "no modality reads .xyzzy",
    "classify photo.png --labels chair --modality smell": "no modality named 'smell'",
    "classify photo.png --labels chair --modality pointcloud": "photo.png",
    "classify empty.ply --labels chair": "empty.ply",
    "classify one.xyz --labels chair": "one.xyz",
    "classify equal.xyz --labels chair": "equal.xyz",
    "classify nan.npy --labels chair": "nan.npy",
    "classify inf.npy --labels chair": "inf.npy",
    "classify pickle.npy --labels chair": "pickle.npy",
    "classify faceless.off --labels chair": "faceless.off: is a mesh without faces; save a cloud as .ply or .xyz",
    "classify photo.png --labels chair --space nowhere": "no space named 'nowhere'",
    "classify empty.off --labels chair": "empty.off",
    "classify huge.ply --labels chair": "huge.ply",
    "classify empty.png --labels chair": "empty.png",
    "classify half.png --labels chair": "half.png: not a readable picture",
    "classify bomb.png --labels chair": "bomb.png",
    "classify photo.png --labels @missing.txt": "missing.txt",
    "classify photo.png --labels @empty.txt": "empty.txt: names no class",
    "classify photo.png --labels chair,chair": "given twice",
    "classify photo.png --labels chair,zeppelin": "zeppelin",
    "classify photo.png --labels chair --prompts @unseen.json": "zeppelin",
    "classify photo.png --labels chair --prompts none-such": "no prompt set named 'none-such'",
    "classify photo.png --labels chair --prompts @prompts.json": "prompts.json: cannot be read as JSON",
    "classify photo.png --labels chair --prompts @shape.json": "shape.json: must hold",
    "classify photo.png --labels chair --none-threshold 7": "none_threshold",
    "classify photo.png --labels chair --space damaged-space": "weights are corrupt",
    "classify photo.png --labels chair --device quantum": "device 'quantum' cannot be used here",
    "classify photo.png --labels chair --device cuda:99": "device 'cuda:99' cannot be used here",
    "classify photo.png --labels chair --dtype int8": "--dtype",
    "classify photo.png --labels chair --top 0": "--top",
    "classify photo.png --labels chair --up z": "--up is a setting of pointcloud, not of image",
    "classify cloud.xyz --labels chair --up w": "x, y, z or auto",
    "classify cloud.xyz --labels chair --weights 1,two": "--weights",
    "classify photo.png --labels chair --config typo.toml": "unknown key 'lables'",
    "classify photo.png --labels chair --config broken.toml": "not valid TOML",
    "classify photo.png --labels chair --config missing.toml": "missing.toml",
    "classify photo.png --labels chair -o nowhere/out.json": "nowhere/out.json",
    "classify photo.png": "--labels",
    "classify --labels chair": "PATH",
    "classify photo.png --lables chair": "--lables",
    "clasify photo.png": "Did you mean 'classify'",
    "trian space recipe": "Did you mean 'train'",
    "embed photo.png -o vectors.csv": "suffix '.csv'",
    "embed photo.png -o nowhere/vectors.npz": "nowhere",
    "embed half.png -o vectors.npz": "half.png: not a readable picture",
    "eval image missing": "missing: no such file",
    "eval image photo.png": "no labelled data",
    "eval image .": "class folders",
    "eval smell .": "no modality named 'smell'",
    "train space missing": "no such recipe",
    "demo --samples missing": "demo.toml",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes(run, here, space_folder, line):
    for name in BAD:
        if name in line:
            make_bad_file(name, (here / "photo.png").read_bytes(), space_folder)
    before = names(here.parent)
    status, out, err = run(line)
    assert status == 2, err
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err
    assert MISTAKES[line] in err
    assert names(here.parent) == before


def test_json_errors_keep_stdout_empty(run):
    assert run("classify missing.png --labels chair --json")[:2] == (2, "")


def test_a_fault_is_one_line_unless_the_traceback_is_wanted(run, monkeypatch):
    def fail(*_):
        raise RuntimeError("first\nsecond")

    monkeypatch.setattr("clipx.api.parse_labels", fail)
    status, out, err = run("classify photo.png --labels chair")
    assert (status, out) == (1, "") and err.startswith("error: RuntimeError: first second") and err.count("\n") == 1
    assert "Traceback" in run("classify photo.png --labels chair --traceback")[2]
    monkeypatch.setenv("CLIPX_DEBUG", "1")
    assert "Traceback" in run("classify photo.png --labels chair")[2]


# embed ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_embed_writes_what_python_gives(run_json, here, space_folder, suffix):
    record = run_json(f"embed photo.png cloud.xyz -o vectors{suffix}")
    wanted = clipx.embed(["photo.png", "cloud.xyz"], space=str(space_folder))
    if suffix == ".npz":
        with np.load(here / "vectors.npz", allow_pickle=False) as file:
            found = {key: file[key] for key in file.files}
        vectors, ids, about = found["vectors"], list(found["ids"]), str(found["space_id"])
        assert json.loads(str(found["about"]))["config"]["pointcloud"]["points"] == 1024
    else:
        from pyarrow import parquet

        table = parquet.read_table(here / "vectors.parquet")
        vectors, ids = np.array(table["vector"].to_pylist(), dtype=np.float32), table["id"].to_pylist()
        about = table.schema.metadata[b"space_id"].decode()
    assert ids == ["photo.png", "cloud.xyz"]
    assert about == wanted.space_id
    assert np.allclose(vectors, wanted.vectors, atol=1e-5)
    assert (record["n"], record["dim"]) == (2, 32)


def test_ctrl_c_leaves_nothing_half_written_and_resume_goes_on(run, here, monkeypatch):
    from clipx.modalities.image import Image as ImageModality

    for i in range(3):
        Image.new("RGB", (20, 20), (80 * i, 99, 9)).save(here / f"{i}.png")
    before, load, seen = names(here), ImageModality.load, []

    def interrupted(self, path):
        seen.append(str(path))
        if str(path) == "2.png" and len(seen) < 4:
            raise KeyboardInterrupt
        return load(self, path)

    monkeypatch.setattr(ImageModality, "load", interrupted)
    line = "embed 0.png 1.png 2.png -o vectors.npz --batch-size 1 --resume"
    status, out, err = run(line)
    assert (status, out, err) == (130, "", "interrupted\n")
    assert names(here) == before
    assert run(line)[0] == 0
    assert sorted(seen[:3]) == ["0.png", "1.png", "2.png"] and seen[3:] == ["2.png"]  # they are read in threads


# eval -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def labelled(here):
    """Six pictures of two classes as a folder with labels.csv, as class folders and as an .npz."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 255, (6, 16, 16, 3), dtype=np.uint8)
    rows = ["path,label,split"]
    for i, image in enumerate(images):
        label, split = ("chair", "night_stand")[i % 2], ("train", "test")[i // 4]
        for name in (f"table/{i}.png", f"folders/{label}/{i}.png"):
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(here / name)
        rows.append(f"{i}.png,{label},{split}")
    (here / "table" / "labels.csv").write_text("\n".join(rows) + "\n")
    facts = {"labels": np.arange(6) % 2, "is_test": np.arange(6) >= 4, "up": "z"}
    np.savez(here / "set.npz", images=images, classes=np.array(["chair", "night_stand"]), **facts)
    return here


def test_eval_gives_the_same_figures_from_every_form(run_json, labelled):
    records = [run_json(f"eval image {data} --prompts plain") for data in ("table", "folders", "set.npz")]
    for record in records:
        assert set(record) >= {"schema", "command", "dataset", "modality", "space", "task", "n", "data_sha256"}
        assert (record["n"], record["labels"], record["regime"]) == (6, 2, "unstated")
        (row,) = record["results"]
        assert (row["method"], row["prompts"], record["train"]) == ("zero_shot", "plain", None)
        assert row["metrics"] == records[0]["results"][0]["metrics"]
        assert row["metrics"]["acc5"] is None and "acc5" not in row["ci95"]
        low, high = row["ci95"]["acc1"]
        assert 0 <= low <= row["metrics"]["acc1"] <= high <= 1
        assert [one["n"] for one in row["classes"]] == [3, 3]
    assert [record["dataset"] for record in records] == ["table", "folders", "set"]


def test_eval_counts_right_answers(run_json, labelled, monkeypatch):
    def logits(self, embedding):
        return torch.tensor([[1.0, 0.0, 0.5]]).repeat(len(embedding), 1)

    monkeypatch.setattr("clipx.zeroshot.ZeroShotClassifier.logits", logits)
    (labelled / "eval.toml").write_text('regime = "unseen classes"\n')
    record = run_json("eval image table --labels chair,cup,night_stand --config eval.toml")
    (row,) = record["results"]
    assert row["metrics"] == {"acc1": 0.5, "acc5": None, "mean_per_class_recall": 0.5}
    assert row["classes"] == [
        {"label": "chair", "n": 3, "recall": 1.0, "taken_for": None, "taken": 0.0},
        {"label": "night_stand", "n": 3, "recall": 0.0, "taken_for": "chair", "taken": 1.0},
    ]
    assert record["regime"] == "unseen classes"


def test_where_filters_rows_in_every_form(run_json, run, labelled):
    assert run_json("eval image table --where split=test")["n"] == 2
    assert run_json("eval image table --where split=test --where label=chair")["n"] == 1
    both = run_json("eval image table --where split=test|train|none")
    assert both["n"] == run_json("eval image table")["n"] > 2
    for truth in ("1", "True", "true"):
        assert run_json(f"eval image set.npz --where is_test={truth}")["n"] == 2
    assert run_json("eval image folders --where label=chair")["n"] == 3
    assert "no column 'colour'; --where takes path, label, split" in run("eval image table --where colour=red")[2]
    assert "no rows are left" in run("eval image table --where split=none")[2]
    assert "expected column=value" in run("eval image table --where split")[2]


def test_npz_index_rows_take_their_samples_from_the_npz(run_json, run, labelled):
    rows = ["npz_index,label,split", "5,night_stand,held-out", "0,chair,mine", "1,night_stand,mine"]
    folder = labelled / "indexed"
    folder.mkdir()
    shutil.copy(labelled / "set.npz", folder)
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    assert run_json("eval image indexed")["n"] == 3
    assert run_json("eval image indexed --where split=mine")["n"] == 2
    assert run_json("eval image indexed --where is_test=1")["n"] == 1
    (folder / "labels.csv").write_text("\n".join([rows[0], "5,Night stand,mine", "0,night_stand,mine"]) + "\n")
    status, _, err = run("eval image indexed")
    assert status == 2 and "labels.csv says 'night_stand' for npz_index 0, the .npz 'chair'" in err


def test_the_datas_hash_tells_its_rows(run_json, labelled):
    shutil.copytree(labelled / "table", labelled / "copy")
    rows = (labelled / "table" / "labels.csv").read_text().splitlines()
    (labelled / "copy" / "labels.csv").write_text("\n".join([rows[0], *reversed(rows[1:])]) + "\n")
    first = run_json("eval image table")["data_sha256"]
    assert run_json("eval image copy")["data_sha256"] == first
    assert run_json("eval image table --where split=test")["data_sha256"] != first
    Image.new("RGB", (9, 9)).save(labelled / "copy" / "0.png")
    assert run_json("eval image copy")["data_sha256"] != first


def test_paths_of_a_table_may_be_absolute_but_not_blank(run_json, run, labelled):
    table = labelled / "table" / "labels.csv"
    first = run_json("eval image table")
    table.write_text(table.read_text().replace("\n0.png", f"\n{labelled / 'folders' / 'chair' / '0.png'}"))
    assert run_json("eval image table")["results"] == first["results"]
    for cell, message in [("", "1 rows name no file, the first is row 3"), (".", "table: is a folder")]:
        table.write_text(f"path,label\n0.png,chair\n{cell},chair\n")
        status, out, err = run("eval image table")
        assert (status, out, err.count("\n")) == (2, "", 1) and message in err


DIALECTS = {
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "Excel's mark and separator line": lambda text: (
        b"\xef\xbb\xbfsep=;\r\n" + text.replace("\n", "\r\n").replace(",", ";").encode()
    ),
    "UTF-16": lambda text: text.replace(",", "\t").encode("utf-16"),
    "upper case": lambda text: text.replace("path,label,split", "PATH,Label,Split").encode(),
    "blanks": lambda text: text.replace(",", " , ").encode(),
    "quotes": lambda text: "\n".join(",".join(f'"{c}"' for c in row.split(",")) for row in text.splitlines()).encode(),
    "quotes after blanks": lambda text: text.replace(",chair", ', "chair"').encode(),
    "empty lines and columns": lambda text: text.replace("\n", ",,\n\n,,,,\n").encode(),
    "backslashes": lambda text: text.replace("\n", "\n.\\").removesuffix(".\\").encode(),
    "old Mac": lambda text: text.replace("\n", "\r").encode(),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_tables_of_other_programs(run_json, labelled, dialect):
    table = labelled / "table" / "labels.csv"
    wanted = run_json("eval image table --where split=test")
    table.write_bytes(DIALECTS[dialect](table.read_text()))
    record = run_json("eval image table --where Split=test")
    assert record["results"] == wanted["results"] and record["data_sha256"] == wanted["data_sha256"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.png,chair\n1.png,chair\n", "needs the columns path (or npz_index) and label; its first line names 0.png"),
        ("path,label\n0.png,chair,rest\n", "line 2 has 3 cells, the header 2"),
        ('path,label\n"0.png,chair\n', "cannot be read as CSV (line 2: unexpected end of data)"),
        ("path,label,Label\n0.png,chair,x\n", "two columns are named 'label'"),
        ("path,label\nC:\\photos\\0.png,chair\n", r"1 of 1 files are missing: table/C:\photos\0.png"),
        ("path,label\n/photos/0.png,chair\n", "1 of 1 files are missing: /photos/0.png"),
        ("path,label\n0.png,caf\xe9\n", "is not UTF-8 text (byte 20); save it as UTF-8"),
    ],
)
def test_tables_that_are_refused_with_the_cause(run, labelled, text, said):
    (labelled / "table" / "labels.csv").write_bytes(text.encode("latin-1"))
    status, out, err = run("eval image table")
    assert (status, out, err.count("\n")) == (2, "", 1) and f"table/labels.csv: {said}" in err


def test_missing_files_are_named_in_one_line(run, labelled):
    for i in (1, 3):
        (labelled / "table" / f"{i}.png").unlink()
    status, _, err = run("eval image table")
    assert status == 2 and err.count("\n") == 1 and "2 of 6 files are missing" in err
    assert "1.png" in err and "3.png" in err


@pytest.mark.parametrize("data", ["table", "set.npz"])
def test_cached_features_are_not_made_again(run_json, labelled, data, monkeypatch):
    first = run_json(f"eval image {data} --cache kept")
    monkeypatch.setattr("clipx.modalities.image.Image.parts", lambda *_: pytest.fail("encoded again"))
    assert run_json(f"eval image {data} --cache kept") == first


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.zeros((2, 8, 8), np.uint8)},
        {"labels": np.zeros(2, int), "classes": np.array(["chair"])},
        {"images": np.zeros((2, 8, 8), np.uint8), "labels": np.zeros(2, int)},
        {"images": np.zeros((2, 8, 8), np.uint8), "labels": np.array([0, 1]), "classes": np.array(["chair"])},
        {"images": np.zeros((3, 8, 8), np.uint8), "labels": np.zeros(2, int), "classes": np.array(["chair"])},
        {"images": np.array([{}, {}]), "labels": np.zeros(2, int), "classes": np.array(["chair"])},
    ],
    ids=["no labels", "no images", "no classes", "label out of range", "lengths differ", "pickle"],
)
def test_unusable_npz(run, here, arrays):
    np.savez(here / "bad.npz", **arrays)
    status, out, err = run("eval image bad.npz")
    assert (status, out) == (2, "") and err.startswith("error: bad.npz") and err.count("\n") == 1


def test_a_header_that_promises_too_much_is_not_believed(run, here):
    np.save("images.npy", np.zeros((1, 8, 8), np.uint8))
    honest = Path("images.npy").read_bytes()
    huge = honest.replace(b"(1, 8, 8), }" + b" " * 11, b"(999999999999, 8, 8), }")
    for data in (huge, honest.replace(b"'shape'", b"'shapf'"), honest[:-3], b"not an array"):
        assert data != honest
        with zipfile.ZipFile("bad.npz", "w") as archive:
            archive.writestr("images.npy", data)
        status, out, err = run("eval image bad.npz")
        assert (status, out) == (2, "") and "cannot be read as an .npz" in err and err.count("\n") == 1


def test_a_bomb_is_not_unpacked(run, here):
    for count, size in [(1, 2**25), (40, 2**20)]:  # one large array, and many small ones
        many = {f"a{i}": np.zeros(size, np.uint8) for i in range(count)}
        np.savez_compressed(here / "bomb.npz", labels=np.zeros(1, int), images=np.zeros((1, 8, 8), np.uint8), **many)
        status, out, err = run("eval image bomb.npz")
        assert (status, out) == (2, "") and "bomb.npz" in err and "would unpack from" in err and err.count("\n") == 1


# The others -----------------------------------------------------------------------------------------------------------


def test_modalities_tells_health_and_remedy(run_json, run, monkeypatch):
    results = {r["name"]: r for r in run_json("modalities")["results"]}
    assert results["image"]["ok"] and ".png" in results["image"]["suffixes"] and results["image"]["remedy"] is None
    monkeypatch.setattr("clipx.modalities.image.Image.missing", classmethod(lambda cls: "pip install eyes"))
    assert "not here: pip install eyes" in run("modalities")[1]
    assert "pip install eyes" in run("classify photo.png --labels chair")[2]


def test_one_cloud_waits_for_no_library_that_it_does_not_need():
    """Numba alone would add half a second. (open_clip imports transformers, where that is installed.)"""
    unused = {"h5py", "lance", "laspy", "matplotlib", "numba", "open3d", "pyarrow", "rembg", "skimage"}
    unused |= {"soundfile", "torchaudio", "trimesh"}
    chair = Path(__file__).parents[1] / "examples/data/chair.off"
    code = (
        "import gc, sys, clipx.cli as c\n"
        f"status = c.main(['classify', {str(chair)!r}, '--labels', 'chair,table', '--space', 'nano'])\n"
        f"found = sorted({unused!r} & set(sys.modules))\n"
        "sys.exit(f'{status} {found} {gc.isenabled()}' if status or found or not gc.isenabled() else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_spaces(run_json, space_folder, monkeypatch):
    monkeypatch.setattr("clipx.spaces.embedded.SPACES", space_folder.parent)
    (embedded,) = run_json("spaces --embedded")["results"]
    assert (embedded["name"], embedded["kind"]) == ("tiny", "embedded")
    assert "ViT-B-32-quickgelu/openai" in {space["name"] for space in run_json("spaces")["results"]}


def test_doctor(run_json, run, space_folder, tmp_path, monkeypatch):
    spaces = tmp_path / "spaces"
    shutil.copytree(space_folder, spaces / "tiny")
    monkeypatch.setattr("clipx.spaces.embedded.SPACES", spaces)
    record = run_json("doctor")
    assert record["ok"] is True
    lines = {r["name"] for r in record["results"]}
    assert "transformers" in lines and not lines & {"open3d", "laspy"}  # what nothing uses is not advertised
    assert "self-test passed" in next(r["detail"] for r in record["results"] if r["name"] == "space tiny")
    (spaces / "tiny" / "weights.safetensors").write_bytes(b"half")
    status, out, _ = run("doctor --json")
    assert status == 1 and json.loads(out)["ok"] is False


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_doctor_tests_the_space_that_is_named(run_json, run, space_folder, dtype):
    for space in (str(space_folder), "random:RN50")[: 2 if dtype == "float32" else 1]:
        record = run_json(f"doctor --space {space} --dtype {dtype}")
        (line,) = [result for result in record["results"] if result["name"].startswith("space ")]
        assert line["name"] == f"space {space}" and f"self-test passed on cpu in {dtype}" in line["detail"]
    status, out, err = run("doctor --space nowhere")
    assert status == 1 and "broken\tspace nowhere\tSpaceError: no space named 'nowhere'" in out
    status, out, err = run("doctor --device cuda:99")
    assert (status, out, err.count("\n")) == (2, "", 1) and "device 'cuda:99' cannot be used here" in err


def test_train_space_hands_the_flags_on(run_json, here, monkeypatch):
    asked = {}
    (here / "tiny").mkdir()
    (here / "tiny" / "recipe.toml").write_text("")
    (here / "data").mkdir()

    def train_space(recipe, **options):
        asked.update(options, recipe=recipe)
        return options["out"] / "space"

    monkeypatch.setattr("clipx.spaces.recipe.train_space", train_space)
    record = run_json("train space tiny --steps 3 --exclude chair,night_stand --resume")
    assert record["results"] == [{"space": os.path.join("runs", "tiny", "space")}]
    assert asked["exclude"] == ("chair", "night_stand") and asked["steps"] == 3 and asked["resume"] is True
    assert asked["seed"] is None and str(asked["recipe"]) == "tiny" and str(asked["data"]) == "data"


def test_json_has_no_nan():
    from clipx.cli._output import report

    assert report("x", [{"a": float("nan"), "b": [float("inf"), 1.0]}])["results"] == [{"a": None, "b": [None, 1.0]}]


def test_long_work_says_a_line_now_and_then_where_no_bar_can_be_drawn(capsys, monkeypatch):
    from clipx import progress

    clock = iter([0.0, 1.0, 11.0, 12.0, 25.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.progress("encoding", 8) as advance:
        for _ in range(4):
            advance(2, "loss 1")
    assert capsys.readouterr().err == "encoding: 4 of 8, 11 s loss 1\nencoding: 8 of 8, 25 s loss 1\n"


@pytest.mark.parametrize("line", ["train --help", "reproduce --help", "reproduce"])
def test_commands_of_two_words_are_listed_below_their_first(run, line):
    status, out, err = run(line)
    wanted = {"train": ("space", "audio"), "reproduce": ("audioclip", "pointclip", "pointclip-v2")}
    assert status == (0 if "--help" in line else 2) and "error" not in err
    assert all(f"│ {name} " in out + err for name in wanted[line.split()[0]])


def test_a_verb_names_the_commands_below_it(run):
    status, out, _ = run("eval --help")
    assert status == 0 and "clipx eval sketch --help" in " ".join(out.split())
    assert run("reproduce nothing")[0] == 2


def test_dataclass_parameters_become_flags(capsys):
    """Of RunOptions the fields that are named; of another dataclass all, as they are annotated."""
    from dataclasses import dataclass
    from typing import Annotated

    import typer

    from clipx.cli import _build
    from clipx.cli._options import RunOptions, takes

    @dataclass(frozen=True)
    class Own:
        size: Annotated[int, typer.Option("--size", help="How large.", min=1)] = 3

    seen = []

    @takes("device", "out", batch_size=8)
    def measured(data: Path, *, own: Own, run: RunOptions) -> None:
        """Measure."""
        seen.append((data, own, run))

    assert list(inspect.signature(measured).parameters) == ["data", "size", "device", "out", "batch_size"]
    command = _build("measured", measured)
    command.main(["here", "--size", "5", "-o", "a.json"], standalone_mode=False)
    command.main(["here", "--batch-size", "2", "--device", "cuda"], standalone_mode=False)
    first, second = seen
    assert first == (Path("here"), Own(5), RunOptions(out=Path("a.json"), batch_size=8))
    assert second == (Path("here"), Own(), RunOptions(device="cuda", batch_size=2))
    measured(data=Path("there"), size=4)  # as a function: what is not given has its default
    assert seen[-1] == (Path("there"), Own(4), RunOptions(batch_size=8))
    command.main(["--help"], standalone_mode=False)
    text = capsys.readouterr().out
    assert "--size" in text and "--space" not in text
