"""clipx train segment: a head on base labels beside the untrained path, and groups beside k-means."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from clipx.errors import FileError, InputError, SpaceMismatchError
from clipx.modalities.segment import head_fit, load_head, read_masks
from clipx.modalities.segment.features import Features, Sample, best_path, frozen_features
from clipx.modalities.segment.group_fit import GroupConfig, fit_groups
from clipx.modalities.segment.groups import GroupingBlock, GroupNetwork, kmeans_means
from clipx.modalities.segment.head import HeadNetwork
from clipx.modalities.segment.head_fit import HeadConfig, base_and_novel, fit_head, measure
from clipx.modalities.segment.train import Plan, labels_of_fold, read, split
from clipx.space import random_space

COLOURS = {"chair": (220, 40, 40), "table": (40, 200, 60), "cup": (50, 60, 220), "cat": (230, 220, 60)}
CLASSES = ("background", *COLOURS)


def write_set(folder, count=9):
    """Photos of coloured rectangles on grey, their exact masks, and the table."""
    rng = np.random.default_rng(0)
    (folder / "masks").mkdir(parents=True)
    lines = ["path,mask"]
    for i in range(count):
        photo = np.full((96, 128, 3), 128) + rng.integers(-20, 20, (96, 128, 3))
        mask = np.zeros((96, 128), np.uint8)
        for place, k in enumerate(rng.permutation(len(COLOURS))[:3]):
            where = slice(8, 88), slice(40 * place + 4, 40 * place + 36)
            photo[where] = np.array(list(COLOURS.values())[k]) + rng.integers(-20, 20, (80, 32, 3))
            mask[where] = k + 1
        mask[:2] = 255
        Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
        lines.append(f"{i}.png,masks/{i}.png")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(CLASSES)) + "255 ignore\n")
    return folder


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    return read_masks(write_set(tmp_path_factory.mktemp("masks") / "set"))


@pytest.fixture(scope="module")
def data(masks, tiny_space):
    return read(tiny_space, masks, Plan(novel=("cat",), short_side=96))


PLAN = HeadConfig(steps=30, lr=1e-2, strength=1.0, keep=1.0)


def fitted(space, data, out, config=PLAN, resume=False, samples=None):
    return fit_head(space, samples or data.train, data.classes, data.text, data.base, config, out, resume)


# Data -----------------------------------------------------------------------------------------------------------------


def test_no_photo_is_in_both_parts(masks):
    train, test = split(masks, 1 / 3, seed=0)
    names = [[one.name for one in part] for part in (train, test)]
    assert len(test) == 3 and len(train) == 6 and not set(names[0]) & set(names[1])
    assert [one.name for one in split(masks, 1 / 3, seed=0)[1]] == names[1]
    assert any([one.name for one in split(masks, 1 / 3, seed=s)[1]] != names[1] for s in (1, 2, 3))
    with pytest.raises(InputError, match="cannot be split"):
        split(masks, 0.01, seed=0)


def test_folds_are_runs_of_the_labels_without_the_background():
    assert labels_of_fold(CLASSES, 1) == ("table",)
    names = ["background", *(f"label {i}" for i in range(20))]
    assert [labels_of_fold(names, k) for k in range(4)] == [tuple(names[1 + 5 * k : 6 + 5 * k]) for k in range(4)]
    with pytest.raises(InputError, match="no fold 4"):
        labels_of_fold(names, 4)


@pytest.mark.parametrize("name", ["tiny_space", "tiny_vit_space"])
def test_features_are_dense_vectors_and_stages_on_one_grid(name, request):
    space = request.getfixturevalue(name)
    pixels = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    found, stages = frozen_features(space, pixels), space.stages(pixels)
    chosen = ["layer2", "layer3", "layer4"] if name == "tiny_space" else ["block0", "block1", "block2"]
    assert found.stages.shape == (1, sum(stages[one].shape[1] for one in chosen), *stages[chosen[1]].shape[-2:])
    assert found.dense.shape == (1, space.dim, *found.stages.shape[-2:])
    if found.dense.shape == (untrained := space.dense_image(pixels, path=best_path(space))).shape:
        torch.testing.assert_close(found.dense, untrained)  # what clipx segment takes without a head
    width = stages[chosen[0]].shape[1]
    torch.testing.assert_close(found.stages[:, width : width + stages[chosen[1]].shape[1]], stages[chosen[1]])


# LSeg -----------------------------------------------------------------------------------------------------------------


def test_a_photo_in_memory_is_as_large_as_its_mask(data):
    """One byte a pixel: all photos are held."""
    assert {sample.truth.dtype for sample in data.train + data.test} == {torch.uint8}


def test_a_head_starts_as_the_untrained_path(data):
    features = data.train[0].features
    untrained = F.normalize(features.dense, dim=1)
    network = HeadNetwork(features.dense.shape[1], features.stages.shape[1], 4)
    torch.testing.assert_close(network(features), untrained)
    network.out.weight.data.normal_()
    torch.testing.assert_close(network(features, strength=0.0), untrained)
    assert (network(features, strength=1.0) - untrained).abs().max() > 0.01


def test_the_loss_is_cross_entropy_of_base_pixels_at_a_fixed_scale(data):
    """Transcribed: logits are cosines over .07, pixels of other labels and 255 are left out; keep counts only there."""
    sample = data.train[0]
    place = torch.full((256,), 255)
    place[torch.tensor(data.base)] = torch.arange(3)
    generator = torch.Generator().manual_seed(0)
    vectors = F.normalize(torch.randn(sample.features.dense.shape, generator=generator), dim=1)
    found = head_fit._loss(vectors, sample, place, data.text[data.base], keep=0.0)
    grid = 2 * vectors.shape[-2], 2 * vectors.shape[-1]
    cosines = torch.einsum("dhw,kd->khw", vectors[0], data.text[data.base])
    logits = F.interpolate(cosines[None] / 0.07, grid, mode="bilinear")[0]
    step = 96 / grid[0], 128 / grid[1]
    terms = []
    for y in range(grid[0]):
        for x in range(grid[1]):
            label = int(sample.truth[int(y * step[0]), int(x * step[1])])
            if label in data.base:
                terms.append(-logits[:, y, x].log_softmax(0)[data.base.index(label)])
    torch.testing.assert_close(found, torch.stack(terms).mean())
    kept = head_fit._loss(vectors, sample, place, data.text[data.base], keep=2.0) - found
    cells = F.avg_pool2d((place[sample.truth.long()][None] == 255)[:, :: int(step[0]), :: int(step[1])].float(), 2)
    distance = 1 - (vectors * F.normalize(sample.features.dense, dim=1)).sum(1)
    torch.testing.assert_close(kept, 2 * (cells * distance).mean())


def test_training_raises_base_labels_on_photos_it_did_not_see(tiny_space, data, tmp_path):
    head = fitted(tiny_space, data, tmp_path)
    assert head.base == ("chair", "table", "cup")

    def figures(strength):
        with torch.no_grad():
            counted = measure(data.test, lambda f: head.network(f, strength), data.text, data.base + data.novel)
        return base_and_novel(counted, data.base, data.novel)

    assert figures(1.0)["base"] > figures(0.0)["base"] + 0.15
    f = figures(1.0)
    assert f["harmonic"] == pytest.approx(2 * f["base"] * f["novel"] / (f["base"] + f["novel"]), nan_ok=True)


def test_novel_labels_are_not_learned_from(tiny_space, data, tmp_path):
    """Their pixels may as well not be judged: the same bytes."""
    one = fitted(tiny_space, data, tmp_path / "one")
    blind = [Sample(s.features, s.vector, torch.where(s.truth == 4, 255, s.truth)) for s in data.train]
    other = fitted(tiny_space, data, tmp_path / "other", samples=blind)
    for name, tensor in one.network.state_dict().items():
        assert torch.equal(tensor, other.network.state_dict()[name]), name


def test_the_same_run_gives_the_same_bytes_and_a_stopped_one_goes_on(tiny_space, data, tmp_path, monkeypatch):
    paths = [fitted(tiny_space, data, tmp_path / name).save(tmp_path / f"{name}.safetensors") for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    calls, own = [], head_fit._loss

    def stopping(*args):
        calls.append(1)
        if len(calls) > 6 * 17:  # in the 18th step, after a checkpoint
            raise KeyboardInterrupt
        return own(*args)

    monkeypatch.setattr(head_fit, "_loss", stopping)
    with pytest.raises(KeyboardInterrupt):
        fitted(tiny_space, data, tmp_path / "c")
    monkeypatch.setattr(head_fit, "_loss", own)
    with pytest.raises(InputError, match="holds a run already"):
        fitted(tiny_space, data, tmp_path / "c")
    resumed = fitted(tiny_space, data, tmp_path / "c", resume=True).save(tmp_path / "c.safetensors")
    assert resumed.read_bytes() == paths[0].read_bytes()
    with pytest.raises(InputError, match="other settings"):
        fitted(tiny_space, data, tmp_path / "c", HeadConfig(steps=31), resume=True)


def test_a_saved_head_gives_dense_vectors(tiny_space, data, tmp_path):
    head = fitted(tiny_space, data, tmp_path / "run")
    read = load_head(head.save(tmp_path / "head.safetensors"), tiny_space)
    assert (read.kind, read.base, read.strength) == ("lseg", head.base, 1.0)
    assert read.settings == json.loads(json.dumps(head.settings))
    pixels = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    found = read.dense(tiny_space, pixels)
    torch.testing.assert_close(found, head.dense(tiny_space, pixels))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2, *found.shape[-2:]))


def test_what_is_no_head_of_the_space_is_refused(tiny_space, tiny_vit_space, data, tmp_path):
    head = fitted(tiny_space, data, tmp_path / "run")
    path = head.save(tmp_path / "head.safetensors")
    with pytest.raises(SpaceMismatchError, match="train again"):
        load_head(path, tiny_vit_space)
    with pytest.raises(SpaceMismatchError):
        head.dense(tiny_vit_space, torch.rand(1, 3, 32, 32))
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:-100])
    (tmp_path / "text.safetensors").write_text("a head")
    for name in ("cut", "text"):
        with pytest.raises(FileError, match="is no segmentation head"):
            load_head(tmp_path / f"{name}.safetensors", tiny_space)
    with pytest.raises(FileError, match="suffix"):
        head.save(tmp_path / "head.bin")


@pytest.mark.parametrize(
    "wrong", [{"rank": 0}, {"steps": 0}, {"lr": 0}, {"lr": math.nan}, {"keep": -1}, {"strength": 1.5}]
)
def test_settings_out_of_range(wrong):
    with pytest.raises(InputError):
        HeadConfig(**wrong)


# GroupViT -------------------------------------------------------------------------------------------------------------


def test_a_grouping_block_is_the_papers():
    """Transcribed without noise: the most probable group of each token, sums divided by one more than their count."""
    torch.manual_seed(0)
    block = GroupingBlock(8, 3, 3, heads=2).eval()
    groups, tokens = torch.randn(1, 3, 8), torch.randn(1, 7, 8)
    with torch.no_grad():
        found, assigned = block(groups, tokens, None)
        g, t = block.norm_groups(groups)[0], block.norm_tokens(tokens)[0]
        g = g + block.attend(g, t, t)[0]
        queries, keys, values = block.query(block.norm_out(g)), block.key(t), block.value(t)
        expected = []
        members: list[list[int]] = [[] for _ in range(3)]
        for j in range(7):
            scores = [float(queries[i] @ keys[j]) / math.sqrt(8) for i in range(3)]
            members[int(np.argmax(scores))].append(j)
        for i in range(3):
            gathered = sum((values[j] for j in members[i]), torch.zeros(8)) / (len(members[i]) + 1)
            row = g[i] + block.out(gathered)
            expected.append(row + block.mlp(row))
    torch.testing.assert_close(found[0], torch.stack(expected))
    assert [row.nonzero().flatten().tolist() for row in assigned[0]] == members


def test_an_assignment_is_one_hot_going_forward_and_soft_going_back():
    torch.manual_seed(0)
    block = GroupingBlock(8, 4, 2, heads=2)
    tokens = torch.randn(1, 7, 8, requires_grad=True)
    noise = torch.randn(1, 2, 7, generator=torch.Generator().manual_seed(0))
    found, assigned = block(torch.randn(1, 4, 8), tokens, noise)
    assert found.shape == (1, 2, 8)
    torch.testing.assert_close(assigned.sum(1), torch.ones(1, 7))
    assert ((assigned - assigned.round()).abs() < 1e-6).all()
    assigned[0, 0].sum().backward()
    assert tokens.grad.abs().max() > 0 and block.query.weight.grad.abs().max() > 0


def test_shares_are_of_the_last_groups(data):
    features = data.train[0].features
    torch.manual_seed(0)
    network = GroupNetwork(features.dense.shape[1], features.stages.shape[1], 16, (6, 3)).eval()
    with torch.no_grad():
        _, shares = network.grouped(features)
        found = network(features)
    cells = features.dense.flatten(2)
    assert shares.shape == (1, 3, cells.shape[-1]) and torch.equal(shares.sum(1), torch.ones(1, cells.shape[-1]))
    for group in range(3):
        mine = shares[0, group] > 0
        if mine.any():
            mean = F.normalize(cells[0][:, mine].mean(1), dim=0)
            torch.testing.assert_close(found.flatten(2)[0][:, mine], mean[:, None].expand(-1, int(mine.sum())))


def test_kmeans_finds_what_is_alike():
    generator = torch.Generator().manual_seed(0)
    left = (torch.arange(8) < 5).float()
    dense = torch.stack([left, 1 - left]).expand(4, 2, 8).permute(1, 0, 2)[None]
    dense = dense + 0.01 * torch.randn(1, 2, 4, 8, generator=generator)
    found = kmeans_means(Features(dense, dense), torch.zeros(2), torch.ones(2), 2)
    for columns in (slice(0, 5), slice(5, 8)):
        mean = F.normalize(dense[0, :, :, columns].mean((1, 2)), dim=0)
        torch.testing.assert_close(found[0, :, :, columns], mean[:, None, None].expand_as(found[0, :, :, columns]))
    assert torch.isfinite(kmeans_means(Features(dense[..., :1, :1], dense[..., :1, :1]), *torch.ones(2, 2), 8)).all()


def test_groups_are_learned_from_whole_photos(tiny_space, data, tmp_path):
    """The loss falls, and the same run gives the same bytes; the photos' vectors are all it is given."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for sample in data.train:  # a random tower's vectors of two photos are nearly the same: others in their place
        features = sample.features
        shift = torch.randn(1, features.stages.shape[1], 1, 1, generator=generator)
        vector = F.normalize(torch.randn(sample.vector.shape, generator=generator), dim=0)
        blind = torch.full_like(sample.truth, 255)
        samples.append(
            Sample(
                Features(features.dense, torch.rand(features.stages.shape, generator=generator) + shift), vector, blind
            )
        )
    config = GroupConfig(width=16, groups=(6, 3), steps=60, lr=1e-2)
    one = fit_groups(tiny_space, samples, config, tmp_path / "one")
    rows = [json.loads(line) for line in (tmp_path / "one" / "history.jsonl").read_text().splitlines()]
    assert np.mean([row["loss"] for row in rows[-5:]]) < 0.5 * np.mean([row["loss"] for row in rows[:5]])
    other = fit_groups(tiny_space, samples, config, tmp_path / "two")
    paths = [head.save(tmp_path / f"{i}.safetensors") for i, head in enumerate((one, other))]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    read = load_head(paths[0], tiny_space)
    pixels = torch.rand(1, 3, 64, 96)
    torch.testing.assert_close(read.dense(tiny_space, pixels), one.dense(tiny_space, pixels))
    with pytest.raises(InputError, match="two photos"):
        fit_groups(tiny_space, data.train[:1], config, tmp_path / "few")


# The command ----------------------------------------------------------------------------------------------------------


def test_command(here, run, run_json, space_folder):
    from clipx import load_space

    write_set(here / "set")
    line = "train segment set --novel cat --steps 20 --lr .01 --short-side 96 --prompts {} -o head.safetensors"
    record = run_json(line)
    assert [row["features"] for row in record["results"]] == ["untrained", "head"]
    assert all({"base", "novel", "harmonic", "miou"} <= set(row) for row in record["results"])
    assert (record["photos"], record["test_photos"]) == (6, 3)
    assert record["novel"] == ["cat"] and record["base"] == ["chair", "table", "cup"]
    assert load_head(here / "head.safetensors", load_space(str(space_folder), backend="torch")).strength == 0.2
    status, _, err = run(line)
    assert status == 2 and "--resume" in err and len(err.splitlines()) == 1
    assert run(f"{line} --resume")[0] == 0
    groups = "train segment set --head groups --steps 5 --short-side 96 --prompts {} -o groups.safetensors"
    assert [row["features"] for row in run_json(groups)["results"]] == ["untrained", "k-means", "groups"]


def test_a_voc_folder_is_learned_from_its_training_list(here, run_json, space_folder):
    """And judged by the other list: no photo is in both."""
    write_set(here / "set")
    for name in ("JPEGImages", "ImageSets/Segmentation"):
        (here / "voc" / name).mkdir(parents=True)
    (here / "set" / "masks").rename(here / "voc" / "SegmentationClass")
    for i in range(9):
        Image.open(here / "set" / f"{i}.png").save(here / "voc" / "JPEGImages" / f"{i}.jpg")
    (here / "voc" / "classes.txt").write_text("\n".join(CLASSES))
    for name, stems in (("train", "01234"), ("val", "5678")):
        (here / "voc" / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("\n".join(stems))
    record = run_json("train segment voc --steps 2 --short-side 96 --prompts {} -o head.safetensors")
    assert record["photos"] + record["test_photos"] == 5
    assert run_json("eval segment voc --background small --sweep head=head.safetensors")["n"] == 4


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        ("--novel cat --fold 1", "not both"),
        ("--novel dog", "no label 'dog'"),
        ("--fold 7", "no fold 7"),
        ("--novel chair,table,cup", "base labels are left"),
        ("--test-share 1.5", "between 0 and 1"),
        ("--test-share .001", "cannot be split"),
        ("--head groups --fold 1", "groups learn from no label"),
        ("--head groups --rank 4", "groups learn from no label"),
        ("--strength 2", "between 0 and 1"),
        ("--lr 0", "learning rate"),
        ("-o head.bin", "suffix"),
        ("--seed -1", "seed"),
    ],
)
def test_flags_that_do_not_fit(here, run, flags, what):
    write_set(here / "set")
    status, _, err = run(f"train segment set --prompts {{}} --steps 2 {flags}")
    assert status == 2 and what in err and len(err.splitlines()) == 1, err


def test_a_tower_without_dense_features_is_refused(masks):
    from clipx.errors import UnsupportedError

    vision = {"timm_model_name": "test_convnext", "timm_pool": "avg", "timm_proj": "linear", "image_size": 160}
    text = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    space = random_space({"embed_dim": 32, "custom_text": True, "vision_cfg": vision, "text_cfg": text})
    with pytest.raises(UnsupportedError, match="has no dense"):
        read(space, masks, Plan())
