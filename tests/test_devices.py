"""Every job on a device other than the CPU: one that only pretends (see pretend_device.py), and real ones where there
are any (marked gpu)."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pretend_device
import pytest
import soundfile
import torch
from PIL import Image, ImageOps
from torch.nn import functional as F

from clipx import _device
from clipx.cli import main
from clipx.modalities.sketch.raster import rasterize
from clipx.parts import Time
from clipx.pipeline import MadeItem, encode

DATA = Path(__file__).parents[1] / "examples" / "data"
REAL = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
DTYPES = ("float32", "float16", "bfloat16")
NEAR = {"float32": 2e-3, "float16": 2e-2, "bfloat16": 6e-2}  # cosines and the like; convolutions of CUDA round to TF32


@pytest.fixture
def device(monkeypatch):
    """The one that only pretends, and has no float64 and no eigh."""
    name = pretend_device.register(monkeypatch)
    monkeypatch.setattr(_device, "LIMITED", {*_device.LIMITED, name})
    return name


def _real_or_pretended(name, request):
    if name == "pretend":
        return request.getfixturevalue("device")
    if not REAL[name]():
        pytest.skip(f"no {name} here")
    return name


@pytest.fixture(params=["pretend", *(pytest.param(name, marks=pytest.mark.gpu) for name in REAL)])
def any_device(request):
    """The pretended one, then every real one that is here."""
    return _real_or_pretended(request.param, request)


EVERYWHERE = [("pretend", "float16"), *(pytest.param((n, d), marks=pytest.mark.gpu) for n in REAL for d in DTYPES)]


@pytest.fixture(params=EVERYWHERE, ids="-".join)
def where(request):
    """A device and what is computed in there; the pretended one takes the harder half."""
    name, dtype = request.param
    return _real_or_pretended(name, request), dtype


def there(space, device, dtype=None):
    """A copy of a space on a device."""
    moved = copy.deepcopy(space)
    moved.backbone.to(device, dtype)
    return moved


# Strokes --------------------------------------------------------------------------------------------------------------


def strokes(count=6, batch=(2,)):
    rng = torch.Generator().manual_seed(0)
    return {
        "strokes": 64 * torch.rand(*batch, count, 4, 2, generator=rng),
        "width_px": 1 + 3 * torch.rand(*batch, count, generator=rng),
        "alpha": torch.rand(*batch, count, generator=rng),
        "color": torch.rand(*batch, count, 3, generator=rng),
        "background": torch.rand(*batch, 3, 64, 64, generator=rng),
    }


def painted(device, backend="auto", **given):
    """The picture, and the gradient of something in all that was given; both on the CPU."""
    leaves = {k: v.to(device).requires_grad_() for k, v in given.items()}
    picture = rasterize(size=64, backend=backend, **leaves)
    assert picture.device.type == torch.device(device).type
    slope = torch.linspace(-1, 1, 64).to(device)
    gradients = torch.autograd.grad((picture * slope).square().sum(), list(leaves.values()))
    assert all(g.device.type == torch.device(device).type for g in gradients)
    return picture.detach().cpu(), [g.cpu() for g in gradients]


@pytest.mark.parametrize("backend", ["auto", "numba"])
@pytest.mark.parametrize("names", [("strokes",), ("strokes", "width_px", "alpha", "color", "background")])
def test_strokes_on_a_device_are_painted_by_the_cpu_kernel(backend, names, device):
    given = {name: value for name, value in strokes().items() if name in names}
    picture, gradients = painted("cpu", "numba", **given)
    pretend_device.called.clear()
    there, gradients_there = painted(device, backend, **given)
    assert torch.equal(there, picture)
    assert all(torch.equal(a, b) for a, b in zip(gradients, gradients_there, strict=True))
    assert sum(pretend_device.called.values()) < 60  # and nothing a stroke: twelve are painted


def test_the_picture_is_moved_once_and_black_on_white_as_one_channel(device):
    given = strokes()["strokes"].to(device)
    pretend_device.moved.clear()
    picture = rasterize(given, 64)
    assert picture.shape == (2, 3, 64, 64)
    assert pretend_device.moved["to"] == 2 * 64 * 64 and pretend_device.moved["from"] == given.numel()


def test_numba_paints_float32_only(device):
    from clipx.errors import InputError

    with pytest.raises(InputError, match="float32"):
        rasterize(strokes()["strokes"].double(), 64, backend="numba")


def test_a_photo_is_drawn_on_a_device_as_on_the_cpu(device, tiny_space):
    from clipx.modalities.sketch.config import DrawConfig
    from clipx.modalities.sketch.draw import draw
    from clipx.modalities.sketch.target import prepare

    photo = Image.new("RGB", (60, 50), (230, 230, 230))
    photo.paste((40, 60, 90), (20, 10, 40, 40))
    config = DrawConfig(strokes=(3, 12), seeds=(0,), steps=5, views=1, pool=2, renew=False, rank=False)
    (few, many), steps = draw([prepare(photo)], tiny_space, config), []
    space = there(tiny_space, device)
    for found, wanted in zip(draw([prepare(photo)], space, config), (few, many), strict=True):
        assert found.loss == pytest.approx(wanted.loss, rel=0.02)
        assert np.allclose(found.strokes.points, wanted.strokes.points, atol=0.5)
    for count in (3, 12):  # as many steps of the device, however many strokes
        pretend_device.called.clear()
        draw([prepare(photo)], space, replace(config, strokes=(count,), start="points"))
        steps.append(sum(pretend_device.called.values()))
    assert steps[0] == steps[1]


# Sounds ---------------------------------------------------------------------------------------------------------------


def noises(count):
    from clipx.modalities.audio.files import Sound

    rng = np.random.default_rng(0)
    waves = [0.1 * rng.standard_normal((1, 22_050 * (1 + i % 3))) for i in range(count)]
    return [Sound(wave.astype(np.float32), 22_050) for wave in waves]


def test_windows_of_several_files_are_encoded_together(device, tiny_space):
    from clipx.modalities.audio import Audio, AudioConfig, Sound

    sounds, config = noises(6), AudioConfig(window_s=2.0)
    wanted = Audio(tiny_space, config).encode(sounds).vectors
    audio = Audio(there(tiny_space, device), config)
    batches = []
    audio.tower.net.register_forward_pre_hook(lambda net, waves: batches.append(len(waves[0])))
    assert np.allclose(audio.encode(sounds).vectors, wanted, rtol=1e-5, atol=1e-5)
    assert batches == [8]  # of 1, 1 and 2 windows, twice
    batches.clear()
    items = [MadeItem(str(i), partial(Sound, own.samples, own.sample_rate_hz)) for i, own in enumerate(sounds)]
    (records,) = encode(items, audio, separate=(Time,))
    assert [len(one.vectors.rows) for one in records] == [1, 1, 2, 1, 1, 2] and batches == [8]
    assert records[2].vectors.places == (Time(0.0, 2.0), Time(1.0, 3.0))


# Every job ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the examples' files, depth maps, and labelled sounds."""
    here = tmp_path_factory.mktemp("jobs")
    shutil.copytree(DATA, here, dirs_exist_ok=True)
    slope = np.tile(np.linspace(1000, 4000, 64).astype(np.uint16), (48, 1))
    Image.fromarray(slope).save(here / "depth.png")
    (here / "sounds").mkdir()
    lines, rng = ["path,label,fold"], np.random.default_rng(0)
    for i in range(4):
        t = np.arange(11_025) / 22_050
        for label, wave in (("dog", np.sin(2 * np.pi * (200 + 20 * i) * t)), ("rain", rng.standard_normal(len(t)))):
            soundfile.write(here / "sounds" / f"{label}{i}.wav", 0.3 * wave, 22_050)
            lines.append(f"{label}{i}.wav,{label},{i % 2}")
    (here / "sounds" / "labels.csv").write_text("\n".join(lines))
    np.savetxt(here / "small.xyz", rng.standard_normal((40, 3)))
    names = ("fish", "clock", "house", "umbrella")
    for part, turns in (("pictures", [Image.Image.copy]), ("turned", [ImageOps.mirror, ImageOps.flip])):
        (here / part).mkdir()
        lines = ["path,label"]
        for i, turn in enumerate(turns):
            for name in names:
                turn(Image.open(here / f"{name}.png").convert("RGB")).save(here / part / f"{name}{i}.png")
                lines.append(f"{name}{i}.png,{name}")
        (here / part / "labels.csv").write_text("\n".join(lines))
    shutil.copy(here / "dog.flac", here / "pictures" / "dog.flac")
    return here


LEARNT = ("adapter", "coop", "tip_adapter_f", "ape_t", "clap", "prolip")  # few-shot methods that train
known: dict[str, dict] = {}


@pytest.fixture
def ask(folder, monkeypatch, capfd):
    """Run a command line in that folder -> its JSON."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CLIPX_SPACE", "nano")

    def call(line):
        if line in known:
            return known[line]
        capfd.readouterr()
        status = main([*line.split(), "--json"])
        out, err = capfd.readouterr()
        assert status == 0, err
        if "--device" not in line and "--db" not in line:
            known[line] = json.loads(out)  # of the CPU, which others are compared with
        return json.loads(out)

    return call


def figures(found, name=""):
    """Every number that is measured, by its place in the record."""
    if isinstance(found, dict):
        left_out = ("seconds", "s", "bytes", "confidence", "probability", "seed")
        return {k: v for key in found if key not in left_out for k, v in figures(found[key], f"{name}.{key}").items()}
    if isinstance(found, list):
        return {k: v for i, own in enumerate(found) for k, v in figures(own, f"{name}.{i}").items()}
    return {name: found} if isinstance(found, float) else {}


CLASSIFY = {
    "pictures": "fish.png clock.png --labels fish,clock,house",
    "sounds": "dog.flac rain.flac --labels dog,rain --window-s 1",
    "meshes": "chair.off table.stl --labels chair,table",
    "clouds": "car.npy bathtub.xyz --labels car,bathtub",
    "PointCLIP": "chair.off --labels chair,table --projection pointclip_v1 --weighting entropy",
    "PointCLIP V2": "chair.off --labels chair,table --projection pointclip_v2",
    "discs": "small.xyz --labels car,chair --projection shaded",
    "triangles": "chair.off --labels car,chair --projection mesh_raster",
    "splats": "car.npy --labels car,chair --projection ortho_splat",
    "depth": "depth.png --labels chair,table",
    "drawings": "drawings/coffee-16.svg --labels cup,horse",
}


@pytest.mark.parametrize("job", CLASSIFY)
def test_classify(job, where, ask):
    if (job, where[0]) == ("discs", "pretend"):
        pytest.skip("half a minute; its surfaces are tested below")
    (device, dtype), line = where, f"classify {CLASSIFY[job]}"
    by_label = [
        {row["label"]: row["cosine"] for file in ask(given)["results"] for row in file["predictions"]}
        for given in (line, f"{line} --device {device} --dtype {dtype}")
    ]
    assert by_label[0] == pytest.approx(by_label[1], abs=NEAR[dtype])


def test_surfaces_of_clouds(device):
    from clipx.modalities.pointcloud.projection.discs import OFF, STEPS
    from clipx.modalities.pointcloud.projection.plain.surfels import surface

    points = torch.rand(30, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 1, 0.01])
    around, given = torch.cdist(points, points).argsort(1)[:, :8], torch.zeros(30, 3)
    wanted = surface(points, around, given, STEPS, OFF)
    found = surface(points.to(device), around.to(device), given.to(device), STEPS, OFF)
    assert torch.allclose(found.cpu()[:, :4].abs(), wanted[:, :4].abs(), atol=1e-3)


def test_embed(where, ask):
    device, dtype = where
    line = "embed fish.png dog.flac chair.off drawings/horse-8.svg"
    ask(f"{line} -o cpu.npz"), ask(f"{line} -o there.npz --device {device} --dtype {dtype}")
    ours, theirs = np.load("cpu.npz")["vectors"], np.load("there.npz")["vectors"]
    assert theirs.dtype == np.float32 and (ours * theirs).sum(1).min() > 1 - NEAR[dtype]


def test_index_and_search_in_any_precision(where, ask, tmp_path):
    device, dtype = where
    flags = f"--device {device} --dtype {dtype}"
    (tmp_path / "pictures").mkdir()
    for name in ("fish.png", "house.png"):
        shutil.copy(name, tmp_path / "pictures")
    for name, given in (("cpu", ""), ("there", flags)):
        assert ask(f"index {tmp_path / 'pictures'} --db {tmp_path / name} {given}")["files"] == 2
    again = ask(f"index {tmp_path / 'pictures'} --db {tmp_path / 'there'}")
    assert again["results"][0]["unchanged"] == 2  # dtypes may be mixed
    for query in ("fish", "fish.png + house"):
        ours = ask(f"search {query} --db {tmp_path / 'cpu'}")["results"]
        theirs = ask(f"search {query} --db {tmp_path / 'there'} {flags}")["results"]
        assert {Path(hit["path"]).name: hit["cosine"] for hit in ours} == pytest.approx(
            {Path(hit["path"]).name: hit["cosine"] for hit in theirs}, abs=NEAR[dtype]
        )


def test_depth(where, ask):
    device, dtype = where
    line = "depth rooms/room-1.jpg"
    ask(f"{line} -o cpu.png"), ask(f"{line} -o there.png --device {device} --dtype {dtype}")
    ours, theirs = (np.asarray(Image.open(name), np.float64) for name in ("cpu.png", "there.png"))
    assert ours.std() > 0 and np.abs(theirs / ours - 1).mean() < 2 * NEAR[dtype]


@pytest.mark.parametrize("line", ["fish.png --strokes 4,8", "--text fish --strokes 4", "fish.png --space nano-vit"])
def test_sketch(line, any_device, ask):
    found = ask(f"sketch {line} --steps 3 --seeds 1 -o drawn-{any_device} --device {any_device}")
    assert all(np.isfinite(value) for value in figures(found["results"]).values())


FOUND_IN_PHOTOS = {
    "dense": "detect fish.png --labels fish,house --limit 40 --threshold 0.2 --presence 0.05",
    "both": "detect fish.png --labels fish,house --limit 20 --threshold 0.2 --regions both --proposals components",
    "ground": "ground fish.png fish --limit 40",
}


@pytest.mark.parametrize("line", FOUND_IN_PHOTOS.values(), ids=FOUND_IN_PHOTOS)
def test_detect_and_ground(line, any_device, ask):
    expected, found = figures(ask(line)["results"]), figures(ask(f"{line} --device {any_device}")["results"])
    assert found.keys() == expected.keys() and any("presence" in key for key in found) == ("--presence" in line)
    for key, value in expected.items():  # a presence is a share of 300 words, of which one may be a tie
        assert found[key] == pytest.approx(value, abs=0.004 if ".presence." in key else NEAR["float32"]), key


@pytest.mark.parametrize(
    "method", ["cache", "probe", "gda", "ape", *(pytest.param(m, marks=pytest.mark.gpu) for m in LEARNT)]
)
def test_few_shot(method, any_device, ask):
    line = f"eval image pictures --train turned --method {method} --shots 1"
    ours, theirs = (figures(one["results"]) for one in (ask(line), ask(f"{line} --device {any_device}")))
    # but for the accuracies of each C that was tried, on a handful of samples: a tie may go either way
    compared = [key for key in ours if ".swept." not in key]
    assert ours.keys() == theirs.keys() and len(compared) > 20
    assert [ours[key] for key in compared] == pytest.approx([theirs[key] for key in compared], abs=0.02, nan_ok=True)


@pytest.mark.parametrize("options", ["--kind linear", "--mean-map --steps 2"])
def test_depth_is_learnt_and_judged(options, any_device, ask, folder):
    from test_depth import write_set

    write_set(folder / "rooms-of-depth", size=(48, 64))
    out = f"depth-{any_device}.safetensors"
    (found,) = ask(f"train depth rooms-of-depth {options} -o {out} --device {any_device}")["results"]
    assert found["photos"] == 3 and Path(out).is_file()
    judged = ask(f"eval depth rooms-of-depth --protocol full --device {any_device}")["results"]
    assert judged and all(np.isfinite(value) for value in figures(judged).values())


@pytest.mark.parametrize("tower", ["logmel", pytest.param("fbsp", marks=pytest.mark.gpu)])
def test_a_sound_tower_learns(tower, any_device, ask):
    flags = f"--tower {tower} --epochs 1 --batch-size 4 --crop-s 0.5 --device {any_device}"
    (found,) = ask(f"train audio sounds --fold 1 {flags} -o towers-{any_device}-{tower}")["results"]
    rows = Path(f"towers-{any_device}-{tower}/history.jsonl").read_text().splitlines()
    assert all(np.isfinite(json.loads(row)["loss"]) for row in rows) and 0 <= found["acc1"] <= 1


def test_the_pretrained_sound_tower_is_fitted(any_device, ask):
    flags = f"--tower sfx --crop-s 0.5 --device {any_device}"
    (found,) = ask(f"train audio sounds --fold 1 {flags} -o towers-{any_device}-sfx")["results"]
    assert Path(found["tower"]).is_dir() and 0 <= found["acc1"] <= 1


@pytest.mark.parametrize("method", ["cmc", "cpc", "dino", "moco-v2", "swav"])
def test_towers_learn_without_labels(method, any_device, tmp_path):
    """Banks, patches, a centre, a queue and codes."""
    from test_contrastive import TINY, made_pictures

    from clipx.contrastive import METHODS, features, new_tower, pretrain, small, ssl_config

    pictures, config = made_pictures(8, 40), ssl_config(steps=2, batch_size=4)
    least = replace(small(METHODS[method]), hidden=32, dim=16, length=8)
    least = replace(least, predictor_hidden=16, prototypes=min(16, least.prototypes))
    tower = pretrain(pictures, least, new_tower(TINY, 32), config, tmp_path, device=any_device)
    assert bool(features(tower, pictures).isfinite().all())


def test_students_and_maps_learn(any_device, ask, folder):
    for i in range(40):
        Path("many").mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (32, 32, 3), np.uint8)).save(f"many/{i}.png")
    flags = f"--student resnet-8 --size 32 --crops 1 --steps 2 --batch-size 4 --device {any_device}"
    assert ask(f"distil many -o student-{any_device} {flags}")["held_out"] == 2
    Path("clouds").mkdir(exist_ok=True)
    for i in range(3):
        shutil.copy("small.xyz", f"clouds/{i}.xyz")
    flags = f"--points 32 --turns 1 --steps 2 --batch-size 2 --device {any_device}"
    assert ask(f"train pointcloud clouds -o points-{any_device}.safetensors {flags}")["clouds"] == 3
    named = ask(
        f"classify small.xyz --labels chair,cup --point-tower points-{any_device}.safetensors --device {any_device}"
    )
    assert named["results"][0]["predictions"]
    flags = f"--kind mlp --steps 2 --device {any_device}"
    assert ask(f"bind image@nano pictures -o map-{any_device}.safetensors {flags}")["samples"] == 4


@pytest.mark.gpu
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_training_in_half_precision(name, precision, tmp_path):
    if not REAL[name]():
        pytest.skip(f"no {name} here")
    from test_training import CONFIG, line_fit, linear

    from clipx.training import train

    def there(module, step, draw):
        return line_fit(lambda x: module(x.to(name)).cpu(), step, draw)

    config = replace(CONFIG, mixed_precision=precision)
    whole = train(linear(), there, config, tmp_path / "whole", device=name).cpu().state_dict()
    train(linear(), there, config, tmp_path / "parts", device=name, stop_after=7)
    parts = train(linear(1), there, config, tmp_path / "parts", device=name, resume=True).cpu().state_dict()
    for key in whole:
        torch.testing.assert_close(whole[key], parts[key])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["nano", "nano-vit"])
def test_self_test_in_every_precision(name, dtype, any_device):
    from clipx import load_space

    load_space(name, device=any_device, dtype=getattr(torch, dtype)).self_test()


def test_a_device_without_float64_says_so(device):
    from clipx import load_space
    from clipx.errors import InputError

    with pytest.raises(InputError, match="has no float64; take float32"):
        load_space("nano", device=device, dtype=torch.float64)
    space = load_space("nano", device=device)
    assert space.encode_image(torch.rand(1, 3, 40, 40, dtype=torch.float64)).dtype == torch.float32
    values, vectors = _device.eigh(torch.eye(3).expand(2, 3, 3).to(device))
    assert values.device.type == vectors.device.type == device and values.cpu().eq(1).all()


# Dense paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny_space", "tiny_vit_space"])
def test_dense_paths_and_keys(where, name, request):
    """Every path of a tower gives there what it gives here."""
    device, dtype = where
    space = request.getfixturevalue(name)
    moved = there(space, device, getattr(torch, dtype))
    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    for path in space.dense_paths:
        found, expected = moved.dense_image(pixels, path=path), space.dense_image(pixels, path=path)
        assert found.device.type == device
        assert F.cosine_similarity(found.cpu(), expected, dim=1).min() > 1 - NEAR[dtype], path
    keys = F.cosine_similarity(moved.keys_image(pixels).cpu(), space.keys_image(pixels), dim=1)
    assert keys.min() > 1 - NEAR[dtype]


@pytest.mark.parametrize("refine", ["none", "pamr", "superpixels", "guided"])
@pytest.mark.parametrize("background", ["auto", "wall", "none"])
def test_segment(where, background, refine, tiny_vit_space):
    """A mask there is the mask here, whatever moves its borders."""
    from clipx.modalities.segment import SegmentConfig, Segmenter

    device, dtype = where
    photo = torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(0))
    photo = F.interpolate(photo[None], (60, 90), mode="bilinear")[0]
    plan = SegmentConfig(labels=("cat", "dog|puppy"), background=(background,), refine=refine, threshold=0.0)
    moved = Segmenter(there(tiny_vit_space, device, getattr(torch, dtype)), plan)(photo)
    found = Segmenter(tiny_vit_space, plan)(photo)
    assert moved.logits.device.type == "cpu" and moved.has_background == found.has_background
    assert (moved.probability.astype(float) - found.probability).mean() == pytest.approx(0, abs=2 * NEAR[dtype])
    assert (moved.mask == found.mask).mean() > 1 - 5 * NEAR[dtype]


def test_segment_by_smooth_keys_and_windows(where, tiny_vit_space):
    from clipx.modalities.segment import SegmentConfig, Segmenter

    device, dtype = where
    plan = SegmentConfig(
        labels=("cat", "dog"), smooth_keys=0.9, window=24, flip=True, scales=(1.0, 1.5), path="sc-clip"
    )
    moved = Segmenter(there(tiny_vit_space, device, getattr(torch, dtype)), plan)
    assert np.isfinite(moved(torch.rand(3, 50, 70)).probability).all()


@pytest.mark.parametrize("kind", ["lseg", "groups"])
def test_heads_of_segmentation(where, kind, tiny_space):
    from clipx.modalities.segment.features import frozen_features
    from clipx.modalities.segment.head import NETWORKS, Head

    device, dtype = where
    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    features = frozen_features(tiny_space, pixels)
    network = NETWORKS[kind](features.dense.shape[1], features.stages.shape[1], 8).eval()
    head = Head(kind, network, tiny_space.id, 0.5, (), {})
    here = head.dense(tiny_space, pixels)
    found = head.dense(there(tiny_space, device, getattr(torch, dtype)), pixels)
    assert found.device.type == device
    assert F.cosine_similarity(found.cpu(), here, dim=1).median() > 1 - NEAR[dtype]
