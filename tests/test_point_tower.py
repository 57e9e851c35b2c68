"""The native point tower: its layers by their definition, its file, its training and its place in the modality."""

import json
import os
import shutil

import numpy as np
import pytest
import torch

import clipx
from clipx.errors import FileError, InputError, SpaceMismatchError
from clipx.modalities.pointcloud import Cloud, PointCloud
from clipx.modalities.pointcloud.encoder import CloudConfig
from clipx.modalities.pointcloud.tower import PointNet, PointTower, load_tower, seen
from clipx.modalities.pointcloud.train import TowerTrainConfig, fit_tower, teacher_vectors

SMALL = TowerTrainConfig(points=32, width=8, turns=2, steps=6, batch_size=8)


def cloud(seed, count=200):
    """A stretched ball: two proportions tell one from another."""
    rng = np.random.default_rng(seed)
    return Cloud((rng.normal(size=(count, 3)) * (1, *rng.uniform(0.1, 3, 2))).astype(np.float32))


@pytest.fixture(scope="module")
def teacher(tiny_vit_space):
    return PointCloud(tiny_vit_space)


@pytest.fixture
def tower(teacher):
    torch.manual_seed(0)
    network = PointNet(teacher.space.dim, points=32, width=8).eval().requires_grad_(False)
    return PointTower(network, teacher.space.id, "pointclip_v1")


def test_the_network_is_the_same_layers_for_each_point_then_their_largest_and_mean():
    torch.manual_seed(0)
    network = PointNet(5, points=7, width=8).double().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    found = network(x)
    for b in range(2):
        each = []
        for row in x[b]:
            for linear, norm, _ in zip(*[iter(network.each)] * 3, strict=True):
                row = linear.weight @ row + linear.bias
                row = (row - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
                row = row.clamp(min=0)
            each.append(row)
        both = torch.cat([torch.stack(each).amax(0), sum(each) / 7])
        assert torch.allclose(found[b], network.top(both[None])[0], atol=1e-12)
    x.requires_grad_()
    assert torch.autograd.gradcheck(network, (x,))


def test_the_order_of_points_and_the_batch_make_no_difference(tower):
    points = torch.from_numpy(np.stack([seen(cloud(i), 32) for i in range(3)]))
    whole = tower.network(points)
    shuffled = tower.network(points[:, torch.randperm(32)])
    assert torch.allclose(whole, shuffled, atol=1e-5)
    clouds = [cloud(i) for i in range(5)]
    together = tower.encode(clouds)
    assert np.abs(np.concatenate([tower.encode([one]) for one in clouds]) - together).max() < 1e-5
    assert np.abs(np.linalg.norm(together, axis=1) - 1).max() < 1e-5


def test_what_it_sees_is_upright_in_the_unit_sphere_and_complete():
    points = np.array([[0, 0, 0], [0, 0, 4], [0, 2, 0]], np.float32)
    found = seen(Cloud(points, "z"), 32)
    assert found.shape == (32, 3) and len(np.unique(found, axis=0)) == 3  # repeated, none missing
    assert np.linalg.norm(found, axis=1).max() == pytest.approx(1, abs=1e-6)
    assert found[:, 1].max() - found[:, 1].min() > found[:, 2].max() - found[:, 2].min()  # z points up, which is +y


def test_it_comes_nearer_to_what_the_pictures_say(teacher, tmp_path):
    clouds, others = [cloud(i) for i in range(40)], [cloud(i) for i in range(100, 120)]
    wanted = teacher.encode(others).vectors
    cosine = []
    for steps in (1, 80):
        config = TowerTrainConfig(**{**vars(SMALL), "steps": steps, "batch_size": 16})
        tower = fit_tower(teacher, clouds, config, tmp_path / f"{steps}")
        cosine.append((tower.encode(others) * wanted).sum(1).mean())
    assert cosine[1] > max(cosine[0] + 0.1, 0.6)


@pytest.mark.parametrize("projection", ["pointclip_v1", "pointclip_v2", "shaded", "mesh_raster"])
def test_the_teacher_looks_at_the_projections_own_pictures(projection, teacher, tmp_path):
    """Of a coloured mesh, z up: at no turn what the modality says, at a third what it says of the turned file."""
    own = PointCloud(teacher.space, CloudConfig(projection=projection, points=300))
    rng = np.random.default_rng(0)
    corners, faces = rng.normal(size=(4, 3)) * (3, 2, 1), [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]
    colours = rng.integers(0, 255, (4, 3))
    clouds = []
    for turn in (0, 2 * np.pi / 3):
        cos, sin = np.cos(turn), np.sin(turn)
        places = corners @ [[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]
        rows = [" ".join(map(str, [*place, *colour])) for place, colour in zip(places, colours, strict=True)]
        head = "".join(f"property float {a}\n" for a in "xyz") + "".join(
            f"property uchar {c}\n" for c in ("red", "green", "blue")
        )
        head += "element face 4\nproperty list uchar int vertex_indices\nend_header\n"
        text = f"ply\nformat ascii 1.0\nelement vertex 4\n{head}"
        text += "\n".join(rows) + "\n" + "\n".join("3 " + " ".join(map(str, face)) for face in faces) + "\n"
        (tmp_path / f"{turn}.ply").write_text(text)
        clouds.append(own.load(tmp_path / f"{turn}.ply", up="z"))
    found = teacher_vectors(own, clouds[:1], 3, tmp_path / "teacher")[0, :2]
    expected = own.encode(clouds).vectors
    by_turn = np.linalg.norm(expected[0] - expected[1])  # how much the turn changes
    assert np.linalg.norm(found.numpy() - expected, axis=1).max() < min(0.05 * by_turn, 1e-3)


def test_a_run_that_was_stopped_ends_in_the_same_weights(teacher, tmp_path):
    clouds = [cloud(i) for i in range(10)]
    whole = fit_tower(teacher, clouds, SMALL, tmp_path / "whole").network.state_dict()
    with pytest.raises(InputError, match="holds a run already"):
        fit_tower(teacher, clouds, SMALL, tmp_path / "whole")
    fit_tower(teacher, clouds, SMALL, tmp_path / "parts", stop_after=3)
    parts = fit_tower(teacher, clouds, SMALL, tmp_path / "parts", resume=True).network.state_dict()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_file_is_read_back_and_belongs_to_one_space(teacher, tower, tiny_space, tmp_path):
    path = tower.save(tmp_path / "tower.safetensors")
    found = load_tower(path, teacher.space)
    clouds = [cloud(1), cloud(2)]
    assert np.array_equal(found.encode(clouds), tower.encode(clouds)) and found.projection == "pointclip_v1"
    with pytest.raises(SpaceMismatchError, match="clipx train pointcloud"):
        load_tower(path, tiny_space)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FileError, match="is no point tower") as caught:
        load_tower(path, teacher.space)
    assert "\n" not in str(caught.value)
    with pytest.raises(FileError, match=r"is not \.safetensors"):
        tower.save(tmp_path / "tower.pt")


def test_wrong_sizes_in_a_file_take_no_memory(teacher, tower, tmp_path):
    tower.network.shape["width"] = 10**7  # its layers would take 10^15 bytes
    with pytest.raises(FileError, match="is no point tower"):
        load_tower(tower.save(tmp_path / "tower.safetensors"), teacher.space)


def test_the_modality_encodes_by_it(teacher, tower, tmp_path):
    path = tower.save(tmp_path / "tower.safetensors")
    encoder = PointCloud(teacher.space, CloudConfig(point_tower=str(path)))
    clouds = [cloud(1), cloud(2)]
    assert np.allclose(encoder.encode(clouds).vectors, tower.encode(clouds), atol=1e-6)
    assert encoder.context and encoder.context != PointCloud(teacher.space).context
    assert encoder.pictures(clouds[0]).shape[0] > 1  # what a person looks at stays
    with pytest.raises(InputError, match="makes no views"):
        CloudConfig(point_tower=str(path), tta=2)


def test_a_tower_gets_as_many_points_as_it_looks_at(teacher, tmp_path):
    """More than the 1,024 that are kept of a cloud for pictures."""
    network = PointNet(teacher.space.dim, points=1500, width=8).eval()
    path = PointTower(network, teacher.space.id, "pointclip_v1").save(tmp_path / "tower.safetensors")
    encoder = PointCloud(teacher.space, CloudConfig(point_tower=str(path)))
    np.savetxt(tmp_path / "a.xyz", cloud(0, 3000).points)
    assert len(encoder.load(tmp_path / "a.xyz").points) == len(encoder.from_array(cloud(0, 3000).points).points) == 1500
    assert len(np.unique(seen(encoder.load(tmp_path / "a.xyz"), 1500), axis=0)) == 1500


def test_an_index_holds_what_it_makes(tower, teacher, tmp_path):
    path = tower.save(tmp_path / "tower.safetensors")
    np.savetxt(tmp_path / "one.xyz", cloud(1).points)
    with clipx.Index.create(tmp_path / "my.index", teacher.space) as index:
        index.add([tmp_path / "one.xyz"], settings={"pointcloud": {"point_tower": str(path)}})
        stored = index.embedding_of(tmp_path / "one.xyz").vectors[0]
    encoder = PointCloud(teacher.space, CloudConfig(point_tower=str(path)))
    assert np.abs(stored - encoder.encode([encoder.load(tmp_path / "one.xyz")]).vectors[0]).max() < 1e-5
    path.write_bytes(PointTower(PointNet(32, 32, 8).eval(), teacher.space.id, "pointclip_v1").save(path).read_bytes())
    with (
        clipx.Index.open(tmp_path / "my.index", teacher.space) as index,
        pytest.raises(InputError, match="another tower"),
    ):
        index.encoder("pointcloud")


def test_an_unreadable_cloud_is_left_out_and_named(run, here):
    (here / "set").mkdir()
    for i in range(3):
        np.savetxt(here / f"set/{i}.xyz", cloud(i).points)
    (here / "set/1.ply").write_bytes(b"ply\nno")
    words = "-o tower.safetensors --points 32 --turns 1 --steps 2 --batch-size 2"
    status, out, err = run(f"train pointcloud set {words} --json")
    assert status == 2 and json.loads(out)["clouds"] == 3 and "1.ply" in json.loads(out)["failures"][0]["path"]
    assert "not read: " in err and (here / "tower.safetensors").exists()
    (here / "set/1.xyz").unlink(), (here / "set/2.xyz").unlink()
    status, out, err = run(f"train pointcloud set {words.replace('tower', 'other')}")
    assert status == 2 and "error: " in err and "1.ply" in err and not (here / "other.safetensors").exists()


def test_the_command_measures_pictures_and_tower(run_json, run, here):
    for i in range(4):
        (here / "set" / ("chair" if i % 2 else "table")).mkdir(parents=True, exist_ok=True)
        np.savetxt(here / "set" / ("chair" if i % 2 else "table") / f"{i}.xyz", cloud(i).points)
    words = "--points 32 --turns 1 --steps 2 --batch-size 2"
    record = run_json(f"train pointcloud set -o tower.safetensors {words} --test set")
    assert [row["way"] for row in record["results"]] == ["pictures", "tower"] and record["clouds"] == 4
    assert all(row["n"] == 4 and row["clouds_per_s"] > 0 for row in record["results"]) and record["shared"] == 4
    named = run_json("classify cloud.xyz --labels chair,table --point-tower tower.safetensors")
    assert named["results"][0]["predictions"]
    folder = here / "plain"
    folder.mkdir()
    shutil.copy(here / "cloud.xyz", folder / "a.xyz")
    shutil.copy(here / "mesh.off", folder / "b.off")
    (here / "bad").mkdir()
    assert run("train pointcloud bad -o never.safetensors")[2].endswith("error: bad: holds no clouds or meshes\n")
    (here / "bad/a.ply").write_bytes(b"ply")
    status, _, _ = run(f"train pointcloud plain -o never.safetensors {words} --test bad")
    assert status == 2 and not (here / "never").exists()  # before the training
    os.rename(shutil.copy(here / "cloud.xyz", folder / "c.xyz"), os.fsencode(folder) + b"/\xff.xyz")
    status, out, _ = run(f"train pointcloud plain -o third.safetensors {words} --json")
    third = json.loads(out)
    assert status == 2 and third["clouds"] == 2 and third["failures"][0]["reason"].startswith("its name")
    os.remove(os.fsencode(folder) + b"/\xff.xyz")
    assert run_json(f"train pointcloud plain -o other.safetensors {words}")["clouds"] == 2
    assert json.loads((here / "other/history.jsonl").read_text().splitlines()[0])["step"] == 0
