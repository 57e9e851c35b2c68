"""CLIP as teacher: a small tower that learns from a frozen space's vectors, and the space that it becomes."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from conftest import WORDS, save_space
from PIL import Image as pil

import clipx
from clipx.errors import InputError
from clipx.modalities.image import distil as package
from clipx.modalities.image.distil import (
    Ahead,
    Crops,
    DistilConfig,
    Student,
    distil,
    fidelity,
    student_of,
    teacher_vectors,
)
from clipx.preprocess import Preprocess
from clipx.space import random_space
from clipx.training import affinity_loss
from clipx.training.teacher import StudentConfig

SMALL = DistilConfig(student="resnet-8", size=32, crops=2, steps=6, batch_size=8)
PLAIN = Preprocess((32, 32), (0.5,) * 3, (0.5,) * 3)


@pytest.fixture
def photos(tmp_path):
    """48 pictures of discs on slopes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    y, x = np.mgrid[-1:1:40j, -1:1:52j]
    for i in range(48):
        rng = np.random.default_rng(i)
        disc = (x - rng.uniform(-0.5, 0.5)) ** 2 + (y - rng.uniform(-0.5, 0.5)) ** 2 < rng.uniform(0.05, 0.4)
        picture = np.where(disc[..., None], rng.uniform(0, 1, 3), rng.uniform(0, 1, 3) * (x[..., None] + 1) / 2)
        pil.fromarray((picture * 255).astype(np.uint8)).save(folder / f"{i:02}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def teacher(tiny_space, tmp_path_factory):
    return clipx.load_space(save_space(tiny_space, tmp_path_factory.mktemp("teacher") / "tiny", WORDS))


def test_the_affinity_loss_is_the_divergence_of_two_hand_made_tables():
    """Two others each: the teacher's cosines 1 and 0, the student's 0 and 0, over 0.1."""
    a, b = torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0])
    teacher, student = torch.stack([a, a, b]), torch.eye(3)
    sure = 1 / (1 + np.exp(-10))  # of the row with cosines 1 and 0
    near = sure * np.log(sure / 0.5) + (1 - sure) * np.log((1 - sure) / 0.5)
    assert float(affinity_loss(student, teacher)) == pytest.approx(2 * near / 3, rel=1e-4)  # the third row is even
    assert float(affinity_loss(teacher, teacher)) == pytest.approx(0, abs=1e-6)


def test_the_loss_is_the_distance_by_cosine_and_the_weighed_affinities():
    a, b = torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0])
    teacher, student = torch.stack([a, a, b]), torch.eye(3)  # cosines 1, 0 and 0
    found = StudentConfig(affinity=0.5).loss(student, teacher)
    assert float(found["cosine"]) == pytest.approx(1 / 3)
    assert float(found["loss"]) == pytest.approx(2 / 3 + 0.5 * float(affinity_loss(student, teacher)))


def test_affinities_do_not_depend_on_a_rotation_and_have_a_gradient():
    torch.manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(6, 5, dtype=torch.float64), dim=1)
    turned = rows @ torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    assert float(affinity_loss(turned, rows)) == pytest.approx(0, abs=1e-9)
    other = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: affinity_loss(torch.nn.functional.normalize(x, dim=1), rows), (other,))


def test_crops_are_the_whole_photo_and_then_squares_that_a_seed_decides(photos):
    crops = Crops(photos, 4, 7)
    whole, *others = crops.pictures(3, range(4), PLAIN)
    picture = pil.open(photos[3])
    expected = PLAIN.resize(np.asarray(PLAIN.fit(picture)).transpose(2, 0, 1)[None] / np.float32(255))[0]
    assert np.array_equal(whole, expected)
    assert len({one.tobytes() for one in (whole, *others)}) == 4
    assert np.array_equal(crops.pictures(3, [2], PLAIN)[0], others[1])  # each by itself
    assert not np.array_equal(Crops(photos, 4, 8).pictures(3, [2], PLAIN)[0], others[1])


def test_the_student_s_tower_is_new_and_its_words_are_the_teacher_s(photos, teacher, tmp_path):
    found = distil(teacher, photos, tmp_path / "run", SMALL)
    space = clipx.load_space(found.folder)
    assert space.id != teacher.id and space.preprocess.size == (32, 32) and space.dim == teacher.dim
    assert np.allclose(space.encode_text(["cat", "chair"]), teacher.encode_text(["cat", "chair"]), atol=2e-3)  # float16
    assert space.vocabulary.words == teacher.vocabulary.words
    assert (found.held_out, found.photos, found.left_out) == (2, 46, {})
    about = json.loads((found.folder / "space.json").read_text())
    assert about["distilled_from"] == teacher.id and about["photos"] == 46
    assert clipx.embed(photos[:2], space=space).vectors.shape == (2, teacher.dim)


def test_it_comes_nearer_to_the_teacher(photos, teacher, tmp_path):
    few = distil(teacher, photos, tmp_path / "few", SMALL)
    many = distil(teacher, photos, tmp_path / "many", DistilConfig(**{**vars(SMALL), "steps": 60}))
    assert many.cosine > few.cosine + 0.1 and many.cosine > 0.5


def test_a_run_that_was_stopped_ends_in_the_same_bytes(photos, teacher, tmp_path):
    whole = distil(teacher, photos, tmp_path / "whole", SMALL)
    with pytest.raises(InputError, match="holds a run already"):
        distil(teacher, photos, tmp_path / "whole", SMALL)
    distil(teacher, photos, tmp_path / "parts", SMALL, stop_after=3)
    shutil.rmtree(tmp_path / "parts/space")
    parts = distil(teacher, photos, tmp_path / "parts", SMALL, resume=True)
    one, other = (json.loads((found.folder / "space.json").read_text()) for found in (whole, parts))
    assert one["weights_sha256"] == other["weights_sha256"]


def test_the_teacher_looks_once(photos, teacher, tmp_path, monkeypatch):
    crops = Crops(photos, 2, 0)
    monkeypatch.setattr(package, "BLOCK", 20)
    vectors, readable = teacher_vectors(teacher, crops, tmp_path)
    assert vectors.shape == (48, 2, teacher.dim) and readable.tolist() == list(range(48))
    assert len(list(tmp_path.iterdir())) >= 3
    whole = clipx.embed(photos, space=teacher).vectors
    assert np.abs(vectors[:, 0].float().numpy() - whole).max() < 2e-3
    looked = []
    monkeypatch.setattr(type(teacher), "encode_image", lambda self, x: looked.append(len(x)) or np.ones((len(x), 32)))
    assert torch.equal(teacher_vectors(teacher, crops, tmp_path)[0], vectors) and not looked
    photos[5].write_bytes(photos[6].read_bytes())  # in the first block of 20
    teacher_vectors(teacher, crops, tmp_path)
    assert sum(looked) == 2 * 20


def test_fidelity_is_that_of_the_whole_table(photos, monkeypatch):
    """In batches of five it is what one table of all cosines says."""
    monkeypatch.setattr(package, "AT_ONCE", 5)
    torch.manual_seed(0)
    student = Student(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 8)), PLAIN).eval()
    crops, some = Crops(photos, 1, 0), np.arange(3, 16)
    rows = torch.cat([student(torch.from_numpy(crops.pictures(i, [0], PLAIN))) for i in some.tolist()]).detach()
    vectors = torch.zeros(48, 1, 8)
    vectors[3:16, 0] = torch.nn.functional.normalize(rows + 0.2 * torch.randn(13, 8), dim=1)
    cosines = rows @ vectors[3:16, 0].T
    cosine, found = fidelity(student, crops, vectors, some)
    assert cosine == pytest.approx(float(cosines.diagonal().mean()), abs=1e-6)
    assert found == pytest.approx(float((cosines.argmax(1) == torch.arange(13)).float().mean())) and 0 < found < 1


def test_what_cannot_be_read_is_left_out_and_named(photos, teacher, tmp_path):
    photos[3].write_bytes(b"no picture")
    found = distil(teacher, photos, tmp_path / "run", SMALL)
    text = "not a readable picture: it is text"
    assert found.left_out == {str(photos[3]): text} and found.photos + found.held_out == 47
    photos[20].unlink()
    gone = distil(teacher, photos, tmp_path / "gone", SMALL).left_out
    assert gone == {str(photos[3]): text, str(photos[20]): "no such file"}
    with pytest.raises(InputError, match="10 photos can be read, a student needs 40"):
        distil(teacher, photos[4:14], tmp_path / "other", SMALL)


def test_a_space_of_the_hub_becomes_a_folder_of_open_clip(photos, tiny_vit_space, tmp_path):
    found = distil(tiny_vit_space, photos, tmp_path / "run", SMALL)
    space = clipx.load_space(found.folder)
    texts = ["a photo of a cat", "some chair"]
    assert np.allclose(space.encode_text(texts), tiny_vit_space.encode_text(texts), atol=1e-6)
    assert space.encode_image(np.zeros((1, 3, 32, 32), np.float32)).shape == (1, tiny_vit_space.dim)


def test_a_coca_and_a_siglip_are_teachers_too(photos, tmp_path):
    """CoCa's image tower returns tokens as well, which no student does; SigLIP's bias is kept."""
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    vit = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    both = {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
    coca = {
        "embed_dim": 16, "custom_text": True, "vision_cfg": vit | both,
        "text_cfg": text | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": text | {"attn_pooler_heads": 2},
    }  # fmt: skip
    siglip = {"embed_dim": 16, "custom_text": True, "init_logit_bias": -7.0, "vision_cfg": vit, "text_cfg": text}
    for name, config in {"coca": coca, "siglip": siglip}.items():
        taught = random_space(config)
        learned = DistilConfig(**{**vars(SMALL), "steps": 1, "crops": 1, "batch_size": 2})
        space = clipx.load_space(distil(taught, photos[:40], tmp_path / name, learned).folder)
        assert np.allclose(space.encode_text(["a cat"]), taught.encode_text(["a cat"]), atol=1e-6)
        assert space.encode_image(np.zeros((1, 3, 32, 32), np.float32)).shape == (1, 16)
        assert name == "coca" or float(space.backbone.model.logit_bias) == -7


@pytest.mark.parametrize(
    ("student", "what"),
    [
        ("resnet-9", "width must be a multiple of 8"),
        ("no_such_model", "timm knows no model"),
        ("resnet10", "did you mean resnet10t, "),
        ("mobilenetv3_small_100", "cannot make an image tower"),
    ],
)
def test_a_student_that_cannot_be_made_is_refused(teacher, student, what):
    with pytest.raises(InputError, match=what):
        student_of(teacher, DistilConfig(student=student, size=32))


@pytest.mark.parametrize("wrong", [{"size": 40}, {"crops": 0}, {"batch_size": 1}, {"lr": float("nan")}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        DistilConfig(**wrong)


def test_the_next_batch_is_made_ahead_and_is_that_of_its_draw():
    from concurrent.futures import ThreadPoolExecutor

    made = []
    with ThreadPoolExecutor(1) as pool:
        ahead = Ahead(lambda draw: made.append(draw) or draw * 10, pool, 2)
        assert [ahead(0), ahead(2), ahead(4)] == [0, 20, 40]
        assert ahead(1) == 10  # after a resumption
    assert made[:4] == [0, 2, 4, 6] and made.count(2) == 1


def test_the_command_names_what_it_left_out_each_time(run, photos, here):
    photos[3].write_bytes(b"no picture")
    line = f"distil {photos[0].parent} -o out --student resnet-8 --size 32 --crops 1 --steps 1 --batch-size 2 --json"
    for more in ("", " --resume"):  # the second time from what is kept
        status, out, err = run(line + more)
        (failure,) = json.loads(out)["failures"]
        assert status == 2 and failure == {"path": str(photos[3]), "reason": "not a readable picture: it is text"}
        assert "not read: " in err
    os.rename(photos[4], os.fsencode(photos[4]) + b"\xff.png")
    failures = json.loads(run(line.replace("-o out", "-o more"))[1])["failures"]
    assert [failure["reason"][:12] for failure in failures] == ["its name is ", "not a readab"]
    (here / "set/cat").mkdir(parents=True)
    (here / "set/cat/bad.png").write_bytes(b"no picture")
    status, _, err = run(f"{line.replace('-o out', '-o other')} --test set")
    assert status == 2 and "bad.png" in err and not (here / "other/history.jsonl").exists()  # before the training


def test_an_empty_folder_is_named_before_the_space_is_loaded(run, here):
    (here / "empty").mkdir()
    assert run("distil empty -o out")[::2] == (2, "error: empty: holds no pictures\n")


def test_the_command_measures_the_student_beside_its_teacher(run_json, photos, here):
    (here / "set").mkdir()
    for kind, own in (("cat", photos[:4]), ("cup", photos[4:8])):
        (here / "set" / kind).mkdir()
        for path in own:
            shutil.copy(path, here / "set" / kind)
    record = run_json(
        f"distil {photos[0].parent} -o out --student resnet-8 --size 32 --crops 1 --steps 2 --batch-size 4 --test set"
    )
    teacher, student = record["results"]
    assert (record["space"], record["photos"], record["held_out"]) == ("out/space", 46, 2)
    assert record["shared"] == 8  # by their content
    assert teacher["n"] == student["n"] == 8 and 0 <= student["acc1"] <= 1
    assert 0 < student["parameters"] != teacher["parameters"] and student["pictures_per_s"] > 0
    assert run_json("classify photo.png --labels cat,cup --space out/space")["space"] == "tiny-student"
